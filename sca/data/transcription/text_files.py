"""Files in other formats beside the JSONL of a transcription: one per recording and format."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath

from sca.data.runs.files import atomic_write
from sca.data.transcription.text_formats import TEXT_FORMATS
from sca.errors import UsageError, check_target, writing
from sca.timeline import Show

__all__ = ["JSONL", "TextFiles", "is_text_of", "parse_formats"]

JSONL = "jsonl"
"""The format of the save file, which is always written."""
_MAX_NAME_BYTES = 240


def parse_formats(values: Iterable[str]) -> tuple[str, ...]:
    """Return the formats that are written per recording, each once, from values such as `srt` and `srt,vtt`.

    Raises:
        UsageError: A format does not exist.
    """
    names = [name.strip().lower() for value in values for name in value.split(",")]
    for name in names:
        if name != JSONL and name not in TEXT_FORMATS:
            raise UsageError(
                f"the output format {name!r} does not exist", hint=f"one or more of {', '.join((JSONL, *TEXT_FORMATS))}"
            )
    return tuple(name for name in TEXT_FORMATS if name in names)


def is_text_of(path: Path, show: Show) -> bool:
    """Return whether a file is what a timeline gives in the format of its extension."""
    write = TEXT_FORMATS.get(path.suffix.lower().removeprefix("."))
    try:
        return write is not None and path.read_bytes() == write(show).encode()
    except OSError:  # the next reader of the file reports the reason
        return False


@dataclass(frozen=True, slots=True)
class TextFiles:
    """The files of a run in these formats.

    Attributes:
        folder: The folder of the files.
        formats: Names of `TEXT_FORMATS`; may be empty.
    """

    folder: Path
    formats: tuple[str, ...] = ()

    def check(self) -> None:
        """Check that the folder can have files, before a model is loaded.

        Raises:
            OutputError: It cannot.
        """
        if self.formats:
            check_target(self.folder / "file")

    def path_of(self, video_id: str, name: str) -> Path:
        """Return the file of a recording in a format.

        It has the id of the recording, which no other recording of the save file has. An id with folders has its file in
        these folders.
        """
        parts = PurePosixPath(video_id).parts
        is_within = not ({"..", "/"} & set(parts)) and video_id == "/".join(parts)
        if not is_within or any(len(part.encode()) > _MAX_NAME_BYTES for part in parts):
            cut = parts[-1].encode()[: _MAX_NAME_BYTES - 17].decode(errors="ignore") if is_within else "recording"
            parts = (f"{cut}-{sha256(video_id.encode()).hexdigest()[:16]}",)
        return self.folder.joinpath(*parts[:-1], f"{parts[-1]}.{name}")

    def write(self, show: Show) -> int:
        """Write the files of a recording, and replace earlier ones; return how many were written.

        Raises:
            OutputError: A file cannot be written.
        """
        return sum(self._write(self.path_of(show.video_id, name), TEXT_FORMATS[name](show)) for name in self.formats)

    def complete(self, show: Show) -> tuple[int, list[str]]:
        """Write the files of a recording that do not exist, and keep the others, which may have been corrected by hand.

        Returns:
            How many were written, and remarks on files that differ from the line.

        Raises:
            OutputError: A file cannot be written.
        """
        written, notes = 0, []
        for name in self.formats:
            path, content = self.path_of(show.video_id, name), TEXT_FORMATS[name](show)
            if not path.exists():
                written += self._write(path, content)
                continue
            with writing(path):
                if path.read_bytes() != content.encode():
                    notes.append(f"{path} is not what its line gives and was kept; delete it to have it written again")
        return written, notes

    def _write(self, path: Path, content: str) -> int:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            temporary.write_bytes(content.encode())
        return 1
