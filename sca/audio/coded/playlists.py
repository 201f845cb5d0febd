"""Files that name other files or addresses instead of holding sound: playlists, manifests, descriptions of streams."""

from pathlib import Path

__all__ = ["playlist_kind"]

_HEAD_BYTES = 1024
_KINDS = (
    (b"#EXTM3U", "an HLS or M3U playlist"),
    (b"ffconcat", "a list of files for FFmpeg"),
    (b"[playlist]", "a PLS playlist"),
    (b"v=0", "a description of a stream (SDP)"),
)
_MARKS = b"\xef\xbb\xbf \t\r\n"
"""The mark of UTF-8, and blanks, which may come first."""


def playlist_kind(path: Path) -> str | None:
    """Return what kind of playlist a file is, with its article; None if it is none of the common ones.

    Args:
        path: A file that can be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES).lstrip(_MARKS)
    if head.startswith((b"<?xml", b"<MPD")) and b"<MPD" in head:
        return "a DASH manifest"
    return next((kind for begin, kind in _KINDS if head.lower().startswith(begin.lower())), None)
