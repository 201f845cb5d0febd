"""What is shown in place of a path of the cache: the URL that it stands for.

Commands that this process starts, such as the stages of a recipe, get paths of the cache as well. They show the same URLs,
which they inherit with the environment.
"""

import json
import os
from pathlib import Path

__all__ = ["forget_shown", "show_as", "with_urls"]

_VARIABLE = "_SCA_SHOWN_URLS"


def _inherited() -> dict[str, str]:
    try:
        found = json.loads(os.environ.get(_VARIABLE, "{}"))
    except ValueError:
        return {}
    return {str(path): str(url) for path, url in found.items()} if isinstance(found, dict) else {}


_of_parent = _inherited()
_shown = dict(_of_parent)


def show_as(path: Path, url: str) -> None:
    """Show a URL in place of a path from now on, also in processes that are started from now on.

    Args:
        path: A folder or a file of the cache.
        url: Its URL.
    """
    _shown[str(path)] = url.rstrip("/")
    os.environ[_VARIABLE] = json.dumps(_shown)


def forget_shown() -> None:
    """Show all paths as they are, but for those of the process that started this one: another command begins here."""
    if _shown != _of_parent:
        _shown.clear()
        _shown.update(_of_parent)
        os.environ[_VARIABLE] = json.dumps(_shown)


def with_urls(text: str) -> str:
    """Return a text with URLs in place of paths of the cache."""
    for path, url in _shown.items():
        text = text.replace(path, url)
    return text
