"""Which audio track of a file is read."""

from pathlib import Path
from typing import TYPE_CHECKING

from sca.audio.coded.reading import AS_DEFAULT, Reading
from sca.errors import InputError
from sca.textutil import counted

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer

__all__ = ["check_only_track", "track_index", "track_note"]

_SAME_LANGUAGE = (
    *(("alb", "sqi"), ("arm", "hye"), ("baq", "eus"), ("bur", "mya"), ("chi", "zho"), ("cze", "ces"), ("dut", "nld")),
    *(("fre", "fra"), ("geo", "kat"), ("ger", "deu"), ("gre", "ell"), ("ice", "isl"), ("mac", "mkd"), ("mao", "mri")),
    *(("may", "msa"), ("per", "fas"), ("rum", "ron"), ("slo", "slk"), ("tib", "bod"), ("wel", "cym")),
)
"""Languages with two codes in ISO 639-2: Matroska has the first ones, MP4 the second ones."""


def check_only_track(path: Path, reading: Reading) -> None:
    """Check the choice of a track for a file that has a single one.

    Raises:
        InputError: Another track is chosen.
    """
    if reading.track is not None and reading.track > 1:
        raise InputError(f"{path} has one audio track; track {reading.track} does not exist")


def track_index(container: "InputContainer", path: Path, reading: Reading = AS_DEFAULT) -> int:
    """Return the index of the audio track to read.

    It is the chosen one, else the first one that is flagged as default, else the first. A file with a single track has
    no choice of a language.

    Args:
        container: A file with at least one audio track.
        path: Its path, for messages.
        reading: The choice.

    Raises:
        InputError: The chosen track does not exist.
    """
    from av.stream import Disposition

    tracks = container.streams.audio
    if len(tracks) == 1:
        check_only_track(path, reading)
    if reading.track is not None:
        if reading.track > len(tracks):
            raise InputError(f"{path} has {_listed(tracks)}; track {reading.track} does not exist")
        return reading.track - 1
    order = sorted(range(len(tracks)), key=lambda n: not tracks[n].disposition & Disposition.default)
    if reading.language is None or len(tracks) == 1:
        return order[0]
    wanted = _codes(reading.language)
    for n in order:
        if (tracks[n].language or "").lower() in wanted:
            return n
    raise InputError(
        f"{path} has {_listed(tracks)}, and none in the language {reading.language}",
        hint="choose one by its number with --track",
    )


def track_note(container: "InputContainer", index: int) -> str | None:
    """Return a remark about the track that is read, or None if there is only one."""
    tracks = container.streams.audio
    if len(tracks) < 2:
        return None
    language = tracks[index].language
    return f"track {index + 1} of {counted(len(tracks), 'audio track')} is read" + (
        f" ({language})" if language else ""
    )


def _listed(tracks: "tuple[AudioStream, ...]") -> str:
    languages = [f"{n} {track.language}" for n, track in enumerate(tracks, 1) if track.language]
    return counted(len(tracks), "audio track") + (f" ({', '.join(languages)})" if languages else "")


def _codes(language: str) -> set[str]:
    """Return the codes of a language: those of ISO 639-1 and ISO 639-2, without a region."""
    from yt_dlp.utils import ISO639Utils

    code = language.lower().replace("_", "-").partition("-")[0]
    codes = {code, ISO639Utils.short2long(code) or code}
    for pair in _SAME_LANGUAGE:
        if codes & set(pair):
            codes.update(pair)
    return codes | {short for one in codes if (short := ISO639Utils.long2short(one))}
