"""The JSONL file that a transcription writes: one line per recording, appended when it is known, sorted at the end."""

from collections.abc import Iterator, Mapping, Set
from pathlib import Path

from sca.data.runs.files import append_line, atomic_write
from sca.data.transcription.recordings import KnownLine
from sca.errors import OutputError, check_target, writing
from sca.timeline import BrokenLine, Show, read_shows

__all__ = ["ShowFile"]


class ShowFile:
    """A file of timelines that is written to."""

    def __init__(self, path: Path) -> None:
        """Check the file, before a model is loaded and before anything is written.

        Raises:
            OutputError: The file cannot be written, or has other content.
        """
        self.path = path
        check_target(path)
        with writing(path):
            if not path.exists():
                return
            with path.open("rb") as file:
                beginning = file.read(4096).lstrip()
        if beginning and not beginning.startswith(b"{"):
            raise OutputError(f"{path} does not hold timelines", hint="give another name with --output")

    def lines(self, origins: Mapping[str, str]) -> dict[str, KnownLine]:
        """Return what identifies the recordings in the file, by id.

        Args:
            origins: Where recordings were found when they were transcribed, by id.
        """
        return {
            show.video_id: KnownLine(show.source, show.sha256, origins.get(show.video_id), show.reactions)
            for show in self.shows()
        }

    def shows(self) -> Iterator[Show]:
        """Yield the lines that can be parsed."""
        return (show for _, show in self._lines() if isinstance(show, Show))

    def append(self, show: Show) -> None:
        """Append a line, synced."""
        append_line(self.path, show.model_dump_json().encode() + b"\n")

    def take(self, other: "ShowFile") -> None:
        """Append the lines of another file, synced. What is read later replaces earlier lines of the same recordings."""
        for line, show in other._lines():
            if isinstance(show, Show):
                append_line(self.path, line + b"\n")

    def hand_over(self, names: Set[str], other: "ShowFile") -> None:
        """Move lines to another file, which gets them before this one loses them. A line that is there already wins.

        Args:
            names: The recordings of the lines.
            other: The other file.
        """
        moved = {show.video_id: line for line, show in self._lines() if isinstance(show, Show)}
        moved = {name: line for name, line in moved.items() if name in names}
        if not moved:
            return
        there = {show.video_id for show in other.shows()}
        for name, line in moved.items():
            if name not in there:
                append_line(other.path, line + b"\n")
        other.settle()
        kept = [
            line for line, show in self._lines() if line and not (isinstance(show, Show) and show.video_id in moved)
        ]
        if kept:
            with atomic_write(self.path) as temporary:
                temporary.write_bytes(b"".join(line + b"\n" for line in kept))
        else:
            self.path.unlink()

    def settle(self) -> None:
        """Keep the last line of each recording, sorted by id. Lines that cannot be parsed move to the end."""
        if not self.path.exists():
            return
        shows: dict[str, bytes] = {}
        others: list[bytes] = []
        for line, parsed in self._lines():
            if isinstance(parsed, Show):
                shows[parsed.video_id] = line
            else:
                others.append(line)
        settled = b"".join(line + b"\n" for line in [*(shows[name] for name in sorted(shows)), *others])
        if settled != self.path.read_bytes():
            with atomic_write(self.path) as temporary:
                temporary.write_bytes(settled)

    def _lines(self) -> Iterator[tuple[bytes, Show | BrokenLine]]:
        if not self.path.exists():
            return
        raw = self.path.read_bytes().split(b"\n")
        for number, parsed in read_shows(self.path):
            yield raw[number - 1], parsed
