"""What the address of a video means: a file, a stream, a camera or standard input. Nothing is opened here."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from sca.errors import InputError, UsageError

__all__ = ["Address", "Kind", "parse_address", "shown_address"]

Kind = Literal["file", "http", "rtsp", "camera", "stdin"]

_SCHEMES: dict[str, Kind] = {"http": "http", "https": "http", "rtsp": "rtsp", "rtsps": "rtsp"}
_CAMERA = re.compile(r"webcam(?::(.*))?", re.DOTALL)
_DEVICE = re.compile(r"/dev/video\d+")
_SOURCES = "a video file, http://…, rtsp://…, webcam:0, or - for standard input"


@dataclass(frozen=True, slots=True)
class Address:
    """A video to open.

    Attributes:
        kind: What it is.
        target: What FFmpeg opens: a path, an address or the name of a device. It may contain a password.
        shown: The address without user, password and query, for messages and logs.
        container: The demuxer, for a camera; None for the one that fits the content.
    """

    kind: Kind
    target: str
    shown: str
    container: str | None = None


def parse_address(text: str) -> Address:
    """Return what an address means.

    Args:
        text: A path, `http://…`, `https://…`, `rtsp://…`, `rtsps://…`, `webcam:N`, `webcam:NAME` or `-`.

    Raises:
        UsageError: The address has another form.
        InputError: The file does not exist.
    """
    if text == "-":
        return Address("stdin", "pipe:0", "standard input")
    if _DEVICE.fullmatch(text):
        return Address("camera", text, text, "v4l2")
    if (camera := _CAMERA.fullmatch(text)) is not None:
        return _camera(text, camera[1] or "0")
    if "://" in text:
        return _stream(text)
    path = Path(text).expanduser()
    if not path.exists():
        raise InputError(f"{path} does not exist", hint=f"a source is {_SOURCES}")
    if path.is_dir():
        raise InputError(f"{path} is a folder", hint=f"a source is {_SOURCES}")
    return Address("file", str(path.absolute()), str(path))


def shown_address(text: str) -> str:
    """Return an address without user, password, query and fragment."""
    if "://" not in text:
        return text
    scheme, _, rest = text.partition("://")
    authority, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"


def _stream(text: str) -> Address:
    shown = shown_address(text)
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"{shown} is not a valid address", hint=f"a source is {_SOURCES}") from error
    kind = _SCHEMES.get(parts.scheme.lower())
    if kind is None:
        raise UsageError(f"videos are not read from {parts.scheme}:// addresses", hint=f"a source is {_SOURCES}")
    if not host or any(character.isspace() or not character.isprintable() for character in text):
        raise UsageError(f"{shown} is not a valid address", hint=f"a source is {_SOURCES}")
    return Address(kind, text, shown)


def _camera(text: str, name: str) -> Address:
    if sys.platform == "darwin":
        return Address("camera", name, text, "avfoundation")
    if sys.platform == "win32":
        if name.isdigit():
            raise UsageError(
                f"{text} is not a camera on Windows, where cameras have names",
                hint="give the name, such as webcam:Integrated Camera",
            )
        return Address("camera", f"video={name}", text, "dshow")
    if not name.isdigit():
        raise UsageError(f"{text} is not a camera", hint="give its number, such as webcam:0, or /dev/video0")
    return Address("camera", f"/dev/video{name}", text, "v4l2")
