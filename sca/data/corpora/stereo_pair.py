"""A stereo recording with a speaker a channel, whatever kind of file has his words."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sca.audio.decode import probe
from sca.data.corpora.base import Part, Skipped
from sca.data.corpora.staging import ForeignSession, ForeignTrack, Said, inside, lines_of

__all__ = ["SIDES", "Side", "pair_of", "two_channels"]

SIDES = ("left", "right")


class Side(NamedTuple):
    """What is known of a channel: timed words, utterances, or both; None: not this. speaker: his name, where it is known."""

    words: Sequence[Said] | None = None
    lines: Sequence[Said] | None = None
    speaker: str | None = None


def two_channels(audio: Path) -> float:
    """The length of a stereo recording in seconds, infinite where its header does not say.

    Raises `InputError` for a recording that cannot be read, `ValueError` for one that has not two channels.
    """
    info = probe(audio)
    if info.channels != 2:
        raise ValueError(f"{audio} has {info.channels} channel(s); two are needed, a speaker each")
    return math.inf if info.duration_s is None else info.duration_s


def pair_of(
    name: str, audio: Path, seconds: float, origin: Path, sides: Sequence[Side], line: int | None = None
) -> tuple[ForeignSession, list[Skipped]]:
    """The conversation in a recording of so many seconds, and what of its words lies outside. A side without any is heard only.

    Raises `ValueError` where neither side has words.
    """
    reports: list[Skipped] = []
    tracks: list[ForeignTrack] = []
    for channel, (side, given) in enumerate(zip(SIDES, sides, strict=True)):
        words, lines = given.words or None, given.lines or None
        if words is not None:
            words, late = inside(words, seconds, origin)
            reports += late
        if lines is not None:
            lines, late = inside(lines, seconds, origin)
            reports += late
        elif words is not None:
            lines = lines_of(words)
        speaker = given.speaker or f"{name}.{side}"
        tracks.append(ForeignTrack(speaker, audio, Part(channel), lines or None, words or None))
    if all(track.lines is None for track in tracks):
        why = f": {reports[0].reason}" if reports else ""
        raise ValueError(f"{origin} has no words in the recording{why}")
    return ForeignSession(name, origin, tuple(tracks), line), reports
