"""Load test of the live server with many callers: latency, missed deadlines, memory, CPU.

    python scripts/bench/serve.py [--sessions 64] [--seconds 60] [--warm-up 40] [--frame-ms 20] [--url URL --pid PID]

Conditions: a real `sca serve` with the parrot (its VAD runs on every frame) in its own process on loopback. The
clients are in another process, each a `WS /ws/pcm16` that sends speech in frames of `--frame-ms` in real time. They
begin evenly spread over a chunk, like callers, and are plain sockets on one event loop, because they share the cores
with the server. A warm-up runs first and is not counted; at its end the parrot's buffers have their final size.

Added latency: from the last frame of a chunk in the client's socket to the server's reply to that chunk, including
the engine's time and the wait for it. Sound: the same, for chunks that were answered with audio. A deadline is missed
if a reply comes after the next chunk was sent, or never, and by every chunk that the server reports as dropped. CPU
is that of the server's process, by thread; memory is its resident set, with a line fitted through one point per
second. `bare timers` is the lateness of the clients' own timers, and `stolen_percent` the time that the hypervisor
took from the cores; both are independent of the server. The last line is JSON.
"""

import argparse
import asyncio
import base64
import json
import os
import re
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

HEARD_HZ, CHUNK = 16_000, 5120
CHUNK_S = CHUNK / HEARD_HZ


def percentiles(values):
    if not values:
        return {"count": 0}
    p50, p95, p99 = np.percentile(values, [50, 95, 99])
    return {
        "count": len(values),
        "p50": round(p50, 3),
        "p95": round(p95, 3),
        "p99": round(p99, 3),
        "max": round(max(values), 3),
    }


# The clients, in a separate process.


class Caller(asyncio.Protocol):
    """One session: sends frames on time, and records when replies arrive."""

    def __init__(self, host, sound, frame):
        key = base64.b64encode(os.urandom(16)).decode()
        self.hello = (
            f"GET /ws/pcm16 HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ).encode()
        self.sound, self.frame = sound, frame
        self.buffer, self.open, self.sent = bytearray(), asyncio.Event(), 0
        self.chunks, self.replies, self.sounds, self.late = [], {}, {}, []
        self.dropped, self.errors, self.closed = 0, [], False

    def connection_made(self, transport):
        self.transport = transport
        transport.write(self.hello)

    def connection_lost(self, error):
        self.closed = True

    def data_received(self, data):
        now = time.perf_counter()
        self.buffer += data
        if not self.open.is_set():
            head, end, rest = bytes(self.buffer).partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self.errors.append(head.decode())
            self.buffer = bytearray(rest)
            self.open.set()
        while (size := self._whole()) is not None:
            head, length = size
            payload = bytes(self.buffer[head : head + length])
            if self.buffer[0] & 15 == 1:
                self._read(payload, now)
            del self.buffer[: head + length]

    def _whole(self):
        """Return (head, length) of the next message if it is complete."""
        if len(self.buffer) < 2:
            return None
        length, head = self.buffer[1] & 127, 2
        if length == 126:
            head = 4
        elif length == 127:
            head = 10
        if len(self.buffer) < head:
            return None
        if head > 2:
            length = int.from_bytes(self.buffer[2:head], "big")
        return (head, length) if len(self.buffer) >= head + length else None

    def _read(self, payload, now):
        message = json.loads(payload)
        if "chunk_ms" in message:
            self.replies[message["chunk_index"]] = now
        elif message.get("type") == "audio":
            self.sounds.setdefault(message["chunk_index"], now)
        elif message.get("type") == "lag":
            self.dropped += message["dropped_chunks"]
        elif message.get("type") == "error":
            self.errors.append(message["message"])

    async def talk(self, begins, until):
        loop, period = asyncio.get_running_loop(), self.frame / HEARD_HZ
        while (due := begins + (self.sent // self.frame + 1) * period) < until:
            await asyncio.sleep(due - loop.time())
            if self.closed:
                return
            self.late.append(loop.time() - due)
            at = self.sent % (len(self.sound) - self.frame)
            payload = self.sound[at : at + self.frame].tobytes()
            # A mask of zero is allowed and needs no computation.
            size = bytes([128 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
            self.transport.write(b"\x82" + size + bytes(4) + payload)
            self.sent += self.frame
            if self.sent // CHUNK > len(self.chunks):
                self.chunks.append(time.perf_counter())

    def finish(self):
        self.transport.write(b"\x88\x82" + bytes(4) + (1000).to_bytes(2, "big"))

    def results(self, counted_from):
        """Return latencies to reply and to audio in ms, and the missed deadlines, of chunks sent after `counted_from`."""
        first = next((i for i, at in enumerate(self.chunks) if at >= counted_from), len(self.chunks))
        took, with_audio, missed = [], [], self.dropped
        for i, at in list(enumerate(self.chunks))[first:]:
            if i in self.replies:
                took.append(1000 * (self.replies[i] - at))
            missed += i not in self.replies or self.replies[i] - at > CHUNK_S
            if i in self.sounds:
                with_audio.append(1000 * (self.sounds[i] - at))
        return took, with_audio, missed


def speech():
    from sca.audio.decode import read_audio
    from sca.resources import demo_corpus

    with demo_corpus() as folder:
        sound = read_audio(folder / "WAV" / "D0001_S0001_0_G0001.flac", HEARD_HZ)
    return np.rint(sound * 32767).astype("<i2")


async def call(url, sessions, seconds, warm_up, frame_ms):
    where, sound = urlsplit(url), speech()
    loop, frame = asyncio.get_running_loop(), HEARD_HZ * frame_ms // 1000
    callers = []
    for i in range(sessions):
        turned = np.roll(sound, -i * len(sound) // sessions)  # so that they do not all speak at the same time
        _, caller = await loop.create_connection(
            lambda shifted=turned: Caller(where.netloc, shifted, frame), where.hostname, where.port
        )
        await asyncio.wait_for(caller.open.wait(), 20)
        callers.append(caller)
    begins = loop.time() + 0.2
    print(json.dumps({"begins": time.time() + 0.2}), flush=True)
    counted_from = time.perf_counter() + 0.2 + warm_up
    until = begins + warm_up + seconds
    await asyncio.gather(*(caller.talk(begins + CHUNK_S * i / sessions, until) for i, caller in enumerate(callers)))
    await asyncio.sleep(1.0)  # for the last replies
    closed = sum(caller.closed for caller in callers)
    for caller in callers:
        caller.finish()
    found = [caller.results(counted_from) for caller in callers]
    print(json.dumps({
        "chunks": sum(len(took) for took, _, _ in found),
        "added_ms": percentiles([ms for took, _, _ in found for ms in took]),
        "sound_ms": percentiles([ms for _, with_audio, _ in found for ms in with_audio]),
        "missed_deadlines": sum(missed for _, _, missed in found),
        "sessions_lost": closed,
        "errors": sorted({error for caller in callers for error in caller.errors}),
        "bare_timers_ms": percentiles([1000 * late for caller in callers for late in caller.late]),
        "client_cpu_s": round(time.process_time(), 2),
    }))  # fmt: skip


# The server.


def cpu_s(pid):
    """Return the CPU seconds of the event loop (the main thread) and of all threads. Linux only."""
    found = {"loop": 0.0, "all": 0.0}
    for task in Path(f"/proc/{pid}/task").iterdir():
        seconds = int((task / "schedstat").read_text().split()[0]) / 1e9
        found["all"] += seconds
        if task.name == str(pid):
            found["loop"] = seconds
    return found


def stolen_s():
    """Return the seconds that the hypervisor took from all cores. Linux only; 0 on real hardware."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    return int(fields[8]) / os.sysconf("SC_CLK_TCK")


def rss_mib(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def serve(sessions, log):
    command = [
        sys.executable,
        "-m",
        "sca",
        "serve",
        "--engine",
        "parrot",
        "--port",
        "0",
        "--max-sessions",
        str(sessions),
    ]
    process = subprocess.Popen(command, stderr=log)
    while process.poll() is None:
        found = re.search(r"listening on (http://\S+)", Path(log.name).read_text())
        if found:
            return process, found[1]
        time.sleep(0.1)
    raise SystemExit(f"the server did not start: {Path(log.name).read_text()}")


def measure(url, pid, given):
    command = [
        sys.executable,
        __file__,
        "--client",
        url,
        *(str(value) for value in (given.sessions, given.seconds, given.warm_up, given.frame_ms)),
    ]
    client = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    line = client.stdout.readline()
    if not line:
        raise SystemExit("the clients did not start")
    time.sleep(max(0.0, json.loads(line)["begins"] + given.warm_up - time.time()))
    before, began, points, stolen = cpu_s(pid), time.monotonic(), [], stolen_s()
    while time.monotonic() < began + given.seconds:
        points.append((time.monotonic() - began, rss_mib(pid)))
        time.sleep(min(1.0, given.seconds / 10))
    wall, after, stolen = time.monotonic() - began, cpu_s(pid), stolen_s() - stolen
    found = json.loads(client.communicate()[0])
    slope = statistics.linear_regression(*zip(*points, strict=True)).slope
    per = given.sessions * wall
    return found | {
        "server_cpu_percent_of_a_core": round(100 * (after["all"] - before["all"]) / wall, 1),
        "cpu_ms_per_session_second": {name: round(1000 * (after[name] - before[name]) / per, 3) for name in before},
        "stolen_percent": round(100 * stolen / wall / os.cpu_count(), 1),
        "rss_mib": [round(points[0][1], 1), round(points[-1][1], 1)],
        "rss_slope_mib_per_hour_and_session": round(slope * 3600 / given.sessions, 3),
    }


def bench(given):
    load = os.getloadavg()[0]
    print(
        f"{len(os.sched_getaffinity(0))} cores, load {load:.1f} before; {given.sessions} sessions for {given.seconds:g} s"
    )
    process, pid, url = None, given.pid, given.url
    with tempfile.NamedTemporaryFile("w", suffix=".log") as log:
        if not url:
            process, url = serve(given.sessions, log)
            pid = process.pid
        try:
            found = measure(url, pid, given)
        finally:
            if process is not None:
                process.send_signal(signal.SIGTERM)
                process.wait(60)
        if process is not None:
            found["tracebacks"] = Path(log.name).read_text().count("Traceback")
    for name, value in found.items():
        print(f"{name}: {json.dumps(value)}")
    document = {
        "bench": "serve",
        "cores": len(os.sched_getaffinity(0)),
        "load_before": round(load, 2),
        "sessions": given.sessions,
        "seconds": given.seconds,
        "frame_ms": given.frame_ms,
        **found,
    }
    print(json.dumps(document))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--warm-up", type=float, default=40)
    parser.add_argument("--frame-ms", type=int, default=20)
    parser.add_argument("--url", default="", help="a running server on this machine, with its --pid")
    parser.add_argument("--pid", type=int, default=0)
    parser.add_argument("--client", nargs=5, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.client:
        url, sessions, seconds, warm_up, frame_ms = given.client
        asyncio.run(call(url, int(sessions), float(seconds), float(warm_up), int(frame_ms)))
    else:
        bench(given)


if __name__ == "__main__":
    main()
