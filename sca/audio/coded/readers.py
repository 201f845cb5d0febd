"""The interface of an open audio file, and the errors that all implementations share.

`sca.audio.decoder.sndfile` reads with libsndfile, `sca.audio.coded.pyav_reader` with FFmpeg, and `sca.audio.decoder.remote`
has one of them read in another process. `sca.audio.decode` mixes to mono and removes invalid samples.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sca.audio.coded.reading import ACCEPT_ANY_DAMAGE_S
from sca.audio.coded.remarks import cut, silence, times
from sca.errors import DamageError, InputError
from sca.textutil import counted

__all__ = [
    "AudioInfo",
    "AudioReader",
    "Findings",
    "Stretch",
    "accepted_cut",
    "accepted_damage_s",
    "damage_over_limit",
    "damaged_error",
    "empty_error",
    "reblocked",
]

# A frame of MP3 lasts 26 ms. A single one is accepted in a file of any length, if the file is not much shorter itself.
_LEAST_DAMAGE_S = 0.1
_LEAST_DAMAGE_SHARE = 0.1
_SAME_HOLE_S = 0.1
_AGAIN = "fetch or copy it again"


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of a file without its sound.

    Attributes:
        start_s: Where it begins.
        seconds: Its length.
    """

    start_s: float
    seconds: float


@dataclass(slots=True)
class Findings:
    """What a reader has found in a file so far.

    Attributes:
        joins: The seconds at which other recordings begin that were joined to the first one.
        gaps: Silence in place of packets that are missing.
        holes: Silence in place of packets that cannot be decoded.
        track: A remark about the track that is read, if there are several.
        cut: A remark about the end of the recording, if it is missing.
        estimate: A remark about the length that other programs display, if it is wrong.
    """

    joins: list[float] = field(default_factory=list)
    gaps: list[Stretch] = field(default_factory=list)
    holes: list[Stretch] = field(default_factory=list)
    track: str | None = None
    cut: str | None = None
    estimate: str | None = None

    def add_hole(self, start_s: float, seconds: float) -> None:
        """Add a hole, or lengthen the last one if this one follows it."""
        last = self.holes[-1] if self.holes else None
        if last is not None and start_s - last.start_s - last.seconds < _SAME_HOLE_S:
            self.holes[-1] = Stretch(last.start_s, last.seconds + seconds)
        else:
            self.holes.append(Stretch(start_s, seconds))

    def notes(self) -> list[str]:
        """Return remarks for the user."""
        notes = [] if self.track is None else [self.track]
        if self.joins:
            joined = counted(len(self.joins) + 1, "recording")
            notes.append(f"{joined} joined: others begin at {times(self.joins)}")
        if self.gaps:
            notes.append(_silence(self.gaps, "missing"))
        if self.holes:
            notes.append(_silence(self.holes, "damaged"))
        return [*notes, *(note for note in (self.cut, self.estimate) if note is not None)]


def _silence(stretches: list[Stretch], what: str) -> str:
    starts = [stretch.start_s for stretch in stretches]
    return silence(sum(stretch.seconds for stretch in stretches), what, starts)


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """The properties that the header of an audio file states.

    Attributes:
        rate_hz: Sample rate.
        channels: Number of channels.
        frames: Samples per channel: exact for files that libsndfile reads, within one codec packet for coded
            containers, None if the header does not state the length: a recording streamed to disk, joined files, and
            formats without a length, such as ADTS and MP3 without a Xing header.
        codec: Lower-case codec name, in the spelling of the library that reads the file.
        container: Lower-case container name, in the same spelling.
        is_cut: Whether a WAV file is shorter than its header states.
    """

    rate_hz: int
    channels: int
    frames: int | None
    codec: str
    container: str
    is_cut: bool = False

    @property
    def duration_s(self) -> float | None:
        """Duration in seconds, or None if the header does not state it."""
        return None if self.frames is None else self.frames / self.rate_hz


class AudioReader(Protocol):
    """An open audio file that can be iterated once.

    Attributes:
        info: What the header states.
        filled_samples: Samples of silence inserted so far where packets are missing.
        findings: What was found so far.
        mono_weights: The weight of each channel in the mono mix; float32 `(channels,)`.
    """

    info: AudioInfo
    filled_samples: int
    findings: Findings
    mono_weights: NDArray[np.float32]

    def blocks(self, block_samples: int) -> Iterator[NDArray[np.float32]]:
        """Yield float32 `(n, channels)`, with n = `block_samples` except for the last block.

        Raises:
            InputError: The file is damaged or truncated.
        """
        ...

    def close(self) -> None:
        """Close the file. A second call has no effect."""
        ...


def reblocked(pieces: Iterable[NDArray[np.float32]], block_samples: int) -> Iterator[NDArray[np.float32]]:
    """Yield arrays of `block_samples` rows, except for the last one, from arrays of any number of rows."""
    pending: list[NDArray[np.float32]] = []
    held = 0
    for piece in pieces:
        if not held and len(piece) == block_samples:
            yield piece
            continue
        pending.append(piece)
        held += len(piece)
        if held < block_samples:
            continue
        joined = np.concatenate(pending)
        whole = held - held % block_samples
        for start in range(0, whole, block_samples):
            yield joined[start : start + block_samples]
        pending, held = [joined[whole:]], held - whole
    if held:
        yield np.concatenate(pending)


def accepted_cut(path: Path, promised_s: float, present_s: float, accept_damage_s: float) -> str:
    """Return a remark about a file that is shorter than its header states.

    Args:
        path: The file.
        promised_s: The length in the header.
        present_s: The length of the sound.
        accept_damage_s: The limit of damage for an hour, which the missing end counts as.

    Raises:
        DamageError: More is missing than is accepted.
    """
    missing_s = promised_s - present_s
    if missing_s <= accepted_damage_s(accept_damage_s, promised_s):
        return cut(missing_s, promised_s)
    message = f"{path} is cut short: its header promises {promised_s:.2f} s, the file has {present_s:.2f} s"
    needed_s = _needed_s(missing_s, promised_s)
    if present_s <= 0 or needed_s > ACCEPT_ANY_DAMAGE_S:
        raise DamageError(message, hint=_AGAIN)
    raise DamageError(message, hint=f"{_AGAIN}, or accept that with --accept-damage {needed_s}", needed_s=needed_s)


def _needed_s(lost_s: float, length_s: float) -> float:
    """Return the lowest limit in whole seconds that accepts damage."""
    if accepted_damage_s(1e-9, length_s) >= lost_s:  # any limit above 0 accepts it
        return 1
    return math.ceil(3600 * lost_s / length_s) if length_s else math.inf


def empty_error(path: Path) -> InputError:
    """Return the error for a file of zero length."""
    return InputError(f"{path} holds no sound: its length is zero")


def damaged_error(path: Path, second: float, reason: object) -> InputError:
    """Return the error for a file that cannot be decoded beyond `second`."""
    why = str(reason).strip() or "the decoder gave no reason"
    return InputError(f"{path} is damaged near second {second:.2f}: {why}", hint=_AGAIN)


def accepted_damage_s(accept_damage_s: float, length_s: float) -> float:
    """Return how many seconds of a file may be undecodable.

    Args:
        accept_damage_s: The limit for an hour; 0 accepts none.
        length_s: The length of the file.
    """
    if accept_damage_s <= 0:
        return 0.0
    least_s = min(_LEAST_DAMAGE_S, _LEAST_DAMAGE_SHARE * length_s)
    return max(least_s, accept_damage_s * length_s / 3600)


def damage_over_limit(path: Path, holes: list[Stretch], length_s: float, reason: object) -> DamageError:
    """Return the error for a file of which more cannot be decoded than is accepted.

    Args:
        path: The file.
        holes: What cannot be decoded.
        length_s: The length of the file.
        reason: The message of the decoder.
    """
    lost_s = sum(hole.seconds for hole in holes)
    error = damaged_error(path, holes[0].start_s, f"{reason} ({lost_s:.2f} s cannot be decoded)")
    needed_s = _needed_s(lost_s, length_s)
    if needed_s > ACCEPT_ANY_DAMAGE_S:
        return DamageError(error.message, hint=error.hint)
    hint = f"{_AGAIN}, or accept silence there with --accept-damage {needed_s}"
    return DamageError(error.message, hint=hint, needed_s=float(needed_s))
