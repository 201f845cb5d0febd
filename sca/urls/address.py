"""The URLs that commands accept in place of a path."""

import re
from hashlib import blake2b
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sca.errors import UsageError

__all__ = ["folder_of", "is_url", "local_path", "parent_and_name"]

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://.")
_LOCAL = re.compile(r"file:/", re.IGNORECASE)


def is_url(text: str) -> bool:
    """Return whether a text is a URL of a file system elsewhere. `file:` is a path, see `local_path`."""
    return bool(_URL.match(text)) and not _LOCAL.match(text)


def local_path(text: str) -> str:
    """Return the path of a `file:` URL, and any other text unchanged.

    Raises:
        UsageError: The URL names another machine.
    """
    if not _LOCAL.match(text):
        return text
    parts = urlsplit(text)
    if parts.netloc not in ("", "localhost"):
        raise UsageError(f"{text} is on another machine", hint="three slashes begin a path of this one: file:///data")
    return unquote(parts.path)


def parent_and_name(url: str) -> tuple[str, str]:
    """Return the URL of the folder that a file is in, and its name."""
    parent, _, name = url.rstrip("/").rpartition("/")
    return parent, name


def folder_of(url: str, cache_dir: Path, part: str = "") -> Path:
    """Return the folder in the cache that stands for a URL. Its name is the last part of the URL.

    Args:
        url: The URL.
        cache_dir: The folder of caches.
        part: The part of the folder, if a command writes a part only.
    """
    url = url.rstrip("/")
    name = re.sub(r"[^\w.-]", "_", url.rpartition("/")[2]).lstrip(".")[-100:] or "root"
    return cache_dir / "urls" / blake2b(f"{url}\n{part}".encode(), digest_size=10).hexdigest() / name
