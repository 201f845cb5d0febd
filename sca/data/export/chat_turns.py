"""A row as a conversation of turns: what was heard before each answer, and the text of the answer.

A chat has no grid: answers begin after the sound they follow, and nobody speaks at the same time. Backchannels of the
speaker are left out, and so are answers before anything was heard and sound after the last answer.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from sca.data.duplex.model.records import RowRecord, SegmentRecord, TrackRecord
from sca.spans import merge_spans
from sca.units import Grid

__all__ = ["Exchange", "conversations", "heard_spans"]

_LEAST_HEARD_S = 0.1  # less sound than this is no turn: word times are not more exact

Span = tuple[float, float]


@dataclass(slots=True)
class Exchange:
    """What was heard, and the answer.

    Attributes:
        start_s: Start of the sound, in the row.
        end_s: End of the sound.
        text: The answer.
    """

    start_s: float
    end_s: float
    text: str


def heard_spans(tracks: Sequence[TrackRecord], start_s: float, length_s: float) -> list[Span]:
    """Return where others speak in a row: their words, or the found speech of a track without words.

    Args:
        tracks: The tracks that the row hears.
        start_s: Start of the row in the session.
        length_s: Length of the row.

    Returns:
        Spans in seconds of the row, merged and in order.
    """
    spans = [
        (max(0.0, part["start"] - start_s), min(length_s, part["end"] - start_s))
        for track in tracks
        for part in (track["words"] or track["speech"])
    ]
    return [(start, end) for start, end in merge_spans(span for span in spans if span[0] < span[1])]


def conversations(row: RowRecord, heard: Sequence[Span], grid: Grid) -> list[list[Exchange]]:
    """Divide a row into conversations: a stretch whose words are not known ends one.

    Args:
        row: The row.
        heard: Where others speak, see `heard_spans`.
        grid: The grid of the row.
    """
    chunk_s = float(grid.chunk_s)
    unknown = [(span["first"] * chunk_s, span["end"] * chunk_s) for span in row["unlabelled"]]
    segments = sorted((s for s in row["segments"] if s["kind"] != "backchannel"), key=lambda s: s["start_s"])
    found = []
    for before, part in groupby(segments, key=lambda s: bisect_right(unknown, s["start_s"], key=lambda span: span[0])):
        exchanges = list(_exchanges(part, heard, unknown[before - 1][1] if before else 0.0))
        if exchanges:
            found.append(exchanges)
    return found


def _exchanges(segments: Iterator[SegmentRecord], heard: Sequence[Span], from_s: float) -> Iterator[Exchange]:
    """Yield each answer with the sound between the start of the answer before and its own start."""
    answer: Exchange | None = None
    for segment in segments:
        between = [(max(a, from_s), min(b, segment["start_s"])) for a, b in heard]
        between = [(a, b) for a, b in between if a < b]
        if sum(b - a for a, b in between) >= _LEAST_HEARD_S:
            if answer is not None:
                yield answer
            answer = Exchange(between[0][0], between[-1][1], segment["text"].strip())
        elif answer is not None:
            answer.text += (" " if segment["leading_space"] else "") + segment["text"]
        from_s = segment["start_s"]
    if answer is not None:
        yield answer
