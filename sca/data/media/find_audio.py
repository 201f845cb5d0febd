"""Which file is a show's recording? Found by the show's id in a folder, never guessed between two."""

from collections.abc import Mapping
from pathlib import Path

from sca.data.acquire.media_file import beside, file_name
from sca.errors import InputError
from sca.timeline import Show

__all__ = ["SOUND", "AudioFolder", "info_files"]

_SOUND_ONLY = ("flac", "wav", "opus", "ogg", "oga", "mp3", "m4a", "aac", "aiff", "aif", "wma", "mka")
_PICTURES_TOO = ("webm", "mp4", "m4v", "mkv", "mov", "avi", "3gp")
SOUND = frozenset(f".{ending}" for ending in (*_SOUND_ONLY, *_PICTURES_TOO))


class AudioFolder:
    """The sound files below a folder, by name. Raises `InputError` when there is no such folder."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise InputError(
                f"there is no audio folder {root}", hint="give the folder sca transcode wrote to, --audio-dir DIR"
            )
        self.root = root
        self._by_stem: dict[str, list[Path]] = {}
        for path in sorted(root.rglob("*")):
            hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
            if path.suffix.lower() in SOUND and not hidden and path.is_file():
                self._by_stem.setdefault(path.stem, []).append(path)

    def of(self, show: Show) -> Path:
        """The recording of a show. Raises `InputError` when there is none, or more than one.

        A file belongs to a show when its name (without ending) is the show's id or the show's `source`, or ends in `[id]` as
        downloads do.
        """
        found = list(self._by_stem.get(show.video_id, ()))
        if not found:
            tail = file_name("", show.video_id, "x").removeprefix("untitled").removesuffix(".x")
            found = [path for stem, paths in self._by_stem.items() if stem.endswith(tail) for path in paths]
        if not found and show.source:
            found = list(self._by_stem.get(Path(show.source).stem, ()))
        if not found:
            raise InputError(f"no audio for {show.video_id} in {self.root}")
        if len(found) > 1:
            names = " and ".join(str(path.relative_to(self.root)) for path in found[:3])
            raise InputError(f"{len(found)} files for {show.video_id}: {names}", hint="keep one of them")
        return found[0]


def info_files(folders: tuple[Path, ...]) -> Mapping[str, Path]:
    """What `sca download` wrote beside its files, by the name of the file without its ending."""
    suffix = beside(Path("x")).name.removeprefix("x")
    return {
        path.name.removesuffix(suffix): path
        for folder in reversed(folders)
        if folder.is_dir()
        for path in sorted(folder.rglob(f"*{suffix}"))
    }
