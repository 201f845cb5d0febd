"""WAV files that are written as time passes: int16 mono, in bounded memory, visible under their name only when complete."""

import struct
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from typing_extensions import override

from sca.errors import check_target, writing
from sca.files.atomic import create_new, publish
from sca.infer.session.track_writer import PcmWriter

__all__ = ["WavWriter"]

_SILENCE_AT_ONCE = 1 << 16
_HEADER_BYTES = 44
_UNKNOWN = 0xFFFFFFFF


class WavWriter(PcmWriter):
    """A WAV file that appears when it is closed.

    As a context manager it discards the file if the block raises, unless `keep` is set.

    Args:
        path: The file.
        rate_hz: The sample rate.
        keep: Whether to keep the file if the block raises.

    Attributes:
        path: The file.
        samples: The number of samples written so far.

    Raises:
        OutputError: From every method: the file cannot be written.
    """

    def __init__(self, path: Path, rate_hz: int, *, keep: bool = False) -> None:
        self.path = path
        self.samples = 0
        self._rate_hz = rate_hz
        self._part = path.with_name(f".{path.name}.part")
        self._keep = keep
        check_target(path)
        with writing(path):
            create_new(self._part)
            self._file = self._part.open("wb")
            self._file.write(self._header())

    def _header(self) -> bytes:
        size = min(2 * self.samples, _UNKNOWN - 36)  # from 24 hours on, the header means "to the end of the file"
        head = struct.pack(
            "<4sI8sIHHIIHH", b"RIFF", size + 36, b"WAVEfmt ", 16, 1, 1, self._rate_hz, 2 * self._rate_hz, 2, 16
        )
        return head + struct.pack("<4sI", b"data", size if size == 2 * self.samples else _UNKNOWN)

    @override
    def write(self, pcm: bytes) -> None:
        with writing(self.path):
            self._file.write(pcm)
        self.samples += len(pcm) // 2

    @override
    def write_silence(self, samples: int) -> None:
        for start in range(0, samples, _SILENCE_AT_ONCE):
            self.write(bytes(2 * min(_SILENCE_AT_ONCE, samples - start)))

    @override
    def truncate(self, samples: int) -> None:
        with writing(self.path):
            self._file.seek(_HEADER_BYTES + 2 * samples)
            self._file.truncate()
        self.samples = samples

    def close(self) -> None:
        """Complete the header, sync the file and make it visible. A second call has no effect."""
        if not self._file.closed:
            with writing(self.path):
                self._file.seek(0)
                self._file.write(self._header())
                self._file.close()
                publish(self._part, self.path)

    def discard(self) -> None:
        """Remove the temporary file, unless the writer is closed."""
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
