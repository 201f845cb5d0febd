"""Loads a speaker-embedding model by name."""

from pathlib import Path

from sca.data.runs.model_identity import model_identity
from sca.data.speakers.base import NO_SPEAKER_MODEL
from sca.data.speakers.embedder import SpeakerEmbedder
from sca.errors import UsageError
from sca.models import find, resolve

__all__ = ["full_reference", "load_speaker", "speaker_digest", "speaker_identity"]


def load_speaker(name: str | None, cache_dir: Path | None = None) -> SpeakerEmbedder:
    """Load the speaker embedder with a given name.

    Args:
        name: None or `none` for an embedder that always returns None; `ecapa`, `ecapa:FOLDER` or `ecapa:HUB_ID` for
            speechbrain's ECAPA-TDNN; the path of an .onnx file (WeSpeaker, CAM++); or a model of `sca.models`.
        cache_dir: Where speechbrain stores its downloads, and where fetched models are.

    Raises:
        UsageError: The name has another form.
        MissingToolError: The model file or the library that runs it is missing.
        InputError: The file is not a speaker model with 192 outputs.
        UpstreamError: The model cannot be downloaded from the hub.
    """
    if name is None or name == NO_SPEAKER_MODEL:
        return SpeakerEmbedder(None)
    kind, _, source = name.partition(":")
    if kind == "ecapa":
        from sca.data.speakers.ecapa import EcapaModel

        return SpeakerEmbedder(EcapaModel(source or None, cache_dir))
    fetched = resolve(name, cache_dir)
    file = next(iter(sorted(fetched.glob("*.onnx"))), fetched) if fetched else Path(name).expanduser()
    if fetched or name.lower().endswith(".onnx"):
        from sca.data.speakers.onnx import OnnxSpeakerModel

        return SpeakerEmbedder(OnnxSpeakerModel(file))
    raise UsageError(
        f"a speaker model is none, ecapa, ecapa:FOLDER-OR-HUB-ID or an .onnx file, got {name!r}",
        hint="use none to store no embeddings",
    )


def speaker_identity(name: str) -> tuple[str, str]:
    """Return the kind of a named model (`ecapa` if it has a source, else empty) and the identity of its files."""
    kind, _, source = name.partition(":")
    return (kind, model_identity(source)) if kind == "ecapa" and source else ("", model_identity(name))


def speaker_digest(name: str) -> str:
    """Return the identity of a named model in one string, `KIND:IDENTITY` if it has a kind."""
    kind, identity = speaker_identity(name)
    return f"{kind}:{identity}" if kind else identity


def full_reference(name: str) -> str:
    """Return a name that is valid in any working folder: paths are made absolute, other names are as they were."""
    kind, _, source = name.partition(":")
    if kind == "ecapa" and source:
        return f"ecapa:{_absolute(source)}"
    return name if find(name) else _absolute(name)


def _absolute(name: str) -> str:
    path = Path(name).expanduser()
    return str(path.resolve()) if path.exists() else name
