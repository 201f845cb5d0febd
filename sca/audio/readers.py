"""What an open sound file looks like, the libsndfile kind of it, and the errors all kinds share.

libsndfile (through soundfile) reads wav, flac, ogg, aiff and their relatives; the rest is in `sca.audio.pyav_reader`. Which of
the two a file needs, mixing to mono and cleaning samples is the business of `sca.audio.decode`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile

from sca.errors import InputError

__all__ = ["AudioInfo", "SoundFileSource", "Source", "cut_short", "damaged", "silent"]


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What a header says about the sound in a file.

    frames: samples per channel; exact for what libsndfile reads, to within one codec packet for coded containers, None when
    the header does not say (a recording streamed to disk).   codec, container: lower-case names of the library that reads it.
    """

    rate_hz: int
    channels: int
    frames: int | None
    codec: str
    container: str

    @property
    def duration_s(self) -> float | None:
        """Seconds, or None when the header does not say."""
        return None if self.frames is None else self.frames / self.rate_hz


class Source(Protocol):
    """An open sound file; `blocks` can be walked once. filled_samples: samples of silence put where the file has a hole."""

    info: AudioInfo
    filled_samples: int

    def blocks(self, block_samples: int) -> Iterator[np.ndarray]:
        """Float32 `(n, channels)` with n = `block_samples` but for the last; raises `InputError` where the file is damaged."""
        ...

    def close(self) -> None:
        """Let go of the file; twice is fine."""
        ...


def cut_short(path: Path, promised_s: float, present_s: float) -> InputError:
    """The error for a file that ends before its header says."""
    return InputError(
        f"{path} is cut short: its header promises {promised_s:.2f} s, the file has {present_s:.2f} s",
        hint="fetch or copy it again",
    )


def silent(path: Path) -> InputError:
    """The error for a file of zero length."""
    return InputError(f"{path} holds no sound: its length is zero")


def damaged(path: Path, second: float, reason: object) -> InputError:
    """The error for a file that cannot be decoded beyond `second`."""
    why = str(reason).strip() or "the decoder gave no reason"
    return InputError(f"{path} is damaged near second {second:.2f}: {why}", hint="fetch or copy it again")


class SoundFileSource:
    """A file that libsndfile reads."""

    def __init__(self, path: Path, sound: soundfile.SoundFile) -> None:
        self._path = path
        self._sound = sound
        self.filled_samples = 0
        self.info = AudioInfo(
            rate_hz=sound.samplerate,
            channels=sound.channels,
            frames=sound.frames,
            codec="flac" if sound.format == "FLAC" else sound.subtype.lower(),
            container=sound.format.lower(),
        )

    def blocks(self, block_samples: int) -> Iterator[np.ndarray]:
        """See `Source`."""
        done = 0
        while True:
            try:
                block: np.ndarray = self._sound.read(block_samples, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                raise damaged(self._path, done / self.info.rate_hz, error.error_string) from error
            if len(block) == 0:
                break
            done += len(block)
            yield block
        if done < self._sound.frames:
            raise cut_short(self._path, self._sound.frames / self.info.rate_hz, done / self.info.rate_hz)

    def close(self) -> None:
        """See `Source`."""
        self._sound.close()
