"""Find the captions of a recording: `NAME.LANGUAGE.vtt` or `.srt`, as `sca download --subtitles` writes them beside it."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sca.errors import InputError
from sca.textutil import one_line
from sca.timeline import Show

__all__ = ["CaptionFile", "CaptionFolder"]

_SUFFIXES = (".vtt", ".srt")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class CaptionFile:
    """A file of captions, and the language in its name; empty if the name has none."""

    path: Path
    language: str

    def speaks(self, language: str | None) -> bool:
        """Return whether the captions are in a language; yes if either is unknown."""
        return not self.language or not language or _base(self.language) == _base(language)


class CaptionFolder:
    """The captions beside recordings, and below a further folder."""

    def __init__(
        self, folder: Path | None = None, is_ours: Callable[[Path, Show], bool] = lambda path, show: False
    ) -> None:
        """List the files.

        Args:
            folder: A folder that is searched too, with its subfolders, for recordings without captions beside them.
            is_ours: Returns whether a file was written from the timeline itself; such a file is not a second source.

        Raises:
            InputError: The folder does not exist.
        """
        if folder is not None and not folder.is_dir():
            raise InputError(f"the folder of captions {folder} does not exist")
        self._is_ours = is_ours
        self._elsewhere = _by_stem(folder.rglob("*")) if folder is not None else {}
        self._beside: dict[Path, Mapping[str, list[CaptionFile]]] = {}

    def of(self, recording: Path, show: Show) -> CaptionFile | None:
        """Return the captions of a recording: those in its language, otherwise the first by name.

        Args:
            recording: The recording.
            show: Its timeline.
        """
        parent = recording.parent
        if parent not in self._beside:
            self._beside[parent] = _by_stem(parent.iterdir())
        stem = one_line(recording.stem)
        found = self._beside[parent].get(stem) or self._elsewhere.get(stem, [])
        others = [file for file in found if not self._is_ours(file.path, show)]
        return min(
            others, key=lambda file: (not file.speaks(show.language), not file.language, file.path), default=None
        )


def _by_stem(paths: Iterable[Path]) -> dict[str, list[CaptionFile]]:
    """Return caption files by the name of their recording. `a.b.en.vtt` may belong to `a.b` or to `a.b.en`."""
    found: defaultdict[str, list[CaptionFile]] = defaultdict(list)
    for path in sorted(paths):
        if path.suffix.lower() not in _SUFFIXES or path.name.startswith(".") or not path.is_file():
            continue
        stem, _, language = path.stem.rpartition(".")
        if stem and _LANGUAGE.fullmatch(language):
            found[one_line(stem)].append(CaptionFile(path, language))
        found[one_line(path.stem)].append(CaptionFile(path, ""))
    return dict(found)


def _base(language: str) -> str:
    return language.split("-")[0].casefold()
