"""Open a video with FFmpeg, in the process that reads it.

Which containers and protocols may be used depends on the kind of the address, so that a file names no other files or
addresses, and a stream of the network no files.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from sca.audio.coded.containers import FORMATS
from sca.errors import InputError
from sca.watch.capture.messages import SourceRequest

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

__all__ = ["FILE_FORMATS", "STREAM_FORMATS", "open_video", "video_stream"]

_STILLS = {b"\x89PNG": "png_pipe", b"\xff\xd8\xff": "jpeg_pipe", b"BM": "bmp_pipe", b"II*\0": "tiff_pipe"}
_STILLS |= {b"MM\0*": "tiff_pipe"}
_WEBP = (b"RIFF", b"WEBP")
_VIDEOS = (
    *(
        "3g2",
        "3gp",
        "apng",
        "asf",
        "av1",
        "avi",
        "dv",
        "flv",
        "gif",
        "h264",
        "hevc",
        "ivf",
        "live_flv",
        "m4v",
        "matroska",
    ),
    *("mjpeg", "mov", "mp4", "mpeg", "mpegts", "mpegvideo", "mxf", "nut", "obu", "ogg", "rm", "vc1", "webm", "wtv"),
    "yuv4mpegpipe",
)
FILE_FORMATS = tuple(sorted({*_VIDEOS, *FORMATS, *_STILLS.values(), "webp_pipe"}))
"""The demuxers for files and standard input, by FFmpeg's names: videos and pictures in one file. Sound is opened to be named.

Those that open other files or addresses (concat, hls, dash, sdp, image2) are refused, as for sound.
"""
STREAM_FORMATS = (*FILE_FORMATS, "hls", "mpjpeg", "webvtt")
"""The demuxers for HTTP. The segments of HLS may contain sound and subtitles only."""

_MAX_PIXELS = 8192 * 4608
_LIVE = {"fflags": "nobuffer", "analyzeduration": "1000000", "fpsprobesize": "2"}


def open_video(request: SourceRequest) -> "InputContainer":
    """Open a video.

    Args:
        request: What to open.

    Raises:
        InputError: It has no moving picture, or pictures that are too large.
        av.FFmpegError: It cannot be opened.
    """
    import av

    container: InputContainer = av.open(
        _url(request), format=_container(request), options=_options(request), metadata_errors="replace"
    )
    try:
        video_stream(container, request)
    except InputError:
        container.close()
        raise
    return container


def video_stream(container: "InputContainer", request: SourceRequest) -> "VideoStream":
    """Return the stream of pictures. The cover picture of a recording of sound does not count.

    Raises:
        InputError: It has no pictures, or they are too large.
    """
    from av.stream import Disposition

    shown = request.address.shown
    streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not streams:
        what = "sound only" if container.streams.audio else "no video"
        raise InputError(f"{shown} contains {what}", hint="a video with pictures is needed")
    stream = max(streams, key=lambda stream: bool(stream.disposition & Disposition.default))
    if stream.width * stream.height > _MAX_PIXELS:
        raise InputError(
            f"the pictures of {shown} have {stream.width}×{stream.height} pixels", hint="the most is 8192×4608"
        )
    context = stream.codec_context
    context.thread_type = "AUTO" if stream.width * stream.height > 1920 * 1088 else "SLICE"
    return stream


def _url(request: SourceRequest) -> str:
    address = request.address
    return f"file:{address.target}" if address.kind == "file" else address.target


def _container(request: SourceRequest) -> str | None:
    """Return the demuxer to use; None for the one that fits.

    A single picture has its own, because FFmpeg would open its file as the first of a numbered series.
    """
    address = request.address
    if address.kind != "file" or address.container is not None:
        return address.container
    path = Path(address.target)
    with path.open("rb") as file:
        head = file.read(12)
    if not head:
        raise InputError(f"{address.shown} is empty")
    if head.startswith(b"#EXTM3U"):
        raise InputError(f"{address.shown} is a playlist", hint="give the address of the stream, http://…")
    if path.suffix.lower() in (".mjpeg", ".mjpg"):
        return "mjpeg"
    if (head[:4], head[8:12]) == _WEBP:
        return "webp_pipe"
    return next((name for magic, name in _STILLS.items() if head.startswith(magic)), None)


def _options(request: SourceRequest) -> dict[str, str]:
    timeout_us = str(round(request.timeout_s * 1_000_000))
    match request.address.kind:
        case "file":
            return {"protocol_whitelist": "file", "format_whitelist": ",".join(FILE_FORMATS)}
        case "stdin":
            return {"protocol_whitelist": "pipe", "format_whitelist": ",".join((*FILE_FORMATS, "mpjpeg"))}
        case "http":
            return _http(timeout_us)
        case "rtsp":
            protocols = "rtp,rtsp,srtp,tcp,tls,udp"
            return _LIVE | {
                "rtsp_flags": "prefer_tcp",
                "timeout": timeout_us,
                "protocol_whitelist": protocols,
                "tls_verify": "1",
                "ca_file": _authorities(),
            }
        case "camera":
            return dict(_LIVE)


def _http(timeout_us: str) -> dict[str, str]:
    return {
        "protocol_whitelist": "crypto,http,https,httpproxy,tcp,tls",
        "format_whitelist": ",".join(STREAM_FORMATS),
        "rw_timeout": timeout_us,
        "reconnect": "1",
        "reconnect_delay_max": "2",
        "seg_max_retry": "3",
        "user_agent": "sca",
        "tls_verify": "1",
        "ca_file": _authorities(),
    }


def _authorities() -> str:
    """Return the file with the certificates of authorities: FFmpeg in PyAV does not use those of the system."""
    import certifi

    return str(certifi.where())
