"""What every reader yields: a conversation as tracks, utterances and words, with times in samples at 16 kHz.

Knows nothing of file layouts, tokens or the grid. Nothing here reads audio: a track names its file.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

__all__ = ["Conversation", "CorpusFormat", "Skipped", "TimedWord", "Track", "Utterance"]


class CorpusFormat(StrEnum):
    """The layouts of docs/corpora.md. auto: a folder is magichub, a .jsonl file is moshi."""

    auto = "auto"
    magichub = "magichub"
    moshi = "moshi"


@dataclass(frozen=True, slots=True)
class TimedWord:
    """A word and when it is spoken: `start` and `end` in samples at 16 kHz from the start of the session."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Utterance:
    """One line of a transcript, as written (tags included): `start` and `end` in samples at 16 kHz, `line` from 1."""

    start: int
    end: int
    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Track:
    """One speaker of a session: an audio file of his own, what he says and, where a corpus gives them, his word times."""

    speaker_id: str
    audio: Path
    transcript: Path
    utterances: tuple[Utterance, ...]
    words: tuple[TimedWord, ...] | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """A session of two or more tracks on one time line, ordered by speaker id."""

    session_id: str
    tracks: tuple[Track, ...]


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something a reader left out, and why. `line` counts from 1; None when a whole file or session is meant."""

    path: Path
    line: int | None
    reason: str

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}" if self.line is not None else str(self.path)
        return f"{where}: {self.reason}"
