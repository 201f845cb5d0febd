"""Rows of a table as dialogues: recordings that are written to files, and segments of the transcripts."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sca.data.corpora.packed.columns import Columns, find_columns, side_named
from sca.data.corpora.packed.recordings import RecordingFiles
from sca.data.corpora.packed.rows import Row, columns_of, rows_of, tables_in
from sca.data.corpora.segments.model import Dialogue, Problem, Segment
from sca.data.corpora.segments.recogniser_json import entries_of
from sca.errors import InputError

__all__ = ["read_tables"]

_CHANNELS = ("left", "right")
_EXPECTED = "a list of start, end and text, or of words with start and end, as a list or as JSON"


def read_tables(source: Path, files: RecordingFiles) -> Iterator[Dialogue | Problem]:
    """Read the conversations of a table, one row at a time.

    Args:
        source: A table, or a folder with tables.
        files: Where recordings are written.

    Yields:
        A dialogue for each row, or the problem of the row.

    Raises:
        InputError: A table cannot be read, or has no columns of conversations.
    """
    if (source / "storage").is_dir() and (source / "report.json").is_file():
        raise InputError(
            f"{source} is a data set that sca build-duplex wrote",
            hint="give the corpus that it was built from; sca export --to lhotse or moshi writes one",
        )
    paths = tables_in(source)
    if not paths:
        raise InputError(f"{source} has no table", hint="expected Parquet, a folder of save_to_disk, or metadata.csv")
    columns: dict[Path, Columns] = {}
    reasons: list[str] = []
    for path in paths:
        try:
            columns[path] = find_columns(columns_of(path))
        except ValueError as error:
            reasons.append(f"{path} {error}")
    if not columns:
        raise InputError(reasons[0])
    yield from (Problem(None, reason) for reason in reasons)
    for row in rows_of(columns, lambda path: columns[path].used):
        try:
            yield _dialogue(row, columns[row.path], files)
        except (ValueError, InputError) as error:
            yield Problem(None, f"row {row.name} of {row.path.name}: {error}")


def _dialogue(row: Row, columns: Columns, files: RecordingFiles) -> Dialogue:
    name = str(row.values.get(columns.row_id or "") or row.name)
    audio = tuple(
        _recording(row, column, f"{row.name}.{side}" if len(columns.audio) == 2 else row.name, files)
        for column, side in zip(columns.audio, columns.sides or ("",), strict=False)
    )
    found = [*_of_sides(row, columns), *_of_both(row, columns)]
    if not any(isinstance(segment, Segment) for segment in found):
        texts = [*columns.whole, *(column for own in columns.own.values() for column in own)]
        have = f"the columns {', '.join(texts)} have no times" if texts else "there is no column of transcripts"
        raise ValueError(f"{have}; expected {_EXPECTED}")
    speakers = (columns.sides[0], columns.sides[1]) if len(columns.audio) == 2 else None
    return Dialogue(name, audio, row.path, found, speakers)


def _of_sides(row: Row, columns: Columns) -> Iterator[Segment | Problem]:
    """Yield the segments of the transcripts of each speaker."""
    for channel, side in enumerate(columns.sides):
        for segment in _first(row, columns.own.get(side, ())):
            yield segment if isinstance(segment, Problem) else segment._replace(channel=channel, speaker=None)


def _of_both(row: Row, columns: Columns) -> Iterator[Segment | Problem]:
    """Yield the segments of a transcript of both speakers, on the channels that its speakers name."""
    found = list(_first(row, columns.whole))
    named = {segment.speaker for segment in found if isinstance(segment, Segment)}
    channel_of = {speaker: side_named(speaker, columns.sides or _CHANNELS) for speaker in named}
    all_named = None not in channel_of.values()
    for segment in found:
        if isinstance(segment, Problem) or segment.channel is not None or not all_named:
            yield segment
        else:
            yield segment._replace(channel=channel_of[segment.speaker], speaker=None)


def _first(row: Row, names: tuple[str, ...]) -> list[Segment | Problem]:
    """Return the segments of the first column that has utterances, and of the first that has words alone."""
    texts: list[Segment | Problem] = []
    words: list[Segment | Problem] = []
    for name in names:
        found = _segments(row.values.get(name))
        kinds = {bool(segment.text) for segment in found if isinstance(segment, Segment)}
        if True in kinds:
            texts = texts or found
        elif kinds:
            words = words or found
    return texts + words


def _segments(value: Any) -> list[Segment | Problem]:
    """Return the segments of a value; nothing if it is not a transcript with times."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return []
    match value:
        case {"start": list(), "end": list()}:  # datasets stores a list of structs as a struct of lists
            value = [dict(zip(value, entry, strict=False)) for entry in zip(*value.values(), strict=False)]
        case [[str(), list(), str()], *_]:
            value = {"alignments": value}
        case [[str(), int() | float(), int() | float()], *_]:
            value = [{"word": word, "start": start, "end": end} for word, start, end, *_ in value]
    return list(entries_of(value) or ()) if isinstance(value, list | dict) else []


def _recording(row: Row, column: str, name: str, files: RecordingFiles) -> Path:
    value = row.values[column]
    content, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (None, None)
    if isinstance(value, bytes):
        content = value
    elif isinstance(value, str):
        path = value
    if content is not None:
        return files.file_of(name, content, str(path or ""))
    if not path:
        raise ValueError(f"{column} has no recording")
    found = next((place for place in (row.path.parent / path, Path(path)) if place.is_file()), None)
    if found is None:
        raise ValueError(f"the recording {path} does not exist")
    return found
