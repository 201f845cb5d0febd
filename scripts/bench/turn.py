"""Measure the turn server beyond its model: throughput, latency, concurrency, overload.

    python scripts/bench/turn.py [--seconds 10] [--pool N] [--url URL] [--key KEY]
    python scripts/bench/turn.py --device cuda --all

Ceiling: processes that run the model in a loop, features included; first one, then one per core. It is compared with
a real `sca turn serve` on loopback that receives 8 s of noise per request from a client in its own process (plain
sockets without an HTTP library, because it shares the cores with the server). In the overload a request has 1 s of
noise, which takes the model equally long. The first request of every connection, and the first second of the
overload, are warm-up and not counted. "Beyond inference" is the client's wait minus the time in the model, and with
more clients than models minus the wait for a free one. The last line is JSON.

"CPU ratio" is the processor time of the whole server process per answer, divided by that of the bare calls of the model
(features included) in its own threads, by thread clocks. Both are of the same calls in the same run, so neither stolen
time nor a busy neighbour changes it. The goal is at most 1.05 with 1, 4 and 16 clients.

With `--device cuda --all`, the models in torch are checked and measured on a GPU instead, in under ten minutes and
without a network; with `--device cpu --all` the same checks are smaller. See `turn_device.py`. The exit code is 7 if a
check fails. Without a GPU, the checks of `--device cuda` are listed.
"""

import argparse
import io
import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import numpy as np

AUDIO_S = 8.0
OPEN_CLIENTS = 128  # more than the server accepts, so that the rest is refused


def percentiles(values: list[float]) -> dict[str, float]:
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


def noise() -> np.ndarray:
    return (np.random.default_rng(0).standard_normal(round(AUDIO_S * 16_000)) * 0.1).astype(np.float32)


# The ceiling.


def loop(seconds: float) -> None:
    """Run the model in a loop on one thread and print the rate; started as a separate process."""
    from sca.infer.turn.models.smart_turn_v3 import SmartTurnV3
    from sca.infer.turn.models.weights import bundled_file

    model, x, count = SmartTurnV3(bundled_file()), noise(), 0
    for _ in range(5):
        model(x)
    print("ready", flush=True)
    sys.stdin.readline()
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        model(x)
        count += 1
    print(count / (time.perf_counter() - started), flush=True)


def features_ms() -> dict[str, float]:
    from sca.infer.turn.models.features import v3_features

    x, took = noise(), []
    for _ in range(60):
        started = time.perf_counter()
        v3_features(x)
        took.append((time.perf_counter() - started) * 1000)
    return {"p50": round(float(np.median(took[10:])), 3), "min": round(min(took), 3)}


def ceiling(processes: int, seconds: float) -> float:
    command = [sys.executable, __file__, "--loop", str(seconds)]
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(processes)
    ]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return sum(float(process.communicate()[0]) for process in running)


# The client, in a separate process.


class Connection:
    """One kept-alive HTTP/1.1 connection."""

    def __init__(self, where: tuple[str, int], request: bytes) -> None:
        self._request = request
        self._socket = socket.create_connection(where)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self) -> dict:
        """Send the request and wait for the answer."""
        started = time.perf_counter()
        self._socket.sendall(self._request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            piece = self._socket.recv(65536)
            if not piece:
                raise SystemExit("the server closed a connection")
            answer += piece
        took = time.perf_counter() - started
        head, _, body = answer.partition(b"\r\n\r\n")
        length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
        while len(body) < length:
            body += self._socket.recv(65536)
        times = json.loads(body).get("metrics", {})
        in_model, waiting = times.get("inference_time", 0), times.get("queue_time", 0)
        return {
            "status": int(head[9:12]),
            "ms": took * 1000,
            "beyond_ms": (took - in_model - waiting) * 1000,
            "inference_ms": in_model * 1000,
        }


def closed_loop(make: Callable[[], Connection], concurrency: int, seconds: float) -> dict:
    """Run clients that each send the next request when the answer arrives."""
    results: list[dict] = []
    warm = threading.Barrier(concurrency + 1)

    def client() -> None:
        connection = make()
        connection.ask()
        warm.wait()
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            results.append(connection.ask())

    threads = [threading.Thread(target=client) for _ in range(concurrency)]
    for thread in threads:
        thread.start()
    warm.wait()
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    return {"sent": len(results) + concurrency, **summary(results, time.perf_counter() - started)}


def open_loop(make: Callable[[], Connection], rate_hz: float, seconds: float) -> dict:
    """Send requests at a fixed rate, independent of the answers."""
    results: list[dict] = []
    started, count, threads = time.perf_counter(), 0, []
    due: queue.SimpleQueue[float | None] = queue.SimpleQueue()

    def client() -> None:
        connection = make()
        while due.get() is not None:
            at = time.perf_counter() - started
            result = connection.ask()
            if at > 1:
                results.append(result)

    for _ in range(OPEN_CLIENTS):
        threads.append(threading.Thread(target=client))
        threads[-1].start()
    while (now := time.perf_counter() - started) < seconds + 1:
        while count < now * rate_hz:
            due.put(now)
            count += 1
        time.sleep(0.002)
    for _ in threads:
        due.put(None)
    for thread in threads:
        thread.join()
    return {"sent": count, **summary(results, time.perf_counter() - started - 1)}


def summary(results: list[dict], took: float) -> dict:
    statuses = {
        str(status): sum(result["status"] == status for result in results)
        for status in {result["status"] for result in results}
    }
    good = [result for result in results if result["status"] == 200]
    return {
        "statuses": statuses,
        "answers_per_s": round(len(good) / took, 2),
        "asked_per_s": round(len(results) / took, 1),
        "total_ms": percentiles([result["ms"] for result in good]),
        "beyond_ms": percentiles([result["beyond_ms"] for result in good]),
        "inference_ms": percentiles([result["inference_ms"] for result in good]),
        "refused_ms": percentiles([result["ms"] for result in results if result["status"] == 503]),
    }


def client(url: str, key: str, mode: str, amount: float, seconds: float) -> None:
    where = urlsplit(url)
    out = io.BytesIO()
    np.save(out, noise()[: round((AUDIO_S if mode == "closed" else 1) * 16_000)])
    body = out.getvalue()
    head = f"POST /raw HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Type: application/octet-stream\r\n"
    head += f"Authorization: Key {key}\r\n" if key else ""
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    def make() -> Connection:
        return Connection((where.hostname, where.port), request)

    found = closed_loop(make, int(amount), seconds) if mode == "closed" else open_loop(make, amount, seconds)
    print(json.dumps(found))


def ask(url: str, key: str, mode: str, amount: float, seconds: float) -> dict:
    command = [sys.executable, __file__, "--client", url, key, mode, str(amount), str(seconds)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def loop_cpu_ms(pid: int) -> float:
    """Return the CPU milliseconds of the server's event loop (its main thread), without the model. Linux only."""
    try:
        return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1e6
    except OSError:
        return float("nan")


def model_cpu_s(url: str, key: str) -> float:
    """Return the processor seconds of the server's bare calls of the model."""
    request = Request(f"{url}/metrics", headers={"Authorization": f"Key {key}"} if key else {})
    with urlopen(request) as answer:
        lines = answer.read().decode().splitlines()
    return float(next(line for line in lines if line.startswith("sca_turn_model_cpu_seconds_total ")).split()[1])


def process_cpu_s(pid: int) -> float:
    """Return the processor seconds of all threads of the server. Linux only, from here, so reading costs it nothing."""
    files = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(file.read_text().split()[0]) for file in files) / 1e9 if pid else float("nan")


def serve(pool: int, *options: str) -> tuple[subprocess.Popen, str]:
    command = [sys.executable, "-m", "sca", "turn", "serve", "--port", "0", "--pool", str(pool), *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    line = process.stderr.readline()
    found = re.search(r"listening on (http://\S+)", line)
    if not found:
        raise SystemExit(line + process.stderr.read())
    threading.Thread(target=process.stderr.read, daemon=True).start()  # a full pipe would stop the server
    return process, found[1]


def measure(url: str, key: str, pool: int, seconds: float, one_s: float, pid: int) -> dict:
    found = {}
    for name, mode, amount in [
        ("concurrency 1", "closed", 1),
        ("concurrency 4", "closed", 4),
        ("concurrency 16", "closed", 16),
        ("concurrency 64", "closed", 64),
        ("overload, 10 × capacity", "open", 10 * pool * one_s),
    ]:
        model_s = model_cpu_s(url, key)
        before_ms, before_s = loop_cpu_ms(pid), process_cpu_s(pid)
        found[name] = result = ask(url, key, mode, amount, seconds)
        result["event_loop_cpu_ms_per_request"] = round((loop_cpu_ms(pid) - before_ms) / result["sent"], 3)
        whole_s = process_cpu_s(pid) - before_s
        result["cpu_ratio"] = round(whole_s / (model_cpu_s(url, key) - model_s), 4)
        print(
            f"{name:24} {result['answers_per_s']:7.1f}/s   beyond inference p50 {result['beyond_ms'].get('p50', 0):6.2f}"
            f" p99 {result['beyond_ms'].get('p99', 0):6.2f} ms"
            f"   loop CPU {result['event_loop_cpu_ms_per_request']:.2f} ms   CPU ratio {result['cpu_ratio']:.3f}"
            f"   {result['statuses']}   refused {result['refused_ms']}"
        )
    return found


def serve_on_device(device: str, seconds: float) -> dict:
    """Measure a server on a device with 1 and with 64 clients."""
    # On a CPU, v3 is in torch for 16 bits only.
    options = ["--set", "turn.cuda_graphs=true"] if device.startswith("cuda") else ["--set", "turn.dtype=bfloat16"]
    process, url = serve(1, "--device", device, *options)
    try:
        return {f"concurrency {count}": ask(url, "", "closed", count, seconds) for count in (1, 64)}
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def bench(seconds: float, pool: int, url: str, key: str) -> None:
    cores = len(os.sched_getaffinity(0))
    pool = pool or cores
    print(f"{cores} cores, load {os.getloadavg()[0]:.1f} before; pool {pool}; {seconds:g} s per part after warm-up")
    features = features_ms()
    print(f"features of 8 s: {features} ms")
    one_s = ceiling(1, seconds)
    all_s = ceiling(pool, seconds) if pool > 1 else one_s
    print(f"the model in a loop: one process {one_s:.1f}/s, {pool} at once {all_s:.1f}/s")
    process = None
    if not url:
        # Bounded by requests, so that a slow machine refuses none with 16 clients.
        process, url = serve(pool, "--set", "turn.max_queue=60", "--set", "turn.max_queue_s=3600")
    try:
        found = measure(url, key, pool, seconds, one_s, process.pid if process else 0)
    finally:
        if process is not None:
            process.send_signal(signal.SIGTERM)
            process.wait(20)
    best_s = max(found["concurrency 4"]["answers_per_s"], found["concurrency 64"]["answers_per_s"])
    again_s = ceiling(pool, seconds) if pool > 1 else ceiling(1, seconds)
    print(f"the model in a loop again, after: {pool} at once {again_s:.1f}/s")
    document = {
        "bench": "turn",
        "cores": cores,
        "pool": pool,
        "seconds": seconds,
        "features_ms": features,
        "loop_one_per_s": round(one_s, 2),
        "loop_all_per_s": [round(all_s, 2), round(again_s, 2)],
        "throughput_ratio": round(best_s / (pool * one_s), 3),
        "throughput_ratio_of_loops_at_once": round(best_s / ((all_s + again_s) / 2), 3),
        **found,
    }
    print(json.dumps(document))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--pool", type=int, default=0)
    parser.add_argument("--url", default="")
    parser.add_argument("--key", default="")
    parser.add_argument("--device", default="")
    parser.add_argument("--all", action="store_true", help="all checks of --device")
    parser.add_argument("--loop", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--client", nargs=5, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.loop:
        loop(given.loop)
    elif given.client:
        url, key, mode, amount, seconds = given.client
        client(url, key, mode, float(amount), float(seconds))
    elif given.device:
        if not given.all:
            parser.error("--device needs --all")
        from turn_device import run_all

        run_all(given.device, lambda: serve_on_device(given.device, min(given.seconds, 10)))
    else:
        bench(given.seconds, given.pool, given.url, given.key)


if __name__ == "__main__":
    main()
