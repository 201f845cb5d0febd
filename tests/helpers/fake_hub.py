"""A hub on the loopback interface that accepts a data set.

It serves the requests of huggingface_hub that create a repository and commit files.
Every file is a "regular" one, with its content in the commit; the transfer of large files is not tested.
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
    """The state of the hub.

    Attributes:
        url: Its address.
        status: The HTTP status of requests that create or look up a repository.
        created: The bodies of requests that create a repository.
        files: The committed files.
    """

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
            self._respond([] if "/tree/" in self.path else {"id": "me/data", "sha": COMMIT, "siblings": []}, hub.status)

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
