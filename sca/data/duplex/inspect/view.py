"""A row or a whole session to look at: who says what when, where its tokens stand, how loud it is.

Times are seconds from the start of what is looked at. Knows nothing of screens and pages.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sca.control_tokens import controls_of
from sca.data.duplex.audio.stored_samples import read_samples
from sca.data.duplex.storage.build_settings import settings_of
from sca.data.duplex.storage.reader import DatasetReader
from sca.data.duplex.storage.tracks import StoredTrack
from sca.errors import InputError, UsageError
from sca.tokenizer import TextTokenizer
from sca.units import HEARD_HZ

__all__ = ["BLOCK_S", "SegmentView", "Side", "Token", "View", "WordView", "levels", "look_at", "mixed"]

BLOCK_S = 10
"""Seconds of sound in a block of `mixed`."""

_NEAR_SHOWN = 3


@dataclass(frozen=True, slots=True)
class WordView:
    """A word.   speaker: index in `View.speakers`."""

    speaker: int
    text: str
    start_s: float
    end_s: float
    source: str


@dataclass(frozen=True, slots=True)
class SegmentView:
    """A segment: turn, backchannel or interruption."""

    speaker: int
    kind: str
    text: str
    start_s: float
    end_s: float
    overlap: float
    floor_offset_s: float | None


@dataclass(frozen=True, slots=True)
class Token:
    """A token on the grid: its chunk counted from the view's start, its place in the chunk, and how it reads.

    control: hold, start, stop or backchannel; None for text.
    """

    chunk: int
    k: int
    id: int
    text: str
    control: str | None


@dataclass(frozen=True, slots=True)
class Side:
    """What one speaker learns to say while another is heard.   rows: (row id, first chunk, chunks) that make it up."""

    listener: str
    speaker: str
    tokens: tuple[Token, ...]
    rows: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class View:
    """What is looked at.   row_id: None for a session.   tracks: the speakers' sound, in the order of `speakers`.

    first_chunk: where it begins in the session.   overlaps: stretches in which two and more speak.
    """

    session_id: str
    row_id: str | None
    split: str
    first_chunk: int
    n_chunks: int
    chunk_s: float
    speakers: tuple[str, ...]
    tracks: tuple[StoredTrack, ...]
    words: tuple[WordView, ...]
    pieces: tuple[SegmentView, ...]
    sides: tuple[Side, ...]
    overlaps: tuple[tuple[float, float], ...]
    flags: tuple[str, ...]

    @property
    def duration_s(self) -> float:
        """Its length."""
        return self.n_chunks * self.chunk_s

    @property
    def title(self) -> str:
        """The row's id, or the session's."""
        return self.row_id or self.session_id


def look_at(source: DatasetReader, tokenizer: TextTokenizer, what: str | None) -> View:
    """The row or session that `what` names: a row's id, its number in the first split, a session's id; None: the first row.

    Raises `UsageError` with the nearest names for one that is not there, `InputError` for a data set without rows.
    """
    found = _find(source, what)
    if isinstance(found, str):
        return _session_view(source, tokenizer, found)
    split, index = found
    row = next(source.rows(split, index, index + 1))
    return _view(source, tokenizer, row["session_id"], split, row)


def _find(source: DatasetReader, what: str | None) -> str | tuple[str, int]:
    """A session's id, or a row's split and place."""
    filled = [split for split in source.splits if source.count(split)]
    if not filled:
        raise InputError(f"{source.root} has no rows")
    if what is None:
        return filled[0], 0
    if what in source.sessions:
        return what
    session_id = what.partition(":")[0]
    near_by = source.rows_of.get(session_id)
    if near_by is not None:
        for at, row in enumerate(source.rows(near_by.split, near_by.first, near_by.last), near_by.first):
            if row["row_id"] == what:
                return near_by.split, at
    if what.isdecimal():
        index, whole = int(what), source.count(filled[0])
        if index < whole:
            return filled[0], index
        raise UsageError(f"there is no row {index}: {filled[0]} has the rows 0 to {whole - 1}")
    raise UsageError(f"{source.root} has no row or session {what}", hint=f"near it: {', '.join(_near(source, what))}")


def _near(source: DatasetReader, what: str) -> list[str]:
    """Names like it: of rows where the session is right or nearly so, else of sessions."""
    sessions = get_close_matches(what.partition(":")[0], list(source.sessions), n=_NEAR_SHOWN, cutoff=0.0)
    if ":" not in what or sessions[0] not in source.rows_of:
        return sessions
    place = source.rows_of[sessions[0]]
    ids = source.table(place.split).column("row_id").slice(place.first, place.last - place.first).to_pylist()
    return get_close_matches(what, ids, n=_NEAR_SHOWN, cutoff=0.0)


def _session_view(source: DatasetReader, tokenizer: TextTokenizer, session_id: str) -> View:
    place = source.rows_of.get(session_id)
    return _view(source, tokenizer, session_id, place.split if place else "", None)


def _view(
    source: DatasetReader, tokenizer: TextTokenizer, session_id: str, split: str, row: dict[str, Any] | None
) -> View:
    grid, place = source.grid, source.rows_of.get(session_id)
    tracks = {track.record["speaker_id"]: track for track in source.tracks(session_id)}
    if row is not None:
        missing = {row["listener"], row["speaker"]} - tracks.keys()
        if missing:
            raise InputError(f"{row['row_id']}: {', '.join(sorted(missing))} has no track", hint="see sca verify")
        tracks = {name: tracks[name] for name in (row["listener"], row["speaker"])}
    rows = list(source.rows(place.split, place.first, place.last)) if place is not None else []
    rows = [one for one in rows if one["listener"] in tracks and one["speaker"] in tracks]
    shown = rows if row is None else [row]
    first = 0 if row is None else int(row["start_chunk"])
    samples = next(iter(tracks.values())).record["duration_samples"]
    ends = [one["start_chunk"] + one["n_chunks"] for one in shown]
    n_chunks = max([grid.chunks(samples), *ends]) if row is None else int(row["n_chunks"])
    chunk_s = float(grid.chunk_s)
    start_s, end_s = first * chunk_s, (first + n_chunks) * chunk_s
    names = list(tracks)
    pieces = [p for p in _pieces(rows, names, chunk_s, start_s) if p.end_s > 0 and p.start_s < end_s - start_s]
    words = [
        WordView(names.index(name), word["word"], word["start"] - start_s, word["end"] - start_s, word["source"])
        for name, track in tracks.items()
        for word in track.record["words"]
        if word["end"] > start_s and word["start"] < end_s
    ]
    return View(
        session_id=session_id,
        row_id=None if row is None else row["row_id"],
        split=split,
        first_chunk=first,
        n_chunks=n_chunks,
        chunk_s=chunk_s,
        speakers=tuple(names),
        tracks=tuple(tracks.values()),
        words=tuple(sorted(words, key=lambda word: word.start_s)),
        pieces=tuple(pieces),
        sides=tuple(_sides(shown, first, tokenizer, source.made)),
        overlaps=tuple(_overlaps(pieces, end_s - start_s)),
        flags=tuple(dict.fromkeys(flag for one in shown for flag in one["flags"])),
    )


def _pieces(rows: Sequence[dict[str, Any]], names: list[str], chunk_s: float, start_s: float) -> list[SegmentView]:
    found: list[SegmentView] = []
    heard_by: dict[str, str] = {}
    for row in rows:
        # With three and more speakers the same segments stand in rows for every listener: those of the first are shown.
        if heard_by.setdefault(row["speaker"], row["listener"]) != row["listener"]:
            continue
        origin = row["start_chunk"] * chunk_s - start_s
        speaker = names.index(row["speaker"])
        found += [
            SegmentView(
                speaker=speaker,
                kind=one["kind"],
                text=one["text"],
                start_s=one["start_s"] + origin,
                end_s=one["end_s"] + origin,
                overlap=one["overlap"],
                floor_offset_s=one["floor_offset_s"],
            )
            for one in row["segments"]
        ]
    return sorted(found, key=lambda piece: piece.start_s)


def _sides(
    rows: Sequence[dict[str, Any]], first: int, tokenizer: TextTokenizer, made: dict[str, Any]
) -> Iterator[Side]:
    duplex = settings_of(made).duplex
    names = controls_of(duplex).names
    by_side: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        by_side.setdefault((row["listener"], row["speaker"]), []).append(row)
    for (listener, speaker), members in by_side.items():
        tokens: list[Token] = []
        for row in members:
            for chunk, k, token in placed_tokens(row, duplex.audio_placeholder):
                if token != duplex.silence_token_id:
                    control = names.get(token)
                    text = tokenizer.decode([token]) if control is None else f"‹{control}›"
                    tokens.append(Token(row["start_chunk"] - first + chunk, k, token, text, control))
        places = tuple((row["row_id"], row["start_chunk"] - first, row["n_chunks"]) for row in members)
        yield Side(listener, speaker, tuple(tokens), places)


def placed_tokens(row: dict[str, Any], placeholder: int) -> Iterator[tuple[int, int, int]]:
    """(chunk, k, token) of what stands behind the placeholders of each chunk; nothing is taken for granted about how many."""
    chunk, k, heard = -1, 0, False
    for token in row["input_ids"][row["prompt_tokens"] :]:
        if token == placeholder:
            chunk, k, heard = chunk + (not heard), 0, True
        else:
            yield chunk, k, token
            k, heard = k + 1, False


def _overlaps(pieces: Sequence[SegmentView], duration_s: float) -> list[tuple[float, float]]:
    """Where two speak at once, joined and within the view."""
    both = sorted(
        (max(a.start_s, b.start_s, 0.0), min(a.end_s, b.end_s, duration_s))
        for a, b in _neighbours(pieces)
        if a.speaker != b.speaker
    )
    joined: list[tuple[float, float]] = []
    for start, end in both:
        if end <= start:
            continue
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined


def _neighbours(pieces: Sequence[SegmentView]) -> Iterator[tuple[SegmentView, SegmentView]]:
    """Pairs that may overlap, of pieces sorted by start."""
    open_: list[SegmentView] = []
    for piece in pieces:
        open_ = [one for one in open_ if one.end_s > piece.start_s]
        yield from ((one, piece) for one in open_)
        open_.append(piece)


def levels(view: View, track: StoredTrack, bins_per_s: int) -> NDArray[np.uint8]:
    """The loudest sample of every bin, 0 to 255, over the whole view; read in blocks of a minute."""
    size = HEARD_HZ // bins_per_s
    count = round(view.duration_s * bins_per_s)
    found = np.zeros(count, np.uint8)
    origin = round(view.first_chunk * view.chunk_s * HEARD_HZ)
    for at in range(0, count, 60 * bins_per_s):
        wanted = min(60 * bins_per_s, count - at)
        samples = read_samples(track.heard, origin + at * size, wanted * size, HEARD_HZ)
        padded = np.zeros(wanted * size, np.int32)
        padded[: len(samples)] = samples
        found[at : at + wanted] = np.minimum(np.abs(padded).reshape(wanted, size).max(axis=1) >> 7, 255)
    return found


def mixed(view: View, rate_hz: int, channels: int, block_s: int = BLOCK_S) -> Iterator[NDArray[np.float32]]:
    """The sound of the view, float32 `(n, channels)` at 24 kHz: in stereo the speakers stand from left to right."""
    whole = round(view.duration_s * rate_hz)
    origin = round(view.first_chunk * view.chunk_s * rate_hz)
    last = max(len(view.tracks) - 1, 1)
    for at in range(0, whole, block_s * rate_hz):
        n = min(block_s * rate_hz, whole - at)
        out = np.zeros((n, channels), np.float32)
        for place, track in enumerate(view.tracks):
            samples = read_samples(track.spoken, origin + at, n, rate_hz).astype(np.float32) / 32768
            gains = (1 - place / last, place / last) if channels == 2 else (1.0,)
            for channel, gain in enumerate(gains):
                out[: len(samples), channel] += gain * samples
        yield np.clip(out, -1.0, 1.0)
