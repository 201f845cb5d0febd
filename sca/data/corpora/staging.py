"""A conversation of another layout: its texts laid out as MagicHub files, so that one builder reads all corpora.

Sound is not copied: a track names its part of the recording. The texts stay in the data set's `.sca/import`, so that a second run
knows them by size and time, and so that complaints about a line name a file that is there.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path

from sca.data.corpora.base import Part, Skipped
from sca.data.corpora.magichub import SessionFiles, TrackFiles
from sca.data.runs.files import atomic_write
from sca.errors import writing

__all__ = ["ForeignSession", "ForeignTrack", "Reader", "Said", "inside", "lines_of", "plain_name", "stage", "sweep"]

_NEW_LINE_S = 0.8  # a pause this long begins a new utterance
_SHORTEST_S = 0.01
_PAST_END_S = 0.5  # how far the end of a word may lie outside its recording
_NAMED = 3
_NAME_BYTES = 100


@dataclass(frozen=True, slots=True)
class Said:
    """A word or an utterance and when it is spoken, in seconds from the start of the session.

    where: which entry of its file it is, for complaints; `line` counts from 1, None where the file has no such thing.
    """

    text: str
    start: float
    end: float
    where: str = ""
    line: int | None = None


@dataclass(frozen=True, slots=True)
class ForeignTrack:
    """One speaker: `lines` is what he says, by start, None when nobody wrote it down; `words` are timed ones, where there are."""

    speaker: str
    audio: Path
    part: Part
    lines: Sequence[Said] | None
    words: Sequence[Said] | None = None


@dataclass(frozen=True, slots=True)
class ForeignSession:
    """A conversation. origin: the file that has its words.   line: of the list it is in, None where there is no list."""

    session_id: str
    origin: Path
    tracks: tuple[ForeignTrack, ...]
    line: int | None = None


Reader = Callable[[], Iterator[ForeignSession | Skipped]]
"""Reads a corpus from its start: its conversations and what cannot be one, in order, one in memory at a time."""


def stage(session: ForeignSession, folder: Path) -> SessionFiles:
    """Write the session's texts below `folder`, where they are not there yet."""
    tracks = []
    for track in sorted(session.tracks, key=lambda track: track.speaker):
        name = f"{session.session_id}_{track.speaker}"
        text = folder / "TXT" / f"{name}.txt" if track.lines is not None else None
        times = folder / "WORDS" / f"{name}.json" if track.words is not None and text is not None else None
        if text is not None:
            lines = (
                f"[{line.start:.6f},{line.end:.6f}]\t{track.speaker}\tnone\t{' '.join(line.text.split())}\n"
                for line in track.lines or ()
            )
            _write(text, "".join(lines))
        if times is not None:
            words = [[word.text, word.start, word.end] for word in track.words or ()]
            _write(times, json.dumps(words, ensure_ascii=False))
        tracks.append(TrackFiles(track.speaker, track.audio, text, times, track.part, session.origin))
    return SessionFiles(session.session_id, tuple(tracks))


def sweep(folder: Path, sessions: Iterable[SessionFiles]) -> None:
    """Take out the texts of what is no longer in the corpus."""
    used = {path for files in sessions for track in files.tracks for path in (track.transcript, track.words)}
    for path in folder.glob("*/*"):
        if path not in used:
            with writing(path):
                path.unlink()


def lines_of(words: Sequence[Said]) -> list[Said]:
    """Timed words, sorted by start, as utterances; none begins before the one before it has ended."""
    lines: list[list[Said]] = [[word] for word in words[:1]]
    for _, word in pairwise(words):
        if word.start - _end(lines[-1]) >= _NEW_LINE_S:
            lines.append([word])
        else:
            lines[-1].append(word)
    return [Said(" ".join(word.text for word in line), line[0].start, _end(line)) for line in lines]


def inside(said: Iterable[Said], seconds: float, origin: Path) -> tuple[list[Said], list[Skipped]]:
    """What lies in a recording of that length, sorted by start, and what does not: the first few by name, the rest by number."""
    kept: list[Said] = []
    late: list[Said] = []
    for one in said:
        (kept if one.start < seconds and one.end <= seconds + _PAST_END_S else late).append(one)
    reports = [
        Skipped(
            origin, one.line, f"{one.where}{one.text[:40]!r} ends at {one.end:.3f} s, the recording at {seconds:.3f} s"
        )
        for one in late[:_NAMED]
    ]
    if len(late) > _NAMED:
        reports.append(
            Skipped(origin, None, f"{len(late) - _NAMED} more lie past the recording's end at {seconds:.3f} s")
        )
    return sorted(kept, key=lambda one: (one.start, one.end)), reports


def plain_name(text: str) -> str:
    """A session's or speaker's name that can be a file's: letters, digits and `_.+-`, cut where it is long."""
    plain = re.sub(r"[^\w.+-]+", "-", text).strip("-.") or "unnamed"
    if len(plain.encode()) <= _NAME_BYTES:
        return plain
    digest = blake2b(text.encode(), digest_size=6).hexdigest()
    return f"{plain.encode()[: _NAME_BYTES - 13].decode(errors='ignore')}-{digest}"


def _end(line: Sequence[Said]) -> float:
    return max(line[0].start + _SHORTEST_S, *(word.end for word in line))


def _write(path: Path, text: str) -> None:
    """Write only what changes, so that the file keeps its time."""
    content = text.encode()
    if path.exists() and path.read_bytes() == content:
        return
    with atomic_write(path) as temporary, writing(path):
        temporary.write_bytes(content)
