"""What every reader yields: a conversation as tracks, utterances and words, with times in samples at 16 kHz.

Knows nothing of file layouts, tokens or the grid. Nothing here reads audio: a track names its file.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

__all__ = ["WHOLE", "Conversation", "CorpusFormat", "Part", "Skipped", "TimedWord", "Track", "Utterance"]


class CorpusFormat(StrEnum):
    """The layouts of docs/corpora.md. auto: by what is in the folder or the file."""

    auto = "auto"
    magichub = "magichub"
    moshi = "moshi"
    lhotse = "lhotse"
    events = "events"
    stereo = "stereo"


@dataclass(frozen=True, slots=True)
class Part:
    """What of a recording is one speaker's. Times in seconds; spans count from `start_s`.

    channel: from 0; None: all, averaged.   duration_s: None: to the end.   spans: sorted, apart; outside of them (or, where
    `inside` is false, in them) the track is silent. None: nothing is silenced.
    """

    channel: int | None = None
    start_s: float = 0.0
    duration_s: float | None = None
    spans: tuple[tuple[float, float], ...] | None = None
    inside: bool = True


WHOLE = Part()


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
    """One speaker of a session: his part of a recording, what he says and, where a corpus gives them, his word times.

    transcript: None when nobody wrote down what he says: such a track is heard and never learned from.   origin: the file that
    the transcript was made from, where it is another one.
    """

    speaker_id: str
    audio: Path
    transcript: Path | None
    utterances: tuple[Utterance, ...]
    words: tuple[TimedWord, ...] | None = None
    part: Part = WHOLE
    origin: Path | None = None


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
