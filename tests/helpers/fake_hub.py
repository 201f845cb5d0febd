"""A hub on the loopback interface that accepts a data set, and returns its files; or that has the files of models.

It serves the requests of huggingface_hub that create a repository, commit files, list folders and read files. Large
files are sent before the commit, as git-lfs does ("basic" transfer), the others are in the commit.
"""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

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
        large_bytes: The size from which a file is a large one.
        objects: The large files that were sent, by the SHA-256 of their content.
        sent: The SHA-256 of each large file, in the order in which they were received.
        most_sent: The number of large files to receive; the answers to later ones are held back.
        held: Set when an answer is held back.
        rejected: Set when the content of a large file is not that of its name, such as the first half of a file.
        silent: Whether requests for a repository get no answer.
        file_status: The HTTP status of requests for a file.
        held_file: The file of which only the first half is sent, until `release`.
        release: Ends the waiting of the held file.
        tokens: The authorization of each request that reads.
        revisions: The revisions of the files that were read.
    """

    url: str = ""
    status: int = 200
    created: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    read: list[tuple[str, int]] = field(default_factory=list)
    large_bytes: int = 1 << 40
    objects: dict[str, bytes] = field(default_factory=dict)
    sent: list[str] = field(default_factory=list)
    most_sent: int | None = None
    held: threading.Event = field(default_factory=threading.Event)
    rejected: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    silent: bool = False
    file_status: int = 200
    held_file: str | None = None
    release: threading.Event = field(default_factory=threading.Event)
    tokens: list[str | None] = field(default_factory=list)
    revisions: list[str] = field(default_factory=list)


def _listing(files: dict[str, bytes], folder: str, *, recursive: bool) -> list[dict[str, Any]]:
    """Return the files and folders in a folder, as the hub lists them."""
    prefix = f"{folder}/" if folder else ""
    inside = {name.removeprefix(prefix): content for name, content in files.items() if name.startswith(prefix)}
    folders = sorted({name.partition("/")[0] for name in inside if "/" in name})
    listed = [{"type": "directory", "path": prefix + name, "oid": "0" * 40, "size": 0} for name in folders]
    for name, content in inside.items():
        if recursive or "/" not in name:
            oid = sha1(content, usedforsecurity=False).hexdigest()
            listed.append({"type": "file", "path": prefix + name, "oid": oid, "size": len(content)})
    return listed


def _siblings(hub: Hub) -> list[dict[str, Any]]:
    """Return the files as the description of a repository has them. Large ones have their SHA-256."""
    found = []
    for name, content in hub.files.items():
        large = {"size": len(content), "sha256": sha256(content).hexdigest(), "pointerSize": 130}
        is_large = len(content) >= hub.large_bytes
        found.append({"rfilename": name, "size": len(content)} | ({"lfs": large} if is_large else {}))
    return found


@contextmanager
def fake_hub() -> Iterator[Hub]:
    hub, lock = Hub(), threading.Lock()

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            if self.path == "/api/repos/create":
                hub.created.append(json.loads(body))
                self._respond({"url": f"{hub.url}/datasets/me/data", "error": "no"}, hub.status)
            elif "/preupload/" in self.path:
                self._respond({"files": [self._preupload(file) for file in json.loads(body)["files"]]})
            elif self.path.endswith("/info/lfs/objects/batch"):
                self._respond({"transfer": "basic", "objects": list(map(self._lfs, json.loads(body)["objects"]))})
            elif "/commit/" in self.path:
                for line in map(json.loads, body.splitlines()):
                    self._commit(line["key"], line["value"])
                where = f"{hub.url}/datasets/me/data/commit/{COMMIT}"
                self._respond({"success": True, "commitOid": COMMIT, "commitUrl": where})
            else:
                self._respond({"errors": [], "warnings": []})

        def _preupload(self, file):
            mode = "lfs" if file["size"] >= hub.large_bytes else "regular"
            return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": None}

        def _lfs(self, wanted):
            upload = {"actions": {"upload": {"href": f"{hub.url}/objects/{wanted['oid']}"}}}
            return {**wanted, **({} if wanted["oid"] in hub.objects else upload)}

        def _commit(self, key, value):
            if key == "file":
                hub.files[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                hub.files[value["path"]] = hub.objects[value["oid"]]
            elif key == "deletedFile":
                del hub.files[value["path"]]

        def do_PUT(self):
            oid = self.path.rpartition("/")[2]
            content = self._body()
            # A client that was killed has sent a part only. That part would replace the file in every later upload.
            if sha256(content).hexdigest() != oid:
                self.close_connection = True
                hub.rejected.set()
                self._respond({"error": "this is not the content of that name"}, 400)
                return
            with lock:
                is_held = hub.most_sent is not None and len(hub.sent) >= hub.most_sent
                if not is_held:
                    hub.objects[oid] = content
                    hub.sent.append(oid)
            if is_held:
                hub.held.set()
                hub.ended.wait()
                return
            self._respond({})

        def _body(self):
            if self.headers.get("transfer-encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("content-length") or 0))
            parts = []
            while size := int(self.rfile.readline() or b"0", 16):  # nothing: the client was ended
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def do_HEAD(self):
            self.do_GET()

        def do_GET(self):
            path, _, query = self.path.partition("?")
            hub.tokens.append(self.headers.get("authorization"))
            if "/tree/" in path:
                folder = path.partition("/tree/")[2].partition("/")[2]
                self._respond(_listing(hub.files, folder, recursive="recursive=true" in query.lower()))
            elif "/resolve/" in path:
                revision, _, name = path.partition("/resolve/")[2].partition("/")
                hub.revisions.append(revision)
                self._send_file(unquote(name))
            elif hub.silent:
                hub.ended.wait()
            else:
                siblings = _siblings(hub) if path.startswith("/api/models/") else []
                self._respond({"id": "me/data", "sha": COMMIT, "siblings": siblings}, hub.status)

        def _send_file(self, name):
            content, wanted = hub.files.get(name), self.headers.get("range")
            if content is None or hub.file_status != 200:
                self._respond({"error": "no such file"}, 404 if content is None else hub.file_status)
                return
            first, last = 0, len(content) - 1
            if wanted:
                start, _, end = wanted.removeprefix("bytes=").partition("-")
                first, last = int(start), min(int(end or last), last)
            part = content[first : last + 1]
            if self.command == "GET":
                hub.read.append((name, len(part)))
            self.send_response(206 if wanted else 200)
            self.send_header("content-range", f"bytes {first}-{last}/{len(content)}")
            self.send_header("content-length", str(len(part)))
            self.send_header("etag", f'"{sha1(content, usedforsecurity=False).hexdigest()}"')
            self.send_header("x-repo-commit", COMMIT)
            self.end_headers()
            if self.command == "HEAD":
                return
            if name == hub.held_file:
                half = len(part) // 2
                self.wfile.write(part[:half])
                self.wfile.flush()
                hub.held.set()
                hub.release.wait()
                part = part[half:]
            self.wfile.write(part)

        def _respond(self, document, status=200):
            text = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            if status in (401, 404) and self.path.startswith("/api/models/"):
                self.send_header("x-error-code", "RepoNotFound")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(text)

        def handle(self):
            with suppress(ConnectionError):  # the client was ended
                super().handle()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.ended.set()
        hub.release.set()
        server.shutdown()
        server.server_close()
        thread.join()
