"""A server with the speech API of OpenAI on the loopback interface, with the faults that real ones have.

The sound of a text is 60 ms of a tone per letter, so its length is known. `fault` is a word of the model's name.
"""

import base64
import io
import json
import threading
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

RATE_HZ = 24_000
LETTER = RATE_HZ * 60 // 1000
KEY = "secret"


def sound(text: str, rate_hz: int = RATE_HZ) -> bytes:
    """Return 16-bit PCM: a tone for letters, silence for white space."""
    length = LETTER * rate_hz // RATE_HZ
    tone = 8000 * np.sin(np.arange(length) * 0.2)
    return b"".join((tone * (not letter.isspace())).astype("<i2").tobytes() for letter in text)


def wav(pcm: bytes, rate_hz: int = RATE_HZ, channels: int = 1, *, is_streamed: bool = False) -> bytes:
    """Return a WAV file; a streamed one does not state its length."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(pcm)
    whole = buffer.getvalue()
    return whole[:40] + b"\xff\xff\xff\xff" + whole[44:] if is_streamed else whole


def captions(text: str) -> list[dict[str, object]]:
    """Return the words of a text with their times, divided as some servers do: punctuation is a word."""
    found: list[dict[str, object]] = []
    at = 0
    for word in text.split():
        at = text.index(word, at)
        for part in (word.rstrip(".,!?"), word[len(word.rstrip(".,!?")) :]):
            if part:
                found.append({"word": part, "start_time": at * 0.06, "end_time": (at + len(part)) * 0.06})
                at += len(part)
    return found


@dataclass
class SpeechServer:
    """The state of the server.

    Attributes:
        url: Its address, with `/v1`.
        requests: The bodies it received.
        paths: The paths it received.
        refusals: Statuses that the next requests get, in order.
        headers: Headers of these refusals.
        release: Ends the waiting of stalled responses.
        asked: Set when a request arrived.
        gone: Set when a client closed the connection during a response.
    """

    url: str = ""
    requests: list[dict[str, object]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    refusals: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    release: threading.Event = field(default_factory=threading.Event)
    asked: threading.Event = field(default_factory=threading.Event)
    gone: threading.Event = field(default_factory=threading.Event)


@contextmanager
def speech_server() -> Iterator[SpeechServer]:
    """Run the server."""
    state = SpeechServer()

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            state.requests.append(body)
            state.paths.append(self.path)
            state.asked.set()
            if state.refusals:
                return self._json(state.refusals.pop(0), {"error": {"message": "not now"}}, state.headers)
            if self.headers.get("authorization") != f"Bearer {KEY}":
                return self._json(401, {"error": {"message": "Incorrect API key provided"}})
            if self.path not in ("/v1/audio/speech", "/dev/captioned_speech"):
                return self._json(404, {"detail": "Not Found"})
            try:
                self._speak(body, body["model"])
            except (BrokenPipeError, ConnectionResetError):
                state.gone.set()
                self.close_connection = True

        def _json(self, status, document, headers=None):
            data = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def _speak(self, body, fault):
            text, rate_hz = body["input"], 16_000 if fault == "rate" else RATE_HZ
            pcm = sound(text, rate_hz)
            if body["response_format"] == "wav" or fault == "ignores":
                pcm = wav(pcm, rate_hz, 2 if fault == "stereo" else 1, is_streamed=fault == "streamed")
            if fault == "mp3":
                pcm = b"ID3" + pcm
            if fault == "odd":
                pcm += b"\0"
            if fault == "empty":
                pcm = b""
            if self.path == "/dev/captioned_speech":
                kind, parts = "application/x-ndjson", list(self._lines(text, pcm, fault))
            elif body["stream_format"] == "sse":
                kind, parts = "text/event-stream", list(self._events(pcm, fault))
            else:
                kind, parts = "audio/pcm", [pcm[at : at + 9_001] for at in range(0, len(pcm), 9_001)]
            if fault == "silent":
                state.release.wait(60)
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for number, part in enumerate(parts):
                if fault == "stalls" and number == 1:
                    state.release.wait(60)
                if fault == "breaks" and number == 1:
                    self.close_connection = True
                    return
                self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")

        def _events(self, pcm, fault):
            for at in range(0, len(pcm), 9_001):
                audio = base64.b64encode(pcm[at : at + 9_001]).decode()
                document = {"type": "speech.audio.delta", "audio": "?" if fault == "base64" else audio}
                data = f"data: {json.dumps(document)}\n\n".encode()
                yield data[: len(data) // 2] + b"\n\n" if fault == "half" else data
            if fault == "error":
                yield b'data: {"type": "error", "error": {"message": "out of memory"}}\n\n'
            elif fault != "endless":
                yield b'data: {"type": "speech.audio.done", "usage": {"total_tokens": 9}}\n\n'

        def _lines(self, text, pcm, fault):
            words = captions(text)
            size = 20 * LETTER * 2
            for at in range(0, len(pcm), size):
                until = (at + size) / 2 / RATE_HZ
                now = [word for word in words if word["start_time"] < until]
                words = words[len(now) :]
                document = {"audio": base64.b64encode(pcm[at : at + size]).decode(), "timestamps": now}
                data = json.dumps(document).encode()
                yield data[: len(data) // 2] if fault == "half" else data + b"\n"

        def log_message(self, *given):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        state.release.set()
        server.shutdown()
        thread.join()
        server.server_close()
