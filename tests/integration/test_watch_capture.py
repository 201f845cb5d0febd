"""Videos captured by a child process: files, streams that are killed, cameras that are absent, standard input."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from sca.audio.decoder import wire
from sca.errors import InputError, UpstreamError
from sca.watch.capture.address import parse_address
from sca.watch.capture.capture import Capture, CaptureSettings, backoff_s
from sca.watch.capture.display import DisplayBuffer
from sca.watch.capture.messages import PICTURE, SourceRequest
from sca.watch.capture.source import open_source
from sca.watch.capture.window import InferenceWindow
from tests.helpers.timeouts import TIMEOUT_S, until
from tests.helpers.video import make_video
from tests.helpers.video_server import video_server

SIZE = (64, 48)


class Captured:
    """A capture with what it reported."""

    def __init__(self, address: object, **settings) -> None:
        self.states: list[tuple[str, str | None]] = []
        self.display, self.window = DisplayBuffer(), InferenceWindow()
        self.capture = Capture(
            str(address),
            self.display,
            self.window,
            CaptureSettings(**settings),
            on_state=lambda state, detail: self.states.append((state, detail)),
        )

    @property
    def names(self) -> list[str]:
        return [state for state, _ in self.states]

    def wait_pictures(self, count: int) -> None:
        """Wait until so many more pictures came."""
        newest = self.display.latest()
        last = (-1 if newest is None else newest.index) + count
        assert self.display.wait_newer(last - 1, TIMEOUT_S) is not None

    def close(self) -> None:
        """Close, and check that nothing is left."""
        begun_s = time.monotonic()
        self.capture.close()
        assert time.monotonic() - begun_s < TIMEOUT_S
        assert not [thread for thread in threading.enumerate() if thread.name == "sca-watch-capture"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with video_server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def clip(tmp_path):
    return make_video(tmp_path / "clip.mp4", 25, size=SIZE)


def test_a_file_fills_display_and_window_and_ends(clip):
    captured = Captured(clip, pace="fast")
    info = captured.capture.open()
    assert (info.width, info.height, info.fps, info.seconds, info.live) == (*SIZE, 25, 1, False)
    while captured.capture.advance():
        pass
    assert captured.states == [("open", None), ("ended", None)]
    assert len(captured.display) == 25
    frames = captured.window.select(4, 1)
    assert [frame.time_us for frame in frames] == [0, 520_000]
    assert [frame.at_us - frames[0].at_us for frame in frames] == [0, 520_000]
    assert captured.display.wait_newer(24) is None  # closed: the end is not waited for
    captured.close()


def test_a_file_is_paced_by_the_clock_of_the_session(clip):
    captured = Captured(clip)
    now_us, slept = [5_000_000], []
    capture = captured.capture
    capture._now_us = lambda: now_us[0]

    def sleep(seconds: float) -> bool:
        slept.append(seconds)
        now_us[0] += round(seconds * 1e6)
        return False

    capture.sleep = sleep
    capture.open()
    for _ in range(10):
        capture.advance()
    now_us[0] += 3_000_000  # the machine was suspended
    while capture.advance():
        pass
    held = [captured.display.get_frame_near(index * 40_000) for index in range(25)]
    late = [frame.at_us - frame.time_us - 5_000_000 for frame in held]
    assert late[:10] == [0] * 10
    assert late[10:] == [3_000_000 - 40_000] * 15  # what follows is not hurried
    assert sum(slept) == pytest.approx(23 * 0.04)
    captured.close()


def test_closing_ends_a_source_that_sends_nothing(server):
    captured = Captured(server.url("hang"))
    errors: list[InputError] = []

    def open_it() -> None:
        with pytest.raises(InputError, match="hang was closed") as caught:
            captured.capture.open()
        errors.append(caught.value)

    opening = threading.Thread(target=open_it)
    opening.start()
    until(lambda: any("/hang" in request for request in server.requests))
    captured.close()
    opening.join()
    assert len(errors) == 1
    assert captured.states == []


def test_a_source_that_is_silent_is_given_up(server):
    with pytest.raises(UpstreamError, match=r"http://127.0.0.1:\d+/hang cannot be read \(Connection timed out\)"):
        Captured(server.url("hang", user="user:secret@"), timeout_s=0.5).capture.open()


def test_a_camera_stream_killed_three_times_is_connected_again(tmp_path):
    with video_server(tmp_path) as server:
        captured = Captured(server.url("mjpeg", user="user:secret@"))
        captured.capture.open()
        captured.capture.start()
        for losses in range(1, 4):
            captured.wait_pictures(5)
            server.kill()
            until(lambda n=losses: captured.names.count("lost") == n)
            server.start()
            until(lambda n=losses: captured.names.count("open") == n + 1)
        captured.wait_pictures(5)
        assert captured.names == ["open", *["lost", "open"] * 3]
        assert "secret" not in repr(captured.states)
        held = [frame for index in range(-1, 10) if (frame := captured.display.wait_newer(index, 0))]
        assert all(a.time_us <= b.time_us and a.at_us <= b.at_us for a, b in itertools.pairwise(held))
        captured.close()
        assert captured.names[-1] == "open"  # closing is not a loss


def test_a_source_that_stays_away_ends_with_the_reason(tmp_path):
    with video_server(tmp_path) as server:
        captured = Captured(server.url("camera", scheme="rtsp"), reconnect_s=0.3)
        assert captured.capture.open().live
        captured.capture.start()
        captured.wait_pictures(2)
        server.kill()
        until(lambda: "ended" in captured.names)
        assert captured.names == ["open", "lost", "ended"]
        assert isinstance(captured.capture.error, UpstreamError)
        captured.close()


@pytest.mark.parametrize("path", ["mjpeg-bare", "live.m3u8", "private.mp4"])
def test_streams(server, path):
    captured = Captured(server.url(path, user="user:secret@"))
    info = captured.capture.open()
    captured.capture.start()
    captured.wait_pictures(5)
    assert info.live == path.startswith("mjpeg")
    assert captured.display.latest().data.startswith(b"\xff\xd8\xff")
    captured.close()


def test_pictures_of_8k_are_scaled_and_larger_ones_refused(tmp_path):
    captured = Captured(make_video(tmp_path / "8k.avi", 1, size=(7680, 4320)), pace="fast")
    info = captured.capture.open()
    while captured.capture.advance():
        pass
    shown, (seen,) = captured.display.latest(), captured.window.select(1, 1)
    assert (info.width, info.height) == (7680, 4320)
    assert max(shown.width, shown.height, *seen.pixels.shape) <= 1920
    captured.close()
    larger = make_video(tmp_path / "larger.avi", 1, size=(8208, 4624))
    with pytest.raises(InputError, match=r"larger\.avi have 8208×4624 pixels") as caught:
        open_source(str(larger))
    assert caught.value.hint == "the most is 8192×4608"


def test_a_stream_opens_no_files_of_this_machine(server):
    assert open_and_close(str(server.other_file)).seconds == 2
    with pytest.raises((InputError, UpstreamError)):
        open_and_close(server.url("files.m3u8"))


def open_and_close(address: str):
    source = open_source(address)
    source.release()
    return source.info


def test_a_refused_password_says_where_to_give_it(server):
    with pytest.raises(
        UpstreamError, match=r"private.mp4 cannot be read \(.*(Unauthorized|[Aa]uthorization)"
    ) as caught:
        open_source(server.url("private.mp4", user="user:wrong@"))
    assert "wrong" not in f"{caught.value} {caught.value.hint}"
    assert "user:password@host" in str(caught.value.hint)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGSTOP")
def test_a_process_that_sends_nothing_more_is_given_up(clip):
    endless = SourceRequest(parse_address(str(clip)), loop=True, timeout_s=0.05)
    source = open_source(str(clip), endless)
    os.kill(source.pid, signal.SIGSTOP)
    with pytest.raises(InputError, match=r"sent no picture for 0\.05 s"):
        list(source)  # what was sent before is returned first
    source.release()


@pytest.mark.skipif(sys.platform == "win32", reason="no descriptors are handed on")
def test_standard_input(clip):
    program = "from sca.watch.capture.source import open_source; print(sum(bool(p.jpeg) for p in open_source('-')))"
    with make_video(clip.with_suffix(".mkv"), 10, size=SIZE).open("rb") as stdin:
        found = subprocess.run(
            [sys.executable, "-c", program],
            stdin=stdin,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
    assert (found.stdout.strip(), found.stderr) == ("10", "")


@pytest.mark.skipif(sys.platform != "linux", reason="names of cameras on Linux")
def test_an_absent_camera():
    with pytest.raises(InputError, match="the camera webcam:77 cannot be opened"):
        open_source("webcam:77")


MALFORMED = [
    (wire.ANSWER, b"[]"),
    (wire.ANSWER, b'{"codec": "h264"}'),
    (wire.ERROR, b"no json"),
    (PICTURE, b"short"),
    (b"?", b""),
]


def test_malformed_messages_of_the_process_are_one_error(clip, monkeypatch):
    source = open_source(str(clip))
    for kind, payload in MALFORMED:
        monkeypatch.setattr(source, "_receive", lambda wait_s, sent=(kind, payload): (sent[0], bytearray(sent[1])))
        for read in (source.open, lambda: list(source)):
            with pytest.raises(InputError, match=r"malformed message|ended too early"):
                read()
    source.release()


def test_a_process_that_is_killed_is_named(clip):
    source = open_source(str(clip))
    os.kill(source.pid, 9)
    with pytest.raises(InputError, match=r"ended the process that reads it \(signal 9\)"):
        list(source)
    source.release()


def test_what_is_left_out_of_a_damaged_file_is_counted(tmp_path):
    path = make_video(tmp_path / "a.mov", 25, size=SIZE, codec="png", pixels="rgb24")
    data = bytearray(path.read_bytes())
    at = data.find(b"\x89PNG", len(data) // 2)
    data[at : at + 8] = bytes(8)
    path.write_bytes(data)
    captured = Captured(path, pace="fast")
    captured.capture.open()
    while captured.capture.advance():
        pass
    assert captured.states[-1] in [
        ("ended", f"{count} left out") for count in ("1 damaged packet", "2 damaged packets")
    ]
    assert len(captured.display) >= 20
    captured.close()


def test_pauses_before_attempts_grow():
    assert [backoff_s(attempt) for attempt in range(7)] == [0.25, 0.5, 1, 2, 4, 8, 8]
