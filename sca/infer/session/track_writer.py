"""A track of output audio as it is played: pieces of audio at their times, with silence between them, cut where it was flushed."""

from collections import deque
from typing import Protocol

from typing_extensions import override

__all__ = ["PcmBuffer", "PcmWriter", "TrackWriter"]


class PcmWriter(Protocol):
    """A destination for int16 little-endian mono samples.

    Attributes:
        samples: The number of samples written so far.
    """

    samples: int

    def write(self, pcm: bytes) -> None:
        """Append int16 little-endian samples."""
        ...

    def write_silence(self, samples: int) -> None:
        """Append zeros. A negative number appends nothing."""
        ...

    def truncate(self, samples: int) -> None:
        """Keep only the first `samples`."""
        ...


class PcmBuffer(PcmWriter):
    """A `PcmWriter` in memory.

    Attributes:
        data: The samples, int16 little-endian.
        samples: Their number.
    """

    def __init__(self) -> None:
        self.data = bytearray()
        self.samples = 0

    @override
    def write(self, pcm: bytes) -> None:
        self.data += pcm
        self.samples += len(pcm) // 2

    @override
    def write_silence(self, samples: int) -> None:
        self.write(bytes(2 * max(0, samples)))

    @override
    def truncate(self, samples: int) -> None:
        del self.data[2 * samples :]
        self.samples = samples


class TrackWriter:
    """Places audio on a track. Everything before the last `commit` is written; the rest can still be cut.

    Args:
        output: The destination.
    """

    def __init__(self, output: PcmWriter) -> None:
        self._output = output
        self._pending: deque[tuple[int, bytes]] = deque()

    def put(self, start: int, pcm: bytes) -> None:
        """Place audio at sample `start`, or directly after the previous audio if that ends later."""
        if self._pending:
            last, before = self._pending[-1]
            start = max(start, last + len(before) // 2)
        self._pending.append((max(start, self._output.samples), pcm))

    def cut(self, at: int) -> None:
        """Discard all audio from sample `at` on."""
        self.commit(at)
        self._pending.clear()

    def commit(self, until: int) -> None:
        """Write everything before sample `until`."""
        while self._pending and self._pending[0][0] < until:
            start, pcm = self._pending.popleft()
            self._output.write_silence(start - self._output.samples)
            fitting_bytes = (until - start) * 2
            self._output.write(pcm[:fitting_bytes])
            if len(pcm) > fitting_bytes:
                self._pending.appendleft((until, pcm[fitting_bytes:]))
        self._output.write_silence(until - self._output.samples)

    def finish(self, length: int) -> None:
        """Make the track exactly `length` samples long."""
        self.commit(length)
        self._pending.clear()
        if self._output.samples > length:
            self._output.truncate(length)
