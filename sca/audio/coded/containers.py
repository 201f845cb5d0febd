"""Open files with FFmpeg, and find the audio track to read.

Only the named file is read: playlists, and all other formats of FFmpeg that open further files or addresses, are refused.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sca.audio.coded.joined import Span
from sca.audio.coded.layouts import mono_weights, stereo_weights
from sca.audio.coded.reading import AS_DEFAULT, Reading
from sca.audio.coded.tracks import track_index, track_note

if TYPE_CHECKING:
    from av.audio.layout import AudioChannel
    from av.container import InputContainer

__all__ = ["FORMATS", "SelectedTrack", "channel_names", "open_container", "selected_track"]

FORMATS = (
    *(
        "3g2",
        "3gp",
        "aac",
        "ac3",
        "ac4",
        "aiff",
        "amr",
        "amrnb",
        "amrwb",
        "ape",
        "asf",
        "au",
        "avi",
        "avr",
        "caf",
        "dsf",
    ),
    *("dts", "dtshd", "dv", "eac3", "flac", "flv", "gsm", "gxf", "iff", "ircam", "live_flv", "loas", "m4a", "matroska"),
    *("mlp", "mov", "mp3", "mp4", "mpc", "mpc8", "mpeg", "mpegts", "mxf", "nistsphere", "nut", "ogg", "oma", "pvf"),
    *("qcp", "qoa", "rm", "sds", "sox", "spdif", "tak", "truehd", "tta", "voc", "w64", "wav", "webm", "wtv", "wv"),
    "xwma",
)
"""The demuxers that are used, by FFmpeg's names: recordings in one file.

All others are refused: those that open other files or addresses (concat, hls, dash, sdp, rtsp, image2, imf), devices, images,
subtitles, raw streams and the formats of games.
"""


def open_container(path: Path, span: Span | None = None) -> "InputContainer":
    """Open a file for reading. Raises the exceptions of PyAV, mostly `av.FFmpegError`.

    Args:
        path: The file.
        span: The bytes of it to read, as of a part of a joined file; None reads all of it.
    """
    import av

    # The prefix `file:` makes the rest of the name literal, so that a file may be called `concat:…`. From PyAV 19 on, tags
    # that are not UTF-8 are accepted without an option.
    tags = {} if int(av.__version__.partition(".")[0]) >= 19 else {"metadata_errors": "replace"}
    url, protocols = f"file:{path.absolute()}", "file"
    if span is not None:
        url, protocols = f"subfile,,start,{span[0]},end,{span[1]},,:{url}", "file,subfile"
    options = {"protocol_whitelist": protocols, "format_whitelist": ",".join(FORMATS)}
    container: InputContainer = av.open(url, options=options, **tags)
    return container


@dataclass(frozen=True, slots=True)
class SelectedTrack:
    """The audio track that is read of a file.

    Attributes:
        index: Its index among the audio tracks.
        mono_weights: The weight of each of its channels in the mono mix.
        note: A remark if there are several tracks.
        codec: The name of its codec.
        stereo_weights: The weights of its channels in the left and in the right of the stereo mix.
    """

    index: int
    mono_weights: tuple[float, ...]
    note: str | None
    codec: str = ""
    stereo_weights: tuple[tuple[float, ...], ...] = ()


def selected_track(path: Path, reading: Reading = AS_DEFAULT) -> SelectedTrack:
    """Return the audio track that is read of a file.

    Raises:
        InputError: The chosen track does not exist.
    """
    with open_container(path) as container:
        index = track_index(container, path, reading)
        context = container.streams.audio[index].codec_context
        names = channel_names(context.layout.channels)
        return SelectedTrack(
            index,
            tuple(mono_weights(names).tolist()),
            track_note(container, index),
            context.name,
            tuple(map(tuple, stereo_weights(names).tolist())),
        )


def channel_names(channels: "tuple[AudioChannel, ...]") -> tuple[str, ...]:
    """Return the names of channels in FFmpeg's spelling."""
    return tuple(channel.name for channel in channels)
