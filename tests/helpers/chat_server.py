"""A server with the chat API for tests: it answers each request with the next entry of its script."""

import base64
import io
import json
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def chunk(text=None, *, finish=None, tool_calls=None):
    """Return one event of an answer."""
    delta = {key: value for key, value in (("content", text), ("tool_calls", tool_calls)) if value is not None}
    return f"data: {json.dumps({'choices': [{'index': 0, 'delta': delta, 'finish_reason': finish}]})}\n\n".encode()


DONE = b"data: [DONE]\n\n"


def streamed(*pieces):
    """Return a complete streamed answer."""
    return Answer([*(chunk(piece) for piece in pieces), chunk(finish="stop"), DONE])


def pictures_of(body):
    """Return the pictures of a request, RGB `(height, width, 3)`. Fails if one is not a JPEG with `detail: low`."""
    found = []
    for message in body["messages"]:
        parts = message["content"] if isinstance(message["content"], list) else []
        for part in parts:
            if part["type"] != "image_url":
                assert part["type"] == "text"
                continue
            assert part["image_url"]["detail"] == "low"
            kind, _, data = part["image_url"]["url"].partition(",")
            assert kind == "data:image/jpeg;base64"
            found.append(decoded(base64.b64decode(data, validate=True)))
    return found


def decoded(jpeg):
    """Return the pixels of a JPEG file, RGB."""
    import av

    assert jpeg[:2] == b"\xff\xd8"
    assert jpeg[-2:] == b"\xff\xd9"
    with av.open(io.BytesIO(jpeg), format="jpeg_pipe") as source:
        return next(source.decode(video=0)).to_ndarray(format="rgb24")


class Answer:
    """An answer: its status, headers and parts.

    A part is bytes, or an event of `threading` that is awaited before the next part. With `cut`, the connection is
    closed without the end of the body.
    """

    def __init__(self, parts, status=200, *, kind="text/event-stream", headers=(), cut=False):
        self.parts, self.status, self.kind, self.headers, self.cut = parts, status, kind, dict(headers), cut


class ChatServer:
    """A context manager with the attributes `url`, `requests` (the bodies), `keys` (the Authorization headers), `sessions`
    (the headers x-streaming-session) and `pictures` (per request, those of its messages, RGB).

    Args:
        script: One `Answer` per request, or a function that returns it for the pictures of a request; the last one is
            repeated.
    """

    def __init__(self, *script):
        self.requests, self.keys, self.paths, self.sessions, self.pictures = [], [], [], [], []
        self.closing = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.requests.append(json.loads(body))
                outer.keys.append(self.headers["Authorization"])
                outer.paths.append(self.path)
                outer.sessions.append(self.headers["x-streaming-session"])
                outer.pictures.append(pictures_of(outer.requests[-1]))
                entry = script[min(len(outer.requests), len(script)) - 1]
                with suppress(OSError):
                    self.answer(entry(outer.pictures[-1]) if callable(entry) else entry)

            def answer(self, answer):
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.kind)
                self.send_header("Transfer-Encoding", "chunked")
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                for part in answer.parts:
                    if isinstance(part, bytes):
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                        self.wfile.flush()
                    else:
                        while not part.wait(0.05) and not outer.closing.is_set():
                            pass
                if answer.cut:
                    self.close_connection = True
                    self.connection.shutdown(2)
                else:
                    self.wfile.write(b"0\r\n\r\n")

            def log_message(self, *args):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self):
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
