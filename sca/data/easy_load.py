"""`easy_load`: opens a data set of any kind in the format that a training script needs.

Each format is a function of a folder and a split, in a module that is imported on use.
"""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from sca.data.runs.files import read_json
from sca.errors import InputError, UsageError

__all__ = ["FORMATS", "dataset_kind", "easy_load"]

FORMATS: dict[str, dict[str, str]] = {
    "shows": {
        "raw": "sca.data.shows.formats:raw",
        "chat": "sca.data.shows.formats:chat",
        "talker_chat": "sca.data.shows.formats:talker_chat",
    },
    "duplex": {
        "raw": "sca.data.duplex.load.formats:raw",
        "duplex": "sca.data.duplex.load.formats:duplex",
        "duplex_with_embeddings": "sca.data.duplex.load.formats:duplex_with_embeddings",
    },
}
"""The formats of each kind of data set: `module:function` of a function of `(root: Path, split: str)`."""

_MADE_BY = "sca convert or sca build-duplex"


def easy_load(path: str | Path, format: str = "raw", split: str = "train") -> Sequence[Any]:  # noqa: A002 - public name
    """Open a split of a data set that `sca convert` or `sca build-duplex` made.

    The result has `len`, indices, slices and iteration. An item is computed on access and costs the decoding of its own
    audio, not of the whole recording. The result can be pickled to data-loader workers.

    Args:
        path: The folder of the data set.
        format: For data sets of `sca convert`: `raw` (a dict of the columns and the audio), `chat` (a dict with
            messages of text and audio, for transformers' chat templates) or `talker_chat` (the same with the target's
            audio and the speaker embedding). For data sets of `sca build-duplex` and their exports to Parquet and
            WebDataset: `raw`, `duplex` (tokens, the audio of each chunk and the audio of each segment) or
            `duplex_with_embeddings` (the same with zeros in place of missing speaker embeddings).
        split: The name of the split.

    Returns:
        The rows of the split. Audio is float32 in [-1, 1], at 16 kHz for what the model hears and at 24 kHz for what it
        speaks.

    Raises:
        InputError: `path` is not a finished data set of sca, or has no such split.
        UsageError: This kind of data set does not have the format.

    Example:
        >>> import sca
        >>> rows = sca.easy_load("dataset/converted", format="chat")
        >>> [message["role"] for message in rows[0]["messages"]]
        ['system', 'user', 'assistant']
        >>> context = rows[0]["messages"][1]["content"][0]
        >>> context["type"], context["sampling_rate"], context["audio"].dtype
        ('audio', 16000, dtype('float32'))
    """
    root = Path(path)
    kind = dataset_kind(root)
    formats = FORMATS[kind]
    if format not in formats:
        raise UsageError(
            f"{root} is a {kind} data set, which has no format {format!r}", hint=f"its formats: {', '.join(formats)}"
        )
    module, _, function = formats[format].partition(":")
    rows: Sequence[Any] = getattr(import_module(module), function)(root, split)
    return rows


def dataset_kind(root: Path) -> str:
    """Return the kind of a data set, a key of `FORMATS`.

    Raises:
        InputError: `root` is not a finished data set of sca.
    """
    if (root / "export.json").is_file():
        return "duplex"
    if not (root / "dataset_dict.json").is_file():
        raise InputError(f"{root} is not a finished data set of sca", hint=f"create one with {_MADE_BY}")
    settings = read_json(root / "settings.json")
    kind = settings.get("kind", "duplex" if "duplex" in settings else None) if isinstance(settings, dict) else None
    if kind not in FORMATS:
        raise InputError(
            f"{root} is not a data set of sca: settings.json does not name its kind", hint=f"create one with {_MADE_BY}"
        )
    return str(kind)
