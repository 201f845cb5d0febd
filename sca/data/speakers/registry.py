"""Load a speaker-embedding model by name."""

from pathlib import Path

from sca.data.speakers.base import NO_SPEAKER_MODEL, SpeakerEmbedder
from sca.errors import UsageError

__all__ = ["load_speaker"]


def load_speaker(name: str | None, cache_dir: Path | None = None) -> SpeakerEmbedder:
    """The embedder a name stands for.

    name: None or `none` (every embedding is None), `ecapa`, `ecapa:FOLDER` or `ecapa:HUB_ID` (speechbrain), or an .onnx file.
    cache_dir: where speechbrain may keep its links and downloads. Raises `UsageError` for another name, `MissingToolError` when
    the model or what runs it is not there, `InputError` when the file is no speaker model of 192 numbers.
    """
    if name is None or name == NO_SPEAKER_MODEL:
        return SpeakerEmbedder(None)
    kind, _, where = name.partition(":")
    if kind == "ecapa":
        from sca.data.speakers.ecapa import EcapaModel

        return SpeakerEmbedder(EcapaModel(where or None, cache_dir))
    if name.lower().endswith(".onnx"):
        from sca.data.speakers.onnx import OnnxSpeakerModel

        return SpeakerEmbedder(OnnxSpeakerModel(Path(name).expanduser()))
    raise UsageError(
        f"a speaker model is none, ecapa, ecapa:FOLDER-OR-HUB-ID or an .onnx file, got {name!r}",
        hint="none stores no embeddings",
    )
