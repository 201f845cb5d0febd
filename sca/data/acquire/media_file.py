"""A downloaded video as a file: its name, the check that it is complete, and the metadata that is kept."""

import hashlib
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from sca.audio.decode import BlockReader
from sca.data.acquire.video_metadata import spoken_language
from sca.data.acquire.youtube import VideoInfo
from sca.errors import InputError

__all__ = ["archive_key", "decoded_sound", "file_id", "file_name", "has_file_id", "info_path", "provenance"]

_MAX_TITLE_BYTES = 100
_MAX_ID_BYTES = 60
_DIGEST_CHARACTERS = 16
_YOUTUBE_KEY = re.compile(r"youtube ([\w-]{11})", re.ASCII)
_MAX_DIFFERENCE_S = 2.0
_MAX_DIFFERENCE_SHARE = 0.01
_KEPT_FIELDS = (
    *("id", "title", "webpage_url", "original_url", "extractor_key", "description", "categories", "tags"),
    *("channel", "channel_id", "channel_url", "uploader", "uploader_id", "uploader_url", "upload_date", "timestamp"),
    *("release_date", "duration", "license", "age_limit", "availability", "live_status", "view_count", "like_count"),
    *("chapters", "format_id", "format", "ext", "acodec", "vcodec", "asr", "audio_channels", "abr", "filesize"),
)


def archive_key(info: VideoInfo) -> str:
    """Return the line of a video in an archive of yt-dlp.

    For a site that yt-dlp does not support it holds the whole URL. It is one line: newlines and other characters that are
    not printable are percent-encoded, in an id too, because a site can put anything there.
    """
    extractor = str(info.get("extractor_key") or "unknown").lower()
    key = f"{extractor} {info['original_url' if extractor == 'generic' else 'id']}"
    return "".join(c if c.isprintable() else quote(c, safe="", errors="surrogatepass") for c in key)


def file_id(info: VideoInfo) -> str:
    """Return the part of a file name that identifies a video: no two keys of the archive have the same one.

    It is the id on YouTube. Elsewhere ids are unique on one site at most, so a digest of the key follows.
    """
    key = archive_key(info)
    if _YOUTUBE_KEY.fullmatch(key):
        return str(info["id"])
    digest = hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()[:_DIGEST_CHARACTERS]
    return f"{_safe(str(info['id']), _MAX_ID_BYTES - _DIGEST_CHARACTERS - 1)}-{digest}"


def has_file_id(stem: str, name: str) -> bool:
    """Return whether a file name without extension ends in the id `name`, with or without the digest of `file_id`."""
    whole = re.escape(_safe(name, _MAX_ID_BYTES))
    cut = re.escape(_safe(name, _MAX_ID_BYTES - _DIGEST_CHARACTERS - 1))
    return re.search(rf"\[({whole}|{cut}-[0-9a-f]{{{_DIGEST_CHARACTERS}}})\]\Z", stem) is not None


def info_path(file: Path) -> Path:
    """Return the path of the metadata of a downloaded file."""
    return file.with_name(f"{file.stem}.info.json")


def file_name(title: str, name: str, extension: str) -> str:
    """Return `<title> [<id>].<ext>`: readable, at most about 130 bytes, and allowed on every common file system."""
    # A name does not begin with a dot (hidden) or a dash (an option).
    readable = _safe(title, _MAX_TITLE_BYTES).lstrip(" .-~") or "untitled"
    return f"{readable} [{_safe(name, _MAX_ID_BYTES)}].{extension}"


def _safe(text: str, max_bytes: int) -> str:
    text = unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode("utf-8"))
    # Cc, Cs, Zl, Zp: control characters, surrogates, line and paragraph separators.
    text = "".join(" " if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") else c for c in text)
    text = " ".join(re.sub(r'[<>:"/\\|?*]', "_", text).split())
    # Half a joined emoji may be left at the end.
    return text.encode("utf-8")[:max_bytes].decode("utf-8", "ignore").rstrip(" .\u200d\ufe0f")


def decoded_sound(
    file: Path, expected_s: float | None, checkpoint: Callable[[], object] = lambda: None
) -> tuple[float, tuple[str, ...]]:
    """Return the seconds of sound that are decoded from a file, without missing packets, and remarks about it.

    Args:
        file: The file.
        expected_s: The length that the site announced, if it did.
        checkpoint: Called for every block; an exception that it raises ends the decoding.

    Raises:
        InputError: The file is damaged, is a second shorter than its header promises, or differs from the announced
            length by more than 2 s and more than 1 %.
    """
    with BlockReader(file) as reader:
        for _ in reader:
            checkpoint()
        seconds = (reader.frames - reader.filled_samples) / reader.info.rate_hz
        notes = reader.notes
    if expected_s is not None:
        allowed_s = max(_MAX_DIFFERENCE_S, _MAX_DIFFERENCE_SHARE * expected_s)
        if abs(seconds - expected_s) > allowed_s:
            raise InputError(f"{file} decodes to {seconds:.1f} s, and the site announced {expected_s:.0f} s")
    return seconds, notes


def provenance(info: VideoInfo) -> VideoInfo:
    """Return the metadata to keep: author, date, licence and so on.

    Media URLs are dropped because they contain the requester's IP address.
    """
    kept = {name: info[name] for name in _KEPT_FIELDS if info.get(name) is not None}
    return kept | {"license": info.get("license"), "language": spoken_language(info)}
