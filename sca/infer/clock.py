"""Time in a session: ticks of 1/48000 s read from the event loop, and an event loop whose time is simulated.

A sample at 16 kHz lasts exactly 3 ticks and one at 24 kHz exactly 2, so sample clocks are compared as integers and never drift.
Nothing in `sca.infer` reads another clock: whoever runs a session under `simulate` puts all of it, timeouts included, into
virtual time. That is a plain asyncio loop which, when nothing is left to do, moves its clock to the next timer instead of
waiting for it; so the loop needs no second implementation, and no dependency (trio's mock clock does the same for tests).
"""

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar

import anyio

from sca.units import HEARD_HZ, SPOKEN_HZ

__all__ = [
    "TICKS_PER_HEARD_SAMPLE",
    "TICKS_PER_MS",
    "TICKS_PER_SPOKEN_SAMPLE",
    "TICK_HZ",
    "Clock",
    "LoopClock",
    "simulate",
]

TICK_HZ = 48_000
TICKS_PER_MS = TICK_HZ // 1000
TICKS_PER_HEARD_SAMPLE = TICK_HZ // HEARD_HZ
TICKS_PER_SPOKEN_SAMPLE = TICK_HZ // SPOKEN_HZ

T = TypeVar("T")


class Clock(Protocol):
    """The time of one session."""

    def now(self) -> int:
        """Ticks since the session began."""
        ...

    async def sleep_until(self, tick: int) -> None:
        """Return at `tick`, or at once when it has passed."""
        ...


class LoopClock:
    """The event loop's time: the wall's, or the simulated one under `simulate`. Zero is when it is made."""

    def __init__(self) -> None:
        self._time_s = _clock_of_the_loop()
        self._origin_s = self._time_s()

    def now(self) -> int:
        """See `Clock`."""
        return round((self._time_s() - self._origin_s) * TICK_HZ)

    async def sleep_until(self, tick: int) -> None:
        """See `Clock`."""
        left = tick - self.now()
        if left > 0:
            await anyio.sleep(self._origin_s + tick / TICK_HZ - self._time_s())


def _clock_of_the_loop() -> Callable[[], float]:
    """What `anyio.current_time` asks: that looks up which loop it is, each of the many times it is called."""
    try:
        return asyncio.get_running_loop().time
    except RuntimeError:  # another kind of loop
        return anyio.current_time


class _Jumper(selectors.DefaultSelector):
    """Instead of waiting for the next timer, jumps to it. Waits for real only when nothing but a thread can go on."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return super().select(None)
        self.now_s += max(timeout, 0.0)
        return []


class _SimulatedLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumper = _Jumper()
        super().__init__(self._jumper)

    def time(self) -> float:
        return self._jumper.now_s


def simulate(main: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Run `main(*args)` in simulated time, as fast as the machine can; the order of events is the same in every run.

    Inside, nothing may wait for a thread, a process or a socket.
    """
    options: Mapping[str, Any] = {"loop_factory": _SimulatedLoop}
    return anyio.run(main, *args, backend="asyncio", backend_options=dict(options))
