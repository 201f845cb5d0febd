"""The shared duplex types: counters convert to JSON and back, and records have the columns that are written."""

from dataclasses import fields

from hypothesis import given
from hypothesis import strategies as st

from sca.data.duplex.model import records
from sca.data.duplex.model.counters import AlignmentCounters, ProofCounters
from sca.data.duplex.model.session import SessionResult
from sca.data.duplex.storage.writer import features

BINARY_COLUMNS = {"audio_16k", "audio_24k", "codes"}


def example(value: int) -> ProofCounters:
    """Counters in which every count has this value."""
    counters = ProofCounters(alignment=AlignmentCounters(value, value))
    counters.alignment.fallbacks["too_long"] = value
    for field in fields(counters):
        if field.type is int:
            setattr(counters, field.name, value)
        elif field.name in ("floor_offsets", "errors", "used"):
            getattr(counters, field.name)[-2] = value
        elif field.name != "alignment":
            getattr(counters, field.name)["dropped"] = value
    return counters


@given(st.integers(1, 9))
def test_counters_convert_to_json_and_back(value):
    assert ProofCounters.from_json(example(value).to_json()) == example(value)


def test_counters_add_every_field():
    total = example(2)
    total.add(example(3))
    assert total == example(5)


def test_counters_keep_the_names_of_earlier_builds():
    counts = {
        "align_aligned": 1,
        "align_fell_order": 2,
        "align_units": 3,
        "bleed_samples": 0,
        "control_hold": 4,
        "edit_gap_jitter": 5,
        "floor_offset_-3": 6,
        "rows_lag": 7,
        "segments_turn": 8,
        "words_dropped_on_request": 9,
        "words_given": 10,
    }
    counters = ProofCounters.from_json({"counts": counts, "errors": [(0, 1)], "used": [(2, 3)]})
    assert counters.alignment == AlignmentCounters(3, 1, counters.alignment.fallbacks)
    assert counters.words_dropped_on_request == 9
    assert counters.to_json()["counts"] == {name: count for name, count in counts.items() if count}


def test_counters_write_zeros_beside_other_counts():
    document = ProofCounters(rows=1, chunks=5).to_json()
    assert document["counts"] == {"chunks": 5, "extended_chunks": 0, "input_ids": 0, "rows": 1, "text_tokens": 0}


def test_session_results_convert_to_json_and_back():
    result = SessionResult("a", "key", "kept", samples=3, counters=example(2), speakers=["x"])
    document = result.to_json()
    assert list(document)[11] == "tally"
    assert SessionResult.from_json(document) == result


def test_records_have_the_columns_that_are_written():
    track, row = features("storage"), features("rows")
    assert set(records.TrackRecord.__annotations__) == set(track) - BINARY_COLUMNS
    assert set(records.WordRecord.__annotations__) == set(track["words"].feature)
    assert set(records.BleedRecord.__annotations__) == set(track["bleed"].feature)
    assert set(records.RetimingRecord.__annotations__) == set(track["augmented"])
    assert set(records.EditRecord.__annotations__) == set(track["augmented"]["edits"].feature)
    assert set(records.ProvenanceRecord.__annotations__) == set(track["provenance"])
    assert list(records.RowRecord.__annotations__) == list(row)
    assert list(records.SegmentRecord.__annotations__) == list(row["segments"].feature)
    assert list(records.RowWordRecord.__annotations__) == list(row["segments"].feature["words"].feature)
    assert list(records.DroppedRecord.__annotations__) == list(row["dropped"].feature)
