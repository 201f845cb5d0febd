"""A package index on the loopback interface, for pip, uv and npm, with packages that tests make."""

import base64
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from sca.models.catalog import Archive


def wheel(name: str, version: str, files: Mapping[str, bytes]) -> bytes:
    """Make a wheel with these files."""
    stem = name.replace("-", "_")
    info = f"{stem}-{version}.dist-info"
    inside = dict(files)
    inside[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
    inside[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    digests = {path: base64.urlsafe_b64encode(hashlib.sha256(content).digest()) for path, content in inside.items()}
    record = "".join(f"{path},sha256={d.rstrip(b'=').decode()},{len(inside[path])}\n" for path, d in digests.items())
    inside[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    return zipped(inside)


def zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for path, content in files.items():
            file.writestr(path, content)
    return buffer.getvalue()


def tarball(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@dataclass
class PackageIndex:
    """The state of the index.

    Attributes:
        url: Its address.
        files: The archives by file name.
        faults: What is wrong with an archive: `truncated`, `stalled` (until `release`), `held` (as stalled, then whole)
            or `missing`.
        served: How often each archive was downloaded.
        release: Ends the waiting of stalled and held downloads.
        asked: Set when a stalled or held download was requested.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    served: Counter[str] = field(default_factory=Counter)
    release: threading.Event = field(default_factory=threading.Event)
    asked: threading.Event = field(default_factory=threading.Event)

    def add(self, name: str, files: Mapping[str, bytes], *, index: str = "python", version: str = "1.0") -> Archive:
        """Add a package, and return its entry of a catalogue."""
        content = wheel(name, version, files) if index == "python" else tarball(files)
        self.files[file_name(name, version, index)] = content
        fields = {"index": index, "name": name, "version": version, "bytes": len(content)}
        return Archive.model_validate(fields | {"sha256": hashlib.sha256(content).hexdigest()})


def file_name(name: str, version: str = "1.0", index: str = "python") -> str:
    return f"{name}-{version}.tgz" if index == "npm" else f"{name.replace('-', '_')}-{version}-py3-none-any.whl"


@contextmanager
def package_index() -> Iterator[PackageIndex]:
    index = PackageIndex()

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self):
            self.do_GET()

        def do_GET(self):
            kind, _, rest = self.path.strip("/").partition("/")
            if kind == "simple":
                stem = rest.strip("/").replace("-", "_")
                names = [name for name in index.files if name.startswith(f"{stem}-")]
                self._send("".join(f'<a href="/files/{name}">{name}</a>' for name in names).encode(), "text/html")
            elif kind == "files":
                self._send_file(rest)
            else:
                self._send_packument(self.path.strip("/"))

        def _send_packument(self, name):
            files = [file for file in index.files if file.startswith(f"{name}-") and file.endswith(".tgz")]
            versions = {}
            for file in files:
                version = file.removeprefix(f"{name}-").removesuffix(".tgz")
                sha1 = hashlib.sha1(index.files[file], usedforsecurity=False).hexdigest()
                dist = {"tarball": f"{index.url}/files/{file}", "shasum": sha1}
                versions[version] = {"name": name, "version": version, "dist": dist}
            document = {"name": name, "versions": versions, "dist-tags": {"latest": next(iter(versions), "")}}
            self._send(json.dumps(document).encode() if versions else None, "application/json")

        def _send_file(self, name):
            fault = index.faults.get(name, "")
            content = None if fault == "missing" else index.files.get(name)
            if content is None or self.command == "HEAD":
                self._send(content, "application/octet-stream")
                return
            index.served[name] += 1
            self._head(200, len(content), "application/octet-stream")
            half = len(content) // 2
            self.wfile.write(content[:half])
            if fault in ("stalled", "held"):
                self.wfile.flush()
                index.asked.set()
                index.release.wait()
            if fault in ("truncated", "stalled"):
                self.close_connection = True
            else:
                self.wfile.write(content[half:])

        def _send(self, content, kind):
            self._head(404 if content is None else 200, len(content or b""), kind)
            if self.command != "HEAD":
                self.wfile.write(content or b"")

        def _head(self, status, length, kind):
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(length))
            self.end_headers()

        def log_message(self, *args):
            pass

        def handle(self):
            try:
                super().handle()
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    index.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield index
    finally:
        index.release.set()
        server.shutdown()
        server.server_close()
        thread.join()


def environment(url: str, tools: Path) -> dict[str, str]:
    """Return variables that make pip, uv and npm use the index at `url` only, and the programs in `tools` only."""
    return {
        "PATH": str(tools),
        "NO_PROXY": "127.0.0.1",
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_INDEX_URL": f"{url}/simple",
        "PIP_FIND_LINKS": "",
        "UV_NO_CONFIG": "1",
        "UV_DEFAULT_INDEX": f"{url}/simple",
        "UV_HTTP_RETRIES": "1",
        "npm_config_registry": url,
        "npm_config_userconfig": "/dev/null",
        "npm_config_fetch_retries": "1",
        "npm_config_fetch_retry_mintimeout": "10",
        "npm_config_fetch_retry_maxtimeout": "10",
    }


def tool_folder(folder: Path, tool: str) -> Path:
    """Make a folder of programs with one package tool in it: `pip3`, `uv` or `npm`.

    scripts/test requires Python with pip, and installs uv.
    """
    folder.mkdir()
    if tool == "npm":
        for name in ("npm", "node"):
            found = shutil.which(name)
            if found:
                (folder / name).symlink_to(found)
        return folder
    (folder / tool).write_text(f'#!/bin/sh\nexec {_command(tool.rstrip("3"))} "$@"\n')
    (folder / tool).chmod(0o755)
    return folder


def _command(module: str) -> str:
    outside = [shutil.which("python3", path=part) for part in (f"{sys.base_prefix}/bin", "/usr/bin", "/usr/local/bin")]
    for python in filter(None, [*outside, sys.executable]):
        if subprocess.run([python, "-m", module, "--version"], capture_output=True).returncode == 0:
            return f'"{python}" -m {module}'
    program = shutil.which(module)
    assert program, f"{module} is missing: scripts/test needs pip, and installs uv"
    return f'"{program}"'
