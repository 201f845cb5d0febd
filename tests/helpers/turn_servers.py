"""Turn servers for tests: a scripted one that obeys the wire format, and the way into the real one."""

import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from sca.infer.turn.client import TurnClient
from tests.helpers.patience import PATIENCE_S


class Scripted:
    """What the server was asked, and what it shall answer: `reply(samples, headers)` gives (status, body, headers)."""

    def __init__(self, probability=0.9):
        self.asked = []  # (samples, headers)
        self.connections = 0
        self.gate = threading.Event()  # it answers as long as this is set
        self.gate.set()
        self.close_after_answer = False
        self.reply = lambda samples, headers: (200, answer(probability), {})
        self.url = ""


def answer(probability):
    return {"prediction": int(probability > 0.5), "probability": probability, "metrics": {"inference_time": 0.01}}


@contextmanager
def scripted(probability=0.9):
    state = Scripted(probability)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self):
            super().setup()
            state.connections += 1

        def do_GET(self):
            self.send({"ok": True})

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            samples = np.load(io.BytesIO(body), allow_pickle=False)
            state.asked.append((samples, dict(self.headers)))
            state.gate.wait(PATIENCE_S)
            status, document, headers = state.reply(samples, self.headers)
            self.send(document, status, headers)

        def send(self, document, status=200, headers=()):
            body = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(status)
            for name, value in dict(headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            if state.close_after_answer:  # without having announced it, like a server that restarts
                self.close_connection = True

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        state.gate.set()
        server.shutdown()
        thread.join()
        server.server_close()


def free_port():
    """One that nobody is given who asks for any: those begin at 32768 on Linux, at 49152 elsewhere."""
    for port in range(20_000 + os.getpid() % 10_000, 32_768):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


class Real:
    """`sca turn serve` with the real weights."""

    def __init__(self, port, process):
        self.url, self.process = f"http://127.0.0.1:{port}", process

    def answered(self):
        """Questions it has answered, by its own count."""
        return self._count('sca_turn_requests_total{status="200"}')

    def inference_s(self):
        """Seconds its model has worked for them."""
        return self._count("sca_turn_inference_seconds_sum")

    def _count(self, name):
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=PATIENCE_S) as response:
            lines = response.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))


@contextmanager
def real(*options):
    port = free_port()
    command = [sys.executable, "-m", "sca", "turn", "serve", "--port", str(port), "--pool", "1", *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        with TurnClient(f"http://127.0.0.1:{port}", timeout_s=1.0) as client:
            until = time.monotonic() + PATIENCE_S
            while not client.healthy():
                assert process.poll() is None, process.stderr.read()
                assert time.monotonic() < until
                time.sleep(0.05)
        yield Real(port, process)
    finally:
        process.kill()
        process.communicate()
