"""The process that reads a video: it opens one video, and sends its pictures until the end.

It is started by `sca.watch.capture.source`, under the limits of `sca.audio.decoder.sandbox`. It ends with the process that
started it: when its standard input is closed, or when its pictures are not read.
"""

import os
import time
import traceback
from contextlib import suppress
from dataclasses import asdict

from sca.audio.decoder import sandbox, wire
from sca.children.ending import end_with_stdin
from sca.errors import ScaError
from sca.watch.capture.address import Address
from sca.watch.capture.messages import PICTURE, SourceRequest, packed, request_from
from sca.watch.capture.reading import VideoReader

__all__ = ["main"]

_CPU_S = 60
_RENEW_S = 5.0
"""How often the processor time is renewed while pictures come."""


def main(memory_bytes: int, requests: int) -> None:
    """Read one video.

    Args:
        memory_bytes: The memory that reading it may use.
        requests: The descriptor at which the request arrives, as one message.
    """
    out = os.dup(1)
    os.dup2(2, 1)  # what libraries print must not become a message
    import av  # noqa: F401 - counts as a part of the program, not as memory of the video

    with suppress(BrokenPipeError):
        message = wire.receive(requests)
        if message is None:
            return
        request = request_from(wire.parsed(message[1]))
        if requests == 0:
            end_with_stdin()
        kind = request.address.kind
        sandbox.confine(memory_bytes, tcp=kind in ("http", "rtsp"), devices=kind == "camera")
        try:
            _read(request, out)
        except BrokenPipeError:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary of the process: the other one raises it
            wire.send_json(out, wire.ERROR, _described(error, request.address))


def _read(request: SourceRequest, out: int) -> None:
    sandbox.limit_cpu(_CPU_S)
    reader = VideoReader(request)
    renewed_s = time.monotonic()
    is_first = True
    for picture in reader.pictures():
        if is_first:
            wire.send_json(out, wire.ANSWER, asdict(reader.info()))
            is_first = False
        wire.send(out, PICTURE, packed(picture))
        if time.monotonic() - renewed_s > _RENEW_S:
            sandbox.limit_cpu(_CPU_S)
            renewed_s = time.monotonic()
    reader.close()
    wire.send_json(out, wire.END, {"damaged": reader.damaged})


def _described(error: Exception, address: Address) -> dict[str, object]:
    """Describe an error for the process that raises it. Nothing in it contains the address with its password."""
    import av

    match error:
        case ScaError():
            return {"type": "ScaError", "message": error.message, "hint": error.hint}
        case MemoryError():
            return {"type": "MemoryError"}
        case av.FFmpegError():
            return {"type": "FFmpegError", "name": type(error).__name__, "reason": error.strerror or "no reason given"}
        case OSError():
            return {"type": "FFmpegError", "name": type(error).__name__, "reason": error.strerror or "no reason given"}
        case _:
            text = "".join(traceback.format_exception(error))
            return {"type": "Exception", "trace": text.replace(address.target, address.shown)}
