"""The two tables of a session: its tracks, and the training rows of every speaker with those that are heard."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sca.config import Settings
from sca.data.datasets.arrow import audio_cells
from sca.data.duplex.audio.codec_targets import codes_column, load_codec
from sca.data.duplex.model.heard import heard_groups, joint_speech, listener_name
from sca.data.duplex.model.left_out import LeftOutRow
from sca.data.duplex.model.records import RowRecord, TrackRecord
from sca.data.duplex.model.rows import Row
from sca.data.duplex.model.session import SessionPaths, SessionResult
from sca.data.duplex.model.spans import Span
from sca.data.duplex.model.units import Unit
from sca.data.duplex.model.unlabelled import UnlabelledSpan
from sca.data.duplex.rows.assemble import TokenizedUnit, make_row, tokenize_units
from sca.data.duplex.rows.params import layout_of, window_plan
from sca.data.duplex.rows.text_rate import measure_text_rate
from sca.data.duplex.rows.turn_labels import label
from sca.data.duplex.rows.windows import plan_windows
from sca.data.duplex.storage.digests import record_digest, track_digest
from sca.data.duplex.storage.records import row_record, word_records
from sca.data.duplex.storage.writer import write_table
from sca.data.duplex.verify.context import proof_context
from sca.data.duplex.verify.rows import RowVerifier
from sca.data.duplex.verify.track_counts import count_track
from sca.tokenizer.base import TextTokenizer

if TYPE_CHECKING:
    from sca.data.datasets.arrow import Columns

__all__ = ["Side", "write_rows", "write_storage"]

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Side:
    """One speaker of a session, as the rows need it.

    Attributes:
        speaker: The speaker.
        units: The speaker's units; None if the speech was not transcribed. Such a speaker is a listener only.
        speech: Where the speaker speaks.
        unlabelled: Where the words of the speaker are unknown.
    """

    speaker: str
    units: Sequence[Unit] | None
    speech: Sequence[Span]
    unlabelled: Sequence[UnlabelledSpan] = ()


def write_storage(
    paths: SessionPaths,
    records: Sequence[TrackRecord],
    files: Sequence[tuple[Path, Path]],
    settings: Settings,
    result: SessionResult,
) -> None:
    """Write the table of the tracks of a session.

    Args:
        paths: Where to write.
        records: The tracks.
        files: The audio of each track at 16 and 24 kHz. The files are deleted.
        settings: The settings.
        result: Gets the digests and counts.
    """
    codec = load_codec(settings)
    n_chunks = settings.grid.chunks(result.samples)

    def batches() -> "Iterator[Columns]":
        for record, audio in zip(records, files, strict=True):
            count_track(record, result.counters)
            is_target = record["provenance"]["transcript"] is not None
            codes = codec.encode(audio[1], n_chunks) if codec is not None and is_target else None
            digested = [*map(_blocks, audio), *([] if codes is None else [[codes.tobytes()]])]
            result.storage_digests.append(track_digest(record, *digested))
            yield _track_columns(record, audio, codes)
            # As soon as a track is in the table, its files need no space any more.
            for file in audio:
                file.unlink()

    write_table(paths.storage, "storage", batches())


def _track_columns(record: TrackRecord, audio: tuple[Path, Path], codes: NDArray[np.int16] | None) -> "Columns":
    heard, spoken = audio_cells(audio)
    columns: Columns = {name: [value] for name, value in record.items()}
    return columns | {"audio_16k": heard, "audio_24k": spoken, "codes": codes_column(codes)}


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            yield block


def write_rows(
    paths: SessionPaths,
    sides: Sequence[Side],
    settings: Settings,
    tokenizer: TextTokenizer,
    result: SessionResult,
    flags: Callable[[Row], list[str]] = lambda row: [],
) -> None:
    """Write the rows of every speaker with those that are heard, and verify them. Rows of `result.drops` are left out.

    Args:
        paths: Where to write.
        sides: The speakers.
        settings: The settings.
        tokenizer: The tokenizer.
        result: Gets the digests and counts.
        flags: Returns additional flags of a row.
    """
    writer = _RowWriter(paths.session_id, settings, tokenizer, result, flags)

    def batches() -> "Iterator[Columns]":
        for side in sides:
            for record in writer.rows_of(side, _listeners(side, sides, settings)):
                yield {name: [value] for name, value in record.items()}

    write_table(paths.rows, "rows", batches())


@dataclass(frozen=True, slots=True)
class _Listener:
    """What rows hear: the name of one or several speakers, and where one of them speaks."""

    name: str
    speech: Sequence[Span]


def _listeners(side: Side, sides: Sequence[Side], settings: Settings) -> list[_Listener]:
    """Return what the rows of a speaker hear, one for every view."""
    speech = {one.speaker: one.speech for one in sides}
    groups = heard_groups(side.speaker, list(speech), mixes=settings.duplex.others == "mix")
    return [_Listener(listener_name(heard), joint_speech([speech[name] for name in heard])) for heard in groups]


class _RowWriter:
    """Makes and verifies the rows of one session."""

    def __init__(
        self,
        session_id: str,
        settings: Settings,
        tokenizer: TextTokenizer,
        result: SessionResult,
        flags: Callable[[Row], list[str]],
    ) -> None:
        self._session_id = session_id
        self._tokenizer, self._result, self._flags = tokenizer, result, flags
        self._layout = layout_of(settings, tokenizer)
        self._plan = window_plan(settings, tokenizer)
        self._context = proof_context(settings, tokenizer)
        self._n_chunks = settings.grid.chunks(result.samples)
        self._drops = frozenset(result.drops)

    def rows_of(self, side: Side, listeners: Sequence[_Listener]) -> Iterator[RowRecord]:
        """Yield the rows with one speaker, for all that they hear."""
        if side.units is None:
            return
        tokenized: list[TokenizedUnit] | None = None
        for listener in listeners:
            labels = [
                label(span, len(unit.words), listener.speech)
                for span, unit in zip(side.speech, side.units, strict=True)
            ]
            # The tokens do not depend on the labels, so the units are tokenized once.
            if tokenized is None:
                tokenized = tokenize_units(side.units, labels, self._tokenizer)
                self._result.text_rate.add(measure_text_rate(tokenized, self._layout))
            labelled = [replace(unit, label=found) for unit, found in zip(tokenized, labels, strict=True)]
            yield from self._view(side, side.units, listener, labelled)

    def _view(
        self, side: Side, units: Sequence[Unit], listener: _Listener, tokenized: Sequence[TokenizedUnit]
    ) -> Iterator[RowRecord]:
        words = [(word.start, word.end) for unit in units for word in unit.words]
        windows = plan_windows(self._n_chunks, words, side.speech, listener.speech, self._plan)
        name = f"{self._session_id}:{listener.name}>{side.speaker}"
        unlabelled = [(span.start, span.end) for span in side.unlabelled]
        verifier = RowVerifier(name, word_records(units), listener.speech, unlabelled, self._n_chunks, self._context)
        for window in windows:
            row = make_row(window, window is windows[-1], tokenized, self._layout, unlabelled)
            record = row_record(self._session_id, listener.name, side.speaker, row, self._layout, self._flags(row))
            if record["row_id"] in self._drops:
                self._leave_out(record, verifier)
                continue
            verifier.add(record)
            self._result.row_digests.append(record_digest(record))
            self._result.rows += 1
            yield record
        verifier.finish()
        if verifier.problems:
            raise AssertionError(f"a row that was just made is not valid: {verifier.problems[0]}")
        self._result.counters.add(verifier.counters)

    def _leave_out(self, record: RowRecord, verifier: RowVerifier) -> None:
        words = sum(part["n_words"] for part in (*record["segments"], *record["dropped"]))
        row = LeftOutRow(row_id=record["row_id"], chunks=record["n_chunks"] - record["extended_chunks"], words=words)
        verifier.skip(row)
        self._result.left_out.append(row)
