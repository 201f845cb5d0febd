"""Files of others that are too large, state sizes that they do not have, or unpack to more than they should."""

import gzip
import io
import json
import tarfile

import numpy as np
import pytest

from sca.data.acquire.targets import read_targets
from sca.data.corpora.exact_times import read_word_times
from sca.data.corpora.segments.cues import read_cues
from sca.data.corpora.segments.tables import read_table
from sca.data.corpora.segments.tiers import read_textgrid
from sca.data.corpora.text.encoding import raw_lines_of, read_text
from sca.data.duplex.storage.tar_index import content_of, npy_array
from sca.data.runs import json_lines
from sca.data.runs.files import read_json
from sca.data.runs.json_lines import lines_in
from sca.errors import TooLargeError
from sca.files import bounded
from sca.files.bounded import MAX_TEXT_BYTES, bounded_lines, read_whole
from sca.timeline import BrokenLine, Show, read_shows


@pytest.fixture
def large(tmp_path):
    path = tmp_path / "large.srt"
    with path.open("wb") as file:
        file.truncate(MAX_TEXT_BYTES + 1)  # sparse: it has no size on the disk
    return path


@pytest.mark.parametrize(
    "read",
    [
        read_text,
        read_json,
        read_word_times,
        read_table,
        read_textgrid,
        lambda path: next(read_cues(path)),
        lambda path: read_targets([str(path)]),
    ],
)
def test_file_above_the_limit_is_refused(large, read):
    with pytest.raises(TooLargeError, match=r"large\.srt has more than 128 MiB, the most that is read"):
        list(read(large))


def test_file_of_the_limit_is_read(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    assert read_whole(path, 100) == b"x" * 100
    with pytest.raises(TooLargeError):
        read_whole(path, 99)


@pytest.mark.parametrize("content", [b"ab\n" + b"c" * 25 + b"\nd\n\nlast", b"c" * 25, b"ab\n", b"12345678\n", b""])
def test_long_lines_are_read_past_and_others_are_whole(content):
    expected = [None if len(line) > 8 else line for line in content.splitlines(keepends=True)]
    assert list(bounded_lines(io.BytesIO(content), 8)) == list(enumerate(expected, 1))


def test_long_line_of_a_list_costs_this_line_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(bounded_lines, "__defaults__", (1000,))
    path = tmp_path / "shows.jsonl"
    show = json.dumps({"video_id": "a", "timeline": []})
    path.write_text(f"{show}\n{' ' * 1001}{show}\n{show}\n")
    kinds = [type(line) for _, line in read_shows(path)]
    assert kinds == [Show, BrokenLine, Show]
    with pytest.raises(TooLargeError, match=r"line 2 of .*shows\.jsonl has more than"):
        list(lines_in(path))


def test_line_of_a_transcript_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("sca.data.corpora.text.encoding.MAX_LINE_BYTES", 10)
    path = tmp_path / "a.txt"
    path.write_text("short\n" + "x" * 11)
    with pytest.raises(TooLargeError, match="line 2 of"):
        raw_lines_of(path)


def test_compressed_list_unpacks_to_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(json_lines, "MAX_UNPACKED_BYTES", 3 << 20)
    path = tmp_path / "cuts.jsonl.gz"
    path.write_bytes(gzip.compress((b" " * 1023 + b"\n") * (4 << 10)))
    with pytest.raises(TooLargeError, match=r"cuts\.jsonl\.gz, unpacked, has more than 3 MiB"):
        list(lines_in(path))


def test_sparse_member_of_an_archive_is_refused(tmp_path):
    head = tarfile.TarInfo("a.json")
    head.size = 1 << 40
    (tmp_path / "a.tar").write_bytes(head.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with tarfile.open(tmp_path / "a.tar", "r:") as tar:
        member = tar.next()
        with pytest.raises(TooLargeError, match=r"a\.json has more than 1024 MiB"):
            content_of(tar, member)


def test_array_is_not_larger_than_its_bytes():
    out = io.BytesIO()
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    np.save(out, array)
    assert np.array_equal(npy_array(out.getvalue()), array)
    with pytest.raises(ValueError, match="states another length"):
        npy_array(out.getvalue().replace(b"(2, 3)", b"(9, 9)"))
    with pytest.raises(ValueError, match="header cannot be read"):
        npy_array(out.getvalue().replace(b"(2, 3)", b"(((((("))
    with pytest.raises(ValueError, match="states another length"):
        npy_array(out.getvalue()[:-1])


def test_quote_that_is_not_closed_is_one_line(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('start,end,text\n0,1,"hello\n' + "x" * 200_000)
    with pytest.raises(ValueError, match=r"a\.csv:\d+: field larger than field limit .*is a quote not closed"):
        list(read_table(path))


def test_limits_are_those_of_the_docs():
    assert (bounded.MAX_LINE_BYTES, bounded.MAX_TEXT_BYTES) == (64 << 20, 128 << 20)
    assert (bounded.MAX_UNPACKED_BYTES, bounded.MAX_MEMBER_BYTES) == (8 << 30, 1 << 30)
