"""The formats in which `sca.easy_load` returns the rows of a duplex data set.

`duplex` is the input of a model with a talker: one sequence of tokens, the audio of every chunk heard, and the audio of
every segment spoken with the positions of its tokens. `raw` is the stored row with its audio.
"""

from collections.abc import Container
from dataclasses import dataclass, replace
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from sca.data.datasets.folder import DataFolder
from sca.data.datasets.lazy_map import LazyMap
from sca.data.duplex.load.dataset import DuplexDataset, DuplexRow
from sca.data.duplex.load.speaker_labels import unlabelled_positions
from sca.data.duplex.model.records import RowRecord
from sca.data.speakers.base import EMBEDDING_SIZE
from sca.units import HEARD_HZ, SPOKEN_HZ, seconds_to_samples

__all__ = [
    "DuplexExample",
    "ExampleAudio",
    "RawAudio",
    "RawRow",
    "TargetAudio",
    "duplex",
    "duplex_with_embeddings",
    "raw",
    "token_positions",
]


@dataclass(frozen=True, slots=True)
class ExampleAudio:
    """Audio of an example: float32 `(n,)` and its sample rate."""

    waveform: NDArray[np.float32]
    sampling_rate: int


@dataclass(frozen=True, slots=True)
class TargetAudio:
    """The audio of a spoken segment.

    Attributes:
        text_token_idxs: Positions of its text tokens in `DuplexExample.input_sequence`, in order.
        audio: The audio, 24 kHz.
    """

    text_token_idxs: list[int]
    audio: ExampleAudio


@dataclass(frozen=True, slots=True)
class DuplexExample:
    """A row as input of a model with a talker.

    `example["dataset_row_obj"]` is the example itself, so that collators that expect dicts with this key can use it.

    Attributes:
        row_id: Id of the row.
        input_sequence: The tokens. Each run of placeholders (`duplex.audio_placeholder` of the settings) represents one
            of `input_audios`, in order.
        input_audios: The audio heard, one per chunk, each to be encoded on its own; 16 kHz.
        target_audios: The audio spoken, one per segment.
        speaker_embedding: float32 `(192,)`, or None.
        unlabelled_idxs: Positions in `input_sequence` that must not be labels, in order: the words of the speaker
            are unknown there, and the token is silence.
    """

    row_id: str
    input_sequence: list[int]
    input_audios: list[ExampleAudio]
    target_audios: list[TargetAudio]
    speaker_embedding: NDArray[np.float32] | None
    unlabelled_idxs: list[int]

    def __getitem__(self, key: str) -> "DuplexExample":
        if key != "dataset_row_obj":
            raise KeyError(key)
        return self


class RawAudio(TypedDict):
    """Audio of a row: float32 `(n,)` and its sample rate."""

    array: NDArray[np.float32]
    sampling_rate: int


class RawRow(RowRecord):
    """A stored row with its audio.

    Attributes:
        heard: The audio of the listener, 16 kHz.
        spoken: The audio of the speaker, 24 kHz.
        speaker_embedding: float32 `(192,)`, or None.
    """

    heard: RawAudio
    spoken: RawAudio
    speaker_embedding: NDArray[np.float32] | None


def duplex(folder: DataFolder, split: str) -> LazyMap[DuplexDataset, DuplexExample]:
    """Open a split as a sequence of `DuplexExample`."""
    return LazyMap(DuplexDataset(folder, split), _example)


def duplex_with_embeddings(folder: DataFolder, split: str) -> LazyMap[DuplexDataset, DuplexExample]:
    """Open a split as a sequence of `DuplexExample`, with zeros in place of missing speaker embeddings."""
    return LazyMap(DuplexDataset(folder, split), _example_with_embedding)


def raw(folder: DataFolder, split: str) -> LazyMap[DuplexDataset, RawRow]:
    """Open a split as a sequence of `RawRow`."""
    return LazyMap(DuplexDataset(folder, split), _raw)


def token_positions(row: DuplexRow, n_frames: int, not_text: Container[int]) -> list[list[int]]:
    """Return for every segment of a row the positions of its text tokens in `input_ids`.

    Args:
        row: The row.
        n_frames: Audio tokens per chunk.
        not_text: Ids of silence and control tokens.
    """
    placeholders = np.flatnonzero(row.input_ids == row.placeholder)
    after_audio = placeholders[n_frames - 1 :: n_frames] + 1  # where the tokens of each chunk begin
    found = []
    for segment in row.segments:
        first = int(after_audio[segment["first_chunk"]]) + segment["first_k"]
        last = int(after_audio[segment["last_chunk"]]) + segment["last_k"]
        ids = row.input_ids[first : last + 1].tolist()
        found.append([first + at for at, token in enumerate(ids) if token != row.placeholder and token not in not_text])
    return found


def _example(data: DuplexDataset, index: int) -> DuplexExample:
    row = data[index]
    spoken = row.spoken.reshape(-1)
    positions = token_positions(row, data.grid.frames_per_chunk, data.not_text)
    return DuplexExample(
        row_id=row.row_id,
        input_sequence=row.input_ids.tolist(),
        input_audios=[ExampleAudio(chunk, HEARD_HZ) for chunk in row.heard],
        target_audios=[
            TargetAudio(idxs, ExampleAudio(_between(spoken, segment["start_s"], segment["end_s"]), SPOKEN_HZ))
            for idxs, segment in zip(positions, row.segments, strict=True)
        ],
        speaker_embedding=row.speaker_embedding,
        unlabelled_idxs=unlabelled_positions(row).tolist(),
    )


def _example_with_embedding(data: DuplexDataset, index: int) -> DuplexExample:
    example = _example(data, index)
    if example.speaker_embedding is not None:
        return example
    return replace(example, speaker_embedding=np.zeros(EMBEDDING_SIZE, np.float32))


def _between(spoken: NDArray[np.float32], start_s: float, end_s: float) -> NDArray[np.float32]:
    start, end = (max(0, seconds_to_samples(at, SPOKEN_HZ)) for at in (start_s, end_s))
    return spoken[start:end]


def _raw(data: DuplexDataset, index: int) -> RawRow:
    row = data[index]
    return {
        **data.record(index),
        "heard": {"array": row.heard.reshape(-1), "sampling_rate": HEARD_HZ},
        "spoken": {"array": row.spoken.reshape(-1), "sampling_rate": SPOKEN_HZ},
        "speaker_embedding": row.speaker_embedding,
    }
