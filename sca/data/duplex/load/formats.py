"""The shapes in which `easy_load` gives the rows of a duplex data set.

`duplex` is what goes into a model with a talker: one sequence of tokens, the sound of each chunk in it, and the sound of each
segment that is spoken with the places of its tokens. `raw` is the stored row with its sound.
"""

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sca.data.datasets.lazy_map import LazyMap
from sca.data.duplex.load.dataset import DuplexDataset, DuplexRow, load
from sca.units import HEARD_HZ, SPOKEN_HZ, seconds_to_samples

__all__ = ["DuplexExample", "InputAudio", "TargetAudio", "duplex", "raw", "token_places"]


@dataclass(frozen=True, slots=True)
class InputAudio:
    """What is heard during one chunk: float32 `(n,)`, at `sampling_rate`. To be encoded on its own."""

    waveform: NDArray[np.float32]
    sampling_rate: int


@dataclass(frozen=True, slots=True)
class TargetAudio:
    """What is spoken. text_token_idxs: the places of its text tokens in `input_sequence`, in order.   audio: float32 `(n,)`."""

    text_token_idxs: list[int]
    audio: NDArray[np.float32]
    sampling_rate: int


@dataclass(frozen=True, slots=True)
class DuplexExample:
    """One row.

    input_sequence: int32 `(tokens,)`; each run of placeholders (`audio_placeholder` of the settings) stands for one of
    input_audios, in order.   target_audios: one a segment.   speaker_embedding: float32 `(192,)` or None.
    """

    row_id: str
    input_sequence: NDArray[np.int32]
    input_audios: list[InputAudio]
    target_audios: list[TargetAudio]
    speaker_embedding: NDArray[np.float32] | None


def duplex(root: Path, split: str) -> LazyMap[DuplexDataset, DuplexExample]:
    """A `DuplexExample` a row."""
    return LazyMap(load(root, split), _example)


def raw(root: Path, split: str) -> LazyMap[DuplexDataset, dict[str, Any]]:
    """A dict a row: its columns, `heard` (16 kHz) and `spoken` (24 kHz) from its first chunk to its last, `speaker_embedding`."""
    return LazyMap(load(root, split), _raw)


def token_places(row: DuplexRow, n_frames: int, not_text: Container[int]) -> list[list[int]]:
    """For every segment of a row the places of its text tokens in `input_ids`.

    n_frames: audio tokens a chunk.   not_text: silence and control tokens.
    """
    heard = np.flatnonzero(row.input_ids == row.placeholder)
    after = heard[n_frames - 1 :: n_frames] + 1  # where each chunk's own tokens begin
    found = []
    for segment in row.segments:
        first = int(after[segment["first_chunk"]]) + segment["first_k"]
        last = int(after[segment["last_chunk"]]) + segment["last_k"]
        ids = row.input_ids[first : last + 1].tolist()
        found.append([first + at for at, one in enumerate(ids) if one != row.placeholder and one not in not_text])
    return found


def _example(data: DuplexDataset, index: int) -> DuplexExample:
    row = data[index]
    spoken = row.spoken.reshape(-1)
    places = token_places(row, data.grid.frames_per_chunk, data.not_text)
    return DuplexExample(
        row_id=row.row_id,
        input_sequence=row.input_ids,
        input_audios=[InputAudio(chunk, HEARD_HZ) for chunk in row.heard],
        target_audios=[
            TargetAudio(idxs, _between(spoken, segment["start_s"], segment["end_s"]), SPOKEN_HZ)
            for idxs, segment in zip(places, row.segments, strict=True)
        ],
        speaker_embedding=row.speaker_embedding,
    )


def _between(spoken: NDArray[np.float32], start_s: float, end_s: float) -> NDArray[np.float32]:
    start, end = (max(0, seconds_to_samples(at, SPOKEN_HZ)) for at in (start_s, end_s))
    return spoken[start:end]


def _raw(data: DuplexDataset, index: int) -> dict[str, Any]:
    row = data[index]
    return data.record(index) | {
        "heard": {"array": row.heard.reshape(-1), "sampling_rate": HEARD_HZ},
        "spoken": {"array": row.spoken.reshape(-1), "sampling_rate": SPOKEN_HZ},
        "speaker_embedding": row.speaker_embedding,
    }
