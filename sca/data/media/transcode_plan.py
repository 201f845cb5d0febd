"""Find the files to transcode and name their results."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sca.errors import InputError, UsageError
from sca.textutil import one_line

__all__ = [
    "ANY",
    "INPUTS",
    "OUTPUTS",
    "SourceFile",
    "Sources",
    "clashes",
    "find_sources",
    "input_extensions",
    "walk",
]

ANY = "any"
OUTPUTS = ("flac", "wav", "opus")
INPUTS = (
    *("3gp", "aac", "ac3", "aif", "aiff", "amr", "au", "avi", "caf", "eac3", "flac", "flv", "m4a", "m4b", "m4v", "mka"),
    *("mkv", "mov", "mp2", "mp3", "mp4", "mpeg", "mpg", "mpga", "oga", "ogg", "opus", "sph", "ts", "w64", "wav"),
    *("weba", "webm", "wma", "wmv", "wv"),
)
"""The extensions of files that hold sound."""
_MAX_SHOWN = 6


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to transcode.

    Attributes:
        item: Its name in the ledger: the path relative to the folder it was found in.
        path: The file.
        target: The result, relative to the output folder.
    """

    item: str
    path: Path
    target: Path


@dataclass(frozen=True, slots=True)
class Sources:
    """The files of an input.

    Attributes:
        files: The files to transcode, sorted.
        wanted: The extensions that were read.
        left: Sound and video files of a folder with other extensions: their number by extension, most first.
    """

    files: tuple[SourceFile, ...]
    wanted: tuple[str, ...]
    left: dict[str, int]


def input_extensions(text: str) -> frozenset[str]:
    """Parse `webm`, `.webm`, `webm,m4a` or `any` into a set of extensions.

    Raises:
        UsageError: An extension is not supported.
    """
    names = [name.strip().lower().removeprefix(".") for name in text.split(",")]
    if ANY in names:
        return frozenset(INPUTS)
    unknown = [name for name in names if name not in INPUTS]
    if unknown:
        raise UsageError(
            f"unknown extension {unknown[0]!r} to read",
            hint=f"supported are {', '.join(INPUTS)}, and {ANY} for all of them",
        )
    return frozenset(names)


def find_sources(source: Path, out: Path, extensions: str | None, out_extension: str) -> Sources:
    """Find the files to transcode; of a folder also those of its sub-folders, except hidden ones.

    Args:
        source: A file or a folder.
        out: The output folder.
        extensions: The extensions to read; None is webm for a folder, and the extension of a single file.
        out_extension: The extension of the results.

    Raises:
        UsageError: The results would overwrite their sources, or an extension is not supported.
        InputError: No file was found, or a folder cannot be read.
    """
    if source.is_dir():
        wanted = input_extensions(extensions or "webm")
        if out.resolve() == source.resolve() and out_extension in wanted:
            raise UsageError(f"{out} holds the .{out_extension} files to read", hint="give another folder to write to")
        files = sorted(walk(source, out.resolve()))
        chosen = [path for path in files if _extension(path) in wanted]
        if not chosen:
            raise _no_file_error(source, wanted, files)
        names, left = [path.relative_to(source) for path in chosen], _media_in(files, wanted)
    elif source.exists() or source.is_symlink():
        extension = _extension(source)
        wanted = input_extensions(extensions or extension or source.name)
        if extension not in wanted:
            raise UsageError(
                f"{source} is not a .{extensions} file", hint="leave the extension out: a single file needs none"
            )
        chosen, names, left = [source], [Path(source.name)], {}
    else:
        raise InputError(f"{source} does not exist")
    found = [
        SourceFile(one_line(name.as_posix()), path, name.with_suffix(f".{out_extension}"))
        for name, path in zip(names, chosen, strict=True)
    ]
    for file in found:
        if (out / file.target).resolve() == file.path.resolve():
            raise UsageError(f"{file.item} would be written over itself", hint="give another folder to write to")
    return Sources(tuple(found), tuple(sorted(wanted)), left)


def clashes(sources: Sequence[SourceFile]) -> dict[str, str]:
    """Return the items with equal names of results, each with a message that lists them."""
    by_target: dict[Path, list[str]] = {}
    for file in sources:
        by_target.setdefault(file.target, []).append(file.item)
    return {
        item: f"{' and '.join(items)} would both become {one_line(target.name)}: give them to two runs with two folders"
        for target, items in by_target.items()
        if len(items) > 1
        for item in items
    }


def walk(folder: Path, out: Path | None = None) -> Iterator[Path]:
    """Yield the files below a folder, except hidden ones and those below `out`.

    Raises:
        InputError: A folder cannot be read.
    """

    def fail(error: OSError) -> None:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}") from error

    for parent, folders, files in os.walk(folder, onerror=fail):
        path = Path(parent)
        folders[:] = [name for name in folders if not name.startswith(".") and (path / name).resolve() != out]
        yield from (path / name for name in files if not name.startswith("."))


def _extension(path: Path) -> str:
    return path.suffix.lower().removeprefix(".")


def _media_in(files: list[Path], wanted: frozenset[str]) -> dict[str, int]:
    """Count the sound and video files whose extension is not wanted, most first."""
    counts = Counter(_extension(path) for path in files)
    return {name: n for name, n in counts.most_common() if name in INPUTS and name not in wanted}


def _no_file_error(source: Path, wanted: frozenset[str], files: list[Path]) -> InputError:
    names = f".{', .'.join(sorted(wanted))}" if len(wanted) < len(INPUTS) else "sound or video"
    others = [f"{n} .{extension}" for extension, n in _media_in(files, wanted).items()][:_MAX_SHOWN]
    hint = f"it has {', '.join(others)}: give the extension after the folders" if others else None
    return InputError(f"{source} has no {names} file", hint=hint)
