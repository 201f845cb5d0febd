"""A data set that the first version of this schema built is read, verified and continued by the code of today."""

import tarfile
from pathlib import Path

import numpy as np
import pytest

import sca
from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.verify.dataset import verify
from sca.data.export.run import export
from sca.errors import OutputError
from tests.helpers import corpus

ARCHIVE = Path(__file__).parent / "duplex-schema5.tar.xz"  # scripts/make_old_duplex.py
ROWS = ["A0001_S0001_0:G0002>G0001:000000", "A0001_S0001_0:G0001>G0002:000000"]
TEXT = [["hello there", "no"], ["are you here", "good"]]


@pytest.fixture
def old(tmp_path):
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def contents(rows):
    return [(row.row_id, row.input_ids.tolist(), row.heard.tolist(), row.spoken.tolist()) for row in rows]


def test_it_is_read(old):
    rows = sca.load(old / "data")
    assert [row.row_id for row in rows] == ROWS
    assert [[segment["text"] for segment in row.segments] for row in rows] == TEXT
    for heard, spoken in zip(rows, reversed(rows[:]), strict=True):
        assert [word["word"] for word in heard.listener_words] == " ".join(
            segment["text"] for segment in spoken.segments
        ).split()
        assert heard.heard.shape == (15, 5120)
        assert np.abs(heard.heard).max() == pytest.approx(0.1, abs=0.01)
    assert rows.lengths == [len(row.input_ids) for row in rows]


def test_it_verifies(old):
    result = verify(old / "data")
    assert result.problems == []
    assert result.holds


def test_it_is_exported(old):
    for kind in ("parquet", "webdataset"):
        export(old / "data", old / kind, kind, shard_bytes=1_000_000)
        assert verify(old / kind).problems == []
        assert contents(sca.load(old / kind)) == contents(sca.load(old / "data"))


def test_a_build_continues_it(old):
    """Settings that the old version did not have count as what it did, so the folder is not refused."""
    before = contents(sca.load(old / "data"))
    settings = corpus.settings(unlabelled_speech="keep")
    summary = build_duplex(old / "corpus", old / "data", settings)
    assert not summary.failed
    assert contents(sca.load(old / "data")) == before
    assert verify(old / "data").problems == []
    assert build_duplex(old / "corpus", old / "data", settings).details.built == 0


def test_a_build_with_other_labels_is_refused(old):
    with pytest.raises(OutputError, match="unlabelled_speech 'keep', now 'mask'"):
        build_duplex(old / "corpus", old / "data", corpus.settings())
