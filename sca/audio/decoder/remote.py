"""Audio files that a decoder process reads for this one."""

import os
import weakref
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.audio.coded import containers
from sca.audio.coded.containers import SelectedTrack
from sca.audio.coded.readers import AudioInfo, AudioReader, Findings, reblocked
from sca.audio.coded.reading import AS_DEFAULT, Reading
from sca.audio.decoder import properties, wire
from sca.audio.decoder.findings import receive_findings
from sca.audio.decoder.opening import Opening, open_here
from sca.audio.decoder.pool import default_pool
from sca.audio.decoder.properties import FileProperties
from sca.urls.cache import at_hand

__all__ = ["HAS_PROCESSES", "RemoteReader", "file_properties", "open_file", "selected_track"]


HAS_PROCESSES = os.name == "posix"
"""Whether decoder processes exist. On Windows, files are read in this process, without limits."""


def open_file(opening: Opening) -> AudioReader:
    """Open a file in a decoder process.

    Raises:
        InputError: The file cannot be read, or the decoder ended.
    """
    return RemoteReader(opening) if HAS_PROCESSES else open_here(opening)


class RemoteReader(AudioReader):
    """A file that is open in a decoder process, which this reader has for itself until it is closed.

    Args:
        opening: The file.

    Raises:
        InputError: The file cannot be read, or the decoder ended.
    """

    def __init__(self, opening: Opening) -> None:
        self._path = opening.path
        self._pool = default_pool()
        self._process = self._pool.take(opening.path)
        self._is_open, self._blocks = False, 0
        self._stop = weakref.finalize(self, self._process.stop)  # of a reader that nothing closes
        try:
            answer = self._process.ask(
                "open",
                opening.path,
                header=None if opening.header is None else astuple(opening.header),
                reading=astuple(opening.reading),
                spans=list(opening.spans),
                by_libsndfile=opening.by_libsndfile,
            )
            self._is_open = True
            self.filled_samples, self.findings = 0, Findings()
            self.info, self.mono_weights = _info(answer["info"]), np.array(answer["weights"], np.float32)
            self._find(answer["found"])
            if self.mono_weights.shape != (self.info.channels,):
                raise ValueError
        except (KeyError, TypeError, ValueError, wire.BrokenWireError) as error:
            raise self._process.broken(self._path) from error
        finally:
            if not self._is_open:
                self._release()

    @override
    def blocks(self, block_samples: int) -> Iterator[NDArray[np.float32]]:
        yield from reblocked(self._pieces(block_samples), block_samples)

    def _pieces(self, block_samples: int) -> Iterator[NDArray[np.float32]]:
        """Yield the blocks as they come."""
        if not self._is_open:
            return
        self._process.send(wire.START, str(block_samples).encode())
        while True:
            kind, payload = self._process.receive(self._path)
            try:
                block = self._taken(kind, payload)
            except (KeyError, TypeError, ValueError, wire.BrokenWireError) as error:
                raise self._process.broken(self._path) from error
            if kind == wire.END:
                return
            if block is not None:
                yield block

    def _taken(self, kind: bytes, payload: bytearray) -> NDArray[np.float32] | None:
        """Return the block in a message, if it has one, and ask for one more."""
        match kind:
            case wire.BLOCK:
                block = np.frombuffer(payload, np.float32).reshape(-1, self.info.channels)
                self._blocks += 1
                if self._blocks % wire.NEXT_BLOCKS == 0:
                    self._process.send(wire.NEXT)
                return block
            case wire.FINDINGS:
                self._find(wire.parsed(payload))
            case wire.ERROR:
                error = self._process.error(payload, self._path)
                self._ended()
                raise error
            case wire.END:
                self._ended()
            case _:
                raise wire.BrokenWireError
        return None

    def _find(self, changed: dict[str, Any]) -> None:
        self.filled_samples = int(changed.get("filled", self.filled_samples))
        receive_findings(self.findings, changed)

    def _ended(self) -> None:
        self._is_open, self._process.is_usable = False, True
        self._release()

    def _release(self) -> None:
        if self._stop.detach() is not None:
            self._pool.give(self._process)

    @override
    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._process.close_file(self._path)
            self._release()


def selected_track(path: Path, reading: Reading = AS_DEFAULT) -> SelectedTrack:
    """Return the audio track that is read of a file.

    Raises:
        InputError: The chosen track does not exist, or the file cannot be read.
    """
    if not HAS_PROCESSES:
        return containers.selected_track(path, reading)
    found = _asked("track", path, reading=astuple(reading))
    return SelectedTrack(
        int(found["index"]),
        tuple(map(float, found["mono_weights"])),
        None if found["note"] is None else str(found["note"]),
        str(found["codec"]),
        tuple(tuple(map(float, row)) for row in found["stereo_weights"]),
    )


def file_properties(path: Path) -> FileProperties:
    """Read the header of a file and decode its beginning and its last second, which takes milliseconds for any length.

    Raises:
        InputError: The file has no sound, or cannot be read to its end.
    """
    if not HAS_PROCESSES:
        return properties.file_properties(path)
    found = _asked("properties", path)
    return FileProperties(
        str(found["codec"]),
        int(found["rate_hz"]),
        int(found["channels"]),
        bool(found["deep"]),
        float(found["seconds"]),
    )


def _asked(what: str, path: Path, **fields: object) -> dict[str, Any]:
    pool = default_pool()
    process = pool.take(at_hand(path))
    try:
        answer = process.ask(what, path, **fields)
        process.is_usable = True
        return answer
    finally:
        pool.give(process)


def _info(fields: dict[str, Any]) -> AudioInfo:
    frames = fields["frames"]
    info = AudioInfo(
        rate_hz=int(fields["rate_hz"]),
        channels=int(fields["channels"]),
        frames=None if frames is None else int(frames),
        codec=str(fields["codec"]),
        container=str(fields["container"]),
    )
    if info.rate_hz < 1 or info.channels < 1:
        raise ValueError
    return info
