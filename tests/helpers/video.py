"""Videos for tests: test pictures in any container, and a scoreboard that carries its own time in burnt-in digits."""

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

__all__ = ["Score", "label", "level_picture", "make_video", "mean_level", "scoreboard", "scoreboard_pictures"]

_DEJAVU = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf")
_CODECS = {".webm": "libvpx", ".avi": "mjpeg", ".mjpeg": "mjpeg", ".nut": "rawvideo"}
_PIXELS = {"mjpeg": "yuvj420p", "rawvideo": "rgb24"}
_FAST = {"libx264": {"preset": "ultrafast", "g": "25"}, "libx265": {"preset": "ultrafast", "log-level": "none"}}
_FAST["libvpx"] = {"deadline": "realtime", "cpu-used": "8"}


def make_video(
    path: Path,
    frames: int | Iterable[NDArray[np.uint8]] = 50,
    *,
    fps: int = 25,
    size: tuple[int, int] = (320, 240),
    rotate: int = 0,
    times_s: Sequence[float] | None = None,
    audio: bool = False,
    codec: str | None = None,
    pixels: str | None = None,
    container: str | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Write a video.

    Args:
        path: The file; its name decides on container and codec.
        frames: How many test pictures (`level_picture`), or the pictures, RGB `(height, width, 3)`.
        fps: Pictures per second.
        size: Width and height of test pictures.
        rotate: By how many degrees, clockwise, a player must turn the pictures: 0, 90, 180 or 270 (mp4 and mov).
        times_s: The presentation time of each picture, for a variable frame rate.
        audio: Whether there is a tone of 440 Hz.
        codec: FFmpeg's name of the encoder.
        pixels: FFmpeg's name of the pixel format.
        container: FFmpeg's name of the container.
        options: Options of the encoder.

    Returns:
        The path.
    """
    pictures = (level_picture(index, size) for index in range(frames)) if isinstance(frames, int) else iter(frames)
    codec = codec or _CODECS.get(path.suffix, "libx264")
    with av.open(str(path), "w", format=container) as output:
        first = next(pictures)
        stream = output.add_stream(codec, rate=fps, options=_FAST.get(codec, {}) | (options or {}))
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt = pixels or _PIXELS.get(codec, "yuv420p")
        stream.codec_context.thread_count = 1
        if times_s is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        sound = output.add_stream("aac", rate=16_000, layout="mono") if audio else None
        count = 0
        for picture in _with_first(first, pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts = count if times_s is None else round(times_s[count] * 1000)
            frame.time_base = Fraction(1, fps) if times_s is None else Fraction(1, 1000)
            output.mux(stream.encode(frame))
            count += 1
        output.mux(stream.encode())
        if sound is not None:
            _add_tone(output, sound, count / fps)
    if rotate:
        _turn(path, rotate)
    return path


def level_picture(index: int, size: tuple[int, int] = (320, 240)) -> NDArray[np.uint8]:
    """Return a picture whose top left quarter is red, and whose lower half has the grey level `40 + 4 * index % 200`."""
    width, height = size
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2] = (220, 30, 30)
    picture[height // 2 :] = 40 + 4 * index % 200
    return picture


def mean_level(pixels: NDArray[np.uint8]) -> float:
    """Return the grey level of the lower half of a test picture."""
    height = len(pixels)
    return float(pixels[height * 5 // 8 : height * 7 // 8].mean())


@dataclass(frozen=True, slots=True)
class Score:
    """A score, and since when it is on the screen.

    Attributes:
        at_s: The presentation time of the first picture with it.
        home: Goals of the first team.
        away: Goals of the second team.
    """

    at_s: float
    home: int
    away: int


def scoreboard(
    path: Path,
    changes: Sequence[Score],
    *,
    seconds: float,
    fps: int = 25,
    size: tuple[int, int] = (1280, 720),
    teams: tuple[str, str] = ("ARS", "CHE"),
    clock_start_s: int = 67 * 60 + 42,
    audio: bool = False,
) -> Path:
    """Write the video of a match; see `scoreboard_pictures`.

    Args:
        path: The file.
        changes: The scores in order; before the first one it is 0-0.
        seconds: The length.
        fps: Pictures per second.
        size: Width and height.
        teams: The names of the teams.
        clock_start_s: The time of the match in the first picture.
        audio: Whether there is a tone.

    Returns:
        The path.
    """
    pictures = scoreboard_pictures(
        changes, seconds=seconds, fps=fps, size=size, teams=teams, clock_start_s=clock_start_s
    )
    return make_video(path, pictures, fps=fps, audio=audio)


def scoreboard_pictures(
    changes: Sequence[Score],
    *,
    seconds: float,
    fps: int = 25,
    size: tuple[int, int] = (1280, 720),
    teams: tuple[str, str] = ("ARS", "CHE"),
    clock_start_s: int = 67 * 60 + 42,
) -> Iterator[NDArray[np.uint8]]:
    """Yield the pictures of a match.

    At the top left: `ARS 2-1 CHE` and below it the clock of the match, `67:42`. At the bottom right: the presentation time of
    the picture in seconds with two digits after the point, such as `012.48`. A ball moves over the pitch.
    """
    width, height = size
    unit = height // 18
    pitch = np.empty((height, width, 3), np.uint8)
    pitch[:] = (40, 120, 50)
    pitch[:, :: max(2, width // 12)] = (235, 235, 235)
    for index in range(round(seconds * fps)):
        now_s = index / fps
        past = [change for change in changes if change.at_s <= now_s + 1e-9]
        home, away = (past[-1].home, past[-1].away) if past else (0, 0)
        clock_s = clock_start_s + int(now_s)
        picture = pitch.copy()
        x = unit + int((width - 3 * unit) * (0.5 + 0.5 * np.sin(now_s)))
        picture[height // 2 : height // 2 + unit, x : x + unit] = 250
        _put(picture, label(f"{teams[0]} {home}-{away} {teams[1]}", unit * 3 // 2), unit, unit)
        _put(picture, label(f"{clock_s // 60:02d}:{clock_s % 60:02d}", unit * 3 // 2), unit, unit * 3)
        time = _digits(f"{now_s:06.2f}", unit * 3 // 2)
        _put(picture, time, width - unit - time.shape[1], height - unit - time.shape[0])
        yield picture


@cache
def label(text: str, pixels: int) -> NDArray[np.uint8]:
    """Return white text on black, with a margin, as RGB. It is not to be changed."""
    font = ImageFont.truetype(str(_DEJAVU), pixels) if _DEJAVU.exists() else ImageFont.load_default(pixels)
    left, top, right, bottom = font.getbbox(text)
    ascent, descent = font.getmetrics() if isinstance(font, ImageFont.FreeTypeFont) else (int(bottom - top), 0)
    margin = pixels // 4
    image = Image.new("RGB", (int(right - left) + 2 * margin, ascent + descent + margin), (0, 0, 0))
    ImageDraw.Draw(image).text((margin - left, margin // 2), text, font=font, fill=(255, 255, 255))
    return np.asarray(image)


def _digits(text: str, pixels: int) -> NDArray[np.uint8]:
    """Return text of few different characters, put together from their pictures: a new text costs no drawing."""
    margin = pixels // 4
    tiles = [label(character, pixels)[:, margin - 2 : 2 - margin] for character in text]
    edge = np.zeros((tiles[0].shape[0], margin, 3), np.uint8)
    return np.concatenate([edge, *tiles, edge], axis=1)


def _put(picture: NDArray[np.uint8], tile: NDArray[np.uint8], x: int, y: int) -> None:
    target = picture[y : y + tile.shape[0], x : x + tile.shape[1]]
    target[:] = tile[: target.shape[0], : target.shape[1]]


def _with_first(first: NDArray[np.uint8], rest: Iterator[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    yield first
    yield from rest


def _add_tone(output: av.container.OutputContainer, stream: av.AudioStream, seconds: float) -> None:
    samples = (0.2 * np.sin(np.arange(round(seconds * 16_000)) * (2 * np.pi * 440 / 16_000))).astype(np.float32)
    for start in range(0, len(samples), 1024):
        frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 16_000, start, Fraction(1, 16_000)
        output.mux(stream.encode(frame))
    output.mux(stream.encode())


def _turn(path: Path, degrees: int) -> None:
    """Write the display matrix of the first track (ISO/IEC 14496-12, section 8.3.2, version 0 of `tkhd`)."""
    matrix = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees]
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in matrix)
    struct.pack_into(">9i", data, at, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
