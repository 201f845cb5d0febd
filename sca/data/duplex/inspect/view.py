"""A view of a row or of a whole session: words, segments, tokens and tracks, for the terminal and for a page.

Times are seconds from the start of the view.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from sca.config import Settings
from sca.control_tokens import control_tokens_of
from sca.data.duplex.inspect.overlaps import overlaps
from sca.data.duplex.model.heard import heard_speakers
from sca.data.duplex.model.records import RowRecord
from sca.data.duplex.model.row_names import stored_row_id, typed_row_id
from sca.data.duplex.model.rows import PlacedToken
from sca.data.duplex.storage.build_settings import settings_of
from sca.data.duplex.storage.reader import DatasetReader
from sca.data.duplex.storage.tracks import StoredTrack
from sca.errors import InputError, UsageError
from sca.tokenizer import TextTokenizer

__all__ = [
    "SegmentView",
    "SideView",
    "TokenView",
    "View",
    "WordView",
    "open_view",
    "view_of_row",
]

_MAX_SUGGESTIONS = 3


@dataclass(frozen=True, slots=True)
class WordView:
    """A word; `speaker` is an index in `View.speakers`."""

    speaker: int
    text: str
    start_s: float
    end_s: float
    source: str


@dataclass(frozen=True, slots=True)
class SegmentView:
    """A turn, backchannel or interruption; `speaker` is an index in `View.speakers`."""

    speaker: int
    kind: str
    text: str
    start_s: float
    end_s: float
    overlap: float
    floor_offset_s: float | None


@dataclass(frozen=True, slots=True)
class TokenView:
    """A token on the grid.

    Attributes:
        chunk: Chunk of the view.
        k: Place in the chunk, from 0.
        id: Token id.
        text: The token as text.
        control: `hold`, `start`, `stop` or `backchannel`; None for text.
    """

    chunk: int
    k: int
    id: int
    text: str
    control: str | None


@dataclass(frozen=True, slots=True)
class SideView:
    """The tokens of one speaker while others are heard.

    Attributes:
        listener: Who is heard, as the rows name it.
        speaker: Id of the speaker of the tokens.
        tokens: The tokens.
        rows: Id, first chunk and number of chunks of each row.
        unlabelled: Ranges `[first, end)` of chunks of the view that are not labels.
    """

    listener: str
    speaker: str
    tokens: tuple[TokenView, ...]
    rows: tuple[tuple[str, int, int], ...]
    unlabelled: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class View:
    """A row or a session.

    Attributes:
        session_id: Id of the session.
        row_id: Id of the row; None for a session.
        split: Split of the rows.
        first_chunk: First chunk, counted in the session.
        n_chunks: Number of chunks.
        chunk_s: Length of a chunk in seconds.
        speakers: Speaker ids.
        tracks: Tracks of the speakers.
        words: Words by start.
        segments: Segments by start.
        sides: Tokens of each side.
        overlaps: Where several speakers speak at once.
        flags: Flags of the rows.
        audio_chunk: The chunk of the tracks' audio where the view starts: `first_chunk`, or 0 if the audio is that of the
            row only.
    """

    session_id: str
    row_id: str | None
    split: str
    first_chunk: int
    n_chunks: int
    chunk_s: float
    speakers: tuple[str, ...]
    tracks: tuple[StoredTrack, ...]
    words: tuple[WordView, ...]
    segments: tuple[SegmentView, ...]
    sides: tuple[SideView, ...]
    overlaps: tuple[tuple[float, float], ...]
    flags: tuple[str, ...]
    audio_chunk: int

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.n_chunks * self.chunk_s

    @property
    def title(self) -> str:
        """Id of the row, or of the session."""
        return self.row_id or self.session_id

    @property
    def typed_name(self) -> str:
        """The title as one types it in a shell; see `typed_row_id`."""
        return typed_row_id(self.title)


def open_view(reader: DatasetReader, tokenizer: TextTokenizer, target: str | None) -> View:
    """Return the view of a row or session.

    Args:
        reader: The data set.
        tokenizer: The tokenizer of the data set.
        target: Id of a row or of a session in either spelling (`typed_row_id`), or number of a row in the first split;
            None for the first row.

    Raises:
        UsageError: The row or session does not exist. The hint suggests similar names.
        InputError: The data set has no rows, or a speaker of the row has no track.
    """
    found = _find(reader, target)
    if isinstance(found, str):
        rows = reader.row_ranges.get(found)
        return _session_view(reader, tokenizer, found, rows.split if rows else "")
    split, index = found
    return _row_view(reader, tokenizer, next(reader.rows(split, index, index + 1)), split)


def _find(reader: DatasetReader, target: str | None) -> str | tuple[str, int]:
    """Return the id of a session, or the split and index of a row."""
    filled = [split for split in reader.splits if reader.count(split)]
    if not filled:
        raise InputError(f"{reader.root} has no rows")
    if target is None:
        return filled[0], 0
    for name in dict.fromkeys((target, stored_row_id(target))):
        place = _named(reader, name)
        if place is not None:
            return place
    if target.isdecimal():
        index, count = int(target), reader.count(filled[0])
        if index < count:
            return filled[0], index
        raise UsageError(f"row {index} does not exist: {filled[0]} has the rows 0 to {count - 1}")
    similar = ", ".join(map(typed_row_id, _similar_names(reader, stored_row_id(target))))
    raise UsageError(f"{reader.root} has no row or session {target}", hint=f"similar: {similar}")


def _named(reader: DatasetReader, name: str) -> str | tuple[str, int] | None:
    """Return the session or the row with this stored id."""
    if name in reader.sessions:
        return name
    for rows in (rows for session, rows in reader.row_ranges.items() if name.startswith(f"{session}:")):
        for at, row in enumerate(reader.rows(rows.split, rows.first, rows.last), rows.first):
            if row["row_id"] == name:
                return rows.split, at
    return None


def _similar_names(reader: DatasetReader, target: str) -> list[str]:
    """Return similar row ids if the session is nearly right, otherwise similar session ids."""
    sessions = get_close_matches(target.partition(":")[0], list(reader.sessions), n=_MAX_SUGGESTIONS, cutoff=0.0)
    if ":" not in target or sessions[0] not in reader.row_ranges:
        return sessions
    rows = reader.row_ranges[sessions[0]]
    ids = reader.table(rows.split).column("row_id").slice(rows.first, rows.last - rows.first).to_pylist()
    return get_close_matches(target, ids, n=_MAX_SUGGESTIONS, cutoff=0.0)


def _session_view(reader: DatasetReader, tokenizer: TextTokenizer, session_id: str, split: str) -> View:
    tracks = _tracks(reader, session_id)
    rows = _rows(reader, session_id, list(tracks), tracks)
    samples = next(iter(tracks.values())).record["duration_samples"]
    n_chunks = max([reader.grid.chunks(samples), *(row["start_chunk"] + row["n_chunks"] for row in rows)])
    shape = _Shape(session_id, None, split, 0, n_chunks, float(reader.grid.chunk_s), 0)
    return _view(shape, settings_of(reader.build_settings), tokenizer, tracks, rows, rows)


def _row_view(reader: DatasetReader, tokenizer: TextTokenizer, row: RowRecord, split: str) -> View:
    present = _tracks(reader, row["session_id"])
    try:
        heard = heard_speakers(row["listener"], row["speaker"], list(present))
    except InputError as error:
        raise InputError(f"{row['row_id']}: {error.message}", hint="see sca verify") from error
    tracks = {name: present[name] for name in (*heard, row["speaker"])}
    rows = _rows(reader, row["session_id"], list(present), tracks)
    return view_of_row(row, split, settings_of(reader.build_settings), tokenizer, tracks, rows)


def view_of_row(
    row: RowRecord,
    split: str,
    settings: Settings,
    tokenizer: TextTokenizer,
    tracks: Mapping[str, StoredTrack],
    rows: Sequence[RowRecord],
    audio_chunk: int | None = None,
) -> View:
    """Assemble the view of a row.

    Args:
        row: The row.
        split: Its split.
        settings: The settings of the data set.
        tokenizer: Its tokenizer.
        tracks: The tracks of those that are heard, then that of the speaker.
        rows: Rows of the session between these speakers, for the segments.
        audio_chunk: Where the row starts in the audio of the tracks; None for its place in the session.
    """
    first = row["start_chunk"]
    start = first if audio_chunk is None else audio_chunk
    chunk_s = float(settings.grid.chunk_s)
    shape = _Shape(row["session_id"], row["row_id"], split, first, row["n_chunks"], chunk_s, start)
    return _view(shape, settings, tokenizer, tracks, rows, [row])


def _tracks(reader: DatasetReader, session_id: str) -> dict[str, StoredTrack]:
    return {track.record["speaker_id"]: track for track in reader.tracks(session_id)}


def _rows(
    reader: DatasetReader, session_id: str, speakers: Sequence[str], shown: Mapping[str, StoredTrack]
) -> list[RowRecord]:
    """Return the rows of a session between the speakers shown. `speakers` are all of the session."""
    place = reader.row_ranges.get(session_id)
    rows = list(reader.rows(place.split, place.first, place.last)) if place is not None else []
    return [row for row in rows if _names_in(row, speakers) <= shown.keys()]


def _names_in(row: RowRecord, speakers: Sequence[str]) -> set[str]:
    """Return the speakers of a row, also if they have no track."""
    try:
        return {row["speaker"], *heard_speakers(row["listener"], row["speaker"], speakers)}
    except InputError:
        return {row["speaker"], row["listener"]}


@dataclass(frozen=True, slots=True)
class _Shape:
    """The fields of a view that are the same for all its parts."""

    session_id: str
    row_id: str | None
    split: str
    first_chunk: int
    n_chunks: int
    chunk_s: float
    audio_chunk: int


def _view(
    shape: _Shape,
    settings: Settings,
    tokenizer: TextTokenizer,
    tracks: Mapping[str, StoredTrack],
    rows: Sequence[RowRecord],
    shown: Sequence[RowRecord],
) -> View:
    """Assemble a view. `rows` have the segments of the speakers, the tokens of `shown` are in the view."""
    start_s, duration_s = shape.first_chunk * shape.chunk_s, shape.n_chunks * shape.chunk_s
    names = list(tracks)
    segments = [
        segment
        for segment in _segments(rows, names, shape.chunk_s, start_s)
        if segment.end_s > 0 and segment.start_s < duration_s
    ]
    return View(
        session_id=shape.session_id,
        row_id=shape.row_id,
        split=shape.split,
        first_chunk=shape.first_chunk,
        n_chunks=shape.n_chunks,
        chunk_s=shape.chunk_s,
        speakers=tuple(names),
        tracks=tuple(tracks.values()),
        words=tuple(_words(tracks.values(), start_s, start_s + duration_s)),
        segments=tuple(segments),
        sides=tuple(_sides(shown, shape.first_chunk, tokenizer, settings)),
        overlaps=tuple(overlaps([(one.speaker, one.start_s, one.end_s) for one in segments], duration_s)),
        flags=tuple(dict.fromkeys(flag for row in shown for flag in row["flags"])),
        audio_chunk=shape.audio_chunk,
    )


def _words(tracks: Iterable[StoredTrack], start_s: float, end_s: float) -> list[WordView]:
    words = [
        WordView(speaker, word["word"], word["start"] - start_s, word["end"] - start_s, word["source"])
        for speaker, track in enumerate(tracks)
        for word in track.record["words"]
        if word["end"] > start_s and word["start"] < end_s
    ]
    return sorted(words, key=lambda word: word.start_s)


def _segments(rows: Sequence[RowRecord], names: list[str], chunk_s: float, start_s: float) -> list[SegmentView]:
    segments: list[SegmentView] = []
    listener_of: dict[str, str] = {}
    for row in rows:
        # With three or more speakers the rows of every listener have the same segments: use those of the first.
        if listener_of.setdefault(row["speaker"], row["listener"]) != row["listener"]:
            continue
        origin = row["start_chunk"] * chunk_s - start_s
        segments += [
            SegmentView(
                speaker=names.index(row["speaker"]),
                kind=segment["kind"],
                text=segment["text"],
                start_s=segment["start_s"] + origin,
                end_s=segment["end_s"] + origin,
                overlap=segment["overlap"],
                floor_offset_s=segment["floor_offset_s"],
            )
            for segment in row["segments"]
        ]
    return sorted(segments, key=lambda segment: segment.start_s)


def _sides(rows: Sequence[RowRecord], first: int, tokenizer: TextTokenizer, settings: Settings) -> Iterator[SideView]:
    duplex = settings.duplex
    names = control_tokens_of(duplex).names
    by_side: dict[tuple[str, str], list[RowRecord]] = {}
    for row in rows:
        by_side.setdefault((row["listener"], row["speaker"]), []).append(row)
    for (listener, speaker), members in by_side.items():
        tokens: list[TokenView] = []
        for row in members:
            for token in _placed_tokens(row, duplex.audio_placeholder):
                if token.id != duplex.silence_token_id:
                    control = names.get(token.id)
                    text = tokenizer.decode([token.id]) if control is None else f"‹{control}›"
                    tokens.append(TokenView(row["start_chunk"] - first + token.chunk, token.k, token.id, text, control))
        places = tuple((row["row_id"], row["start_chunk"] - first, row["n_chunks"]) for row in members)
        unlabelled = tuple(
            (row["start_chunk"] - first + part["first"], row["start_chunk"] - first + part["end"])
            for row in members
            for part in row["unlabelled"]
        )
        yield SideView(listener, speaker, tuple(tokens), places, unlabelled)


def _placed_tokens(row: RowRecord, placeholder: int) -> Iterator[PlacedToken]:
    """Yield the tokens after the placeholders of each chunk, whatever the number of placeholders is."""
    chunk, k, after_placeholder = -1, 0, False
    for token in row["input_ids"][row["prompt_tokens"] :]:
        if token == placeholder:
            chunk, k, after_placeholder = chunk + (not after_placeholder), 0, True
        else:
            yield PlacedToken(token, chunk, k)
            k, after_placeholder = k + 1, False
