"""One row for the player of the page: what `sca inspect` shows of it, of a folder, an export or a URL."""

from collections.abc import Sequence
from io import BytesIO
from itertools import chain
from typing import TYPE_CHECKING

import soundfile

from sca.audio.pcm import float32_to_int16, int16_to_float32
from sca.audio.resample import resample
from sca.browse.data_set import DataSet
from sca.data.duplex.audio.stored_samples import mixed_samples
from sca.data.duplex.inspect.view import View, view_of_row
from sca.data.duplex.load.row_source import Sides
from sca.data.duplex.model.records import RowRecord
from sca.data.duplex.storage.build_settings import tokenizer_of
from sca.data.duplex.storage.tracks import StoredTrack
from sca.units import HEARD_HZ, SPOKEN_HZ

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["row_view"]


def row_view(data: DataSet, split: str, number: int, near: Sequence[int]) -> View:
    """Return the view of a row.

    Args:
        data: The data set.
        split: The split.
        number: Number of the row in it.
        near: Numbers of the rows of the same session and time, for the segments of all speakers.

    Raises:
        InputError: The row, or the audio of its session, is missing or damaged.
        UpstreamError: The URL cannot be read.
    """
    source = data.splits[split]
    row = source.record(number)
    sides = source.sides(number, row)
    tracks = _tracks(row, sides, data)
    rows = [row if other == number else source.record(other) for other in near]
    between = [other for other in rows if other["speaker"] in tracks and _hears(other, tracks)]
    return view_of_row(row, split, data.settings, tokenizer_of(data.settings), tracks, between, sides.first_chunk)


def _hears(row: RowRecord, tracks: dict[str, StoredTrack]) -> bool:
    return row["listener"] in tracks or "+" in row["listener"]  # a mix names all others


def _tracks(row: RowRecord, sides: Sides, data: DataSet) -> dict[str, StoredTrack]:
    """Return the tracks of those that are heard, then that of the speaker."""
    speaker = sides.speaker
    if len(speaker.heard):
        return {track.record["speaker_id"]: track for track in (*sides.listeners, speaker)}
    # A row of a WebDataset carries two files: what is heard at 16 kHz, what is spoken at 24 kHz.
    words = sorted(
        chain.from_iterable(track.record["words"] for track in sides.listeners), key=lambda word: word["end"]
    )
    count = row["n_chunks"]
    heard = StoredTrack(
        sides.heard[0],
        _resampled(sides.heard[0], count * data.settings.grid.heard_samples, HEARD_HZ, SPOKEN_HZ),
        {**sides.listeners[0].record, "speaker_id": row["listener"], "words": words},
    )
    spoken = StoredTrack(
        _resampled(speaker.spoken, count * data.settings.grid.spoken_samples, SPOKEN_HZ, HEARD_HZ),
        speaker.spoken,
        speaker.record,
    )
    return {row["listener"]: heard, row["speaker"]: spoken}


def _resampled(audio: "pa.Buffer", count: int, from_hz: int, to_hz: int) -> "pa.Buffer":
    import pyarrow as pa

    samples = int16_to_float32(mixed_samples([audio], 0, count, from_hz))
    out = BytesIO()
    soundfile.write(out, float32_to_int16(resample(samples, from_hz, to_hz)), to_hz, "PCM_16", format="FLAC")
    return pa.py_buffer(out.getvalue())
