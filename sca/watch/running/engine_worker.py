"""The thread in which a vision engine works: it gets pictures and questions, and reports what comes of them."""

import threading
from collections import deque
from collections.abc import Generator
from contextlib import suppress
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sca.errors import ScaError, UpstreamError
from sca.textutil import first_line
from sca.watch.engines.base import Piece, WatchEngine, WatchRequest, WatchSession
from sca.watch.frames import VideoFrame

__all__ = ["EngineListener", "EngineWorker"]

_BEHIND_US = 500_000
"""Pictures that wait for the engine leave when they are older than the newest one by more than this."""


class EngineListener:
    """What a worker reports, in its thread; to be overridden."""

    def on_saw(self, frame: VideoFrame, *, wants: bool) -> None:
        """The engine was given a picture."""

    def on_piece(self, cycle: int, piece: Piece) -> None:
        """The next piece of an answer."""

    def on_answered(self, cycle: int, error: ScaError | None) -> None:
        """An answer is complete, or failed."""


class EngineWorker:
    """A session of an engine in a thread.

    Args:
        engine: The engine.
        listener: Receives the reports.
    """

    def __init__(self, engine: WatchEngine, listener: EngineListener) -> None:
        self._engine, self._listener = engine, listener
        self._side = engine.info.max_side
        self._jobs: deque[VideoFrame | WatchRequest] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._session: WatchSession | None = None
        self._opened = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="sca watch engine", daemon=True)

    def start(self, timeout_s: float | None = None) -> None:
        """Open the session, in the thread.

        Args:
            timeout_s: How long to wait for it; None for as long as it takes.

        Raises:
            ScaError: The engine cannot open a session.
        """
        self._thread.start()
        if not self._opened.wait(timeout_s):
            raise UpstreamError(f"the engine {self._engine.info.name} does not open a session within {timeout_s:g} s")
        if self._error is not None:
            raise self._error

    def see(self, frame: VideoFrame) -> None:
        """Give the engine a picture between answers. A slow engine misses pictures, so that it is not seconds behind."""
        with self._changed:
            oldest_us = frame.at_us - _BEHIND_US
            timely = (job for job in self._jobs if not isinstance(job, VideoFrame) or job.at_us >= oldest_us)
            self._jobs = deque([*timely, frame])
            self._changed.notify()

    def ask(self, request: WatchRequest) -> None:
        """Let the engine answer, after the pictures that it was given before."""
        with self._changed:
            self._jobs.append(request)
            self._changed.notify()

    def cancel(self) -> None:
        """End the answer in progress."""
        if self._session is not None:
            self._session.cancel()

    def close(self, wait_s: float = 0.0) -> None:
        """End the thread after the call that it is in, and close the session. Reports after this are not made.

        Args:
            wait_s: How long to wait for that.
        """
        with self._changed:
            self._is_closed = True
            self._jobs.clear()
            self._changed.notify()
        self.cancel()
        if wait_s > 0:
            self._thread.join(wait_s)

    # The thread

    def _run(self) -> None:
        try:
            session = self._session = self._engine.open()
        except BaseException as error:  # noqa: BLE001 - raised by `start`
            self._error = error
            return
        finally:
            self._opened.set()
        try:
            while (job := self._next()) is not None:
                if isinstance(job, WatchRequest):
                    self._answer(session, job)
                else:
                    self._show(session, job)
        finally:
            with suppress(Exception):  # of another package; the session has ended
                session.close()

    def _next(self) -> VideoFrame | WatchRequest | None:
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._is_closed)
            return None if self._is_closed else self._jobs.popleft()

    def _show(self, session: WatchSession, frame: VideoFrame) -> None:
        wants = False
        with suppress(Exception):  # the next answer of the session fails with it, and reports it
            wants = bool(session.see(self._scaled(frame)))
        if not self._is_closed:
            self._listener.on_saw(frame, wants=wants)

    def _answer(self, session: WatchSession, request: WatchRequest) -> None:
        error: ScaError | None = None
        try:
            pieces = session.answer(replace(request, frames=tuple(map(self._scaled, request.frames))))
            for piece in pieces:
                if self._is_closed:
                    break
                self._listener.on_piece(request.cycle, piece)
            if isinstance(pieces, Generator):
                pieces.close()
        except ScaError as failure:
            error = failure
        except Exception as failure:  # noqa: BLE001 - an engine of another package; it ends this cycle only
            error = ScaError(f"the engine failed: {type(failure).__name__}: {first_line(failure)}")
        if not self._is_closed:
            self._listener.on_answered(request.cycle, error)

    def _scaled(self, frame: VideoFrame) -> VideoFrame:
        height, width = frame.pixels.shape[:2]
        longest = max(height, width)
        if self._side is None or longest <= self._side:
            return frame
        return replace(
            frame, pixels=_resized(frame.pixels, width * self._side // longest, height * self._side // longest)
        )


def _resized(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    import av

    picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
    smaller: NDArray[np.uint8] = picture.reformat(max(width, 1), max(height, 1), interpolation="AREA").to_ndarray()
    return smaller
