"""A server of videos that can be killed and started again at the same port: motion JPEG, HLS, files, RTSP."""

import base64
import itertools
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import av

from tests.helpers.ports import reserved_port
from tests.helpers.video import make_video

__all__ = ["VideoServer", "video_server"]

_TS_PACKETS = 7
_SDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:track\r\n"


class VideoServer:
    """Serves one test video of 2 s with 25 pictures per second, at the speed of playback.

    `http://…/mjpeg`, `/mjpeg-bare` (parts without a length), `/live.m3u8`, `/vod.m3u8`, `/files.m3u8` (names a file of this
    machine), `/video.mp4`, `/private.mp4` (user and password), `/hang` (accepts, and sends nothing), and any `rtsp://` address, as
    MPEG-TS over TCP.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self.requests: list[str] = []
        self._mp4 = make_video(folder / "video.mp4", 50).read_bytes()
        self._ts = make_video(folder / "video.ts", 50).read_bytes()
        self._jpegs = _jpegs(make_video(folder / "video.avi", 50))
        self.other_file = folder / "video.ts"
        self._playlists = itertools.count()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._sockets: set[socket.socket] = set()
        self._dead = threading.Event()

    def url(self, path: str, *, scheme: str = "http", user: str = "") -> str:
        """Return the address of a path."""
        return f"{scheme}://{user}127.0.0.1:{self.port}/{path}"

    def start(self) -> None:
        """Listen."""
        self._dead = threading.Event()
        listener = socket.create_server(("127.0.0.1", self.port))
        self._sockets = {listener}
        self._spawn(self._accept, listener)

    def kill(self) -> None:
        """End the listener and all connections at once."""
        self._dead.set()
        with self._lock:
            for held in self._sockets:
                with suppress(OSError):
                    held.shutdown(socket.SHUT_RDWR)
                held.close()
            self._sockets.clear()
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _spawn(self, target, *arguments) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while not self._dead.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                self._sockets.add(connection)
            if self._dead.is_set():
                connection.close()
                return
            self._spawn(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection, connection.makefile("rb") as lines:
            while (first := lines.readline().decode()).strip():
                headers = dict(line.decode().strip().split(": ", 1) for line in iter(lines.readline, b"\r\n") if line)
                self.requests.append(first.strip())
                verb, target, _ = first.split()
                if verb == "GET":
                    self._http(connection, target, headers)
                    return
                self._rtsp(connection, verb, headers)

    def _http(self, connection: socket.socket, target: str, headers: dict[str, str]) -> None:
        name = target.split("?", 1)[0].lstrip("/")
        if name.startswith("mjpeg"):
            self._send_motion_jpeg(connection, with_length=name == "mjpeg")
        elif name == "hang":
            self._dead.wait()
        elif name == "files.m3u8":
            playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\nfile:{self.other_file}\n#EXT-X-ENDLIST\n"
            _respond(connection, playlist.encode(), "application/vnd.apple.mpegurl")
        elif name.endswith(".m3u8"):
            _respond(connection, self._playlist(live=name == "live.m3u8").encode(), "application/vnd.apple.mpegurl")
        elif name.startswith("segment"):
            _respond(connection, self._ts, "video/mp2t")
        elif name == "private.mp4" and headers.get("Authorization") != _basic("user:secret"):
            connection.sendall(
                b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n"
            )
        elif name in ("video.mp4", "private.mp4"):
            _respond(connection, self._mp4, "video/mp4")
        else:
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    def _playlist(self, *, live: bool) -> str:
        first = next(self._playlists) if live else 0
        lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:2", f"#EXT-X-MEDIA-SEQUENCE:{first}"]
        for number in range(first, first + 3):
            lines += ["#EXT-X-DISCONTINUITY", "#EXTINF:2.0,", f"segment{number}.ts"]
        return "\n".join([*lines, *([] if live else ["#EXT-X-ENDLIST"]), ""])

    def _send_motion_jpeg(self, connection: socket.socket, *, with_length: bool) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=edge\r\n\r\n")
        for jpeg in itertools.cycle(self._jpegs):
            length = f"Content-Length: {len(jpeg)}\r\n" if with_length else ""
            connection.sendall(f"--edge\r\nContent-Type: image/jpeg\r\n{length}\r\n".encode() + jpeg + b"\r\n")
            if self._dead.wait(0.04):
                return

    def _rtsp(self, connection: socket.socket, verb: str, headers: dict[str, str]) -> None:
        extra, body = "", ""
        if verb == "OPTIONS":
            extra = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
        elif verb == "DESCRIBE":
            extra, body = f"Content-Type: application/sdp\r\nContent-Length: {len(_SDP)}\r\n", _SDP
        elif verb == "SETUP":
            extra = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n"
        connection.sendall(f"RTSP/1.0 200 OK\r\nCSeq: {headers['CSeq']}\r\n{extra}\r\n{body}".encode())
        if verb == "PLAY":
            self._send_rtp(connection)

    def _send_rtp(self, connection: socket.socket) -> None:
        size = 188 * _TS_PACKETS
        parts = [self._ts[at : at + size] for at in range(0, len(self._ts), size)]
        for number, part in enumerate(itertools.cycle(parts)):
            time = number * 2 * 90_000 // len(parts)
            packet = struct.pack(">BBHII", 0x80, 33, number & 0xFFFF, time & 0xFFFFFFFF, 1) + part
            connection.sendall(struct.pack(">cBH", b"$", 0, len(packet)) + packet)
            if self._dead.wait(2 / len(parts)):
                return


@contextmanager
def video_server(folder: Path) -> Iterator[VideoServer]:
    """Yield a server that listens."""
    with reserved_port() as port:
        server = VideoServer(folder, port)
        server.start()
        try:
            yield server
        finally:
            server.kill()


def _respond(connection: socket.socket, body: bytes, media_type: str) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    connection.sendall(head.encode() + body)


def _basic(credentials: str) -> str:
    return f"Basic {base64.b64encode(credentials.encode()).decode()}"


def _jpegs(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]
