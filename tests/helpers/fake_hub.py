"""A hub on the loopback interface that accepts a data set, and returns its files.

It serves the requests of huggingface_hub that create a repository, commit files, list folders and read files.
Every file is a "regular" one, with its content in the commit; the transfer of large files is not tested.
"""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "a" * 40


@dataclass
class Hub:
    """The state of the hub.

    Attributes:
        url: Its address.
        status: The HTTP status of requests that create or look up a repository.
        created: The bodies of requests that create a repository.
        files: The committed files.
        read: The parts of files that were read: name and number of bytes.
    """

    url: str = ""
    status: int = 200
    created: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    read: list[tuple[str, int]] = field(default_factory=list)


def _listing(files: dict[str, bytes], folder: str) -> list[dict[str, Any]]:
    """Return the files and folders in a folder, as the hub lists them."""
    prefix = f"{folder}/" if folder else ""
    inside = {name.removeprefix(prefix): content for name, content in files.items() if name.startswith(prefix)}
    folders = sorted({name.partition("/")[0] for name in inside if "/" in name})
    listed = [{"type": "directory", "path": prefix + name, "oid": "0" * 40, "size": 0} for name in folders]
    for name, content in inside.items():
        if "/" not in name:
            oid = sha1(content, usedforsecurity=False).hexdigest()
            listed.append({"type": "file", "path": prefix + name, "oid": oid, "size": len(content)})
    return listed


@contextmanager
def fake_hub() -> Iterator[Hub]:
    hub = Hub()

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            if self.path == "/api/repos/create":
                hub.created.append(json.loads(body))
                self._respond({"url": f"{hub.url}/datasets/me/data", "error": "no"}, hub.status)
            elif "/preupload/" in self.path:
                how = {"uploadMode": "regular", "shouldIgnore": False, "oid": None}
                self._respond({"files": [{"path": file["path"], **how} for file in json.loads(body)["files"]]})
            elif "/commit/" in self.path:
                for line in map(json.loads, body.splitlines()):
                    if line["key"] == "file":
                        hub.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                where = f"{hub.url}/datasets/me/data/commit/{COMMIT}"
                self._respond({"success": True, "commitOid": COMMIT, "commitUrl": where})
            else:
                self._respond({"errors": [], "warnings": []})

        def do_GET(self):
            path = self.path.partition("?")[0]
            if "/tree/" in path:
                self._respond(_listing(hub.files, path.partition("/tree/")[2].partition("/")[2]))
            elif "/resolve/" in path:
                self._send_file(path.partition("/resolve/")[2].partition("/")[2])
            else:
                self._respond({"id": "me/data", "sha": COMMIT, "siblings": []}, hub.status)

        def _send_file(self, name):
            content, wanted = hub.files.get(name), self.headers.get("range")
            if content is None:
                self._respond({"error": "no such file"}, 404)
                return
            first, last = 0, len(content) - 1
            if wanted:
                start, _, end = wanted.removeprefix("bytes=").partition("-")
                first, last = int(start), min(int(end or last), last)
            part = content[first : last + 1]
            hub.read.append((name, len(part)))
            self.send_response(206 if wanted else 200)
            self.send_header("content-range", f"bytes {first}-{last}/{len(content)}")
            self.send_header("content-length", str(len(part)))
            self.end_headers()
            self.wfile.write(part)

        def _respond(self, document, status=200):
            text = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
