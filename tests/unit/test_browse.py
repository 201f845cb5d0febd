"""The table of `sca browse`: filters, sorting, distributions, comparison, and the list of marks."""

import json

import numpy as np
import pyarrow as pa
import pytest

from sca.browse.columns import COLUMNS
from sca.browse.compare import CHANGES, changes, count_changes
from sca.browse.marks import Marks
from sca.browse.messages import Filter
from sca.browse.table import NONE, Table
from sca.data.duplex.storage.drops import drops_by_session, read_drops, read_marks
from sca.errors import InputError, UsageError


def index(**given):
    """Return an index of four rows; columns that are not given are zero or empty."""
    columns = {
        "row_id": ["s1:a>b:0", "s1:b>a:0", "s2:a>b:0", "s2:b>a:0"],
        "session": ["s1", "s1", "s2", "s2"],
        "text": ["Hello there", "GOOD morning", "straße", "bye"],
        "digest": pa.array([1, 2, 3, 4], pa.uint64()),
        "number": [0, 1, 2, 3],
        "start_s": [0.0] * 4,
        "listener": ["a", "b", "a", "b"],
    }
    empty = {
        "number": pa.array([0.0] * 4),
        "choice": pa.array(["x"] * 4),
        "set": pa.array([[]] * 4, pa.list_(pa.string())),
    }
    columns |= {column.name: empty[column.kind] for column in COLUMNS}
    return pa.table(columns | given)


def ids(table, chosen=None, sort=None, descending=False):
    numbers = table.order(table.select(chosen or Filter()), sort, descending=descending)
    return [int(number) for number in numbers]


def test_ranges_include_their_start_and_exclude_their_end():
    table = Table(index(lag_s=[0.0, 0.32, 0.64, None]))
    assert ids(table, Filter(ranges={"lag_s": (0.32, 0.64)})) == [1]
    assert ids(table, Filter(ranges={"lag_s": (0.32, None)})) == [1, 2]
    assert ids(table, Filter(ranges={"lag_s": (None, 0.64)})) == [0, 1]


def test_choices_find_one_of_several_values_and_rows_without_any():
    table = Table(index(flags=[["extended"], [], ["lag", "extended"], ["word_cut"]]))
    assert ids(table, Filter(choices={"flags": ["lag", "word_cut"]})) == [2, 3]
    assert ids(table, Filter(choices={"flags": [NONE]})) == [1]
    assert ids(table, Filter(choices={"flags": ["no such flag"]})) == []


def test_text_is_found_in_any_case_and_in_ids():
    table = Table(index())
    assert ids(table, Filter(text="good")) == [1]
    assert ids(table, Filter(text="STRASSE")) == [2]
    assert ids(table, Filter(text="S2:")) == [2, 3]
    assert ids(table, Filter(text="(")) == []


def test_sorting_keeps_equal_rows_in_order_and_unknown_last():
    table = Table(index(lag_s=[1.0, None, 0.5, 1.0], align_source=["b", "a", "c", "a"]))
    assert ids(table, sort="lag_s") == [2, 0, 3, 1]
    assert ids(table, sort="lag_s", descending=True) == [0, 3, 2, 1]
    assert ids(table, sort="align_source") == [1, 3, 0, 2]
    assert ids(table, sort="row_id", descending=True) == [3, 2, 1, 0]


def test_a_distribution_ignores_the_filter_of_its_column():
    table = Table(index(speaker=["a", "a", "b", "b"], words=[1, 2, 1, 2]))
    counts = table.histograms(Filter(choices={"speaker": ["a"]}, ranges={"words": (2, None)}))
    assert counts["speaker"] == [1, 1]  # both speakers have one row of two words
    assert sum(counts["words"]) == 2  # the rows of a
    assert counts["align_source"] == [1]


def test_every_known_value_is_in_one_bin_that_selects_its_rows():
    values = np.random.default_rng(0).exponential(3.0, 4)
    table = Table(index(seconds=values))
    (plot,) = [plot for plot in table.plots() if plot["name"] == "seconds"]
    counts = table.histograms(Filter())["seconds"]
    assert sum(counts) == 4
    edges = [*plot["edges"][:-1], None]
    for count, least, end in zip(counts, edges, edges[1:], strict=False):
        assert len(ids(table, Filter(ranges={"seconds": (least, end)}))) == count


def test_unknown_columns_are_refused():
    table = Table(index())
    for chosen in (
        Filter(ranges={"nothing": (0, 1)}),
        Filter(choices={"lag_s": ["x"]}),
        Filter(ranges={"flags": (0, 1)}),
    ):
        with pytest.raises(UsageError):
            table.select(chosen)
    with pytest.raises(UsageError):
        table.order(table.select(Filter()), "nothing", descending=False)


def test_a_column_without_values_is_left_out_and_selects_nothing():
    table = Table(index(bleed=pa.array([None] * 4, pa.float64())))
    assert "bleed" not in {column.name for column in table.columns}
    assert (ids(table, Filter(ranges={"bleed": (None, 1.0)})), ids(table, sort="bleed")) == ([], [0, 1, 2, 3])
    assert sum(table.histograms_like(Table(index()), Filter(ranges={"bleed": (None, 1.0)}))["words"]) == 0


def test_rows_of_two_builds_are_compared_by_id_and_content():
    here = Table(index())
    there = Table(
        index(
            row_id=["s1:b>a:0", "s1:a>b:0", "s2:b>a:0", "s3:a>b:0"],
            digest=pa.array([2, 9, 4, 5], pa.uint64()),
        )
    )
    found = changes(here, there)
    assert [CHANGES[code] for code in found[0]] == ["changed", "same", "added", "same"]
    assert [CHANGES[code] for code in found[1]] == ["same", "changed", "same", "removed"]
    assert count_changes(*found) == {"same": 2, "changed": 1, "added": 1, "removed": 1}


def test_marks_are_written_at_once_and_undone_in_reverse(tmp_path):
    marks = Marks(tmp_path / "list.jsonl")
    assert not marks.path.exists()
    marks.set(["b", "a"], "drop")
    marks.set(["a"], "look")
    assert [json.loads(line) for line in marks.path.read_text().splitlines()] == [
        {"row_id": "a", "mark": "look"},
        {"row_id": "b", "mark": "drop"},
    ]
    assert marks.set(["b"], "drop") == 0  # no change, nothing to undo
    assert marks.undo() == ["a"]
    assert Marks(marks.path).of == {"a": "drop", "b": "drop"}
    assert sorted(marks.undo()) == ["a", "b"]
    assert (marks.of, marks.undo()) == ({}, [])


def test_marks_of_another_server_are_kept(tmp_path):
    one, two = Marks(tmp_path / "list.jsonl"), Marks(tmp_path / "list.jsonl")
    one.set(["a"], "drop")
    two.set(["b"], "drop")
    assert read_marks(one.path) == {"a": "drop", "b": "drop"}


def test_a_list_that_cannot_be_written_changes_nothing(tmp_path):
    marks = Marks(tmp_path / "file" / "list.jsonl")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError):
        marks.set(["a"], "drop")
    assert (marks.of, marks.can_undo) == ({}, 0)


def test_only_rows_to_drop_are_left_out(tmp_path):
    path = tmp_path / "list.jsonl"
    path.write_text(
        '{"row_id": "s:a>b:1", "mark": "drop"}\n\n{"row_id": "s:a>b:0", "mark": "drop"}\n{"row_id": "t", "mark": "look"}\n'
    )
    assert read_drops(path) == {"s:a>b:0", "s:a>b:1"}
    assert drops_by_session(path) == {"s": ("s:a>b:0", "s:a>b:1")}
    assert drops_by_session(None) == {}


@pytest.mark.parametrize(
    "line", ["row 1", '{"row_id": "a"}', '{"row_id": "a", "mark": "delete"}', '{"row_id": "", "mark": "drop"}']
)
def test_a_wrong_line_of_a_list_is_named(tmp_path, line):
    path = tmp_path / "list.jsonl"
    path.write_text('{"row_id": "a", "mark": "drop"}\n' + line + "\n")
    with pytest.raises(InputError, match=r"list\.jsonl:2 is not a mark"):
        read_drops(path)


def test_a_list_that_does_not_exist_is_refused_for_a_build(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_drops(tmp_path / "list.jsonl")
