"""Rows of a data set, of its exports and of their copies at a URL are equal."""

import pickle
import shutil
import sys
from pathlib import Path

import fsspec
import pyarrow.parquet as pq
import pytest
from torch.utils.data import DataLoader

import sca
from sca.data.duplex.load.collate import DuplexCollator
from sca.data.duplex.verify.dataset import verify
from sca.data.export.run import export
from sca.distribution import install_packages
from sca.errors import InputError, MissingToolError, UsageError
from sca.tokenizer import load_tokenizer
from tests.helpers.duplex_sources import FORMATS, assert_equal, build_sources


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return build_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture
def memory(root):
    """Copy the data sets to the file system in memory, and return its URL."""
    system = fsspec.filesystem("memory")
    for kind in FORMATS:
        for file in (root / kind).rglob("*"):
            if file.is_file() and ".sca" not in file.parts:
                system.pipe(f"/bucket/{file.relative_to(root)}", file.read_bytes())
    yield "memory://bucket"
    system.rm("/bucket", recursive=True)


@pytest.mark.parametrize("split", ["train", "validation"])
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("where", ["disk", "url"])
def test_rows_are_equal_everywhere(root, memory, where, kind, split):
    expected = sca.load(root / "arrow", split)
    found = sca.load(root / kind if where == "disk" else f"{memory}/{kind}", split)
    assert found.sessions == expected.sessions
    assert found.lengths == expected.lengths == [len(row.input_ids) for row in expected]
    for index in reversed(range(len(expected))):
        assert_equal(found[index], expected[index])
        assert found.record(index) == expected.record(index)
        for side in ("listener", "speaker"):
            record = expected.record(index)
            session, speaker = record["session_id"], record[side]
            assert found.words(session, speaker) == expected.words(session, speaker)


@pytest.mark.parametrize("kind", FORMATS)
def test_batches_of_loader_workers_are_equal(root, memory, kind):
    collate = DuplexCollator(load_tokenizer("builtin:qwen"))
    expected = sca.load(root / "arrow")
    for data in (sca.load(root / kind), sca.load(f"{memory}/{kind}")):
        data = pickle.loads(pickle.dumps(data))
        assert_equal(data[0], expected[0])  # opened in this process before the workers are forked
        loader = DataLoader(data, batch_size=2, num_workers=2, collate_fn=collate)
        for batch, whole in zip(loader, DataLoader(expected, batch_size=2, collate_fn=collate), strict=True):
            for name in ("input_ids", "labels", "input_features"):
                assert batch[name].equal(whole[name])


@pytest.mark.parametrize("kind", FORMATS)
def test_streams_of_all_storages_have_equal_batches(root, memory, kind):
    collate = DuplexCollator(load_tokenizer("builtin:qwen"))

    def batches(path, **arguments):
        rows = sca.DuplexRows(path, seed=5, batch_size=2, **arguments)
        rows.set_epoch(1)
        return list(DataLoader(rows, batch_size=2, num_workers=arguments.get("workers", 0), collate_fn=collate))

    for rank in range(2):
        expected = batches(root / "arrow", rank=rank, world=2, workers=2)
        for path in (root / kind, f"{memory}/{kind}"):
            for batch, whole in zip(batches(path, rank=rank, world=2, workers=2), expected, strict=True):
                assert batch["segment_info"] == whole["segment_info"]
                for name in ("input_ids", "attention_mask", "labels", "input_features", "feature_attention_mask"):
                    assert batch[name].equal(whole[name])
                assert all(a.equal(b) for a, b in zip(batch["target_audio"], whole["target_audio"], strict=True))


def test_streams_reject_what_does_not_fit(root):
    rows = sca.DuplexRows(root / "parquet", workers=2)
    with pytest.raises(UsageError, match="the loader has 1 workers, these rows are divided among 2"):
        next(iter(DataLoader(rows, batch_size=None, num_workers=1)))
    with pytest.raises(UsageError, match="rank 2 is not in a world of 2"):
        sca.DuplexRows(root / "parquet", rank=2, world=2)
    with pytest.raises(UsageError, match="batch_size must be at least 1"):
        sca.DuplexRows(root / "parquet", batch_size=0)
    with pytest.raises(UsageError, match="rows used, but this rank has"):
        rows.state_dict(10_000)
    with pytest.raises(InputError, match="seed = 0, this run has 1"):
        sca.DuplexRows(root / "parquet", seed=1).load_state_dict(rows.state_dict(2))


@pytest.mark.parametrize("kind", FORMATS)
def test_slices_and_negative_numbers(root, kind):
    data = sca.load(root / kind)
    assert [row.row_id for row in data[1:4]] == [data[i].row_id for i in (1, 2, 3)]
    assert data[::-1][0].row_id == data[-1].row_id == data[len(data) - 1].row_id
    for index in (len(data), -len(data) - 1):
        with pytest.raises(IndexError):
            data[index]


def test_webdataset_without_a_list_of_rows(root, tmp_path):
    """Exports of earlier versions have none."""
    old = shutil.copytree(root / "webdataset", tmp_path / "old")
    (old / "rows.jsonl").unlink()
    expected = sca.load(root / "arrow")
    found = sca.load(old)
    assert found.lengths == expected.lengths
    for a, b in zip(found, expected, strict=True):
        assert_equal(a, b)
    assert verify(old).holds


def test_parquet_without_statistics(root, tmp_path):
    """Exports of earlier versions have none; the session of a track is then read from its column."""
    old = shutil.copytree(root / "parquet", tmp_path / "old")
    for file in (old / "storage").iterdir():
        groups = pq.ParquetFile(file)
        tables = [groups.read_row_group(number) for number in range(groups.num_row_groups)]
        with pq.ParquetWriter(file, tables[0].schema, write_statistics=False) as out:
            for table in tables:
                out.write_table(table)
    for a, b in zip(sca.load(old), sca.load(root / "arrow"), strict=True):
        assert_equal(a, b)


@pytest.mark.parametrize("path", ["memory://nothing/here", Path("nothing")])
def test_rejects_what_is_no_data_set(path):
    with pytest.raises(InputError, match="is not a duplex data set"):
        sca.load(path)


def test_rejects_exports_without_rows(root, tmp_path):
    export(root / "arrow", tmp_path / "moshi", "moshi", shard_bytes=1_000_000)
    with pytest.raises(InputError, match="a moshi export: audio and words without the grid"):
        sca.load(tmp_path / "moshi")


@pytest.mark.parametrize("kind", FORMATS)
def test_rejects_missing_splits(root, memory, kind):
    for path in (root / kind, f"{memory}/{kind}"):
        with pytest.raises(InputError, match="test"):
            sca.load(path, "test")


def test_names_the_missing_package_of_a_url(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)  # importing it fails
    # An earlier test may have imported it.
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(MissingToolError) as raised:
        sca.load("s3://bucket/data")
    assert raised.value.hint == install_packages("s3fs")
    assert raised.value.exit_code == 4
    with pytest.raises(InputError, match="Protocol not known: nowhere"):
        sca.load("nowhere://bucket/data")


def test_reports_damaged_files(root, tmp_path):
    damaged = shutil.copytree(root / "webdataset", tmp_path / "webdataset")
    (damaged / "rows.jsonl").write_text((damaged / "rows.jsonl").read_text().replace('"offset": 0', '"offset": 512'))
    with pytest.raises(InputError, match=r"train-000000\.tar"):
        sca.load(damaged)[0]
    damaged = shutil.copytree(root / "parquet", tmp_path / "parquet")
    (damaged / "train" / "part-00000.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        sca.load(damaged)


@pytest.mark.parametrize("kind", ["parquet", "webdataset"])
def test_easy_load_opens_exports(root, kind):
    found, expected = (sca.easy_load(root / name, format="duplex") for name in (kind, "arrow"))
    assert [example.row_id for example in found] == [example.row_id for example in expected]
    assert found[1].input_sequence == expected[1].input_sequence
