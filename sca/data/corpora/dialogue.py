"""Conversations of two speakers from segments of speech and two channels.

The channels are those of a stereo recording, or two mono recordings. Segments that name speakers and not their channels
are assigned by sound. Every reader of transcripts ends here.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

from sca.audio.decode import ANY_DAMAGE, Reading, probe
from sca.data.corpora.base import WHOLE, Conversation, Issue, Part, Track, unexpected_fails_item
from sca.data.corpora.segments.by_sound import Channel, Loudness
from sca.data.corpora.segments.model import Dialogue, Problem, Segment, Word
from sca.data.corpora.segments.rttm import UNCLEAR
from sca.data.corpora.timed_text import TimedText, file_safe_name, group_words, make_track, split_at_end
from sca.errors import InputError

__all__ = [
    "SIDES",
    "Entry",
    "Recording",
    "Side",
    "Sides",
    "by_channel",
    "conversations",
    "in_seconds",
    "kept",
    "pair_of",
    "recordings_of",
    "side_of",
]

SIDES = ("left", "right")
_MAX_DIFFERENCE_S = 5.0
_MAX_DIFFERENCE = 0.05  # recorders of a conversation stop at different times


# Speech has 5 to 20 letters a second. Times of 1000 times the length have less than this.
_FEWEST_LETTERS_A_S = 0.2
_LATE_S = 0.5
# Names that every recording has again, for other people.
_LOCAL_NAME = re.compile(
    r"(?:speaker|spkr?|ch|channel|s|user|system|agent|customer|assistant|main|other)?[\s_-]*(?:[0-9]+|[a-z])?",
    re.IGNORECASE,
)


class Entry(NamedTuple):
    """A segment and the file that has it."""

    path: Path
    segment: Segment


Sides: TypeAlias = tuple[Sequence[Entry], Sequence[Entry]]


class Side(NamedTuple):
    """The transcript of one channel: timed words, utterances, or both.

    Attributes:
        words: The words.
        utterances: The utterances; empty if there are only words.
        speaker: The name of the speaker where it is known.
        transcript: The file of the speaker, if it has no segments.
    """

    words: Sequence[TimedText] = ()
    utterances: Sequence[TimedText] = ()
    speaker: str | None = None
    transcript: Path | None = None


class Recording(NamedTuple):
    """A channel of a recording with one speaker.

    Attributes:
        audio: The file.
        part: The part.
        seconds: The length, infinite if unknown.
        reading: The track that was looked at.
    """

    audio: Path
    part: Part
    seconds: float
    reading: Reading = ANY_DAMAGE


def recordings_of(audio: Sequence[Path], reading: Reading = ANY_DAMAGE) -> tuple[Recording, Recording]:
    """Return the two channels of a stereo recording, or two mono recordings.

    Args:
        audio: The recording, or one of each speaker.
        reading: The track to look at.

    Raises:
        InputError: A recording cannot be read.
        ValueError: One recording does not have two channels, or two recordings do not have the same length.
    """
    if len(audio) == 1:
        seconds = _two_channels(audio[0], reading)
        return Recording(audio[0], Part(0), seconds, reading), Recording(audio[0], Part(1), seconds, reading)
    lengths = [probe(path, reading).duration_s for path in audio]
    first, second = (
        Recording(path, WHOLE, math.inf if length is None else length, reading)
        for path, length in zip(audio, lengths, strict=True)
    )
    if abs(first.seconds - second.seconds) > max(_MAX_DIFFERENCE_S, _MAX_DIFFERENCE * first.seconds):
        raise ValueError(
            f"lasts {first.seconds:.3f} s, {audio[1].name} {second.seconds:.3f} s; recordings of two speakers need one "
            "time line"
        )
    return first, second


def _two_channels(audio: Path, reading: Reading) -> float:
    """Return the length of a stereo recording in seconds, infinite if its header does not have it.

    Raises:
        InputError: The recording cannot be read.
        ValueError: It does not have two channels.
    """
    info = probe(audio, reading)
    if info.channels != 2:
        raise ValueError(
            f"{audio} has {info.channels} channel(s); two are needed, one per speaker: record each on a channel, or "
            "give each a recording; for speakers on one channel, build from the output of sca transcribe --diarize"
        )
    return math.inf if info.duration_s is None else info.duration_s


def conversations(dialogues: Iterable[Dialogue], reading: Reading) -> Iterator[Conversation | Issue]:
    """Make a conversation of each dialogue of a list, or an issue with the reason why it cannot be used.

    Args:
        dialogues: The list.
        reading: The track of the recordings to look at.

    Raises:
        InputError: The list cannot be read.
    """
    try:
        for dialogue in dialogues:
            try:
                with unexpected_fails_item():
                    conversation, issues = _conversation(dialogue, reading)
            except (ValueError, InputError) as error:
                yield Issue("skipped", dialogue.audio[0], None, str(error))
                continue
            yield from issues
            yield conversation
    except ValueError as error:
        raise InputError(str(error)) from error


def _conversation(dialogue: Dialogue, reading: Reading) -> tuple[Conversation, list[Issue]]:
    name = file_safe_name(dialogue.name)
    channels = recordings_of(dialogue.audio, reading)
    issues: list[Issue] = []
    entries = in_seconds(kept(dialogue.origin, dialogue.found, issues), channels, issues)
    if not entries:
        first = next((issue for issue in issues if issue.level == "skipped"), None)
        raise ValueError(f"no words in {dialogue.origin.name}{f': {first}' if first else ''}")
    names = [f"{name}.{speaker}" for speaker in dialogue.speakers] if dialogue.speakers else [None, None]
    split = by_channel(entries, channels)
    sides = [side_of(name, side, default) for side, default in zip(split, names, strict=True)]
    conversation, late = pair_of(name, channels, dialogue.origin, sides)
    return conversation, issues + late


def kept(path: Path, found: Iterable[Segment | Problem], issues: list[Issue]) -> list[Entry]:
    """Return the segments of a file; `issues` gets the problems."""
    entries: list[Entry] = []
    for segment in found:
        if isinstance(segment, Problem):
            issues.append(Issue(segment.level, path, segment.line, segment.reason))
        else:
            entries.append(Entry(path, segment))
    return entries


def in_seconds(entries: Sequence[Entry], channels: Sequence[Recording], issues: list[Issue]) -> Sequence[Entry]:
    """Return the segments with their times in seconds; `issues` gets a note if they were in milliseconds.

    Times are milliseconds if they end after the recording, a thousandth of them does not, and words would last a
    thousand times as long as words do.
    """
    timed = [(word.text, word.start_s, word.end_s) for _, segment in entries for word in words_of(segment)]
    last = max((end for _, _, end in timed), default=0.0)
    seconds = max(channel.seconds for channel in channels)
    letters = sum(len(text.replace(" ", "")) for text, _, _ in timed)
    spoken = sum(end - start for _, start, end in timed)
    if last <= seconds + _LATE_S or last > 1000 * (seconds + _LATE_S) or letters >= _FEWEST_LETTERS_A_S * spoken:
        return entries
    path = entries[0].path
    reason = f"its times are milliseconds: as seconds, they would end at {last:.0f} s, the recording at {seconds:.3f} s"
    issues.append(Issue("note", path, None, reason))
    return [Entry(path, _thousandth(segment)) for path, segment in entries]


def _thousandth(segment: Segment) -> Segment:
    words = tuple(word._replace(start_s=word.start_s / 1000, end_s=word.end_s / 1000) for word in segment.words)
    return segment._replace(start_s=segment.start_s / 1000, end_s=segment.end_s / 1000, words=words)


def words_of(segment: Segment) -> tuple[Word, ...]:
    """Return the words of a segment, or all of it as one."""
    return segment.words or (Word(segment.text, segment.start_s, segment.end_s),)


def by_channel(entries: Sequence[Entry], channels: Sequence[Recording]) -> Sides:
    """Separate the segments of a transcript of both speakers. Where it has no channels, the sound decides.

    Raises:
        ValueError: The channel of each speaker is not clear.
        InputError: A recording cannot be read.
    """
    if not entries:
        return [], []
    names = sorted({entry.segment.speaker for entry in entries if entry.segment.speaker})
    given = {entry.segment.channel for entry in entries}
    if 2 in given and None not in given:  # channels that count from 1
        entries = [Entry(path, segment._replace(channel=(segment.channel or 0) - 1)) for path, segment in entries]
        given = {entry.segment.channel for entry in entries}
    if (None in given and given != {None}) or not given <= {None, 0, 1}:
        raise ValueError(f"{entries[0].path.name} has channels {given}; each segment needs one of two channels")
    if given and None not in given and not (len(given) == 1 and len(names) > 1):
        sides: Sides = (
            [entry for entry in entries if not entry.segment.channel],
            [entry for entry in entries if entry.segment.channel],
        )
        _check_speakers(sides)
        return sides
    # Diarization leaves single segments without a speaker, in which the louder channel speaks.
    entries = [Entry(path, _or_unclear(segment)) for path, segment in entries]
    if not names:
        raise ValueError(
            f"{entries[0].path.name} does not name the speaker of each segment; add the speakers, an .rttm file, or give "
            "each channel a transcript of its own: NAME.left.srt and NAME.right.srt"
        )
    return _by_sound(entries, names, channels)


def _by_sound(entries: Sequence[Entry], names: Sequence[str], channels: Sequence[Recording]) -> Sides:
    both = [Channel(recording.audio, recording.part.channel) for recording in channels]
    loudness = Loudness(both, channels[0].reading)
    spans = {name: [span for e in entries if e.segment.speaker == name for span in _spans(e.segment)] for name in names}
    channel_of = loudness.channels_of(spans)
    sides: tuple[list[Entry], list[Entry]] = [], []
    for path, segment in entries:
        if segment.speaker != UNCLEAR:
            sides[channel_of[segment.speaker or ""]].append(Entry(path, segment))
            continue
        words = [()] if segment.text else [(word,) for word in segment.words]
        for own in words:
            part = segment._replace(start_s=own[0].start_s, end_s=own[0].end_s, words=own) if own else segment
            sides[loudness.louder(part.start_s, part.end_s)].append(Entry(path, part._replace(speaker=None)))
    return sides


def _or_unclear(segment: Segment) -> Segment:
    return segment._replace(speaker=UNCLEAR) if segment.speaker is None else segment


def _spans(segment: Segment) -> list[tuple[float, float]]:
    if segment.text:
        return [(segment.start_s, segment.end_s)]
    return [(word.start_s, word.end_s) for word in segment.words if word.given]


def _check_speakers(sides: Sides) -> None:
    speakers = [{entry.segment.speaker for entry in side if entry.segment.speaker} for side in sides]
    if shared := next((sorted(names) for names in speakers if len(names) > 1), None):
        raise ValueError(f"{' and '.join(shared)} share a channel; each speaker needs a separate one")
    if both := speakers[0] & speakers[1]:
        raise ValueError(f"{', '.join(both)} is on both channels; each speaker needs a separate one")


def side_of(session: str, entries: Sequence[Entry], default: str | None, transcript: Path | None = None) -> Side:
    """Return the transcript of one speaker.

    Args:
        session: The name of the session.
        entries: The segments of the speaker.
        default: The name of a speaker without a name in the segments; None names the speaker after the channel.
        transcript: The file of the speaker; without segments in it, the speaker is silent.
    """
    words = [
        TimedText(word.text, word.start_s, word.end_s, path, segment.line, segment.label, word.given)
        for path, segment in entries
        for word in segment.words
    ]
    utterances = [
        TimedText(segment.text, segment.start_s, segment.end_s, path, segment.line, segment.label)
        for path, segment in entries
        if segment.text
    ]
    named = next((entry for entry in entries if entry.segment.speaker), None)
    if named is None:
        return Side(words, utterances, default, None if entries else transcript)
    name = named.segment.speaker or ""
    # STM identifies speakers across recordings; other files have names such as SPEAKER_00 for each recording again.
    is_local = named.path.suffix != ".stm" and _LOCAL_NAME.fullmatch(name)
    return Side(words, utterances, file_safe_name(f"{session}.{name}" if is_local else name))


def pair_of(
    name: str, channels: Sequence[Recording], origin: Path, sides: Sequence[Side], line: int | None = None
) -> tuple[Conversation, list[Issue]]:
    """Make the conversation of two channels. A side without a transcript is input audio only.

    Args:
        name: The session.
        channels: The left and the right channel, or the recordings of two speakers.
        origin: The transcript to name as the source, for both sides.
        sides: Their transcripts.
        line: The line of the list that names the recording, if there is a list.

    Returns:
        The conversation, and issues about the words that lie outside the recording.

    Raises:
        ValueError: Neither side has words in the recording.
    """
    late: list[Issue] = []
    left_out: list[Issue] = []
    tracks: list[Track] = []
    transcribed = False
    for side, (audio, part, seconds, _), given in zip(SIDES, channels, sides, strict=True):
        words, late_words = split_at_end(given.words, seconds)
        utterances, late_utterances = split_at_end(given.utterances, seconds)
        late += late_words + late_utterances
        if not given.utterances:
            utterances = group_words(words)
        speaker = given.speaker or f"{name}.{side}"
        transcribed = transcribed or bool(utterances) or given.transcript is not None
        if given.transcript is not None:
            late.append(Issue("note", given.transcript, None, f"has no words; {speaker} is silent throughout"))
            tracks.append(Track(speaker, audio, given.transcript, (), None, part))
            continue
        track, issues = make_track(speaker, audio, utterances, words, part, origin)
        left_out += issues
        if track is not None:
            tracks.append(track)
    if not transcribed:
        why = f": {late[0].reason}" if late else ""
        raise ValueError(f"{origin} has no words in the recording{why}")
    return Conversation(name, tuple(tracks), tuple(left_out), line), late
