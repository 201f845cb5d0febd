"""Session time in ticks of 1/48000 s, read from the event loop, and an event loop with simulated time.

A sample lasts exactly 3 ticks at 16 kHz and 2 ticks at 24 kHz, so sample clocks are compared as integers and do not
drift. No other clock is used in `sca.infer`: under `simulate`, a whole session including its timeouts runs in virtual
time. `simulate` uses a plain asyncio event loop that, when idle, advances its clock to the next timer instead of
waiting (as trio's mock clock does).
"""

import asyncio
import math
import selectors
from collections.abc import Awaitable, Callable
from typing import ParamSpec, Protocol, TypeVar

import anyio
from typing_extensions import override

from sca.units import HEARD_HZ, SPOKEN_HZ

__all__ = [
    "TICKS_PER_HEARD_SAMPLE",
    "TICKS_PER_MS",
    "TICKS_PER_SPOKEN_SAMPLE",
    "TICK_HZ",
    "Clock",
    "LoopClock",
    "seconds_to_ticks",
    "simulate",
]

TICK_HZ = 48_000
TICKS_PER_MS = TICK_HZ // 1000
TICKS_PER_HEARD_SAMPLE = TICK_HZ // HEARD_HZ
TICKS_PER_SPOKEN_SAMPLE = TICK_HZ // SPOKEN_HZ

P = ParamSpec("P")
T = TypeVar("T")


def seconds_to_ticks(seconds: float) -> int:
    """Return the tick nearest to a time in seconds; halves are rounded up."""
    return math.floor(seconds * TICK_HZ + 0.5)


class Clock(Protocol):
    """The time of one session."""

    def now(self) -> int:
        """Return the ticks since the start of the session."""
        ...

    async def sleep_until(self, tick: int) -> None:
        """Return at `tick`, or immediately if it has passed."""
        ...


class LoopClock(Clock):
    """The time of the running event loop, real or simulated. It starts at 0 when the clock is created."""

    def __init__(self) -> None:
        self._time_s = _loop_time()
        self._origin_s = self._time_s()

    @override
    def now(self) -> int:
        return seconds_to_ticks(self._time_s() - self._origin_s)

    @override
    async def sleep_until(self, tick: int) -> None:
        left = tick - self.now()
        if left > 0:
            await anyio.sleep(self._origin_s + tick / TICK_HZ - self._time_s())


def _loop_time() -> Callable[[], float]:
    """Return the time function of the running loop. `anyio.current_time` determines the kind of loop on every call."""
    try:
        return asyncio.get_running_loop().time
    except RuntimeError:  # not an asyncio loop
        return anyio.current_time


class _SimulatedSelector(selectors.DefaultSelector):
    """Advances the simulated time to the next timer. It waits in real time only if no timer is pending."""

    now_s = 0.0

    @override
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:  # only a thread can wake the loop
            return super().select(None)
        self.now_s += max(timeout, 0.0)
        return []


class _SimulatedLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._simulated_selector = _SimulatedSelector()
        super().__init__(self._simulated_selector)

    @override
    def time(self) -> float:
        return self._simulated_selector.now_s


def simulate(main: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `main` in simulated time, as fast as the machine can. The order of events is the same in every run.

    Args:
        main: An async function. It must not wait for a thread, a process or a socket.
        *args: Its positional arguments.
        **kwargs: Its keyword arguments.

    Returns:
        The result of `main`.
    """

    async def run() -> T:
        return await main(*args, **kwargs)

    return anyio.run(run, backend="asyncio", backend_options={"loop_factory": _SimulatedLoop})
