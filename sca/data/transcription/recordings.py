"""Find the recordings to transcribe, and give each an id.

A recording is the same as that of a line if its content and its path within the input are the same. Only then, or if the
file at its place has new content, does it have the id of the line, and replaces it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath

from sca.data.media.transcode_plan import INPUTS, walk
from sca.errors import InputError
from sca.textutil import one_line
from sca.urls.cache import address_of

__all__ = ["FoundFile", "KnownLine", "Recording", "find_recordings", "name_recordings"]


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file to transcribe.

    Attributes:
        path: The file.
        source: Its path within the input, by which later steps find it.
        parent: The name of the folder that `source` begins in.
        origin: A hash of the place of the file on this machine, or of its URL.
    """

    path: Path
    source: str
    parent: str
    origin: str

    @property
    def stem(self) -> str:
        """The name of the file without its extension, on one line."""
        return one_line(self.path.stem)


@dataclass(frozen=True, slots=True)
class Recording:
    """A file to transcribe, and its id.

    Attributes:
        video_id: The id of its line: the file name without its extension, with folders if other files have that name.
        file: The file.
    """

    video_id: str
    file: FoundFile

    @property
    def path(self) -> Path:
        """The file."""
        return self.file.path


@dataclass(frozen=True, slots=True)
class KnownLine:
    """What identifies the recording of a line.

    Attributes:
        source: Its path within the input, or its name in lines of older versions; None if unknown.
        sha256: Hash of its content; None if unknown.
        origin: `FoundFile.origin` when it was transcribed; None if unknown.
        reactions: The name of the reaction detector; None if unknown.
    """

    source: str | None
    sha256: str | None
    origin: str | None
    reactions: str | None = None


def find_recordings(sources: Sequence[Path]) -> list[FoundFile]:
    """Find the recordings of files and folders, including sub-folders and excluding hidden files.

    Returns:
        The files, each once, sorted by their paths within the input.

    Raises:
        InputError: A source does not exist, or no recording was found.
    """
    found: dict[Path, FoundFile] = {}
    for source in sources:
        if source.is_dir():
            paths, root = [p for p in walk(source) if p.suffix.lower().removeprefix(".") in INPUTS], source
        elif source.exists():
            paths, root = [source], source.parent
        else:
            raise InputError(f"{source} does not exist")
        parent = one_line(root.resolve().name)
        for path in paths:
            within = one_line(path.relative_to(root).as_posix())
            place = path.resolve()
            origin = sha256(address_of(path).encode(errors="surrogateescape")).hexdigest()[:16]
            found.setdefault(place, FoundFile(path, within, parent, origin))
    if not found:
        raise InputError(f"no sound or video file found in {', '.join(map(str, sources))}")
    return sorted(found.values(), key=lambda file: (file.source, file.parent, file.origin))


def name_recordings(
    files: Sequence[FoundFile], digests: Sequence[str], lines: Mapping[str, KnownLine]
) -> list[Recording]:
    """Give every file an id that no other recording has.

    Args:
        files: The files of a run.
        digests: The SHA-256 of each.
        lines: The lines that exist, by id.

    Returns:
        The recordings, in the order of `files`.
    """
    ids = _known_ids(files, digests, lines)
    candidates = [_candidates(file, digest) for file, digest in zip(files, digests, strict=True)]
    for level in range(len(candidates[0]) if candidates else 0):
        # A name that several files of this run could have is given to none, so an interrupted run gives the same names.
        wanted = Counter(names[level] for names in candidates)
        for n, names in enumerate(candidates):
            if n not in ids and wanted[names[level]] == 1 and names[level] not in lines:
                ids[n] = names[level]
    return [Recording(ids[n], file) for n, file in enumerate(files)]


def _known_ids(files: Sequence[FoundFile], digests: Sequence[str], lines: Mapping[str, KnownLine]) -> dict[int, str]:
    """Return the ids of the files that are recordings of existing lines, by the index of the file."""
    by_content: dict[str, list[str]] = {}
    by_origin: dict[str, list[str]] = {}
    for name, line in lines.items():
        by_content.setdefault(line.sha256 or "", []).append(name)
        by_origin.setdefault(line.origin or "", []).append(name)
    ids: dict[int, str] = {}
    used: set[str] = set()

    def claim(n: int, names: Iterable[str]) -> None:
        name = next((name for name in names if name not in used), None)
        if n not in ids and name is not None:
            ids[n] = name
            used.add(name)

    pairs = list(enumerate(zip(files, digests, strict=True)))
    for n, (file, digest) in pairs:
        claim(n, [name for name in by_content.get(digest, ()) if lines[name].source == file.source])
    for n, (file, digest) in pairs:
        claim(n, [name for name in by_content.get(digest, ()) if _is_part_of(lines[name].source, file.source)])
    for n, (file, _) in pairs:
        claim(n, by_origin.get(file.origin, ()))
    for n, (file, _) in pairs:  # a line of another program, without the path of its recording
        claim(n, [file.stem] if file.stem in by_content.get("", ()) else ())
    return ids


def _candidates(file: FoundFile, digest: str) -> tuple[str, ...]:
    """Return the names that a file can have, from the shortest to one that no other file can have."""
    whole = f"{file.parent}/{file.source}"
    without = str(PurePosixPath(file.source).with_suffix(""))
    return (
        file.stem,
        without,
        f"{file.parent}/{without}",
        whole,
        f"{whole}-{digest[:8]}",
        f"{whole}-{digest[:8]}-{file.origin}",
    )


def _is_part_of(one: str | None, other: str) -> bool:
    """Return whether one path is the end of the other."""
    if one is None:
        return False
    return f"/{other}".endswith(f"/{one}") or f"/{one}".endswith(f"/{other}")
