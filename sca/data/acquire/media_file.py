"""A downloaded video as a file: its name, the proof that it is whole, and what is known of where it comes from."""

import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sca.audio.decode import BlockReader
from sca.data.acquire.video_metadata import spoken_language
from sca.errors import InputError

__all__ = ["beside", "decoded_seconds", "file_name", "key_of", "provenance"]

_TITLE_BYTES = 100
_ID_BYTES = 60
_LONGEST_SLACK_S = 2.0
_SLACK_SHARE = 0.01
_KEPT = (
    *("id", "title", "webpage_url", "original_url", "extractor_key", "description", "categories", "tags"),
    *("channel", "channel_id", "channel_url", "uploader", "uploader_id", "uploader_url", "upload_date", "timestamp"),
    *("release_date", "duration", "license", "age_limit", "availability", "live_status", "view_count", "like_count"),
    *("chapters", "format_id", "format", "ext", "acodec", "vcodec", "asr", "audio_channels", "abr", "filesize"),
)


def key_of(info: dict[str, Any]) -> str:
    """The line of a video in an archive, as yt-dlp writes it. A site it does not know is known by the whole address."""
    extractor = str(info.get("extractor_key") or "unknown").lower()
    return f"{extractor} {info['original_url' if extractor == 'generic' else 'id']}"


def beside(file: Path) -> Path:
    """Where the metadata of a downloaded file lie."""
    return file.with_name(f"{file.stem}.info.json")


def file_name(title: str, name: str, extension: str) -> str:
    """`<title> [<id>].<ext>`: readable, and allowed on every common file system; no longer than 130 bytes or so."""
    return f"{_safe(title, _TITLE_BYTES) or 'untitled'} [{_safe(name, _ID_BYTES)}].{extension}"


def _safe(text: str, most_bytes: int) -> str:
    text = unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode("utf-8"))
    # Cc, Cs, Zl, Zp: control characters, halves of characters, line and paragraph separators.
    text = "".join(" " if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") else c for c in text)
    text = " ".join(re.sub(r'[<>:"/\\|?*]', "_", text).split())
    cut = text.encode("utf-8")[:most_bytes].decode("utf-8", "ignore")
    # A cut must not leave half a joined emoji; names begin with no dot (hidden) and no dash when a title gave it (an option).
    return cut.rstrip(" .\u200d\ufe0f") if most_bytes == _ID_BYTES else cut.lstrip(" .-~").rstrip(" .\u200d\ufe0f")


def decoded_seconds(file: Path, expected_s: float | None, checkpoint: Callable[[], object] = lambda: None) -> float:
    """Seconds of sound that PyAV decodes out of a file, packets that are missing not counted.

    Raises `InputError` when it is damaged, when it ends a second before its own header says, or when it differs from what the
    site promised by more than 2 s and more than 1 %. checkpoint: called now and then; what it raises ends the decoding.
    """
    with BlockReader(file) as reader:
        for _ in reader:
            checkpoint()
        seconds = (reader.frames - reader.filled_samples) / reader.info.rate_hz
    if expected_s is not None and abs(seconds - expected_s) > max(_LONGEST_SLACK_S, _SLACK_SHARE * expected_s):
        raise InputError(f"{file} decodes to {seconds:.1f} s, and the site promised {expected_s:.0f} s")
    return seconds


def provenance(info: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a video's metadata: who made it, when, under which licence. Media addresses are not: they name who asked."""
    kept = {name: info[name] for name in _KEPT if info.get(name) is not None}
    return kept | {"license": info.get("license"), "language": spoken_language(info)}
