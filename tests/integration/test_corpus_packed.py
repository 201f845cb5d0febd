"""Corpora whose recordings are not files: tables of Hugging Face and Shar archives, as their libraries write them."""

import sys

import numpy as np
import pytest

from sca.data.corpora.base import Conversation, CorpusFormat
from sca.data.corpora.packed.rows import rows_of, tables_in
from sca.data.corpora.registry import detect_format, open_corpus
from sca.data.duplex.audio.channel_audio import PartReader
from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.load.dataset import load
from sca.data.duplex.verify.dataset import verify
from sca.distribution import install_packages
from sca.errors import InputError, MissingToolError
from tests.helpers import corpus, packed_shapes
from tests.helpers import transcript_shapes as shapes

# lhotse leaves the archives that it reads to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
SHAPES = packed_shapes.TABLES | packed_shapes.SHARS


@pytest.fixture
def settings(tmp_path):
    return corpus.settings(window="4-8").model_copy(
        update={"paths": corpus.settings().paths.model_copy(update={"cache_dir": tmp_path / "cache"})}
    )


def conversations(folder):
    return list(open_corpus(folder, cache_dir=folder.parent / "cache").conversations())


@pytest.mark.parametrize("shape", SHAPES)
def test_reads_words_times_and_recordings(shape, tmp_path):
    SHAPES[shape](tmp_path / "corpus")
    assert detect_format(tmp_path / "corpus") == ("lhotse" if shape in packed_shapes.SHARS else "table")
    *notes, conversation = conversations(tmp_path / "corpus")
    assert all(note.level == "note" and "milliseconds" in note.reason for note in notes)
    assert bool(notes) == shape.startswith("milliseconds")
    assert isinstance(conversation, Conversation)
    assert conversation.issues == ()
    for track in conversation.tracks:
        with PartReader(track.audio, track.part) as reader:
            sound = np.concatenate(list(reader))
        levels = [np.abs(sound[int(w[0][1] * 16_000) : int(w[0][2] * 16_000)]).max() for w in shapes.WORDS]
        lines = shapes.LINES[int(np.argmax(levels))]
        assert max(levels) > 0.15 > 0.05 > min(levels)
        assert " ".join(u.text for u in track.utterances) == " ".join(line[2] for line in lines)
        assert track.utterances[0].start == pytest.approx(lines[0][0] * 16_000, abs=16)


def test_names_rows_and_speakers(tmp_path):
    SHAPES["datasets, save_to_disk"](tmp_path / "named")
    SHAPES["user and assistant, bytes"](tmp_path / "numbered")
    names = {
        conversation.session_id: [track.speaker_id for track in conversation.tracks]
        for folder in ("named", "numbered")
        for conversation in conversations(tmp_path / folder)
    }
    assert names == {
        "talk7": ["talk7.left", "talk7.right"],
        "train-0": ["train-0.assistant", "train-0.user"],
    }


@pytest.mark.parametrize("shape", ["user and assistant, bytes", "NeMo duplex, Shar"])
def test_second_build_reads_the_same_files(shape, tmp_path, settings):
    SHAPES[shape](tmp_path / "corpus")
    summary = build_duplex(tmp_path / "corpus", tmp_path / "data", settings)
    assert (summary.details.built, summary.failed, summary.dropped) == (1, [], [])
    assert not verify(tmp_path / "data").problems
    assert len(load(tmp_path / "data")) > 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache" / "recordings").rglob("*.*")}
    summary = build_duplex(tmp_path / "corpus", tmp_path / "data", settings)
    assert (summary.details.built, summary.details.kept) == (0, 1)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache" / "recordings").rglob("*.*")} == before
    assert len(before) == 2


def table(tmp_path, **columns):
    packed_shapes.parquet(columns)(tmp_path / "corpus")
    return tmp_path / "corpus"


def test_one_bad_row_does_not_affect_the_others(tmp_path):
    good, segments = packed_shapes.audio(0), packed_shapes.segments
    source = table(
        tmp_path,
        audio_left=[good, {"bytes": None, "path": None}, {"bytes": b"no sound", "path": "x"}, good],
        audio_right=[packed_shapes.audio(1)] * 4,
        text_left=["[]", "[]", "[]", "hello there"],
        segments_left=[segments(0), segments(0), segments(0), None],
    )
    found = conversations(source)
    assert [entry.session_id for entry in found if isinstance(entry, Conversation)] == ["train-0"]
    reasons = [str(entry) for entry in found if not isinstance(entry, Conversation)]
    assert "row train-1 of train-00000-of-00001.parquet: audio_left has no recording" in reasons[0]
    assert "train-2.left" in reasons[1]
    assert "the columns segments_left, text_left have no times; expected a list of start, end and text" in reasons[2]


def test_error_names_the_columns(tmp_path):
    source = table(tmp_path, question=["a"], answer=["b"])
    with pytest.raises(InputError, match=r"has the columns question, answer; expected one column of stereo recordings"):
        open_corpus(source)
    (tmp_path / "x.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(InputError, match=r"x\.parquet cannot be read as a table"):
        open_corpus(tmp_path / "x.parquet")


def test_refuses_a_data_set_of_sca(tmp_path, settings):
    build_duplex(corpus.pair(tmp_path / "corpus"), tmp_path / "data", settings)
    with pytest.raises(InputError, match="is a data set that sca build-duplex wrote"):
        open_corpus(tmp_path / "data")


def test_table_with_other_columns_is_left_out(tmp_path):
    SHAPES["user and assistant, bytes"](tmp_path / "corpus")
    packed_shapes.parquet({"question": ["a"]}, "other.parquet")(tmp_path / "corpus")
    found = conversations(tmp_path / "corpus")
    assert [entry.session_id for entry in found if isinstance(entry, Conversation)] == ["train-0"]
    assert [("other.parquet has the columns question; expected" in str(entry)) for entry in found] == [True, False]


def test_reads_few_rows_at_a_time(tmp_path):
    source = table(tmp_path, audio=[packed_shapes.audio(None)] * 20, text=[str(n) for n in range(20)])
    rows = rows_of(tables_in(source), lambda _: ["text"])
    assert next(rows).values == {"text": "0"}
    assert [row.name for row in rows][-1] == "train-19"


def test_shar_without_lhotse_names_the_package(tmp_path, monkeypatch):
    SHAPES["NeMo duplex, Shar"](tmp_path / "corpus")
    monkeypatch.setitem(sys.modules, "lhotse", None)
    with pytest.raises(MissingToolError) as raised:
        open_corpus(tmp_path / "corpus", CorpusFormat.auto, cache_dir=tmp_path / "cache")
    assert raised.value.exit_code == 4
    assert install_packages("lhotse") in (raised.value.hint or "")


def test_truncated_shar_is_an_error(tmp_path):
    SHAPES["Shar of a MultiCut"](tmp_path / "corpus")
    archive = next((tmp_path / "corpus").glob("recording.*.tar"))
    archive.write_bytes(archive.read_bytes()[:1000])
    with pytest.raises(InputError, match="lhotse cannot read the Shar"):
        open_corpus(tmp_path / "corpus", cache_dir=tmp_path / "cache")
