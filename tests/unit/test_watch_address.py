"""What the addresses of videos mean, and what of them is printed."""

import sys

import pytest

from sca.errors import InputError, UsageError
from sca.watch.capture.address import parse_address, shown_address


@pytest.mark.parametrize(
    ("text", "kind", "shown"),
    [
        ("-", "stdin", "standard input"),
        ("/dev/video3", "camera", "/dev/video3"),
        ("http://host/a.mp4", "http", "http://host/a.mp4"),
        ("HTTPS://host:8443/live.m3u8?token=secret#x", "http", "HTTPS://host:8443/live.m3u8"),
        ("rtsp://user:p@ss@10.0.0.1:554/h264", "rtsp", "rtsp://10.0.0.1:554/h264"),
        ("rtsps://user:secret@[::1]/h264", "rtsp", "rtsps://[::1]/h264"),
    ],
)
def test_addresses(text, kind, shown):
    address = parse_address(text)
    assert (address.kind, address.shown) == (kind, shown)
    assert kind in ("stdin", "camera") or address.target == text


@pytest.mark.skipif(sys.platform != "linux", reason="names of cameras on Linux")
def test_cameras_have_numbers_on_linux():
    assert [parse_address(text).target for text in ("webcam", "webcam:2")] == ["/dev/video0", "/dev/video2"]
    with pytest.raises(UsageError, match="webcam:front is not a camera"):
        parse_address("webcam:front")


@pytest.mark.parametrize(
    ("platform", "text", "target", "container"),
    [("darwin", "webcam:1", "1", "avfoundation"), ("win32", "webcam:HD Camera", "video=HD Camera", "dshow")],
)
def test_cameras_of_other_systems(monkeypatch, platform, text, target, container):
    monkeypatch.setattr(sys, "platform", platform)
    address = parse_address(text)
    assert (address.target, address.container) == (target, container)


def test_cameras_have_names_on_windows(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(UsageError, match="cameras have names"):
        parse_address("webcam:0")


@pytest.mark.parametrize(
    "text", ["ftp://host/a.mp4", "file:///etc/passwd", "http://", "http://h:x/", "rtsp://a b/", "http://[::1/"]
)
def test_other_addresses_are_refused_without_their_password(text):
    with pytest.raises(UsageError) as caught:
        parse_address(text.replace("://", "://user:secret@", 1))
    assert "secret" not in f"{caught.value.message} {caught.value.hint}"


def test_files_that_do_not_exist_and_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"missing\.mp4 does not exist"):
        parse_address(str(tmp_path / "missing.mp4"))
    with pytest.raises(InputError, match="is a folder"):
        parse_address(str(tmp_path))


def test_a_path_is_shown_as_given():
    assert shown_address("match (1)?.mp4") == "match (1)?.mp4"
