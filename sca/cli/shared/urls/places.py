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

_OUTPUTS = frozenset(
    {
        "archive",
        "drops",
        "events",
        "html",
        "out",
        "output",
        "output_dir",
        "output_path",
        "record",
        "save_file",
        "timing",
    }
    | {"transcript", "words"}
)
"""The parameters with a file or a folder to write to."""


@contextmanager
def places(context: Any, note: Callable[[str], None]) -> Iterator[None]:
    """Replace the URLs among the parameters of a command by paths, and upload what the command writes.

    Args:
        context: The context of the command; its `params` are changed.
        note: Called with remarks.

    Raises:
        ScaError: A URL cannot be read or written.
    """
    parameters = {one.name: one for one in context.command.params if isinstance(one.type, TyperPath)}
    with ExitStack() as stack:
        for name, parameter in parameters.items():
            given = context.params.get(name)
            is_file = any(word in str(parameter.metavar) for word in ("FILE", ".", "PROFILE"))
            if isinstance(given, list | tuple):
                context.params[name] = [_input(one, context) for one in given]
            elif isinstance(given, str) and is_url(given) and name in _OUTPUTS:
                url, file = parent_and_name(given) if is_file else (given, "")
                context.params[name] = str(stack.enter_context(_output(url, file, context, note)))
            elif isinstance(given, str):
                context.params[name] = _input(given, context)
        yield


def _input(given: Any, context: Any) -> Any:
    """Return the path that stands for an input; any other value is returned as it is."""
    from sca.urls.mirror import mirror

    if not isinstance(given, str) or not is_url(given):
        return local_path(given) if isinstance(given, str) else given
    path = mirror(given, _cache(context)[0])
    show_as(path, given)
    return str(path)


@contextmanager
def _output(url: str, file: str, context: Any, note: Callable[[str], None]) -> Iterator[Path]:
    """Yield the path that stands for a folder, or for a file of it, and upload what the command writes there."""
    from sca.urls.lock import SHARD
    from sca.urls.outgoing import published

    cache, every_s, shard = _cache(context)
    part = file or (SHARD + shard.replace("/", "-of-") if shard else "")
    stem = file.partition(".")[0]
    with published(url, cache, part=part, stem=stem, every_s=every_s, on_note=note) as folder:
        show_as(folder, url)
        yield folder / file


def _cache(context: Any) -> "tuple[UrlCache, float, str | None]":
    """Return where files of URLs are on disk, the seconds between rounds of uploads, and the shard of this run."""
    from sca.config import load_settings, parse_set
    from sca.data.media.find_audio import SOUND
    from sca.urls.mirror import UrlCache

    config = context.params.get("config")
    settings = load_settings(Path(config) if config else None, parse_set(context.params.get("set_values") or []))
    most_bytes = int(settings.urls.cache_gb * 1e9)
    shard = context.params.get("executor__shard") or settings.executor.shard
    cache = UrlCache(settings.paths.resolved_cache_dir, most_bytes, SOUND)
    return cache, settings.urls.upload_every_s, shard
