"""Speaker embeddings of tracks, computed from the speaker's own speech."""

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
from numpy.typing import NDArray

from sca.config import Settings
from sca.data.duplex.model.spans import Span
from sca.data.speakers.embedder import SpeakerEmbedder
from sca.data.speakers.registry import load_speaker
from sca.units import HEARD_HZ

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["embed_speaker", "embed_speech", "load_embedder"]

_MAX_SAMPLES = 600 * HEARD_HZ
"""More speech than this does not improve an embedding. It is sampled from the whole session."""


def load_embedder(settings: Settings) -> SpeakerEmbedder:
    """Load the model that the settings name, once per process. Raises the errors of `load_speaker`."""
    return _load(settings.duplex.speaker_model, settings.paths.resolved_cache_dir)


@cache
def _load(name: str, cache_dir: Path) -> SpeakerEmbedder:
    return load_speaker(name, cache_dir)


def embed_speaker(settings: Settings, heard: Path, speech: Sequence[Span]) -> NDArray[np.float32] | None:
    """Compute the embedding of a track's speaker.

    Args:
        settings: The settings.
        heard: The track at 16 kHz.
        speech: Where the speaker speaks. Only these spans are read, and only the speech that the VAD finds in them is
            used.

    Returns:
        The embedding, float32 `(192,)`; None if the settings have no model or there is too little speech.
    """
    return embed_speech(load_embedder(settings), heard, speech)


def embed_speech(
    embedder: SpeakerEmbedder, heard: "Path | pa.Buffer", speech: Sequence[Span]
) -> NDArray[np.float32] | None:
    """Do as `embed_speaker` with a loaded model. `heard` is a file, or the content of one."""
    if not embedder.has_model or not speech:
        return None
    return embedder.embed(np.concatenate(list(_pieces(heard, speech))))


def _pieces(heard: "Path | pa.Buffer", speech: Sequence[Span]) -> Iterator[NDArray[np.float32]]:
    import pyarrow as pa

    every = -(-sum(end - start for start, end in speech) // _MAX_SAMPLES)
    with soundfile.SoundFile(heard if isinstance(heard, Path) else pa.BufferReader(heard)) as file:
        for start, end in speech[::every]:
            file.seek(start)
            yield file.read(end - start, dtype="float32")
