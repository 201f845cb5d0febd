"""Which audio track of a file is read."""

from typing import TYPE_CHECKING

from sca.textutil import counted

if TYPE_CHECKING:
    from av.container import InputContainer

__all__ = ["track_index", "track_note"]


def track_index(container: "InputContainer") -> int:
    """Return the index of the audio track to read: the first one that is flagged as default, else the first.

    Args:
        container: A file with at least one audio track.
    """
    from av.stream import Disposition

    tracks = container.streams.audio
    return next((n for n, track in enumerate(tracks) if track.disposition & Disposition.default), 0)


def track_note(container: "InputContainer", index: int) -> str | None:
    """Return a remark about the track that is read, or None if there is only one."""
    tracks = container.streams.audio
    if len(tracks) < 2:
        return None
    language = tracks[index].language
    return f"track {index + 1} of {counted(len(tracks), 'audio track')} is read" + (
        f" ({language})" if language else ""
    )
