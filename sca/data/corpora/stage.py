"""A conversation of another layout, laid out as MagicHub files, so that one builder reads all corpora.

Each channel becomes a FLAC of 24 bit, exact for recordings of 16 and 24 bit. Nothing is written again while the recording has the
size and time it had.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import soundfile

from sca.audio.decode import BlockReader
from sca.data.corpora.magichub import SessionFiles, TrackFiles
from sca.data.runs.files import published
from sca.errors import writing

__all__ = ["SecondsWord", "StereoSession", "stage"]

_NEW_LINE_S = 0.8  # a pause this long begins a new utterance
_SHORTEST_S = 0.01


@dataclass(frozen=True, slots=True)
class SecondsWord:
    """A word and when it is spoken, in seconds from the start of the recording."""

    text: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class StereoSession:
    """A recording with a speaker a channel: `speakers[i]` is channel i and says `words[i]`, sorted by start."""

    session_id: str
    audio: Path
    speakers: tuple[str, ...]
    words: tuple[tuple[SecondsWord, ...], ...]


def stage(session: StereoSession, folder: Path) -> SessionFiles:
    """Write the session's files below `folder`. Raises `InputError` for a recording that cannot be read or lacks a channel."""
    tracks = []
    for channel, (speaker, words) in enumerate(zip(session.speakers, session.words, strict=True)):
        name = f"{session.session_id}_{speaker}"
        audio, text, times = (
            folder / kind / f"{name}.{suffix}" for kind, suffix in (("WAV", "flac"), ("TXT", "txt"), ("WORDS", "json"))
        )
        _channel(session.audio, channel, audio)
        lines = "".join(
            f"[{line[0].start:.6f},{_end(line):.6f}]\t{speaker}\tnone\t{' '.join(word.text for word in line)}\n"
            for line in _lines(words)
        )
        _write(text, lines)
        _write(times, json.dumps([[word.text, word.start, word.end] for word in words], ensure_ascii=False))
        tracks.append(TrackFiles(speaker, audio, text, times))
    return SessionFiles(session.session_id, tuple(tracks))


def _lines(words: Sequence[SecondsWord]) -> list[list[SecondsWord]]:
    """Words by utterance, none of which begins before the one before it has ended."""
    lines: list[list[SecondsWord]] = [[word] for word in words[:1]]
    for _, word in pairwise(words):
        if word.start - _end(lines[-1]) >= _NEW_LINE_S:
            lines.append([word])
        else:
            lines[-1].append(word)
    return lines


def _end(line: Sequence[SecondsWord]) -> float:
    return max(line[0].start + _SHORTEST_S, *(word.end for word in line))


def _channel(source: Path, channel: int, target: Path) -> None:
    with BlockReader(source, channel=channel) as reader:
        before = source.stat()
        if target.exists() and target.stat().st_mtime_ns == before.st_mtime_ns:
            return
        with published(target) as temporary:
            with soundfile.SoundFile(temporary, "w", reader.info.rate_hz, 1, subtype="PCM_24", format="FLAC") as file:
                for block in reader:
                    file.write(block)
            # The recording's own time: what says on the next run that nothing has changed.
            os.utime(temporary, ns=(before.st_atime_ns, before.st_mtime_ns))


def _write(path: Path, text: str) -> None:
    """Write only what changes, so that the file keeps its time."""
    content = text.encode()
    if path.exists() and path.read_bytes() == content:
        return
    with published(path) as temporary, writing(path):
        temporary.write_bytes(content)
