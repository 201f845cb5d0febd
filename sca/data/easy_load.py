"""`easy_load`: open a data set that sca made, in the shape a training script wants, whatever kind of data set it is.

Knows which kinds and formats there are, and nothing of how they are read: each format is a function of a path and a split, imported
when it is asked for.
"""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from sca.data.runs.files import read_json
from sca.errors import InputError, UsageError

__all__ = ["FORMATS", "easy_load", "kind_of"]

FORMATS: dict[str, dict[str, str]] = {
    "shows": {
        "raw": "sca.data.shows.formats:raw",
        "chat": "sca.data.shows.formats:chat",
        "talker_chat": "sca.data.shows.formats:talker_chat",
    },
    "duplex": {"raw": "sca.data.duplex.load.formats:raw", "duplex": "sca.data.duplex.load.formats:duplex"},
}
"""Kind of data set → format → `module:function`; the function takes `(root: Path, split: str)` and gives a sequence."""

_MAKERS = {"shows": "sca convert", "duplex": "sca build-duplex"}


def easy_load(path: str | Path, format: str = "raw", split: str = "train") -> Sequence[Any]:  # noqa: A002 - its public name
    """Open a split: `len`, `[i]` and iteration. A line costs what its own sound costs, not what its recording does.

    format: for shows `raw` (a dict of columns and sound), `chat` (messages) or `talker_chat` (messages whose answer has its sound,
    and the voice); for duplex sets `raw` or `duplex` (see `sca.data.duplex.load.formats.DuplexExample`). Raises `InputError` when
    `path` is no data set of sca's, `UsageError` for a format this kind does not have.
    """
    root = Path(path)
    kind = kind_of(root)
    known = FORMATS[kind]
    if format not in known:
        raise UsageError(
            f"{root} is a {kind} data set, and that has no format {format!r}", hint=f"its formats: {', '.join(known)}"
        )
    module, _, name = known[format].partition(":")
    opened: Sequence[Any] = getattr(import_module(module), name)(root, split)
    return opened


def kind_of(root: Path) -> str:
    """`shows` or `duplex`. Raises `InputError` when `root` is neither."""
    makers = " or ".join(_MAKERS.values())
    if not (root / "dataset_dict.json").is_file():
        raise InputError(f"{root} is not a finished data set of sca's", hint=f"{makers} makes one")
    made = read_json(root / "settings.json")
    kind = made.get("kind", "duplex" if "duplex" in made else None) if isinstance(made, dict) else None
    if kind not in FORMATS:
        raise InputError(
            f"{root} is a data set, and not of sca's: settings.json does not say which kind", hint=f"{makers} makes one"
        )
    return str(kind)
