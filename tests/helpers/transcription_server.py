"""A server with `/v1/audio/transcriptions` for tests: it answers each request with the next entry of its script."""

import io
import threading
from contextlib import suppress
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import soundfile


class Answer:
    """A status, a body, and what goes wrong.

    Args:
        body: The body, as bytes.
        status: The status.
        promised: Bytes that the header promises; None for the length of the body.
        stalls: Whether the rest of the answer never comes.
    """

    def __init__(self, body=b"", status=200, *, promised=None, stalls=False):
        self.body, self.status, self.stalls = body, status, stalls
        self.promised = len(body) if promised is None else promised


class TranscriptionServer:
    """A context manager with the attributes `url`, `paths`, `keys`, `fields` (of each request) and `audio`."""

    def __init__(self, *script):
        self.paths, self.keys, self.fields, self.audio = [], [], [], []
        self.closing = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.read(self.path, self.headers, body)
                answer = script[min(len(outer.paths), len(script)) - 1]
                with suppress(OSError):
                    self.send_response(answer.status)
                    self.send_header("Content-Length", str(answer.promised))
                    self.end_headers()
                    self.wfile.write(answer.body)
                    self.wfile.flush()
                    if answer.stalls:
                        outer.closing.wait(30)

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def read(self, path, headers, body):
        parts = message_from_bytes(b"Content-Type: " + headers["Content-Type"].encode() + b"\r\n\r\n" + body)
        named = {part.get_param("name", header="content-disposition"): part for part in parts.get_payload()}
        sound = named.pop("file").get_payload(decode=True)
        self.paths.append(path)
        self.keys.append(headers["Authorization"])
        self.audio.append(soundfile.read(io.BytesIO(sound), dtype="float32"))
        self.fields.append({name: part.get_payload() for name, part in named.items()})

    def __enter__(self):
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
