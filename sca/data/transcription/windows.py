"""The windows of a recording that are recognized one after another, and their results, which survive an interruption."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from sca.data.runs.files import append_line
from sca.data.transcription.hallucinations import Evidence, RecognizedWord
from sca.data.transcription.speech import Span
from sca.units import HEARD_HZ

__all__ = ["PartialWork", "WindowResult", "cut_at_pauses", "partial_dir"]

_SEQUENCE_SAMPLES = 600 * HEARD_HZ
_LEAST_SAMPLES = 480 * HEARD_HZ


@dataclass(frozen=True, slots=True)
class WindowResult:
    """What was recognized in a window.

    Attributes:
        segments: The words of each segment, with times in the recording.
        language: The language code.
        language_probability: Its probability.
        last_end_s: Where the last word ends in the joined speech.
        decoded_again: Stretches of 30 s that were decoded a second time.
    """

    segments: list[list[RecognizedWord]]
    language: str
    language_probability: float
    last_end_s: float = 0.0
    decoded_again: int = 0

    def line(self) -> bytes:
        """Return the result as a line of JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def of(cls, line: bytes) -> "WindowResult":
        """Return the result of a line.

        Raises:
            ValueError: The line is cut off.
        """
        fields = json.loads(line)
        segments = [[_word(word) for word in words] for words in fields.pop("segments")]
        return cls(segments, **fields)


def _word(fields: dict[str, object]) -> RecognizedWord:
    evidence = fields.pop("evidence")
    known = Evidence(**evidence) if isinstance(evidence, dict) else None
    return RecognizedWord(**fields, evidence=known)  # type: ignore[arg-type]  # as `line` wrote them


def partial_dir(save_file: Path) -> Path:
    """Return the folder of the windows of recordings in progress."""
    return save_file.with_name(f".{save_file.stem}.partial")


class PartialWork:
    """The file of the windows of a recording in progress. A recording with one window has none."""

    def __init__(self, path: Path | None = None) -> None:
        """Create from the file.

        Args:
            path: The file; None does not keep windows.
        """
        self._path = path
        self._results: list[WindowResult] = []
        if path is not None and path.exists():
            lines = path.read_bytes().splitlines(keepends=True)
            with suppress(ValueError, TypeError, KeyError):  # the last line was being written
                for line in lines:
                    self._results.append(WindowResult.of(line))
            path.write_bytes(b"".join(lines[: len(self._results)]))

    def known(self, window: int) -> WindowResult | None:
        """Return the result of a window; None if it is not known."""
        return self._results[window] if window < len(self._results) else None

    def add(self, result: WindowResult) -> None:
        """Add the result of the next window, synced."""
        self._results.append(result)
        if self._path is not None:
            self._path.parent.mkdir(exist_ok=True)
            append_line(self._path, result.line())


def cut_at_pauses(speech: Sequence[Span], total: int) -> list[Span]:
    """Cut a recording into windows of 8 to 10 minutes, in the middle of the longest pause of the last two minutes.

    Args:
        speech: Where speech is, in samples, sorted and disjoint.
        total: The length of the recording.

    Returns:
        Spans that cover the recording. One of up to 10 minutes has one window.
    """
    windows: list[Span] = []
    start = 0
    while total - start > _SEQUENCE_SAMPLES:
        earliest, latest = start + _LEAST_SAMPLES, start + _SEQUENCE_SAMPLES
        edges = [earliest, *(at for span in speech for at in span if earliest < at < latest), latest]
        if any(first <= earliest < last for first, last in speech):
            edges = edges[1:]
        pauses = list(zip(edges[::2], edges[1::2], strict=False))
        low, high = max(pauses, key=lambda pause: pause[1] - pause[0], default=(latest, latest))
        end = (low + high) // 2
        windows.append((start, end))
        start = end
    return [*windows, (start, total)]
