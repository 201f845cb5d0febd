"""Measure the live loop: overhead per chunk, missed deadlines, memory, simulated speed, features.

Conditions:

* paced: N sessions in one process in real time, one chunk of 0.32 s at a time, one worker thread. The engine returns
  a chunk of audio at every
  step and takes no time, so the overhead is that of the loop: from the last input sample of a chunk to its audio in
  the player, minus the time in the engine. `staggered`: sessions begin evenly spread over a chunk, like callers.
  `aligned`: the chunks of all sessions end at the same instant, the worst case. A deadline is missed if the audio of
  a chunk comes after the next chunk of input, or never. The share of the machine that other work took is reported
  too. On a busy machine the percentiles are those of its scheduler, which `bare timers` shows: tasks that wake at the
  same moments and do nothing.
* simulated: simulated time, from memory; with the parrot (Silero VAD on every frame) and with the engine that takes
  no time.
* hours: `--hours H`, simulated, with the parrot; memory of the process every ten minutes after the first half hour,
  clocks compared as
  integers, latency of the first and the last hour.
* features: the log-mel of one chunk, compared with WhisperFeatureExtractor over the usual padded window of 30 s, and
  the difference to the same
  extractor on the chunk alone.

    uv run python scripts/bench/loop.py [--seconds 20] [--sessions 1 64] [--hours 8]
"""

import argparse
import json
import os
import resource
import statistics
import time
from pathlib import Path

import anyio
import numpy as np

from sca.audio.decode import read_audio
from sca.audio.mel import log_mel
from sca.config import LiveConfig
from sca.infer.clock import LoopClock, simulate
from sca.infer.device_worker import InlineWorker, ThreadWorker
from sca.infer.engine import EngineInfo, StepGuard
from sca.infer.engines.parrot import ParrotEngine
from sca.infer.frames import AudioOutput
from sca.infer.interfaces import AudioBlock, BaseListener
from sca.infer.session.loop import LiveSession
from sca.infer.session.pacing import Playout, spoken_length
from sca.infer.session.stats import Histogram
from sca.resources import demo_corpus

CHUNK = 5120
PCM = bytes(7680 * 2)


class Instant:
    """An engine that returns a chunk of audio at every step and takes no time."""

    info = EngineInfo("instant", "a chunk of sound at every step", uses_features=False)

    def open(self, session_config):
        return self.Session()

    class Session:
        def __init__(self):
            self.guard = StepGuard(CHUNK)

        def step(self, heard):
            self.guard.check(heard)
            return [AudioOutput(PCM, 24_000, "", heard.chunk_index, 0)]

        def interrupt(self, turn_id):
            pass

        def reset(self):
            self.guard.reset()

        def close(self):
            self.guard.close()


class Tiled:
    """A source that repeats `sound` at the pace of the clock."""

    def __init__(self, sound, chunks, clock, *, can_wait):
        self.sound, self.chunks, self.clock, self.can_wait = sound, chunks, clock, can_wait

    async def blocks(self):
        period = len(self.sound) // CHUNK
        for i in range(self.chunks):
            tick = (i + 1) * CHUNK * 3
            await self.clock.sleep_until(tick)
            at = i % period * CHUNK
            yield AudioBlock(self.sound[at : at + CHUNK], tick)


class Player:
    """A sink that keeps the time and discards the audio."""

    def __init__(self, clock):
        self.clock, self.playout, self.heard = clock, Playout(40 * 48, 200 * 48), 0

    async def play(self, frame):
        now = self.clock.now()
        await self.clock.sleep_until(now + self.playout.ahead(now) - 960 * 48)
        return self.playout.push(frame.num_samples * 2, frame.turn_id, self.clock.now())

    def flush(self):
        self.playout.cut(self.clock.now())

    async def finish(self, heard_samples):
        self.heard = heard_samples


def rss_mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def merged(histograms):
    total = Histogram()
    for histogram in histograms:
        for bucket, count in histogram._buckets.items():
            total._buckets[bucket] = total._buckets.get(bucket, 0) + count
        total.count += histogram.count
        total._most = max(total._most, histogram._most)
    return total


def processors():
    """Return the jiffies of all processors: total, taken by the hypervisor, idle; zeros if the system does not report them."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0, 0, 0
    spent = [int(value) for value in stat.read_text().split("\n", 1)[0].split()[1:]]
    return sum(spent), spent[7], spent[3]


def paced(sessions, seconds, sound, *, staggered):
    live = LiveConfig()
    chunks = int(seconds / 0.32)

    async def run_session(i, worker, done):
        await anyio.sleep(0.32 * i / sessions if staggered else 0)
        clock = LoopClock()
        source = Tiled(sound, chunks, clock, can_wait=False)
        session = LiveSession(Instant(), source, Player(clock), clock=clock, worker=worker, live=live)
        done.append(await session.run())

    async def main():
        worker, done = ThreadWorker(), []
        async with anyio.create_task_group() as tasks:
            for i in range(sessions):
                tasks.start_soon(run_session, i, worker, done)
        worker.close()
        return done

    began, cpu, before = time.perf_counter(), time.process_time(), processors()
    done = anyio.run(main)
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    total, stolen, idle = (after - earlier for after, earlier in zip(processors(), before, strict=True))
    overhead = merged([stats.overhead for stats in done])
    return {
        "sessions": sessions,
        "regime": "staggered" if staggered else "aligned",
        "chunks": overhead.count,
        "overhead_ms": overhead.summary(),
        "missed_deadlines": sum(stats.late + stats.dropped for stats in done),
        "cpu_percent_of_a_core": round(100 * cpu / wall, 1),
        "cpu_ms_per_chunk": round(1000 * cpu / max(1, overhead.count), 3),
        "machine_stolen_percent": round(100 * stolen / max(1, total), 1),
        "machine_idle_percent": round(100 * idle / max(1, total), 1),
    }


def bare_timers(sessions, seconds):
    """Measure how late tasks wake that do nothing at the same moments: a lower bound for any loop on this machine."""
    late = Histogram()

    async def wake(i):
        await anyio.sleep(0.32 * i / sessions)
        clock = LoopClock()
        for k in range(1, int(seconds / 0.32) + 1):
            await clock.sleep_until(k * CHUNK * 3)
            late.add(clock.now() - k * CHUNK * 3)

    async def main():
        async with anyio.create_task_group() as tasks:
            for i in range(sessions):
                tasks.start_soon(wake, i)

    anyio.run(main)
    return late.summary()


class Scale(BaseListener):
    """Records memory every ten simulated minutes."""

    def __init__(self):
        self.points = []

    def on_input(self, samples, chunk_index):
        if chunk_index % 1875 == 0:
            self.points.append((chunk_index * CHUNK / 16_000 / 3600, rss_mib()))


def simulated(engine, hours, sound, listeners=()):
    chunks = round(hours * 11_250)

    async def main():
        clock = LoopClock()
        sink = Player(clock)
        live = LiveConfig()
        session = LiveSession(
            engine, Tiled(sound, chunks, clock, can_wait=True), sink, clock=clock, worker=InlineWorker(20.0), live=live,
            listeners=listeners,
        )  # fmt: skip
        stats = await session.run()
        return stats, clock.now(), sink.heard

    began, cpu = time.perf_counter(), time.process_time()
    stats, now, heard = simulate(main)
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    drift = {
        "heard_samples_off": heard - chunks * CHUNK,
        "spoken_samples_off": spoken_length(heard) - chunks * 7680,
        "clock_ticks_off": now - (chunks * CHUNK * 3 + 20 * 48),
    }
    assert stats.stepped == chunks
    return {
        "engine": engine.info.name,
        "hours": hours,
        "wall_s": round(wall, 2),
        "cpu_s": round(cpu, 2),
        "times_real_time": round(hours * 3600 / wall, 1),
        "times_real_time_per_cpu": round(hours * 3600 / cpu, 1),
        "latency_ms": stats.latency.summary(),
        **drift,
    }


def long_session(hours, sound):
    scale = Scale()
    result = simulated(ParrotEngine(), hours, sound, [scale])
    points = [point for point in scale.points if point[0] >= min(0.5, hours / 4)]
    slope = statistics.linear_regression(*zip(*points, strict=True)).slope if len(points) > 2 else None
    first = simulated(ParrotEngine(), min(1.0, hours), sound)["latency_ms"]["p99"]
    return result | {
        "rss_mib": [round(points[0][1], 2), round(points[-1][1], 2)],
        "rss_slope_mib_per_hour": None if slope is None else round(slope, 3),
        "latency_p99_of_one_hour_ms": first,
    }


def features(sound):
    from transformers import WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor(feature_size=128)
    chunks = [sound[i * CHUNK : (i + 1) * CHUNK] for i in range(40)]
    chunk_alone = {"return_tensors": "np", "sampling_rate": 16_000, "padding": True, "truncation": False}

    def clock(work):
        work(chunks[0])
        times = []
        for chunk in chunks:
            began = time.perf_counter()
            work(chunk)
            times.append(time.perf_counter() - began)
        return statistics.median(times) * 1000

    window_ms = clock(lambda chunk: extractor(chunk, return_tensors="np", sampling_rate=16_000))
    ours_ms = clock(log_mel)
    alone_ms = clock(lambda chunk: extractor(chunk, **chunk_alone))
    difference = max(
        float(np.abs(extractor(chunk, **chunk_alone)["input_features"][0] - log_mel(chunk)).max()) for chunk in chunks
    )
    return {
        "ours_ms": round(ours_ms, 3),
        "reference_padded_window_ms": round(window_ms, 3),
        "reference_chunk_alone_ms": round(alone_ms, 3),
        "ratio": round(window_ms / ours_ms, 1),
        "max_difference_on_the_chunk": difference,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20, help="length of a paced run")
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--simulated-hours", type=float, default=0.5)
    parser.add_argument(
        "--hours", type=float, default=None, help="only a long session of this many simulated hours, at least 0.2"
    )
    args = parser.parse_args()
    if args.hours is not None and args.hours < 0.2:
        parser.error("--hours must be at least 0.2: memory is recorded every ten minutes")
    with demo_corpus() as folder:
        sound = read_audio(folder / "WAV" / "D0001_S0001_0_G0001.flac", 16_000)
    result = {"cores": os.cpu_count(), "load_before": round(os.getloadavg()[0], 2)}

    def report(name, value):
        print(f"{name}: {json.dumps(value)}")
        result[name] = value

    if args.hours is not None:
        report("long_session", long_session(args.hours, sound))
    else:
        paced(2, 3, sound, staggered=True)  # warm-up
        for sessions in args.sessions:
            report(f"bare_timers_{sessions}_ms", bare_timers(sessions, args.seconds))
            report(f"paced_{sessions}", paced(sessions, args.seconds, sound, staggered=True))
        report("paced_aligned", paced(max(args.sessions), args.seconds, sound, staggered=False))
        for engine in (ParrotEngine(), Instant()):
            report(f"simulated_{engine.info.name}", simulated(engine, args.simulated_hours, sound))
        report("features", features(sound))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
