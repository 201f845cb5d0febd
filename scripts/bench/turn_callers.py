"""Callers of `sca serve` with a slow turn server: chunks that were dropped, and how late the others were answered.

    python scripts/bench/turn_callers.py [--callers 1 6 16] [--answer-ms 50 250] [--seconds 12]

A turn server on loopback answers "not finished" after a fixed time. Each caller sends the demo speech in real time to
`WS /ws/pcm16`. Lateness is the time from the end of a chunk to its answer. Prints a Markdown table.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import websockets

from sca.audio.decode import read_audio
from sca.resources import demo_corpus

CHUNK_S, FRAME = 0.32, 1280


def turn_server(answer_s):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(answer_s)
            body = b'{"prediction": 0, "probability": 0.2}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

        def handle(self):
            try:
                super().handle()
            except OSError:  # the client did not wait
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


async def caller(url, sound):
    """Return (lateness of each answered chunk in s, dropped chunks)."""
    late, dropped = [], 0
    async with websockets.connect(url, max_size=None, proxy=None) as socket:
        started_s = time.monotonic()

        async def send():
            for index, at in enumerate(range(0, len(sound), FRAME)):
                await socket.send(sound[at : at + FRAME].tobytes())
                await asyncio.sleep(max(0, started_s + (index + 1) * FRAME / 16_000 - time.monotonic()))
            await socket.send(json.dumps({"type": "end"}))

        sending = asyncio.create_task(send())
        async for message in socket:
            document = json.loads(message) if isinstance(message, str) else {}
            if document.get("type") == "lag":
                dropped += document["dropped_chunks"]
            if "chunk_ms" in document:
                late.append(time.monotonic() - started_s - (document["chunk_index"] + 1) * CHUNK_S)
        await sending
    return late, dropped


async def callers(url, sound, count):
    found = await asyncio.gather(*(caller(url, sound) for _ in range(count)))
    late = 1000 * np.array([value for values, _ in found for value in values])
    return late, sum(dropped for _, dropped in found)


def measure(count, answer_ms, sound):
    server = turn_server(answer_ms / 1000)
    env = os.environ | {"SCA_LIVE_TURN_MODEL": f"http://127.0.0.1:{server.server_port}"}
    command = [sys.executable, "-m", "sca", "serve", "--engine", "parrot", "--port", "0"]
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as process:
        try:
            line = next(line for line in process.stderr if "listening on http" in line)
            url = next(word for word in line.split() if word.startswith("http")).rstrip(",;")
            threading.Thread(target=process.stderr.read, daemon=True).start()
            late, dropped = asyncio.run(callers(f"{url.replace('http', 'ws', 1)}/ws/pcm16", sound, count))
        finally:
            process.terminate()
    server.shutdown()
    p50, p95 = np.percentile(late, [50, 95])
    print(
        f"| {count} | {answer_ms:g} | {len(late)} | {dropped} | {p50:.0f} | {p95:.0f} | {late.max():.0f} |", flush=True
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 6, 16])
    parser.add_argument("--answer-ms", type=float, nargs="+", default=[50, 250])
    parser.add_argument("--seconds", type=float, default=12)
    options = parser.parse_args()
    with demo_corpus() as folder:
        speech = read_audio(folder / "WAV" / "D0001_S0001_0_G0001.flac", 16_000)
    sound = (speech[: int(options.seconds * 16_000)] * 32767).astype("<i2")
    print(
        "| callers | turn server, ms | chunks answered | dropped | late p50, ms | p95 | longest |\n|---|---|---|---|---|---|---|"
    )
    for count in options.callers:
        for answer_ms in options.answer_ms:
            measure(count, answer_ms, sound)


if __name__ == "__main__":
    main()
