"""The samples of a recording that are read in parts: in memory while they are few, else in a temporary file."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from sca.audio.coded.reading import AS_DEFAULT, Reading
from sca.audio.decode import BlockReader
from sca.audio.resample import StreamResampler
from sca.errors import InputError, writing

__all__ = ["LONGEST_S", "SampleFile", "Samples", "read_samples"]

_IN_MEMORY_BYTES = 48_000_000
"""12.5 minutes at 16 kHz."""
_BYTES = 4
LONGEST_S = 48 * 3600
"""The longest recording whose samples are held in a file: 11 GB at 16 kHz. A FLAC of silence has 2 MB for 20 hours."""


class Samples(Protocol):
    """Float32 mono samples `(n,)`, of which slices are read. An array is one."""

    def __len__(self) -> int:
        """Return how many samples there are."""
        ...

    def __getitem__(self, span: slice, /) -> NDArray[np.float32]:
        """Return the samples of a slice with a step of 1."""
        ...


class SampleFile(Samples):
    """Samples that are appended in blocks and read in slices. For one thread."""

    def __init__(self, folder: Path | None = None) -> None:
        """Create without samples.

        Args:
            folder: Where the temporary file of a long recording is: 230 MB per hour at 16 kHz. It has no name, and does
                not survive the process. None is the folder of the system, which may be in memory.
        """
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES, dir=None if folder is None else str(folder))  # noqa: SIM115 - closed by `close`
        self._folder = folder or Path(tempfile.gettempdir())
        self._length = 0

    def append(self, block: NDArray[np.float32]) -> None:
        """Add samples.

        Raises:
            OutputError: The temporary file cannot be written, as on a full disk.
        """
        with writing(self._folder):
            self._file.seek(self._length * _BYTES)
            self._file.write(np.ascontiguousarray(block, np.float32).tobytes())
        self._length += len(block)

    def __len__(self) -> int:
        """Return how many samples there are."""
        return self._length

    def __getitem__(self, span: slice, /) -> NDArray[np.float32]:
        """Return the samples of a slice with a step of 1, as a new array."""
        start, stop, step = span.indices(self._length)
        if step != 1:
            raise ValueError(f"the step is 1, got {step}")
        self._file.seek(start * _BYTES)
        return np.frombuffer(bytearray(self._file.read(max(0, stop - start) * _BYTES)), np.float32)

    def close(self) -> None:
        """Delete the samples."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_samples(
    path: Path,
    rate_hz: int,
    into: SampleFile,
    *,
    reading: Reading = AS_DEFAULT,
    heard: Callable[[NDArray[np.float32]], None] = lambda block: None,
) -> tuple[str, ...]:
    """Read a recording block by block; the samples are those of `sca.audio.decode.read_with_notes`.

    Args:
        path: The recording.
        rate_hz: The rate to resample to.
        into: Gets the samples.
        reading: The track to read, and the damage to accept.
        heard: Called with each block.

    Returns:
        Remarks about what was read.

    Raises:
        InputError: The recording cannot be decoded, or is longer than `LONGEST_S`.
        OutputError: The temporary file cannot be written.
    """

    def add(block: NDArray[np.float32]) -> None:
        if len(into) > LONGEST_S * rate_hz:
            raise InputError(f"{path} is longer than {LONGEST_S // 3600} h", hint="cut it into shorter recordings")
        into.append(block)
        heard(block)

    with BlockReader(path, reading=reading) as reader:
        if rate_hz == reader.info.rate_hz:
            for block in reader:
                add(block)
            return reader.notes
        resampler = StreamResampler(reader.info.rate_hz, rate_hz)
        for block in reader:
            add(np.clip(resampler.push(block), -1, 1))
        add(np.clip(resampler.flush(), -1, 1))
        return reader.notes
