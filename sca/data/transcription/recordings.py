"""Find the recordings to transcribe."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sca.data.media.transcode_plan import INPUTS, walk
from sca.errors import InputError
from sca.textutil import one_line

__all__ = ["Recording", "find_recordings"]


@dataclass(frozen=True, slots=True)
class Recording:
    """A file to transcribe.

    Attributes:
        video_id: The file name without its extension, by which later steps find the audio.
        path: The file.
    """

    video_id: str
    path: Path


def find_recordings(sources: Sequence[Path]) -> tuple[list[Recording], dict[str, str]]:
    """Find the recordings of files and folders, including sub-folders and excluding hidden files.

    Returns:
        The recordings sorted by name, and for each name that several files share the reason why they are left out.

    Raises:
        InputError: A source does not exist, or no recording was found.
    """
    by_name: dict[str, dict[Path, Path]] = {}
    for source in sources:
        if source.is_dir():
            found = [path for path in walk(source) if path.suffix.lower().removeprefix(".") in INPUTS]
        elif source.exists():
            found = [source]
        else:
            raise InputError(f"{source} does not exist")
        for path in found:
            by_name.setdefault(one_line(path.stem), {})[path.resolve()] = path
    if not by_name:
        raise InputError(f"no sound or video file found in {', '.join(map(str, sources))}")
    clashes = {
        name: f"{' and '.join(sorted(map(str, paths.values())))} are both called {name}: rename one, or give them to two runs"
        for name, paths in by_name.items()
        if len(paths) > 1
    }
    single = {name: next(iter(paths.values())) for name, paths in by_name.items() if len(paths) == 1}
    return [Recording(name, path) for name, path in sorted(single.items())], clashes
