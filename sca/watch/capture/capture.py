"""The thread that reads a video: it releases pictures at their time, fills display and window, and connects again."""

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from sca.errors import InputError, ScaError, UpstreamError
from sca.textutil import counted
from sca.watch.capture.address import parse_address
from sca.watch.capture.display import DisplayBuffer
from sca.watch.capture.messages import Picture, SourceInfo, SourceRequest
from sca.watch.capture.source import VideoSource
from sca.watch.capture.window import InferenceWindow
from sca.watch.frames import JpegFrame, VideoFrame

__all__ = ["Capture", "CaptureSettings", "State", "backoff_s"]

logger = logging.getLogger(__name__)

State = Literal["open", "lost", "ended"]
_LATE_US = 500_000
"""A picture that is later than this has a new beginning: what follows is not hurried."""
_LONGEST_PAUSE_S = 8.0
_STREAMS = ("http", "rtsp", "camera")
_ENDLESS = ("hls", "mpegts")
"""Containers that have no end if they state no length."""
_SHORT_S = 1.0


@dataclass(frozen=True, slots=True)
class CaptureSettings:
    """How a video is captured.

    Attributes:
        capture_fps: Pictures per second for the window; 0 for none.
        display_fps: Most pictures per second for display; None for all.
        frame_side: Pictures for the window are scaled down to this longest side, in pixels.
        display_side: Pictures for display are scaled down to this longest side, in pixels.
        loop: Whether a file starts again when it ends.
        pace: "native" releases the pictures of a file at their times; "fast" as they are decoded.
        reconnect_s: How long a stream or camera that was lost is tried again.
        timeout_s: How long a network read may take.
    """

    capture_fps: float = 2.0
    display_fps: float | None = None
    frame_side: int = 1280
    display_side: int = 1280
    loop: bool = False
    pace: Literal["native", "fast"] = "native"
    reconnect_s: float = 60.0
    timeout_s: float = 10.0


def backoff_s(attempt: int) -> float:
    """Return the pause before an attempt to connect again: 0.25 s before the first (0), twice as much each time, up to 8 s."""
    return min(_LONGEST_PAUSE_S, math.ldexp(0.25, min(attempt, 10)))


class Capture:
    """Reads a video into a display buffer and a window.

    `open`, then either `start`, or `advance` for each picture from a thread of the caller. `close` may come from any thread.

    Args:
        address: The video, see `parse_address`.
        display: Receives the pictures for display, from which their quality follows.
        window: Receives the sampled pictures.
        settings: How.
        now_us: The clock of the session, in microseconds.
        on_state: Called when the source was opened, lost or ended, with a reason in one line. From the reading thread, except
            for the first "open".
        on_frame: Called with each sampled picture, from the reading thread.

    Attributes:
        error: Why the source ended, if not because it was over or closed.
        sleep: Waits for so many seconds, and returns True at once when the capture is closed. A test with a clock of its own
            replaces it.
    """

    def __init__(
        self,
        address: str,
        display: DisplayBuffer,
        window: InferenceWindow,
        settings: CaptureSettings | None = None,
        *,
        now_us: Callable[[], int] = lambda: time.monotonic_ns() // 1000,
        on_state: Callable[[State, str | None], None] = lambda state, detail: None,
        on_frame: Callable[[VideoFrame], None] = lambda frame: None,
    ) -> None:
        self.error: ScaError | None = None
        self.info: SourceInfo | None = None
        self._settings = settings or CaptureSettings()
        self._display, self._window = display, window
        self._now_us, self._on_state, self._on_frame = now_us, on_state, on_frame
        self._request = SourceRequest(
            parse_address(address),
            capture_fps=self._settings.capture_fps,
            display_fps=self._settings.display_fps,
            frame_side=self._settings.frame_side,
            display_side=self._settings.display_side,
            display_bytes_per_s=display.bytes_per_s,
            loop=self._settings.loop,
            timeout_s=self._settings.timeout_s,
        )
        self._stop, self._lock = threading.Event(), threading.Lock()
        self.sleep: Callable[[float], bool] = self._stop.wait
        self._source: VideoSource | None = None
        self._pictures: Iterator[Picture] = iter(())
        self._thread: threading.Thread | None = None
        self._reader = 0
        self._index, self._last_us, self._last_at_us = 0, 0, 0
        self._offset_us = 0
        self._anchor_us: int | None = None
        self._ended = False

    def open(self) -> SourceInfo:
        """Open the source, and wait for its first picture.

        Raises:
            ScaError: It cannot be opened; nothing needs to be closed.
        """
        self._reader = threading.get_ident()
        self.info = self._connect(self._request)
        self._on_state("open", None)
        return self.info

    def start(self) -> None:
        """Read the source in a thread, until it ends or `close`."""
        self._thread = threading.Thread(target=self._run, name="sca-watch-capture", daemon=True)
        self._thread.start()

    def advance(self) -> bool:
        """Read one picture, at its time, and hand it on; connect again if the source was lost.

        Returns:
            Whether there may be more. False after the end, after which `error` has the reason of a failure.
        """
        self._reader = threading.get_ident()
        if self._ended or self._closed():
            return False
        try:
            picture = next(self._pictures, None)
        except ScaError as error:
            return self._lost(error)
        if self._closed():
            return False
        if picture is None:
            return self._over()
        self._release(picture)
        return True

    def close(self) -> None:
        """End reading within a second. A second call has no effect."""
        with self._lock:
            self._stop.set()
            source = self._source
        if source is not None:
            source.close()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        if source is not None and (self._thread is not None or self._reader == threading.get_ident()):
            source.release()  # otherwise the thread that is waiting in it does that
        self._display.close()
        self._window.close()

    def _closed(self) -> bool:
        """Return whether the capture was closed, and release the source if it was."""
        if self._stop.is_set() and self._source is not None:
            self._source.release()
        return self._stop.is_set()

    def _run(self) -> None:
        try:
            while self.advance():
                pass
        except Exception as error:
            logger.exception("reading %s failed", self._request.address.shown)
            self._finish(ScaError(f"a bug was met while reading {self._request.address.shown}: {error!r}"))

    def _connect(self, request: SourceRequest) -> SourceInfo:
        source = VideoSource(request)
        with self._lock:
            stopped = self._stop.is_set()
            if not stopped:
                self._source = source
        try:
            if stopped:
                raise InputError(f"{request.address.shown} was closed")
            info = source.open()
        except ScaError:
            source.release()
            raise
        self._pictures, self._anchor_us = iter(source), None
        return info

    def _release(self, picture: Picture) -> None:
        """Wait for the time of a picture, and hand it on."""
        time_us = max(self._last_us, picture.time_us + self._offset_us)
        at_us = self._due(time_us)
        if self._stop.is_set():
            return
        index, self._index = self._index, self._index + 1
        self._last_us, self._last_at_us = time_us, at_us
        if picture.jpeg:
            self._display.add(JpegFrame(index, time_us, at_us, picture.jpeg_width, picture.jpeg_height, picture.jpeg))
        if picture.pixels is not None:
            frame = VideoFrame(index, time_us, at_us, picture.pixels)
            self._window.add(frame)
            self._on_frame(frame)

    def _due(self, time_us: int) -> int:
        """Return the time of the session at which a picture is released, and wait for it."""
        now_us = self._now_us()
        if self._anchor_us is None:
            self._anchor_us = now_us - time_us
        if self.info is not None and self.info.live:
            return now_us
        due_us = self._anchor_us + time_us
        if self._settings.pace == "fast":
            return due_us
        if now_us - due_us > _LATE_US:
            self._anchor_us = now_us - time_us
        while now_us < due_us and not self.sleep((due_us - now_us) / 1e6):
            now_us = self._now_us()
        return now_us

    def _over(self) -> bool:
        """Handle the end of the pictures. A stream that stopped before its end was lost."""
        if self._source is not None:
            self._source.release()
        if self.info is not None and self._is_early(self.info):
            return self._lost(UpstreamError(f"{self._request.address.shown} ended"))
        self._finish(None)
        return False

    def _is_early(self, info: SourceInfo) -> bool:
        """Return whether the pictures ended where the source does not."""
        if self._request.address.kind not in _STREAMS:
            return False
        if info.live or self._settings.loop:
            return True
        if info.seconds is None:
            return info.container in _ENDLESS
        return self._last_us / 1e6 < info.seconds - _SHORT_S

    def _lost(self, error: ScaError) -> bool:
        """Connect again after a loss; return whether that succeeded."""
        if self._source is not None:
            self._source.release()
        if self._stop.is_set():
            return False
        if self._request.address.kind not in _STREAMS:
            self._finish(error)
            return False
        self._on_state("lost", error.message)
        since_us = self._now_us()
        attempt = 0
        while self._now_us() - since_us < self._settings.reconnect_s * 1e6:
            if self.sleep(backoff_s(attempt)):
                return False
            try:
                info = self._connect(self._again())
            except ScaError as failure:
                if self._stop.is_set():
                    return False
                logger.info("%s", failure.message)
                error, attempt = failure, attempt + 1
                continue
            self._resume(info)
            return True
        self._finish(error)
        return False

    def _again(self) -> SourceRequest:
        """Return the request for the rest: from where it was lost, for what has a beginning."""
        info, loop = self.info, self._settings.loop
        has_beginning = info is not None and not info.live and info.seconds is not None and not loop
        return replace(self._request, start_us=self._last_us) if has_beginning else self._request

    def _resume(self, info: SourceInfo) -> None:
        """Let time go on: a live source by as much as it was away, another one from where it was."""
        again = self._again()
        self.info = info
        gap_us = max(0, self._now_us() - self._last_at_us)
        self._offset_us = 0 if again.start_us else self._last_us + (gap_us if info.live else 0)
        self._on_state("open", None)

    def _finish(self, error: ScaError | None) -> None:
        self.error, self._ended = error, True
        if not self._stop.is_set():
            damaged = 0 if self._source is None else self._source.damaged
            remark = f"{counted(damaged, 'damaged packet')} left out" if damaged else None
            self._on_state("ended", remark if error is None else error.message)
        self._display.close()
        self._window.close()
