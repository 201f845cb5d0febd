"""Open files with FFmpeg, and find the audio track to read.

Only local files are read. A URL is never opened, not even one that a playlist contains.
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

__all__ = ["SelectedTrack", "channel_names", "open_container", "selected_track"]


def open_container(path: Path, span: Span | None = None) -> "InputContainer":
    """Open a file for reading. Raises the exceptions of PyAV, mostly `av.FFmpegError`.

    Args:
        path: The file.
        span: The bytes of it to read, as of a part of a joined file; None reads all of it.
    """
    import av

    # The prefix `file:` makes the rest of the name literal, so that a file may be called `concat:…`. The whitelist
    # prevents playlists from opening network addresses. From PyAV 19 on, tags that are not UTF-8 are accepted without
    # an option.
    tags = {} if int(av.__version__.partition(".")[0]) >= 19 else {"metadata_errors": "replace"}
    url = f"file:{path.absolute()}"
    if span is not None:
        url = f"subfile,,start,{span[0]},end,{span[1]},,:{url}"
    container: InputContainer = av.open(url, options={"protocol_whitelist": "file,subfile"}, **tags)
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
