"""The properties of the audio in a file, by its header, its beginning and its last second."""

from dataclasses import dataclass
from pathlib import Path

from sca.audio.coded.containers import open_container
from sca.errors import InputError

__all__ = ["FileProperties", "file_properties"]


@dataclass(frozen=True, slots=True)
class FileProperties:
    """The audio in a file.

    Attributes:
        codec: The canonical name of the codec.
        rate_hz: The sample rate.
        channels: The number of channels.
        deep: Whether samples have more than 16 bits.
        seconds: The length.
    """

    codec: str
    rate_hz: int
    channels: int
    deep: bool
    seconds: float


def file_properties(path: Path) -> FileProperties:
    """Read the header of a file and decode its beginning and its last second, which takes milliseconds for any length.

    Raises:
        InputError: The file has no sound, or cannot be read to its end.
    """
    import av

    try:
        with open_container(path) as container:
            if not container.streams.audio:
                raise InputError(f"{path} holds no sound")
            stream = container.streams.audio[0]
            first = next(container.decode(stream), None)
            if first is None:
                raise InputError(f"{path} holds no sound")
            begin_s, last = first.time or 0.0, first
            if container.duration is not None:
                container.seek(max(0, container.duration - 1_000_000))
            for frame in container.decode(stream):
                last = frame
            return FileProperties(
                codec=stream.codec_context.codec.canonical_name,
                rate_hz=stream.rate,
                channels=stream.channels,
                deep=first.format.name.startswith("s32"),
                seconds=(last.time or 0.0) - begin_s + last.samples / stream.rate,
            )
    except (av.FFmpegError, UnicodeError) as error:
        if isinstance(error, MemoryError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read to its end ({reason})") from error
