"""Calls to a live server for hours: what grows?

    python scripts/soak.py [--sessions 8] [--seconds 3600] [--warm-up 60] [--call-s 30-90] [--seed 0] [--max-slope 8]

A real `sca serve` with the parrot runs in its own process. Each of `--sessions` callers speaks in real time over
`WS /ws/pcm16` in frames of 20 ms, hangs up after a time drawn from `--call-s`, and calls again at once. Resident memory,
open descriptors and threads of the server are read every 2 s. After the last call all of its descriptors and threads
must be back to the numbers from before the first one, but for what the server opened once (`--slack`).

Printed are the memory slope in MiB per hour, a line fitted through the readings after the warm-up, and the numbers
before the calls, at most during them and after them. The exit code is 7 if the slope is over `--max-slope`, if
descriptors or threads remain, if a call got an error, or if the server printed a traceback. A slope of a few minutes is
mostly noise: judge by an hour. The last line is JSON.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.bench.serve import HEARD_HZ, Caller, rss_mib, serve, speech

EVERY_S = 2.0
FRAME = HEARD_HZ // 50


@dataclass(frozen=True)
class Reading:
    """The resources of a process at one time."""

    at_s: float
    rss_mib: float
    descriptors: int
    threads: int


def read(pid: int, begin_s: float) -> Reading:
    """Read the resources of a process. Linux only."""
    folders = [sum(1 for _ in Path(f"/proc/{pid}/{name}").iterdir()) for name in ("fd", "task")]
    return Reading(round(time.monotonic() - begin_s, 1), round(rss_mib(pid), 2), *folders)


class Calls:
    """What the callers did."""

    def __init__(self) -> None:
        self.made, self.chunks, self.replies, self.lost = 0, 0, 0, 0
        self.errors: set[str] = set()

    async def call(self, url: str, sound: np.ndarray, until: float, lengths_s: Iterable[float]) -> None:
        """Call again and again until a time of the event loop."""
        loop, where = asyncio.get_running_loop(), urlsplit(url)
        for length_s in lengths_s:
            if loop.time() >= until:
                return
            transport, caller = await loop.create_connection(
                lambda: Caller(where.netloc, sound, FRAME), where.hostname, where.port
            )
            await asyncio.wait_for(caller.open.wait(), 60)
            self.made += 1
            await caller.talk(loop.time(), min(until, loop.time() + length_s))
            self.lost += caller.closed
            caller.finish()
            await asyncio.sleep(0.5)  # for the last replies and the end of the session
            transport.close()
            self.chunks += len(caller.chunks)
            self.replies += len(caller.replies)
            self.errors |= set(caller.errors)


async def soak(url: str, pid: int, given: argparse.Namespace) -> tuple[Calls, list[Reading]]:
    """Run the callers, and read the resources of the server meanwhile."""
    loop, calls, sound = asyncio.get_running_loop(), Calls(), speech()
    begin_s, until = time.monotonic(), loop.time() + given.seconds
    readings = [read(pid, begin_s)]

    async def watch() -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            readings.append(read(pid, begin_s))

    watching = asyncio.create_task(watch())
    async with asyncio.TaskGroup() as group:
        for number in range(given.sessions):
            turned = np.roll(sound, -number * len(sound) // given.sessions)
            group.create_task(calls.call(url, turned, until, _lengths(given.seed + number, *given.call_s)))
    watching.cancel()
    return calls, readings


def _lengths(seed: int, least_s: float, most_s: float) -> Iterable[float]:
    drawn = random.Random(seed)
    while True:
        yield drawn.uniform(least_s, most_s)


def settled(pid: int, before: Reading, slack: int, begin_s: float) -> Reading:
    """Return the resources when they are back to those from before, or after a minute."""
    end = time.monotonic() + 60
    while True:
        now = read(pid, begin_s)
        if time.monotonic() > end or not _remains(before, now, slack):
            return now
        time.sleep(1.0)


def _remains(before: Reading, after: Reading, slack: int) -> list[str]:
    """Return what is more than before."""
    pairs = {name: (getattr(before, name), getattr(after, name)) for name in ("descriptors", "threads")}
    return [f"{name}: {was} before, {now} after" for name, (was, now) in pairs.items() if now > was + slack]


def judge(given: argparse.Namespace, calls: Calls, readings: list[Reading], after: Reading, tracebacks: int) -> dict:
    """Return the report."""
    counted = [one for one in readings if one.at_s >= given.warm_up] or readings
    line = statistics.linear_regression([one.at_s for one in counted], [one.rss_mib for one in counted])
    slope = 3600 * line.slope
    faults = _remains(readings[0], after, given.slack)
    faults += [f"memory grows by {slope:.1f} MiB an hour"] if slope > given.max_slope else []
    faults += [f"error: {error}" for error in sorted(calls.errors)]
    faults += [f"{tracebacks} tracebacks of the server"] if tracebacks else []
    return {
        "sessions": given.sessions,
        "seconds": readings[-1].at_s,
        "calls": calls.made,
        "calls_lost": calls.lost,
        "chunks": calls.chunks,
        "replies": calls.replies,
        "rss_slope_mib_per_hour": round(slope, 2),
        "before": asdict(readings[0]),
        "at_warm_up": asdict(counted[0]),
        "most": {name: max(getattr(one, name) for one in readings) for name in ("rss_mib", "descriptors", "threads")},
        "after": asdict(after),
        "load": round(os.getloadavg()[1], 1),
        "faults": faults,
    }


def _span(text: str) -> tuple[float, float]:
    least, most = map(float, text.split("-"))
    if not 0 < least <= most:
        raise argparse.ArgumentTypeError("give MIN-MAX in seconds")
    return least, most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--warm-up", type=float, default=60)
    parser.add_argument("--call-s", type=_span, default=(30.0, 90.0), metavar="MIN-MAX", help="length of a call")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-slope", type=float, default=8.0, metavar="MIB", help="MiB per hour")
    parser.add_argument("--slack", type=int, default=4, help="descriptors and threads that may remain")
    given = parser.parse_args()
    if given.sessions < 1 or given.seconds <= given.warm_up:
        parser.error("--sessions must be at least 1, and --seconds more than --warm-up")
    with tempfile.NamedTemporaryFile("w", suffix=".log") as log:
        process, url = serve(given.sessions + 2, log)  # a seat is free again a little after its call
        try:
            begin_s = time.monotonic()
            calls, readings = asyncio.run(soak(url, process.pid, given))
            after = settled(process.pid, readings[0], given.slack, begin_s)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        report = judge(given, calls, readings, after, Path(log.name).read_text().count("Traceback"))
    for name, value in report.items():
        print(f"{name}: {json.dumps(value)}")
    print(json.dumps(report))
    sys.exit(7 if report["faults"] else 0)


if __name__ == "__main__":
    main()
