"""Vision engines for tests: what they answer is a function of the request."""

import threading
from collections.abc import Callable, Iterator

from sca.errors import ConfigError, UpstreamError
from sca.watch.engines.base import Piece, TextPiece, WatchEngine, WatchEngineInfo, WatchRequest, WatchSession
from sca.watch.frames import VideoFrame

__all__ = ["ScriptedEngine", "fails", "fails_once", "load", "refuses", "stalls", "talks"]


class ScriptedEngine(WatchEngine):
    """An engine.

    Args:
        answer: Yields the pieces of an answer. It may raise `ScaError`, and wait for the event, which `cancel` sets.
        see: Called with each picture; returns whether there is a remark.
        info: Properties beside name and summary.

    Attributes:
        requests: What was requested.
        seen: Indices of the pictures that `see` got.
    """

    def __init__(
        self,
        answer: Callable[[WatchRequest, threading.Event], Iterator[Piece]],
        see: Callable[[VideoFrame], bool] = lambda frame: False,
        **info: object,
    ) -> None:
        self._see = see
        self._answer, self._info = answer, WatchEngineInfo("scripted", "For tests", **info)
        self.requests: list[WatchRequest] = []
        self.seen: list[int] = []
        self.sessions = self.closed = 0

    @property
    def info(self) -> WatchEngineInfo:
        return self._info

    def open(self) -> WatchSession:
        self.sessions += 1
        return _Session(self)

    def close(self) -> None:
        self.closed += 1


class _Session(WatchSession):
    def __init__(self, engine: ScriptedEngine) -> None:
        self._engine, self._cancelled = engine, threading.Event()

    def answer(self, request: WatchRequest) -> Iterator[Piece]:
        self._cancelled.clear()
        self._engine.requests.append(request)
        yield from self._engine._answer(request, self._cancelled)

    def see(self, frame: VideoFrame) -> bool:
        self._engine.seen.append(frame.index)
        return self._engine._see(frame)

    def cancel(self) -> None:
        self._cancelled.set()

    def close(self) -> None:
        pass


def talks(request: WatchRequest, cancelled: threading.Event) -> Iterator[Piece]:
    """Speak another sentence each time."""
    yield TextPiece(f"Number {request.cycle} ")
    yield TextPiece("runs and shoots.")


def fails(request: WatchRequest, cancelled: threading.Event) -> Iterator[Piece]:
    """Fail as a server that is down."""
    yield from ()
    raise UpstreamError("no vision server answers")


def refuses(request: WatchRequest, cancelled: threading.Event) -> Iterator[Piece]:
    """Fail as a server that refuses the key."""
    yield from ()
    raise ConfigError("the server refuses the key")


def fails_once(request: WatchRequest, cancelled: threading.Event) -> Iterator[Piece]:
    """Fail in the middle of the first answer only."""
    yield from talks(request, cancelled)
    if request.cycle == 0:
        raise UpstreamError("the vision server closed the connection")


def stalls(request: WatchRequest, cancelled: threading.Event) -> Iterator[Piece]:
    """Answer nothing until it is cancelled, the first time."""
    if request.cycle == 0:
        cancelled.wait()
        return
    yield from talks(request, cancelled)


def load(settings: object) -> ScriptedEngine:
    """Return the engine that the instruction of the settings names: `fails`, `fails_once`, `refuses` or `talks`."""
    name = settings.watch.instruction or "talks"
    return ScriptedEngine({"fails": fails, "fails_once": fails_once, "refuses": refuses, "talks": talks}[name])
