"""WAV files written as time passes: int16 mono, in bounded memory, under their name only when they are whole.

`TrackWriter` is what a listener would have heard: pieces of sound at their places, silence between them, cut where it was cut.
"""

import struct
from collections import deque
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from sca.errors import check_target, writing

__all__ = ["TrackWriter", "WavWriter"]

_SILENCE_AT_ONCE = 1 << 16
_HEADER_BYTES = 44
_UNKNOWN = 0xFFFFFFFF


class WavWriter:
    """A WAV file that appears when it is closed. As a context it vanishes when the block fails, unless `keep`.

    Raises `OutputError` when it cannot be written.   samples: written so far.
    """

    def __init__(self, path: Path, rate_hz: int, *, keep: bool = False) -> None:
        self.path = path
        self.samples = 0
        self._rate_hz = rate_hz
        self._part = path.with_name(f".{path.name}.part")
        self._keep = keep
        check_target(path)
        with writing(path):
            self._file = self._part.open("wb")
            self._file.write(self._header())

    def _header(self) -> bytes:
        size = min(2 * self.samples, _UNKNOWN - 36)  # from 24 hours on, as long as the file is
        head = struct.pack(
            "<4sI8sIHHIIHH", b"RIFF", size + 36, b"WAVEfmt ", 16, 1, 1, self._rate_hz, 2 * self._rate_hz, 2, 16
        )
        return head + struct.pack("<4sI", b"data", size if size == 2 * self.samples else _UNKNOWN)

    def write(self, pcm: bytes) -> None:
        """Add int16 little-endian samples."""
        with writing(self.path):
            self._file.write(pcm)
        self.samples += len(pcm) // 2

    def silence(self, samples: int) -> None:
        """Add zeros; a negative number adds none."""
        for start in range(0, samples, _SILENCE_AT_ONCE):
            self.write(bytes(2 * min(_SILENCE_AT_ONCE, samples - start)))

    def truncate(self, samples: int) -> None:
        """Forget what lies beyond the first `samples`."""
        with writing(self.path):
            self._file.seek(_HEADER_BYTES + 2 * samples)
            self._file.truncate()
        self.samples = samples

    def close(self) -> None:
        """Fill in the header and let the file appear. Twice is fine."""
        if not self._file.closed:
            with writing(self.path):
                self._file.seek(0)
                self._file.write(self._header())
                self._file.close()
                self._part.replace(self.path)

    def discard(self) -> None:
        """Leave nothing behind, if it has not appeared yet."""
        if not self._file.closed:
            with suppress(OSError):
                self._file.close()
            self._part.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or self._keep:
            self.close()
        else:
            self.discard()


class TrackWriter:
    """Places sound on a track. What lies before `commit` is written; the rest may still be cut."""

    def __init__(self, wav: WavWriter) -> None:
        self._wav = wav
        self._waiting: deque[tuple[int, bytes]] = deque()

    def put(self, start: int, pcm: bytes) -> None:
        """Sound that begins at sample `start`, or where what was put before ends if that is later."""
        if self._waiting:
            last, before = self._waiting[-1]
            start = max(start, last + len(before) // 2)
        self._waiting.append((max(start, self._wav.samples), pcm))

    def cut(self, at: int) -> None:
        """Nothing is heard from sample `at` on."""
        self.commit(at)
        self._waiting.clear()

    def commit(self, until: int) -> None:
        """Write everything before sample `until`."""
        while self._waiting and self._waiting[0][0] < until:
            start, pcm = self._waiting.popleft()
            self._wav.silence(start - self._wav.samples)
            fits = (until - start) * 2
            self._wav.write(pcm[:fits])
            if len(pcm) > fits:
                self._waiting.appendleft((until, pcm[fits:]))
        self._wav.silence(until - self._wav.samples)

    def finish(self, length: int) -> None:
        """Make the track exactly `length` samples long."""
        self.commit(length)
        self._waiting.clear()
        if self._wav.samples > length:
            self._wav.truncate(length)
