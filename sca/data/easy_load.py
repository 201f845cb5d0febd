"""`easy_load`: opens a data set of any kind in the format that a training script needs.

Each format is a function of a folder and a split, in a module that is imported on use.
"""

import json
import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from sca.data.datasets.folder import DataFolder
from sca.data.duplex.storage.detect import EXPORT_FILE
from sca.errors import InputError, UsageError

__all__ = ["FORMATS", "WITH_PROMPTS", "dataset_kind", "easy_load"]

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
"""The formats of each kind of data set: `module:function` of a function of `(folder: DataFolder, split: str)`."""
WITH_PROMPTS = ("chat", "talker_chat")
"""The formats whose functions take `system_prompt` and `instruction_prompt` too."""

_MADE_BY = "sca convert or sca build-duplex"


def easy_load(
    path: str | os.PathLike[str],
    format: str = "raw",  # noqa: A002 - public name
    split: str = "train",
    *,
    system_prompt: str | None = None,
    instruction_prompt: str | None = None,
    storage_options: Mapping[str, object] | None = None,
) -> Sequence[Any]:
    """Open a split of a data set that `sca convert` or `sca build-duplex` made.

    The result has `len`, indices, slices and iteration. An item is computed on access and costs the decoding of its own
    audio, not of the whole recording. The result can be pickled to data-loader workers.

    Args:
        path: The folder of the data set, its URL (`hf://datasets/owner/name`, `s3://bucket/name`, any other URL of
            fsspec), or its id `owner/name` on the hub, if no folder has this name. Of a data set of shows at a URL, a
            copy is made in the cache.
        format: For data sets of `sca convert`: `raw` (a dict of the columns and the audio), `chat` (a dict with
            messages of text and audio, for transformers' chat templates) or `talker_chat` (the same with the target's
            audio and the speaker embedding). For data sets of `sca build-duplex` and their exports to Parquet and
            WebDataset: `raw`, `duplex` (tokens, the audio of each chunk and the audio of each segment) or
            `duplex_with_embeddings` (the same with zeros in place of missing speaker embeddings).
        split: The name of the split.
        system_prompt: For `chat` and `talker_chat`: the text of the system message; empty for no message. Not
            given: the one that the data set was made with.
        instruction_prompt: For `chat` and `talker_chat`: the text of the user's turn, after the audio. Not given: as
            above.
        storage_options: Arguments of the file system of a URL, such as keys and endpoints.

    Returns:
        The rows of the split. Audio is float32 in [-1, 1], at 16 kHz for what the model hears and at 24 kHz for what it
        speaks.

    Raises:
        InputError: `path` is not a finished data set of sca, or has no such split.
        UsageError: This kind of data set does not have the format, or the format has no prompts.
        MissingToolError: The package of the URL's file system is not installed.
        UpstreamError: The URL cannot be read.

    Example:
        >>> import sca
        >>> rows = sca.easy_load("dataset/converted", format="chat")
        >>> [message["role"] for message in rows[0]["messages"]]
        ['system', 'user', 'assistant']
        >>> context = rows[0]["messages"][1]["content"][0]
        >>> context["type"], context["sampling_rate"], context["audio"].dtype
        ('audio', 16000, dtype('float32'))
    """
    folder = DataFolder(path, storage_options)
    kind = dataset_kind(folder)
    formats = FORMATS[kind]
    if format not in formats:
        raise UsageError(
            f"{folder} is a {kind} data set, which has no format {format!r}", hint=f"its formats: {', '.join(formats)}"
        )
    prompts = {"system_prompt": system_prompt, "instruction_prompt": instruction_prompt}
    given = {name: text for name, text in prompts.items() if text is not None}
    if given and format not in WITH_PROMPTS:
        raise UsageError(
            f"the format {format!r} has no {' and no '.join(given)}", hint=f"give it with {' or '.join(WITH_PROMPTS)}"
        )
    module, _, function = formats[format].partition(":")
    rows: Sequence[Any] = getattr(import_module(module), function)(folder, split, **given)
    return rows


def dataset_kind(folder: DataFolder) -> str:
    """Return the kind of a data set, a key of `FORMATS`.

    Raises:
        InputError: The folder is not a finished data set of sca.
    """
    if _exists(folder, EXPORT_FILE):
        return "duplex"
    if not _exists(folder, "dataset_dict.json"):
        raise InputError(f"{folder} is not a finished data set of sca", hint=f"create one with {_MADE_BY}")
    try:
        settings = json.loads(folder.read("settings.json"))
    except (FileNotFoundError, ValueError):
        settings = None
    kind = settings.get("kind", "duplex" if "duplex" in settings else None) if isinstance(settings, dict) else None
    if kind not in FORMATS:
        raise InputError(
            f"{folder} is not a data set of sca: settings.json does not name its kind",
            hint=f"create one with {_MADE_BY}",
        )
    return str(kind)


def _exists(folder: DataFolder, name: str) -> bool:
    try:
        folder.read(name)
    except FileNotFoundError:
        return False
    return True
