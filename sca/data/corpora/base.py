"""The model of a conversation that every corpus reader returns, and the interface of a reader.

A `Conversation` refers to recordings and holds no audio. Times are samples at 16 kHz from the start of the session.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from traceback import extract_tb
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from sca.audio.coded.reading import ANY_DAMAGE, Reading
from sca.display.blocks import block, summary_line, table
from sca.display.sound import beginning, player
from sca.errors import InputError, ScaError
from sca.textutil import counted, first_line
from sca.units import HEARD_HZ

__all__ = [
    "WHOLE",
    "Conversation",
    "CorpusFormat",
    "CorpusReader",
    "Issue",
    "IssueLevel",
    "Part",
    "TimedWord",
    "Track",
    "Utterance",
    "WordSource",
    "encoding_note",
    "require_two_tracks",
    "unexpected_fails_item",
]

IssueLevel = Literal["note", "skipped"]
WordSource = Literal["given", "interpolated", "whisper", "ctc"]


class CorpusFormat(StrEnum):
    """The layouts that ship with sca, described in docs/corpora.md; `auto` detects the layout from the content."""

    auto = "auto"
    magichub = "magichub"
    moshi = "moshi"
    lhotse = "lhotse"
    events = "events"
    stereo = "stereo"
    kaldi = "kaldi"
    nemo = "nemo"
    spokenwoz = "spokenwoz"
    table = "table"


@dataclass(frozen=True, slots=True)
class Issue:
    """Something that a reader left out, or used although it is not as it should be.

    Attributes:
        level: `skipped` if the item was left out, `note` if it was used.
        path: The file of the user that the issue is about.
        line: The line in that file, from 1; None if the whole file or session is meant.
        reason: What is wrong.
    """

    level: IssueLevel
    path: Path
    line: int | None
    reason: str

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}" if self.line is not None else str(self.path)
        return f"{where}: {'kept: ' if self.level == 'note' else ''}{self.reason}"


def encoding_note(path: Path, encoding: str) -> Issue:
    """Return the note that a file was read in an encoding that is not UTF-8."""
    return Issue("note", path, None, f"read as {encoding}, because it is not UTF-8")


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a recording that belongs to one speaker. Times are in seconds.

    Attributes:
        channel: The channel, from 0; None averages all channels.
        start_s: Where the part starts in the recording.
        duration_s: How long the part is; None means to the end.
        spans: Sorted, disjoint spans, counted from `start_s`, outside which the track is silent; None silences nothing.
        inside: If false, the track is silent inside the spans instead.
    """

    channel: int | None = None
    start_s: float = 0.0
    duration_s: float | None = None
    spans: tuple[tuple[float, float], ...] | None = None
    inside: bool = True


WHOLE = Part()
"""All of a recording."""


@dataclass(frozen=True, slots=True)
class TimedWord:
    """A word with its times.

    Attributes:
        text: The word.
        start: First sample, at 16 kHz from the start of the session.
        end: One past the last sample.
        source: Where the times are from: the corpus, interpolation by letters, or an alignment model.
    """

    text: str
    start: int
    end: int
    source: WordSource = "given"


@dataclass(frozen=True, slots=True)
class Utterance:
    """One entry of a transcript, as it is written (tags included).

    Attributes:
        start: First sample, at 16 kHz.
        end: One past the last sample, at 16 kHz.
        text: The text.
        line: The line of the transcript, from 1; None if the file has no lines of its own.
        label: What the entry is called in its file ("entry 3"), if not by its line.
    """

    start: int
    end: int
    text: str
    line: int | None = None
    label: str = ""

    @property
    def name(self) -> str:
        """The entry as messages name it."""
        return self.label or (f"line {self.line}" if self.line is not None else repr(self.text[:40]))

    def issue(self, level: IssueLevel, path: Path, reason: str) -> Issue:
        """Return an issue about this entry of the transcript `path`."""
        return Issue(level, path, self.line, f"{self.label}: {reason}" if self.label else reason)


@dataclass(frozen=True, slots=True)
class Track:
    """One speaker of a session.

    Attributes:
        speaker_id: The speaker.
        audio: The recording.
        transcript: The file that has the utterances; None if the speech was not transcribed. Such a track is input
            audio for the other speakers and never a training target.
        utterances: The speech, by start, without overlaps.
        words: The words with their times, by start, if the corpus has them.
        part: The part of the recording that belongs to this speaker.
        origin: The file to name as the source of the transcript, if it is not `transcript`.
        unlabelled: Samples `[start, end)` at 16 kHz in which the speaker talks and the track is silent, because others
            talk at the same time on the same channel.
    """

    speaker_id: str
    audio: Path
    transcript: Path | None
    utterances: tuple[Utterance, ...]
    words: tuple[TimedWord, ...] | None = None
    part: Part = WHOLE
    origin: Path | None = None
    unlabelled: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Conversation:
    """A session of two or more tracks on one time line.

    Attributes:
        session_id: The name of the session; it can be the name of a file.
        tracks: The speakers, in order.
        issues: What the reader left out of the session or changed in it.
        line: The line of the list that names the session, from 1, if the corpus is a list.
    """

    session_id: str
    tracks: tuple[Track, ...]
    issues: tuple[Issue, ...] = ()
    line: int | None = None

    def __repr__(self) -> str:
        speakers = " and ".join(track.speaker_id for track in self.tracks)
        utterances = sum(len(track.utterances) for track in self.tracks)
        return summary_line("Conversation", self.session_id, speakers, counted(utterances, "utterance"))

    def _repr_html_(self) -> str:
        """Return a block for notebooks: the beginning of the recordings, the first on the left, and the utterances."""
        said = sorted(
            (one.start, one.end, track.speaker_id, one.text) for track in self.tracks for one in track.utterances
        )
        lines = ((name, f"{start / HEARD_HZ:.2f}", f"{end / HEARD_HZ:.2f}", text) for start, end, name, text in said)
        facts = {"speakers": ", ".join(track.speaker_id for track in self.tracks), "utterances": len(said)}
        utterances = table(("speaker", "start (s)", "end (s)", "text"), lines, len(said))
        return block(self.session_id, facts, self._player(), utterances)

    def _player(self) -> str:
        """Return a player of the recordings as HTML, each recording once."""
        sources = dict.fromkeys((track.audio, track.part.channel, track.part.start_s) for track in self.tracks)
        try:
            first, *others = [beginning(*source) for source in sources]
        except ScaError as error:
            return block("no sound", {"reason": error.message})
        if not others:
            return player(first)
        right = np.zeros(max(map(len, others)), np.float32)
        for sound in others:
            right[: len(sound)] += sound
        return player(first, right)


@runtime_checkable
class CorpusReader(Protocol):
    """Reads corpora of one layout.

    A package adds a layout by registering a class under the entry-point group `sca.corpora`. The class is called
    without arguments and its instances have these two methods. The registered name is the value of `--format`.
    """

    def matches(self, source: Path) -> bool:
        """Return whether a file or folder seems to have this layout; used to detect the layout."""
        ...

    def read(self, source: Path) -> Iterator[Conversation | Issue]:
        """Read the conversations of a corpus one at a time, without their audio.

        Tracks, utterances and words need not be in order, and utterances of a speaker may overlap: `Corpus` sorts them
        and resolves overlaps.

        Args:
            source: The file or folder that the user gave.

        Yields:
            Each conversation, and an `Issue` for each item that does not make one.

        Raises:
            InputError: The corpus cannot be read at all.
        """
        ...


class BuiltinReader(CorpusReader):
    """A `CorpusReader` that looks at recordings before they are read: at their lengths, channels and levels.

    Attributes:
        reading: The track to look at; any damage is accepted, because the settings of a build decide about it.
    """

    reading: Reading = ANY_DAMAGE


@contextmanager
def unexpected_fails_item() -> Iterator[None]:
    """Convert an unexpected exception to an `InputError`, so that it costs one item of a corpus and not the run."""
    try:
        yield
    except (ValueError, OSError, MemoryError, ScaError):
        raise
    except Exception as error:
        at = extract_tb(error.__traceback__)[-1]
        where = f"{Path(at.filename).name}, line {at.lineno}"
        reason = f"unexpected {type(error).__name__}: {first_line(error)} in {where} (a bug of sca; please report it)"
        raise InputError(reason) from error


def require_two_tracks(conversation: Conversation) -> Conversation:
    """Return the conversation if it has two tracks or more.

    Raises:
        InputError: It has fewer; the message has the reasons.
    """
    if len(conversation.tracks) < 2:
        reasons = [str(issue) for issue in conversation.issues if issue.line is None and issue.level == "skipped"]
        why = "; ".join(reasons) or "it has only one track"
        raise InputError(f"session {conversation.session_id}: fewer than two speakers can be read: {why}")
    return conversation
