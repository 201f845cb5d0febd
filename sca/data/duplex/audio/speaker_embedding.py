"""The voice of a track's speaker, from what he says himself. Needs the words' times; knows no tokens."""

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from sca.config import Settings
from sca.data.duplex.model.spans import Span
from sca.data.speakers.embedder import SpeakerEmbedder
from sca.data.speakers.registry import load_speaker
from sca.units import HEARD_HZ

__all__ = ["embed_speaker", "embedder_of"]

_MOST = 600 * HEARD_HZ
"""More speech than this does not sharpen a voice; it is taken from all over the session."""


def embedder_of(settings: Settings) -> SpeakerEmbedder:
    """The model that the settings name, loaded once a process. Raises what `load_speaker` does."""
    return _load(settings.duplex.speaker_model, settings.paths.resolved_cache_dir)


@cache
def _load(name: str, cache_dir: Path) -> SpeakerEmbedder:
    return load_speaker(name, cache_dir)


def embed_speaker(settings: Settings, heard: Path, units: Sequence[Span]) -> NDArray[np.float32] | None:
    """The voice in a track at 16 kHz, float32 `(192,)`; None where no model is named or there is too little to go by.

    units: when its speaker speaks. Nothing else of the track is looked at, and of it only what the VAD takes for speech.
    """
    embedder = embedder_of(settings)
    if not embedder.has_model or not units:
        return None
    return embedder.embed(np.concatenate(list(_pieces(heard, units))))


def _pieces(heard: Path, units: Sequence[Span]) -> Iterator[NDArray[np.float32]]:
    every = -(-sum(end - start for start, end in units) // _MOST)
    for start, end in units[::every]:
        yield soundfile.read(heard, start=start, stop=end, dtype="float32")[0]
