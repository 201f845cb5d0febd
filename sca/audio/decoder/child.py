"""A decoder process: opens and decodes the files it is asked for, one at a time, under the limits of `sandbox`.

It is started by `sca.audio.decoder.process`, reads requests on standard input and answers on standard output. It ends when
its standard input is closed, so with the process that started it.
"""

import os
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sca.audio.coded.containers import selected_track
from sca.audio.coded.readers import AudioReader
from sca.audio.coded.reading import Reading
from sca.audio.coded.wav_header import WavHeader
from sca.audio.decoder import sandbox, wire
from sca.audio.decoder.findings import FindingsSender
from sca.audio.decoder.opening import Opening, open_here
from sca.audio.decoder.properties import file_properties
from sca.errors import DamageError, ScaError

__all__ = ["main"]

_IN = 0
Fields = Mapping[str, Any]


def main(memory_bytes: int, cpu_s: int) -> None:
    """Serve requests until standard input is closed.

    Args:
        memory_bytes: The memory that decoding may use.
        cpu_s: The processor time that may pass before an answer or a block.
    """
    out = os.dup(1)
    os.dup2(2, 1)  # what libraries print is no message
    import av  # noqa: F401 - counts as a part of the program, not as memory of the first file

    sandbox.confine(memory_bytes)
    wire.send(out, wire.ANSWER)
    with suppress(BrokenPipeError):  # the other process ended
        while (message := wire.receive(_IN)) is not None:
            if message[0] == wire.REQUEST:  # the others belong to a file that has ended
                sandbox.limit_cpu(cpu_s)
                _Request(out, cpu_s).serve(message[1])


class _Request:
    """Serves one request."""

    def __init__(self, out: int, cpu_s: int) -> None:
        self._out, self._cpu_s = out, cpu_s

    def serve(self, payload: bytearray) -> None:
        """Answer a request, also with the error that it meets."""
        fields = wire.parsed(payload)
        path = Path(os.fsdecode(str(fields["path"]).encode("latin-1")))
        try:
            if fields["cwd"] is not None:
                os.chdir(os.fsdecode(str(fields["cwd"]).encode("latin-1")))
            match fields["what"]:
                case "open":
                    self._read(path, fields)
                case "track":
                    wire.send_json(self._out, wire.ANSWER, asdict(selected_track(path, _reading(fields))))
                case "properties":
                    wire.send_json(self._out, wire.ANSWER, asdict(file_properties(path)))
        except BrokenPipeError:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary of the process: the other one raises it
            wire.send_json(self._out, wire.ERROR, _described(error))

    def _read(self, path: Path, fields: Fields) -> None:
        reader = open_here(_opening(path, fields))
        try:
            sender = FindingsSender()
            weights = reader.mono_weights.tolist()
            answer = {"info": asdict(reader.info), "weights": weights, "found": sender.changes(reader)}
            wire.send_json(self._out, wire.ANSWER, answer)
            message = wire.receive(_IN)
            is_read = message is not None and message[0] == wire.START and self._stream(reader, sender, int(message[1]))
        finally:
            reader.close()
        wire.send(self._out, wire.END if is_read else wire.CLOSED)

    def _stream(self, reader: AudioReader, sender: FindingsSender, block_samples: int) -> bool:
        """Send the blocks of a file, as many as the other side asks for; return whether these are all."""
        held: list[NDArray[np.float32]] = []
        credits_left = wire.READ_AHEAD_BLOCKS

        def send_held() -> bool:
            """Send the held blocks as one; return whether the other side still wants them."""
            nonlocal credits_left
            if not held:
                return True
            block = held[0] if len(held) == 1 else np.concatenate(held)
            held.clear()
            if credits_left == 0:
                message = wire.receive(_IN)
                if message is None or message[0] == wire.CLOSE:
                    return False
                credits_left += wire.NEXT_BLOCKS
            self._report(reader, sender)
            wire.send(self._out, wire.BLOCK, np.ascontiguousarray(block).data)
            sandbox.limit_cpu(self._cpu_s)
            credits_left -= 1
            return True

        try:
            for block in reader.blocks(_sent_samples(block_samples, reader.info.channels)):
                held.append(block)
                if sum(map(len, held)) >= wire.BLOCK_SAMPLES // 2 and not send_held():
                    return False
            if not send_held():
                return False
        finally:
            send_held()  # what was decoded before an error comes before it
        self._report(reader, sender)
        return True

    def _report(self, reader: AudioReader, sender: FindingsSender) -> None:
        if changes := sender.changes(reader):
            wire.send_json(self._out, wire.FINDINGS, changes)


def _sent_samples(block_samples: int, channels: int) -> int:
    """Return the length of the blocks that are sent, a divisor of the one that is wanted.

    What is decoded before an error is then the same in whole blocks of the wanted length.
    """
    most = wire.MAX_BLOCK_BYTES // (4 * channels)
    fitting = range(wire.BLOCK_SAMPLES // 8, min(wire.BLOCK_SAMPLES, most) + 1)
    divisors = [block_samples // n for n in range(1, block_samples // fitting.start + 1) if block_samples % n == 0]
    return next((n for n in divisors if n in fitting), min(block_samples, most))


def _opening(path: Path, fields: Fields) -> Opening:
    header = None if fields["header"] is None else WavHeader(*fields["header"])
    spans = [(start, end) for start, end in fields["spans"]]
    return Opening(path, header, _reading(fields), spans, fields["by_libsndfile"])


def _reading(fields: Fields) -> Reading:
    return Reading(*fields["reading"])


def _described(error: Exception) -> dict[str, object]:
    """Describe an error for the process that raises it."""
    import av

    match error:
        case DamageError():
            return {"type": "DamageError", "message": error.message, "hint": error.hint, "needed_s": error.needed_s}
        case ScaError():
            return {"type": type(error).__name__, "message": error.message, "hint": error.hint}
        case MemoryError():
            return {"type": "MemoryError"}
        case av.FFmpegError():
            return {"type": "FFmpegError", "reason": error.strerror or str(error)}
        case OSError():
            return {"type": "OSError", "number": error.errno, "reason": error.strerror, "name": str(error.filename)}
        case _:
            return {"type": "Exception", "trace": "".join(traceback.format_exception(error))}
