"""A hub on loopback that takes a data set: just the requests by which huggingface_hub creates a repository and commits files.

Every file is a "regular" one, whose content comes inside the commit; how large files travel is the library's own business.
"""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "a" * 40


@dataclass
class Hub:
    """What was asked of it. status: what creating and looking at a repository are answered with."""

    url: str = ""
    status: int = 200
    created: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)


@contextmanager
def fake_hub() -> Iterator[Hub]:
    hub = Hub()

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            if self.path == "/api/repos/create":
                hub.created.append(json.loads(body))
                self._say({"url": f"{hub.url}/datasets/me/data", "error": "no"}, hub.status)
            elif "/preupload/" in self.path:
                how = {"uploadMode": "regular", "shouldIgnore": False, "oid": None}
                self._say({"files": [{"path": file["path"], **how} for file in json.loads(body)["files"]]})
            elif "/commit/" in self.path:
                for line in map(json.loads, body.splitlines()):
                    if line["key"] == "file":
                        hub.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                where = f"{hub.url}/datasets/me/data/commit/{COMMIT}"
                self._say({"success": True, "commitOid": COMMIT, "commitUrl": where})
            else:
                self._say({"errors": [], "warnings": []})

        def do_GET(self):
            self._say([] if "/tree/" in self.path else {"id": "me/data", "sha": COMMIT, "siblings": []}, hub.status)

        def _say(self, document, status=200):
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
