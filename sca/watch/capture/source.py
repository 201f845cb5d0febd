"""A video that a child process reads: its pictures in order, as fast as they are taken or arrive."""

import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from tempfile import TemporaryFile

from sca.audio.decoder import wire
from sca.audio.decoder.process import decoder_command, decoder_environment
from sca.errors import InputError, ScaError, UpstreamError, UsageError
from sca.watch.capture.address import parse_address
from sca.watch.capture.messages import PICTURE, Picture, SourceInfo, SourceRequest, unpacked

__all__ = ["MEMORY_BYTES", "VideoSource", "open_source"]

MEMORY_BYTES = 2 << 30
"""What reading a video may use beside the program. 8K H.264 with one reference picture takes 0.4 GiB, each further one 50 MiB."""
_OPEN_S = 30.0
_CLOSE_S = 1.0
_PIPE_BYTES = 1 << 20
_SET_PIPE_SIZE = 1031


class VideoSource:
    """A video that is being read. One thread takes its pictures; any thread may close it.

    Args:
        request: What to open, and which pictures to return.

    Attributes:
        info: What the video is, after `open`.
        damaged: How many packets could not be decoded, after the end.
    """

    info: SourceInfo

    def __init__(self, request: SourceRequest) -> None:
        """Start the process that reads the video, without waiting for it.

        Raises:
            OSError: The system starts no process.
        """
        self._request, self.damaged = request, 0
        self._lock, self._closed = threading.Lock(), False
        self._errors = TemporaryFile()  # noqa: SIM115 - closed by `close`
        self._start()

    def open(self) -> SourceInfo:
        """Wait until the first picture was decoded.

        Raises:
            InputError: The video cannot be read, or was closed.
            UpstreamError: The network does not provide it.
        """
        kind, payload = self._receive(max(_OPEN_S, self._request.timeout_s))
        if kind != wire.ANSWER:
            raise self._unexpected(kind, payload)
        try:
            self.info = SourceInfo(**wire.parsed(payload))  # type: ignore[arg-type]  # made by `child`
        except (wire.BrokenWireError, TypeError) as error:
            raise self._broken() from error
        return self.info

    def __iter__(self) -> Iterator[Picture]:
        """Yield the pictures in order, until the video ends or is closed.

        Raises:
            InputError: It cannot be read further.
            UpstreamError: The network provides no more of it.
        """
        while True:
            try:
                kind, payload = self._receive(self._request.timeout_s)
                if kind == wire.END:
                    self.damaged = int(str(wire.parsed(payload).get("damaged")))
                    return
                if kind != PICTURE:
                    raise self._unexpected(kind, payload)
                picture = unpacked(payload)
            except ScaError:
                if self._closed:
                    return
                raise
            except (wire.BrokenWireError, ValueError) as error:
                raise self._broken() from error
            yield picture

    def close(self) -> None:
        """End the process. It does not wait for the network; a second call has no effect."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._end()

    def release(self) -> None:
        """Close what is left, from the thread that took the pictures."""
        self.close()
        for file in (self._process.stdin, self._process.stdout, self._errors):
            if file is not None:
                file.close()

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def _start(self) -> None:
        by_stdin = self._request.address.kind != "stdin"
        if not by_stdin and sys.platform == "win32":
            raise UsageError("a video is not read from standard input on Windows", hint="give a file or an address")
        receiving, sending = (0, None) if by_stdin else os.pipe()
        try:
            self._process = subprocess.Popen(
                decoder_command("sca.watch.capture.child", MEMORY_BYTES, receiving),
                stdin=subprocess.PIPE if by_stdin else None,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                bufsize=0,
                cwd="/",
                env=decoder_environment(),
                pass_fds=() if by_stdin else (receiving,),
            )
        finally:
            if not by_stdin:
                os.close(receiving)
        assert self._process.stdout is not None
        self._out = self._process.stdout.fileno()
        if sys.platform == "linux":
            import fcntl

            with suppress(OSError):
                fcntl.fcntl(self._out, _SET_PIPE_SIZE, _PIPE_BYTES)
        target = sending if sending is not None else self._process.stdin.fileno()  # type: ignore[union-attr]
        with suppress(BrokenPipeError):
            wire.send_json(target, wire.REQUEST, self._request.fields())
        if sending is not None:
            os.close(sending)

    def _receive(self, wait_s: float) -> tuple[bytes, bytearray]:
        """Return the next message. Raises InputError or UpstreamError if the process ended or sent nothing for too long."""
        deadline_s = time.monotonic() + wait_s

        def wait() -> None:
            left_s = max(0.0, deadline_s - time.monotonic())
            if sys.platform != "win32" and not select.select([self._out], [], [], left_s)[0]:
                self._end()
                raise self._failure(f"sent no picture for {wait_s:g} s")

        message = None
        with suppress(wire.BrokenWireError):
            message = wire.receive(self._out, wait)
        if message is None:
            raise self._ended()
        return message

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()

    def _broken(self) -> ScaError:
        """End a process that sends what it should not, and return the error about it."""
        self._end()
        return self._failure("was read by a process that sent a malformed message")

    def _ended(self) -> ScaError:
        """Return the error about a process that ended without a message."""
        if self._closed:
            return InputError(f"{self._request.address.shown} was closed")
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_CLOSE_S)
        code = self._process.returncode
        if code is not None and code < 0:
            return self._failure(f"ended the process that reads it (signal {-code})")
        self._errors.seek(0)
        reason = (self._errors.read().decode(errors="replace").strip().splitlines() or ["no reason given"])[-1]
        return ScaError(f"the process that reads videos failed: {reason}")

    def _unexpected(self, kind: bytes, payload: bytearray) -> ScaError:
        """Return the error in a message."""
        try:
            fields = wire.parsed(payload) if kind == wire.ERROR else {}
        except wire.BrokenWireError:
            return self._broken()
        match fields.get("type"):
            case "ScaError":
                hint = fields.get("hint")
                return InputError(str(fields["message"]), hint=None if hint is None else str(hint))
            case "MemoryError":
                return InputError(f"{self._request.address.shown} needs more than {MEMORY_BYTES >> 20} MiB of memory")
            case "FFmpegError":
                return self._ffmpeg_error(str(fields["name"]), str(fields["reason"]))
            case "Exception":
                error = ScaError(f"a bug was met while reading {self._request.address.shown}")
                error.add_note(f"in the process that reads it:\n{fields['trace']}")
                return error
            case _:
                return self._failure("ended too early")

    def _ffmpeg_error(self, name: str, reason: str) -> ScaError:
        shown = self._request.address.shown
        match self._request.address.kind:
            case "file" | "stdin":
                return InputError(f"{shown} cannot be read as a video ({reason})")
            case "camera":
                return InputError(
                    f"the camera {shown} cannot be opened ({reason})",
                    hint="connect it, or end the program that uses it",
                )
        hint = None
        if name == "HTTPUnauthorizedError":
            hint = "give user and password in the address: scheme://user:password@host/path"
        return UpstreamError(f"{shown} cannot be read ({reason})", hint=hint)

    def _failure(self, what: str) -> ScaError:
        address = self._request.address
        return (UpstreamError if address.kind in ("http", "rtsp") else InputError)(f"{address.shown} {what}")


def open_source(address: str, request: SourceRequest | None = None) -> VideoSource:
    """Open a video.

    Args:
        address: A file, `http://…`, `https://…`, `rtsp://…`, `webcam:N` or `-`.
        request: Which pictures to return; its address is ignored.

    Raises:
        UsageError: The address has another form.
        InputError: The video cannot be read.
        UpstreamError: The network does not provide it.
    """
    from dataclasses import replace

    parsed = parse_address(address)
    source = VideoSource(SourceRequest(parsed) if request is None else replace(request, address=parsed))
    try:
        source.open()
    except BaseException:
        source.release()
        raise
    return source
