"""Find the recording of a show, by its id, in a folder."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from sca.data.acquire.media_file import has_file_id, info_path
from sca.data.media.transcode_plan import INPUTS
from sca.data.runs.files import input_sha256
from sca.errors import InputError
from sca.textutil import one_line
from sca.timeline import Show

__all__ = ["SOUND", "AudioFolder", "info_files"]

SOUND = frozenset(f".{extension}" for extension in INPUTS)
"""The suffixes of files that hold sound."""


class AudioFolder:
    """The sound files below a folder, by name."""

    def __init__(self, root: Path) -> None:
        """List the files.

        Raises:
            InputError: The folder does not exist.
        """
        if not root.is_dir():
            raise InputError(
                f"the audio folder {root} does not exist",
                hint="give the folder sca transcode wrote to, --audio-dir DIR",
            )
        self.root = root
        self._by_stem: dict[str, list[Path]] = {}
        for path in sorted(root.rglob("*")):
            is_hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
            if path.suffix.lower() in SOUND and not is_hidden and path.is_file():
                self._by_stem.setdefault(one_line(path.stem), []).append(path)

    def of(self, show: Show) -> Path:
        """Return the recording of a show.

        A file belongs to a show if its name without extension is the show's id or the show's `source`, or ends in
        `[id]` or `[id-<digest>]` as the names of downloads do. Of several files, it is the one at the path of `source`,
        or else the one with the content that was transcribed. Characters that do not print are compared as
        `sca transcribe` writes them.

        Raises:
            InputError: No file belongs to the show, or several do.
        """
        show_id = one_line(show.video_id)
        found = list(self._by_stem.get(show_id, ()))
        if not found:
            found = [path for stem, paths in self._by_stem.items() if has_file_id(stem, show_id) for path in paths]
        if not found and show.source:
            found = list(self._by_stem.get(Path(show.source).stem, ()))
        if not found:
            raise InputError(f"no audio for {show.video_id} in {self.root}")
        if len(found) > 1:
            found = self._narrowed(found, show)
        if len(found) > 1:
            names = " and ".join(str(path.relative_to(self.root)) for path in found[:3])
            raise InputError(f"{len(found)} files for {show.video_id}: {names}", hint="keep one of them")
        return found[0]

    def _narrowed(self, found: list[Path], show: Show) -> list[Path]:
        """Return the files that are at the path of a show's `source`, or else have its content; all if none does."""
        if show.source is not None:
            wanted = f"/{PurePosixPath(one_line(show.source)).with_suffix('')}"
            places = {path: f"/{one_line(path.relative_to(self.root).with_suffix('').as_posix())}" for path in found}
            at_source = [path for path in found if places[path] == wanted]
            at_source = at_source or [path for path in found if places[path].endswith(wanted)]
            if len(at_source) == 1:
                return at_source
            found = at_source or found
        same = [path for path in found if show.sha256 is not None and input_sha256(path) == show.sha256]
        return same[:1] or found  # files with the same content are the same recording


def info_files(folders: tuple[Path, ...]) -> Mapping[str, Path]:
    """Return the metadata files that `sca download` wrote, by the name of the download without its extension."""
    suffix = info_path(Path("x")).name.removeprefix("x")
    return {
        path.name.removesuffix(suffix): path
        for folder in reversed(folders)
        if folder.is_dir()
        for path in sorted(folder.rglob(f"*{suffix}"))
    }
