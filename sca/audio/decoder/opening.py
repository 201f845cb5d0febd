"""Open a file in this process, with libsndfile or FFmpeg: what a decoder process does when it is asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sca.audio.coded.joined import Span
from sca.audio.coded.pyav_reader import open_av
from sca.audio.coded.readers import AudioReader
from sca.audio.coded.reading import Reading
from sca.audio.coded.wav_header import WavHeader

__all__ = ["Opening", "open_here"]

_NOT_FOR_LIBSNDFILE = (b"\x1a\x45\xdf\xa3", b"G", b"FLV", b"\x30\x26\xb2\x75")
"""Matroska, MPEG-TS, FLV, ASF."""


@dataclass(frozen=True, slots=True)
class Opening:
    """A file to open.

    Attributes:
        path: The file.
        header: Its header, if it is a WAV file.
        reading: The track to read, and the damage to accept.
        spans: The bytes of the parts, if the file is known to have several.
        by_libsndfile: Whether libsndfile tries to read it before FFmpeg.
    """

    path: Path
    header: WavHeader | None
    reading: Reading
    spans: Sequence[Span] = ()
    by_libsndfile: bool = False


def open_here(opening: Opening) -> AudioReader:
    """Open a file.

    Raises:
        InputError: It cannot be read.
    """
    path, header, reading = opening.path, opening.header, opening.reading
    if opening.by_libsndfile and not _is_for_ffmpeg(path):
        from sca.audio.decoder.sndfile import open_sndfile  # soundfile takes 50 ms to import, and most files need none

        sound = open_sndfile(path, header, reading, lambda: open_av(path, header, reading=reading))
        if sound is not None:
            return sound
    return open_av(path, header, opening.spans, reading)


def _is_for_ffmpeg(path: Path) -> bool:
    """Return whether a file begins as those of containers that libsndfile does not read."""
    with path.open("rb") as file:
        head = file.read(8)
    return head.startswith(_NOT_FOR_LIBSNDFILE) or head[4:8] == b"ftyp"
