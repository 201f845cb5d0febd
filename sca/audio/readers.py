"""The interface of an open audio file, its implementation with libsndfile, and the errors that all implementations share.

libsndfile (through soundfile) reads wav, flac, ogg, aiff and related formats; `sca.audio.pyav_reader` reads the rest.
`sca.audio.decode` selects the implementation, mixes to mono and removes invalid samples.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray
from typing_extensions import override

from sca.errors import InputError

__all__ = ["AudioInfo", "AudioReader", "SoundFileReader", "damaged_error", "empty_error", "truncated_error"]


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
    """

    rate_hz: int
    channels: int
    frames: int | None
    codec: str
    container: str

    @property
    def duration_s(self) -> float | None:
        """Duration in seconds, or None if the header does not state it."""
        return None if self.frames is None else self.frames / self.rate_hz


class AudioReader(Protocol):
    """An open audio file that can be iterated once.

    Attributes:
        info: What the header states.
        filled_samples: Samples of silence inserted so far where packets are missing.
        joins: The seconds at which other recordings begin that were joined to the first one, found so far.
        mono_weights: The weight of each channel in the mono mix; float32 `(channels,)`.
    """

    info: AudioInfo
    filled_samples: int
    joins: list[float]
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


def truncated_error(path: Path, promised_s: float, present_s: float) -> InputError:
    """Return the error for a file that is shorter than its header states."""
    return InputError(
        f"{path} is cut short: its header promises {promised_s:.2f} s, the file has {present_s:.2f} s",
        hint="fetch or copy it again",
    )


def empty_error(path: Path) -> InputError:
    """Return the error for a file of zero length."""
    return InputError(f"{path} holds no sound: its length is zero")


def damaged_error(path: Path, second: float, reason: object) -> InputError:
    """Return the error for a file that cannot be decoded beyond `second`."""
    why = str(reason).strip() or "the decoder gave no reason"
    return InputError(f"{path} is damaged near second {second:.2f}: {why}", hint="fetch or copy it again")


class SoundFileReader(AudioReader):
    """A file that libsndfile reads."""

    def __init__(self, path: Path, sound: soundfile.SoundFile) -> None:
        self._path = path
        self._sound = sound
        self.filled_samples = 0
        self.joins: list[float] = []
        self.mono_weights = np.full(sound.channels, 1 / sound.channels, np.float32)
        self.info = AudioInfo(
            rate_hz=sound.samplerate,
            channels=sound.channels,
            frames=sound.frames,
            codec="flac" if sound.format == "FLAC" else sound.subtype.lower(),
            container=sound.format.lower(),
        )

    @override
    def blocks(self, block_samples: int) -> Iterator[NDArray[np.float32]]:
        done = 0
        while True:
            try:
                block: NDArray[np.float32] = self._sound.read(block_samples, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                raise damaged_error(self._path, done / self.info.rate_hz, error.error_string) from error
            if len(block) == 0:
                break
            done += len(block)
            yield block
        if done < self._sound.frames:
            raise truncated_error(self._path, self._sound.frames / self.info.rate_hz, done / self.info.rate_hz)

    @override
    def close(self) -> None:
        self._sound.close()
