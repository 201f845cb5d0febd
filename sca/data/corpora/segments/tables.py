"""Tables of turns: CSV and TSV with a header, Audacity labels, and the tables that whisper writes."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sca.data.corpora.segments.model import Parsed, Problem, Segment, checked, seconds_of
from sca.data.corpora.text.encoding import lines_of, read_text

__all__ = ["read_labels", "read_table", "value_of"]

_NAMES: Mapping[str, Sequence[str]] = {
    "start": (
        "start",
        "start_time",
        "starttime",
        "begin",
        "begin_time",
        "onset",
        "tmin",
        "from",
        "start_s",
        "start_ms",
    ),
    "end": ("end", "end_time", "endtime", "stop", "stop_time", "offset", "tmax", "to", "end_s", "end_ms"),
    "text": ("text", "utterance", "transcript", "transcription", "sentence", "content"),
    "speaker": ("speaker", "speaker_id", "spk", "speaker_label", "participant", "tier"),
    "channel": ("channel", "channel_id", "channel_index"),
}
# Numbers count from 0 unless there is a channel 2, which the reader of conversations resolves.
_CHANNELS: Mapping[str, int] = {"0": 0, "1": 1, "2": 2, "a": 0, "b": 1, "left": 0, "right": 1, "l": 0, "r": 1}


def value_of(row: Mapping[str, object], kind: str) -> object | None:
    """Return a value of a row by the usual names of its column; times that are named `_ms` are in seconds.

    Raises:
        ValueError: It is a time and not a number.
    """
    for name in _NAMES[kind]:
        if (value := row.get(name)) is not None:
            if kind in ("start", "end"):
                return seconds_of(str(value)) / (1000 if name.endswith("_ms") else 1)
            return value
    return None


def read_table(path: Path) -> Parsed:
    """Read a table with a header. Its columns are found by their usual names.

    Raises:
        ValueError: The file cannot be read, or has no columns of that kind.
    """
    text = read_text(path).text
    first = text.split("\n", 1)[0]
    delimiter = max("\t,;|", key=first.count)
    rows = csv.DictReader(io.StringIO(text), delimiter=delimiter)
    rows.fieldnames = [name.strip().casefold() for name in rows.fieldnames or ()]
    columns = list(rows.fieldnames)
    if missing := [kind for kind in ("start", "end", "text") if not set(_NAMES[kind]) & set(columns)]:
        raise ValueError(
            f"{path} has the columns {', '.join(columns)[:100]}, none of them named {' or '.join(missing)}; "
            f"expected start, end, text and, with several speakers, speaker"
        )
    for row in _rows(rows, path):
        line = rows.line_num
        try:
            start, end = value_of(row, "start"), value_of(row, "end")
            if not isinstance(start, float) or not isinstance(end, float):
                raise ValueError("a time is missing")
        except ValueError as error:
            yield Problem(line, str(error))
            continue
        # whisper --output_format tsv writes these three columns, in milliseconds.
        scale = 1000 if delimiter == "\t" and columns == ["start", "end", "text"] else 1
        content, speaker = str(value_of(row, "text") or "").strip(), str(value_of(row, "speaker") or "").strip()
        channel = _CHANNELS.get(str(value_of(row, "channel") or "").strip().casefold())
        if content:
            yield checked(Segment(start / scale, end / scale, content, speaker or None, channel, line=line))


def _rows(rows: "csv.DictReader[str]", path: Path) -> Iterator[dict[str, str]]:
    try:
        yield from rows
    except csv.Error as error:  # a field of more than 128 KiB, as after a quote that is never closed
        raise ValueError(f"{path}:{rows.line_num}: {error}; is a quote not closed?") from error


def read_labels(path: Path) -> Parsed:
    """Read labels as Audacity exports them: start, end and text, with tabs between them.

    Raises:
        ValueError: The file cannot be read.
    """
    for line, label in lines_of(path):
        start, _, rest = label.partition("\t")
        end, _, text = rest.partition("\t")
        if not text.strip() or start == "\\":  # a line that starts with \ has the frequencies of the label above
            continue
        try:
            yield checked(Segment(seconds_of(start), seconds_of(end), text.strip(), line=line))
        except ValueError as error:
            yield Problem(line, str(error))
