"""What is shown in place of a path of the cache: the URL that it stands for."""

from pathlib import Path

__all__ = ["forget_shown", "show_as", "with_urls"]

_shown: dict[str, str] = {}


def show_as(path: Path, url: str) -> None:
    """Show a URL in place of a path from now on.

    Args:
        path: A folder or a file of the cache.
        url: Its URL.
    """
    _shown[str(path)] = url.rstrip("/")


def forget_shown() -> None:
    """Show all paths as they are: another command begins in this process."""
    _shown.clear()


def with_urls(text: str) -> str:
    """Return a text with URLs in place of paths of the cache."""
    for path, url in _shown.items():
        text = text.replace(path, url)
    return text
