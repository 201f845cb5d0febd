"""Decode a stored track once: verify its format and length, and keep what the other checks of audio need."""

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
import soundfile
from numpy.typing import NDArray

from sca.audio.decoder.sndfile import open_stored
from sca.data.duplex.audio.encode_tracks import WAV_HEADER_BYTES
from sca.textutil import counted
from sca.units import HEARD_HZ

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["MEANS_PER_S", "DecodedAudio", "DecodedTrack", "decode_track"]

MEANS_PER_S = 1000
"""Means per second of audio: averages of 1 ms are the same at every rate, except for sound that they remove."""
_BLOCK_S = 10


@dataclass(frozen=True, slots=True)
class DecodedTrack:
    """What was found in a stored track.

    Attributes:
        problems: Messages about format and length. Empty if the audio is as it should be.
        means: float32 `(n,)`, the average of every full millisecond in units of one 16-bit step.
        peak: The largest magnitude, 32768 is full scale.
        file: A file with the samples, or the audio file itself.
    """

    problems: list[str] = field(default_factory=list)
    means: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    peak: int = 0
    file: "Path | pa.Buffer | None" = None


class DecodedAudio:
    """The decoded 16 kHz tracks of a session, on disk while they are verified, so that each is decoded once.

    A context manager. Without a folder or space for temporary files, the checks decode the stored files again.
    """

    def __init__(self) -> None:
        self._folder: TemporaryDirectory[str] | None = None
        self._count = 0
        with suppress(OSError):
            self._folder = TemporaryDirectory(prefix="sca-verify-", ignore_cleanup_errors=True)

    def decode(self, audio: "pa.Buffer", samples: int) -> DecodedTrack:
        """Decode a stored track at 16 kHz that should have this number of samples."""
        path = None
        if self._folder is not None and audio[:4].to_pybytes() != b"RIFF":
            self._count += 1
            path = Path(self._folder.name) / f"track{self._count}.wav"
        return decode_track(audio, HEARD_HZ, samples, path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._folder is not None:
            self._folder.cleanup()


def decode_track(audio: "pa.Buffer", rate_hz: int, samples: int, copy: Path | None = None) -> DecodedTrack:
    """Decode a stored track to its end.

    Args:
        audio: The audio file.
        rate_hz: The sample rate that it should have.
        samples: The length that it should have.
        copy: Where to write its samples as WAV. It is removed if the disk is full.
    """
    import pyarrow as pa

    problems: list[str] = []
    means: list[NDArray[np.float32]] = []
    frames = peak = 0
    try:
        with open_stored(pa.BufferReader(audio)) as file, _Copy(copy, rate_hz) as copied:
            if (file.samplerate, file.channels, file.subtype) != (rate_hz, 1, "PCM_16"):
                channels = counted(file.channels, "channel")
                problems.append(
                    f"has {file.samplerate} Hz, {channels}, {file.subtype}, it should have {rate_hz} Hz, mono, PCM_16"
                )
            while len(block := file.read(_BLOCK_S * rate_hz, dtype="int16")):
                frames += len(block)
                if block.ndim == 1:
                    means.append(_means(block, rate_hz // MEANS_PER_S))
                    peak = max(peak, int(block.max()), -int(block.min()))
                    copied.write(block)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        return DecodedTrack([*problems, f"cannot be decoded ({error})"])
    if frames != samples:
        problems.append(f"has {counted(frames, 'sample')}, the length of the session requires {samples}")
    whole = np.concatenate(means) if means else np.zeros(0, np.float32)
    return DecodedTrack(problems, whole, peak, copied.path or audio)


class _Copy:
    """A WAV file of samples; `path` is None without one, or after it could not be written."""

    def __init__(self, path: Path | None, rate_hz: int) -> None:
        self.path, self._rate = path, rate_hz
        self._file: soundfile.SoundFile | None = None

    def write(self, block: NDArray[np.int16]) -> None:
        if self._file is None:
            return
        try:
            self._file.write(block)
        except (soundfile.LibsndfileError, AssertionError):  # soundfile asserts that all samples were written
            self._give_up()

    def __enter__(self) -> Self:
        if self.path is not None:
            try:
                self._file = soundfile.SoundFile(self.path, "w", self._rate, 1, "PCM_16", format="WAV")
            except (soundfile.LibsndfileError, OSError):
                self._give_up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is None or self.path is None:
            return
        frames = self._file.frames
        self._file.close()
        # A full disk can refuse the last samples without an error.
        if self.path.stat().st_size < WAV_HEADER_BYTES + 2 * frames:
            self._give_up()

    def _give_up(self) -> None:
        if self._file is not None:
            self._file.close()
        if self.path is not None:
            self.path.unlink(missing_ok=True)
        self._file = self.path = None


def _means(block: NDArray[np.int16], width: int) -> NDArray[np.float32]:
    whole = block[: len(block) // width * width].astype(np.float32).reshape(-1, width)
    means: NDArray[np.float32] = whole @ np.full(width, 1 / width, np.float32)
    return means
