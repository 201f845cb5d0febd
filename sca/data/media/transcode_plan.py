"""Which files are transcoded, and what their results are called."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sca.errors import InputError, UsageError

__all__ = ["ANY", "INPUTS", "OUTPUTS", "Source", "clashes", "find_sources", "input_extensions", "one_line", "walk"]

ANY = "any"
OUTPUTS = ("flac", "wav", "opus")
INPUTS = (
    *("3gp", "aac", "ac3", "aif", "aiff", "amr", "au", "avi", "caf", "eac3", "flac", "flv", "m4a", "m4b", "m4v", "mka"),
    *(
        "mkv",
        "mov",
        "mp3",
        "mp4",
        "mpeg",
        "mpg",
        "oga",
        "ogg",
        "opus",
        "ts",
        "w64",
        "wav",
        "weba",
        "webm",
        "wma",
        "wmv",
        "wv",
    ),
)
_SHOWN = 6


@dataclass(frozen=True, slots=True)
class Source:
    """One file to transcode. item: its name in the ledger, relative to the folder it was found in.   target: under OUT."""

    item: str
    path: Path
    target: Path


def input_extensions(text: str) -> frozenset[str]:
    """`webm`, `.webm`, `webm,m4a` or `any`, as a set. Raises `UsageError` naming what is known."""
    names = [name.strip().lower().removeprefix(".") for name in text.split(",")]
    if ANY in names:
        return frozenset(INPUTS)
    unknown = [name for name in names if name not in INPUTS]
    if unknown:
        raise UsageError(
            f"unknown extension {unknown[0]!r} to read",
            hint=f"known are {', '.join(INPUTS)}, and {ANY} for all of them",
        )
    return frozenset(names)


def find_sources(source: Path, out: Path, wanted: str | None, made: str) -> list[Source]:
    """The files to transcode, sorted; those of a folder's sub-folders too, hidden ones left out.

    wanted: extensions to read, None for webm, or whatever a single file is.   made: extension of the results.
    """
    if source.is_dir():
        extensions = input_extensions(wanted or "webm")
        if out.resolve() == source.resolve() and made in extensions:
            raise UsageError(f"{out} is where the .{made} files come from", hint="give another folder for the results")
        there = sorted(walk(source, out.resolve()))
        chosen = [path for path in there if _extension(path) in extensions]
        if not chosen:
            raise _nothing(source, extensions, there)
        names = [path.relative_to(source) for path in chosen]
    elif source.exists() or source.is_symlink():
        extension = _extension(source)
        if extension not in input_extensions(wanted or extension or source.name):
            raise UsageError(
                f"{source} is no .{wanted} file", hint="leave the extension out: a single file is taken as it is"
            )
        chosen, names = [source], [Path(source.name)]
    else:
        raise InputError(f"{source} does not exist")
    found = [Source(one_line(n.as_posix()), p, n.with_suffix(f".{made}")) for p, n in zip(chosen, names, strict=True)]
    for one in found:
        if (out / one.target).resolve() == one.path.resolve():
            raise UsageError(f"{one.item} would be written over itself", hint="give another folder for the results")
    return found


def clashes(sources: list[Source]) -> dict[str, str]:
    """Items whose result would have the same name as another's, with a sentence that says so."""
    by_target: dict[Path, list[str]] = {}
    for one in sources:
        by_target.setdefault(one.target, []).append(one.item)
    return {
        item: f"{' and '.join(items)} would both become {one_line(target.name)}: give them to two runs with two folders"
        for target, items in by_target.items()
        if len(items) > 1
        for item in items
    }


def one_line(name: str) -> str:
    """A file's name as text that prints on one line and is valid UTF-8; what does not print is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def _extension(path: Path) -> str:
    return path.suffix.lower().removeprefix(".")


def walk(folder: Path, out: Path | None = None) -> Iterator[Path]:
    """The files below a folder, hidden ones and those below `out` left out. Raises `InputError` where one is unreadable."""

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}") from error

    for where, folders, files in os.walk(folder, onerror=refuse):
        here = Path(where)
        folders[:] = [name for name in folders if not name.startswith(".") and (here / name).resolve() != out]
        yield from (here / name for name in files if not name.startswith("."))


def _nothing(source: Path, extensions: frozenset[str], there: list[Path]) -> InputError:
    named = f".{', .'.join(sorted(extensions))}" if len(extensions) < len(INPUTS) else "sound or video"
    counts = Counter(_extension(path) for path in there)
    others = [f"{n} .{extension}" for extension, n in counts.most_common() if extension in INPUTS][:_SHOWN]
    hint = f"there are {', '.join(others)}: name the extension after the folders" if others else None
    return InputError(f"{source} has no {named} file", hint=hint)
