"""Which parameters of a command name what it reads and what it writes."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from sca.urls.address import is_url

__all__ = ["inputs_of", "output_of"]

_OUTPUTS = ("output", "output_path", "output_dir", "save_file")
"""The parameters that name an output. Of `transcribe`, `save_file` is the output and `output_dir` has further files."""
_DEFAULTS = {"build-duplex": "dataset/duplex"}
"""Outputs of commands whose parameter has no default."""
_NO_INPUTS = ("config", "cookies", "archive")


def output_of(command: str, parameters: Mapping[str, object]) -> str | None:
    """Return the file or folder that a command writes to; None if it writes none.

    Args:
        command: The command.
        parameters: Its parameters by their names in the function.
    """
    names = ("save_file",) if "save_file" in parameters else _OUTPUTS
    given = (parameters.get(name) for name in names)
    return next((str(value) for value in given if value is not None), _DEFAULTS.get(command))


def inputs_of(command: str, parameters: Mapping[str, object], earlier: Iterator[str] | tuple[str, ...]) -> list[str]:
    """Return the files and folders that a command reads.

    Args:
        command: The command.
        parameters: Its parameters by their names in the function.
        earlier: Outputs of the stages before it, which may not exist yet.
    """
    written = output_of(command, parameters)
    outputs = set(earlier)
    found = []
    for name, value in parameters.items():
        if name in _NO_INPUTS or name in _OUTPUTS:
            continue
        for one in value if isinstance(value, list | tuple) else (value,):
            text = str(one)
            if isinstance(one, Path) or (isinstance(one, str) and (text in outputs or is_url(text) or _exists(text))):
                found.append(text)
    return [place for place in dict.fromkeys(found) if place != written or place in outputs]


def _exists(text: str) -> bool:
    """Return whether a text is the path of something. Words of a search or a model may look like one."""
    try:
        return ("/" in text or "." in text) and Path(text).exists()
    except (OSError, ValueError):  # too long, or with a NUL
        return False
