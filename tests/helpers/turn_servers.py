"""Turn servers for tests: a scripted one, and the real one."""

import io
import json
import re
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import numpy as np

from tests.helpers.timeouts import TIMEOUT_S


class Scripted:
    """The state of a scripted server.

    Attributes:
        requests: (samples, headers) of each request.
        gate: The server responds while it is set.
        close_after_answer: Whether it closes connections after a response, without announcing it.
        reply: Returns (status, body, headers), given samples and headers.
    """

    def __init__(self, probability=0.9):
        self.requests = []
        self.connections = 0
        self.gate = threading.Event()
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
            state.requests.append((samples, dict(self.headers)))
            state.gate.wait(TIMEOUT_S)
            status, document, headers = state.reply(samples, self.headers)
            self.send(document, status, headers)

        def send(self, document, status=200, headers=()):
            body = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(status)
            for name, value in dict(headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(ConnectionError):  # of a client that did not wait
                self.wfile.write(body)
            if state.close_after_answer:
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


class RealServer:
    """`sca turn serve` with the real weights."""

    def __init__(self, url, process):
        self.url, self.process = url, process

    def answered(self):
        """Return how many requests it has answered."""
        return self._count('sca_turn_requests_total{status="200"}')

    def inference_s(self):
        """Return how long its model ran for them."""
        return self._count("sca_turn_inference_seconds_sum")

    def _count(self, name):
        lines = httpx.get(f"{self.url}/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))


@contextmanager
def real(*options):
    command = [sys.executable, "-m", "sca", "turn", "serve", "--port", "0", "--pool", "1"]
    command += ["--log-level", "error", *options]  # nothing reads the pipe
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stderr.readline()
        found = re.search(r"listening on (http://\S+)", line)
        assert found, line + process.stderr.read()
        yield RealServer(found[1], process)
    finally:
        process.kill()
        process.communicate()
