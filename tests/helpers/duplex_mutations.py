"""Mutations of a duplex data set, and the attacker that rewrites the report, card and page to match them."""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from sca.data.datasets.arrow import iter_batches
from sca.data.duplex.audio.crosstalk import measure
from sca.data.duplex.build.finish import write_derived_files
from sca.data.duplex.storage.records import bleed_record, speech_of
from sca.data.duplex.verify.dataset import verify
from tests.helpers.duplex_files import break_storage, put_rows, rows_of

SESSION = "D0001_S0001_0"
OTHER_SESSION = "A0009_S0009_0"
HEARD, SPOKEN = 0, 1
RATES = (16_000, 24_000)

Change = Callable[[Path], None]


@dataclass(frozen=True)
class Mutation:
    """A change of a data set that `sca verify` must find.

    Attributes:
        name: What is changed.
        change: Makes the change.
        message: A part of the message that verify gives.
        place: The name that the same message must contain.
        rewritten: Whether the report, the card and the page are rewritten to match the changed tables.
    """

    name: str
    change: Change
    message: str
    place: str
    rewritten: bool = True


def rewrite_report(data: Path) -> None:
    """Rewrite report, card and page with the values of the changed tables, as anyone with this package can."""
    report = verify(data).report
    stored = json.loads((data / "report.json").read_text())
    document = report.model_dump(mode="json")
    document["leak"]["structural_s"] = None
    for name in ("skipped", "notices", "alignment"):
        document[name] = stored[name]
    document["sessions"] |= {name: stored["sessions"][name] for name in ("dropped", "failed")}
    write_derived_files(data, document, [name for name in ("train", "validation") if (data / name).is_dir()])


def row_with(rows: list[dict[str, Any]], needed: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    return next(row for row in rows if row["session_id"] == SESSION and needed(row))


def change_row(change: Callable[[dict[str, Any]], object]) -> Change:
    """Return a change of the first row of the session that has at least two segments."""

    def changed(data: Path) -> None:
        rows = rows_of(data)
        change(row_with(rows, lambda row: len(row["segments"]) > 1))
        put_rows(data, rows)

    return changed


def change_segment(change: Callable[[dict[str, Any]], object]) -> Change:
    """Return a change of the first segment with at least three words."""

    def changed(row: dict[str, Any]) -> None:
        change(next(segment for segment in row["segments"] if len(segment["words"]) > 2))

    return change_row(changed)


def change_rows(change: Callable[[list[dict[str, Any]]], object]) -> Change:
    """Return a change of all rows."""

    def changed(data: Path) -> None:
        rows = rows_of(data)
        change(rows)
        put_rows(data, rows)

    return changed


def change_track(change: Callable[[dict[str, Any]], object], track: int = 0) -> Change:
    """Return a change of the record of a track."""
    return lambda data: break_storage(data, lambda records, cells: change(records[track]))


def change_words(change: Callable[[list[dict[str, Any]]], object], track: int = 0) -> Change:
    return change_track(lambda record: change(record["words"]), track)


def change_audio(change: Callable[[np.ndarray, int], np.ndarray], rates=(HEARD,), track: int = 0) -> Change:
    """Return a change of the samples (int16) of a track. The cross-talk is measured again, as a builder does."""

    def changed(data: Path) -> None:
        def of_cells(records, cells):
            for rate in rates:
                samples, rate_hz = soundfile.read(io.BytesIO(cells[track][rate]), dtype="int16")
                samples = change(samples, rate_hz)
                cells[track][rate] = flac(samples, rate_hz)
            if samples.ndim == 1:
                measure_bleed(records, cells)

        break_storage(data, of_cells)

    return changed


def swap_audio(*rates: int) -> Change:
    """Return a change that exchanges the audio of the two speakers, at one rate or at both."""

    def changed(data: Path) -> None:
        def of_cells(records, cells):
            for rate in rates:
                cells[0][rate], cells[1][rate] = cells[1][rate], cells[0][rate]
            measure_bleed(records, cells)

        break_storage(data, of_cells)

    return changed


def borrow_audio(*rates: int) -> Change:
    """Return a change that replaces the audio of a speaker by that of another session."""

    def changed(data: Path) -> None:
        (batch, *_) = iter_batches(data / "storage" / f"{OTHER_SESSION}.arrow")
        other = batch.to_pylist()[0]
        contents = [other[name]["bytes"] for name in ("audio_16k", "audio_24k")]

        def of_cells(records, cells):
            for rate in rates:
                own, rate_hz = soundfile.read(io.BytesIO(cells[0][rate]), dtype="int16")
                borrowed = soundfile.read(io.BytesIO(contents[rate]), dtype="int16")[0]
                cells[0][rate] = flac(np.resize(borrowed, len(own)), rate_hz)
            measure_bleed(records, cells)

        break_storage(data, of_cells)

    return changed


def rewrite_provenance(records: list[dict[str, Any]], cells: list[list[bytes]]) -> None:
    """Rewrite what the provenance says about the sound, with the values of the stored audio."""
    for record, cell in zip(records, cells, strict=True):
        provenance = record["provenance"]
        rate = SPOKEN if provenance["rate_hz"] == RATES[SPOKEN] else HEARD
        samples = soundfile.read(io.BytesIO(cell[rate]), dtype="int16")[0].astype(np.int32)
        provenance["peak"] = float(np.abs(samples).max() / 32768)
        provenance["clipped_samples"] = int(np.count_nonzero(np.abs(samples) >= 32767))


def and_provenance(change: Change) -> Change:
    """Return a change of audio that is followed by a rewriting of the provenance."""

    def changed(data: Path) -> None:
        change(data)
        break_storage(data, rewrite_provenance)

    return changed


def measure_bleed(records: list[dict[str, Any]], cells: list[list[bytes]]) -> None:
    for n, record in enumerate(records):
        source, own = io.BytesIO(cells[1 - n][HEARD]), io.BytesIO(cells[n][HEARD])
        found = measure(records[1 - n]["speaker_id"], source, speech_of(records[1 - n]), own, speech_of(record))
        record["bleed"] = [bleed_record(found)]


def flac(samples: np.ndarray, rate_hz: int) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples, rate_hz, format="FLAC", subtype="PCM_16")
    return out.getvalue()


def change_json(name: str, change: Callable[[dict[str, Any]], object]) -> Change:
    """Return a change of a JSON file."""

    def changed(data: Path) -> None:
        document = json.loads((data / name).read_text())
        change(document)
        (data / name).write_text(json.dumps(document))

    return changed


def replace_text(name: str, old: str, new: str) -> Change:
    """Return a change of a text file that must contain `old`."""

    def changed(data: Path) -> None:
        text = (data / name).read_text(encoding="utf-8")
        assert old in text, f"{name} does not contain {old!r}"
        (data / name).write_text(text.replace(old, new, 1), encoding="utf-8")

    return changed


def append_bytes(name: str, content: bytes) -> Change:
    """Return a change that adds bytes to the end of a file."""

    def changed(data: Path) -> None:
        with (data / name).open("ab") as file:
            file.write(content)

    return changed


def list_file(name: str, new: str) -> Change:
    """Return a change that copies an Arrow file and lists the copy in the `state.json` beside it."""

    def changed(data: Path) -> None:
        copy(name, new)(data)
        listed = {"filename": Path(new).name}
        change_json(f"{Path(new).parent}/state.json", lambda d: d["_data_files"].append(listed))(data)

    return changed


def remove(name: str) -> Change:
    return lambda data: (data / name).unlink()


def copy(name: str, new: str) -> Change:
    return lambda data: (data / new).write_bytes((data / name).read_bytes()) and None
