"""A stereo recording with one speaker per channel, for the readers of formats that have those."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sca.audio.decode import probe
from sca.data.corpora.base import Conversation, Issue, Part, Track
from sca.data.corpora.timed_text import TimedText, group_words, make_track, split_at_end

__all__ = ["SIDES", "Side", "pair_of", "two_channels"]

SIDES = ("left", "right")


class Side(NamedTuple):
    """The transcript of one channel: timed words, utterances, or both, and the speaker's name where it is known."""

    words: Sequence[TimedText] = ()
    utterances: Sequence[TimedText] = ()
    speaker: str | None = None


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
    name: str, audio: Path, seconds: float, origin: Path, sides: Sequence[Side], line: int | None = None
) -> tuple[Conversation, list[Issue]]:
    """Make the conversation of a stereo recording. A side without a transcript is input audio only.

    Args:
        name: The session.
        audio: The recording.
        seconds: Its length.
        origin: The transcript to name as the source, for both sides.
        sides: The left and the right channel.
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
    for channel, (side, given) in enumerate(zip(SIDES, sides, strict=True)):
        words, late_words = split_at_end(given.words, seconds)
        utterances, late_utterances = split_at_end(given.utterances, seconds)
        late += late_words + late_utterances
        if not given.utterances:
            utterances = group_words(words)
        transcribed = transcribed or bool(utterances)
        speaker = given.speaker or f"{name}.{side}"
        track, issues = make_track(speaker, audio, utterances, words, Part(channel), origin)
        left_out += issues
        if track is not None:
            tracks.append(track)
    if not transcribed:
        why = f": {late[0].reason}" if late else ""
        raise ValueError(f"{origin} has no words in the recording{why}")
    return Conversation(name, tuple(tracks), tuple(left_out), line), late
