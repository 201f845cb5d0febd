"""An S3 server on the loopback interface (moto), in its own process, and what s3fs needs to use it."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import s3fs

from tests.helpers.timeouts import TIMEOUT_S

# The server ends when its input does, so it does not outlive the tests.
_CODE = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print("http://%s:%d" % server.get_host_and_port(), flush=True)
sys.stdin.read()
server.stop()
"""


@dataclass(frozen=True)
class S3Server:
    """A running server.

    Attributes:
        url: Its address.
    """

    url: str

    def options(self, url: str | None = None) -> dict[str, object]:
        """Return the `storage_options` of a client of this server, or of a proxy of it."""
        return {"key": "tester", "secret": "secret", "endpoint_url": url or self.url, "skip_instance_cache": True}

    def upload(self, folder: Path, bucket: str) -> None:
        """Copy a folder to a new bucket, without hidden files."""
        system = s3fs.S3FileSystem(**self.options())
        system.mkdir(bucket)
        for file in folder.rglob("*"):
            name = file.relative_to(folder)
            if file.is_file() and not any(part.startswith(".") for part in name.parts):
                system.pipe(f"{bucket}/{name}", file.read_bytes())

    @contextmanager
    def refusing_keys(self) -> Iterator[None]:
        """Refuse all keys, because they belong to no user."""
        self._check_keys_after("0")
        yield
        self._check_keys_after("inf")

    def _check_keys_after(self, requests: str) -> None:
        httpx.post(f"{self.url}/moto-api/reset-auth", content=requests, timeout=TIMEOUT_S).raise_for_status()


@contextmanager
def s3_server() -> Iterator[S3Server]:
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _CODE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield S3Server(next(line.strip() for line in process.stdout if line.startswith("http://")))
    finally:
        process.kill()
        process.communicate()
