"""URLs in place of paths, for every command: the command itself gets paths of a folder in the cache.

An option with a path is input, unless its name is in `_OUTPUTS`. What a command prints has the URLs again.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typer.models import TyperPath

from sca.urls.address import is_url, local_path, parent_and_name
from sca.urls.shown import show_as

if TYPE_CHECKING:
    from sca.urls.mirror import UrlCache

__all__ = ["places"]

_FOLDERS = frozenset({"output", "output_path"})
"""The parameters that are folders to write to."""
_FILES = frozenset({"save_file", "html", "drops", "output_file"})
"""The parameters that are files to write; what belongs to them is in the same folder."""


@contextmanager
def places(context: Any, note: Callable[[str], None]) -> Iterator[None]:
    """Replace the URLs among the parameters of a command by paths, and upload what the command writes.

    Args:
        context: The context of the command; its `params` are changed.
        note: Called with remarks.

    Raises:
        ScaError: A URL cannot be read or written.
    """
    names = [one.name for one in context.command.params if isinstance(one.type, TyperPath)]
    with ExitStack() as stack:
        for name in names:
            given = context.params.get(name)
            if isinstance(given, str):
                context.params[name] = _resolved(given, name, context, stack, note)
            elif isinstance(given, list | tuple):
                context.params[name] = [_resolved(one, name, context, stack, note) for one in given]
        yield


def _resolved(given: Any, name: str, context: Any, stack: ExitStack, note: Callable[[str], None]) -> Any:
    """Return what the command gets: a path as a text, or the value itself if it is no URL."""
    if not isinstance(given, str) or not is_url(given):
        return local_path(given) if isinstance(given, str) else given
    from sca.urls.mirror import mirror
    from sca.urls.outgoing import published

    cache, every_s = _cache(context)
    if name not in _FOLDERS | _FILES:
        path = mirror(given, cache)
        show_as(path, given)
        return str(path)
    url, file = (given, "") if name in _FOLDERS else parent_and_name(given)
    folder = cache.place(url).root
    show_as(folder, url)
    stack.enter_context(published(url, cache, every_s=every_s, on_note=note))
    return str(folder / file)


def _cache(context: Any) -> "tuple[UrlCache, float]":
    """Return where files of URLs are on disk, and the seconds between rounds of uploads."""
    from sca.config import load_settings, parse_set
    from sca.data.media.find_audio import SOUND
    from sca.urls.mirror import UrlCache

    config = context.params.get("config")
    settings = load_settings(Path(config) if config else None, parse_set(context.params.get("set_values") or []))
    most_bytes = int(settings.urls.cache_gb * 1e9)
    return UrlCache(settings.paths.resolved_cache_dir, most_bytes, SOUND), settings.urls.upload_every_s
