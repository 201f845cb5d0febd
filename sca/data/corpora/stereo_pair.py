"""A recording with one speaker per channel, or one recording per speaker, for the readers of formats that have those."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sca.audio.decode import probe
from sca.data.corpora.base import WHOLE, Conversation, Issue, Part, Track
from sca.data.corpora.timed_text import TimedText, group_words, make_track, split_at_end

__all__ = ["SIDES", "Recording", "Side", "pair_of", "recordings_of", "two_channels"]

SIDES = ("left", "right")
_MAX_DIFFERENCE_S = 5.0
_MAX_DIFFERENCE = 0.05  # recorders of a conversation stop at different times


class Side(NamedTuple):
    """The transcript of one channel: timed words, utterances, or both, and the speaker's name where it is known."""

    words: Sequence[TimedText] = ()
    utterances: Sequence[TimedText] = ()
    speaker: str | None = None


class Recording(NamedTuple):
    """A channel of a recording with one speaker: the file, the part, and the length in seconds, infinite if unknown."""

    audio: Path
    part: Part
    seconds: float


def recordings_of(audio: Sequence[Path]) -> tuple[Recording, Recording]:
    """Return the two channels of a stereo recording, or two mono recordings.

    Raises:
        InputError: A recording cannot be read.
        ValueError: One recording does not have two channels, or two recordings do not have the same length.
    """
    if len(audio) == 1:
        seconds = two_channels(audio[0])
        return Recording(audio[0], Part(0), seconds), Recording(audio[0], Part(1), seconds)
    lengths = [probe(path).duration_s for path in audio]
    first, second = (
        Recording(path, WHOLE, math.inf if length is None else length)
        for path, length in zip(audio, lengths, strict=True)
    )
    if abs(first.seconds - second.seconds) > max(_MAX_DIFFERENCE_S, _MAX_DIFFERENCE * first.seconds):
        raise ValueError(
            f"lasts {first.seconds:.3f} s, {audio[1].name} {second.seconds:.3f} s; recordings of two speakers need one "
            "time line"
        )
    return first, second


def two_channels(audio: Path) -> float:
    """Return the length of a stereo recording in seconds, infinite if its header does not have it.

    Raises:
        InputError: The recording cannot be read.
        ValueError: It does not have two channels.
    """
    info = probe(audio)
    if info.channels != 2:
        raise ValueError(f"{audio} has {info.channels} channel(s); two are needed, one per speaker")
    return math.inf if info.duration_s is None else info.duration_s


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
    for side, (audio, part, seconds), given in zip(SIDES, channels, sides, strict=True):
        words, late_words = split_at_end(given.words, seconds)
        utterances, late_utterances = split_at_end(given.utterances, seconds)
        late += late_words + late_utterances
        if not given.utterances:
            utterances = group_words(words)
        transcribed = transcribed or bool(utterances)
        speaker = given.speaker or f"{name}.{side}"
        track, issues = make_track(speaker, audio, utterances, words, part, origin)
        left_out += issues
        if track is not None:
            tracks.append(track)
    if not transcribed:
        why = f": {late[0].reason}" if late else ""
        raise ValueError(f"{origin} has no words in the recording{why}")
    return Conversation(name, tuple(tracks), tuple(left_out), line), late
