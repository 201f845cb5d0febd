"""Codec targets: a tiny random Mimi encodes in blocks as in one call; rows, exports and the verifier use its codes."""

import io
import json
import sys
import tarfile
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
import soundfile as sf
import torch
from typer.testing import CliRunner

from sca.cli.main import app
from sca.data.datasets.arrow import iter_batches
from sca.data.duplex.audio import codec_targets as codec
from sca.data.duplex.audio.codec_targets import MimiEncoder, codes_column, frames_of
from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.load.collate import DuplexCollator
from sca.data.duplex.load.dataset import load
from sca.data.duplex.storage.tracks import stored_tracks
from sca.data.duplex.storage.writer import features, write_table
from sca.data.duplex.verify.dataset import verify
from sca.data.export.run import export
from sca.distribution import install_extra
from sca.errors import ConfigError, InputError, MissingToolError, UpstreamError
from sca.tokenizer import load_tokenizer
from sca.units import Grid
from scripts.make_tiny_mimi import save
from tests.helpers import corpus

CHUNK = 7680


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def mimi(tmp_path_factory):
    return save(tmp_path_factory.mktemp("mimi") / "tiny")


def settings(mimi, **named):
    return corpus.settings(codes="mimi", codes_model=str(mimi), window="8-12", **named)


@pytest.fixture(scope="module")
def root(mimi, tmp_path_factory):
    """Two written-down speakers, and one session in which only one of them is."""
    folder = tmp_path_factory.mktemp("codes")
    build_duplex(corpus.pair(folder / "corpus"), folder / "data", settings(mimi))
    return folder / "data"


def at_once(mimi, samples, n_chunks):
    """The codes of a whole track by the model's own offline path."""
    whole = np.zeros(n_chunks * CHUNK, np.float32)
    whole[: len(samples)] = samples
    model = MimiEncoder(str(mimi), 4)._model
    with torch.no_grad():
        found = model.encode(torch.from_numpy(whole)[None, None], num_quantizers=16).audio_codes[0].numpy()
    return found.reshape(16, n_chunks, 4).transpose(1, 0, 2)


@pytest.mark.parametrize("block_frames", [4, 30, 250])
def test_encoding_in_blocks_equals_one_call(mimi, tmp_path, monkeypatch, block_frames):
    """The track is much longer than the sliding window of 25 steps and ends within a chunk."""
    samples = np.random.default_rng(0).normal(scale=0.3, size=40 * CHUNK - 3001).clip(-1, 1).astype(np.float32)
    sf.write(tmp_path / "a.wav", samples, 24_000, subtype="FLOAT")
    monkeypatch.setattr(codec, "_BLOCK_FRAMES", block_frames)
    made = MimiEncoder(str(mimi), 4).encode(tmp_path / "a.wav", 40)
    assert (made.shape, made.dtype) == ((40, 16, 4), np.int16)
    np.testing.assert_array_equal(made, at_once(mimi, samples, 40))
    assert len(np.unique(made)) > 500


def test_memory_does_not_grow_with_a_track(mimi):
    model, keys, padding, held = MimiEncoder(str(mimi), 4)._model, None, None, set()
    for _ in range(6):
        with torch.no_grad():
            made = model.encode(
                torch.zeros(1, 1, 20 * 1920),
                encoder_past_key_values=keys,
                padding_cache=padding,
                use_streaming=True,
            )
        keys, padding = made.encoder_past_key_values, made.padding_cache
        held.add(max(layer.keys.shape[-2] for layer in keys.layers))
    assert max(held) <= 40  # the steps of one block, or the window


def test_rows_have_the_codes_of_their_chunks(mimi, root):
    outcome = verify(root)
    assert not outcome.problems
    n_chunks = Grid().chunks(30 * 16_000)
    (check,) = [check for check in outcome.checks if check.name == "codec targets"]
    assert check.found == f"{2 * 4 * n_chunks} frames × 16 codebooks"
    data = load(root)
    for track in stored_tracks(root / "storage" / "A0001_S0001_0.arrow"):
        samples, _ = sf.read(io.BytesIO(track.spoken.to_pybytes()), dtype="float32")
        whole = at_once(mimi, samples, n_chunks)
        rows = [row for row in data if row.row_id.split(">")[1].startswith(track.record["speaker_id"])]
        assert len(rows) > 1
        at = 0
        for row in rows:
            assert row.codes.shape == (len(row.spoken), 16, 4)
            inside = min(len(row.codes), n_chunks - at)
            np.testing.assert_array_equal(row.codes[:inside], whole[at : at + inside])
            assert (row.codes[inside:] == -1).all()
            at += inside
    batch = DuplexCollator(load_tokenizer("builtin:qwen"))([data[0], data[1]])
    assert [codes.tolist() for codes in batch["target_codes"]] == [data[0].codes.tolist(), data[1].codes.tolist()]


def test_bytes_do_not_depend_on_jobs(mimi, root, tmp_path):
    build_duplex(root.parent / "corpus", tmp_path / "data", settings(mimi), jobs=2)
    assert corpus.tree_bytes(tmp_path / "data") == corpus.tree_bytes(root)


def test_exports_carry_the_codes(root, tmp_path):
    parquet, web = tmp_path / "parquet", tmp_path / "web"
    export(root, parquet, "parquet", shard_bytes=10_000_000)
    assert not verify(parquet).problems
    export(root, web, "webdataset", shard_bytes=10_000_000)
    assert not verify(web).problems
    with tarfile.open(next(web.glob("train-*.tar"))) as tar:
        names = sorted(name for name in tar.getnames() if name.endswith(".codes.npy"))
        for name, row in zip(names, load(root), strict=True):
            np.testing.assert_array_equal(np.load(io.BytesIO(tar.extractfile(name).read())), row.codes)


def test_input_only_track_has_no_codes(mimi, tmp_path):
    sound = np.stack([corpus.tone(6.0, 24_000)] * 2, 1)
    sf.write(tmp_path / "a.wav", sound, 24_000)
    (tmp_path / "a.json").write_text(json.dumps({"alignments": [["hello", [1.0, 1.5], "SPEAKER_MAIN"]]}))
    build_duplex(tmp_path, tmp_path / "data", settings(mimi))
    assert not verify(tmp_path / "data").problems
    with_codes = {t.record["speaker_id"]: t.codes is not None for t in stored_tracks(tmp_path / "data/storage/a.arrow")}
    assert with_codes == {"a.left": True, "a.right": False}


def test_no_codes_without_the_setting(tmp_path):
    build_duplex(corpus.pair(tmp_path / "corpus"), tmp_path / "data", corpus.settings(window="8-12"))
    assert load(tmp_path / "data")[0].codes is None
    assert not verify(tmp_path / "data").problems


def shifted(codes):
    return codes.reshape(-1, 16, 4) + np.int16(2000)


BROKEN = {
    "missing": (lambda codes: None, "G0001: has no codec codes"),
    "out of range": (shifted, "codec codes outside 0 to 2047"),
    "too few": (lambda codes: codes[1:].reshape(-1, 16, 4), "has codec codes of shape (93, 64), not (94, 64)"),
    "of another grid": (lambda codes: codes.reshape(-1, 16, 2), "has codec codes of shape (188, 32)"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_verify_reports_broken_codes(root, tmp_path, case):
    broken = corpus.copy_of(root, tmp_path / "data")
    change, reason = BROKEN[case]
    file = broken / "storage" / "A0001_S0001_0.arrow"
    batches = [
        dict(zip(batch.schema.names, batch.columns, strict=True))
        for batch in iter_batches(root / "storage" / file.name)
    ]
    batches[0]["codes"] = codes_column(change(stored_tracks(root / "storage" / file.name)[0].codes))
    write_table(file, "storage", batches)
    assert any(reason in problem for problem in verify(broken).problems)


def test_verify_reports_torn_codes(root, tmp_path):
    broken = corpus.copy_of(root, tmp_path / "data")
    file = broken / "storage" / "A0001_S0001_0.arrow"
    batches = [
        dict(zip(batch.schema.names, batch.columns, strict=True))
        for batch in iter_batches(root / "storage" / file.name)
    ]
    batches[0]["codes"] = pa.array([[[1, 2], [3]]], features("storage").arrow_schema.field("codes").type)
    write_table(file, "storage", batches)
    assert any("codec codes of a track are damaged" in problem for problem in verify(broken).problems)


def test_missing_model_makes_no_folder(tmp_path):
    source = corpus.pair(tmp_path / "corpus")
    command = ["build-duplex", str(source), "-o", str(tmp_path / "data"), "--codes", "mimi"]
    outcome = CliRunner().invoke(app, [*command, "--codes-model", str(tmp_path / "nothing")])
    assert outcome.exit_code == 6
    assert "nothing cannot be loaded" in outcome.stderr
    assert not (tmp_path / "data").exists()
    with pytest.raises(UpstreamError, match="the codec kyutai/mimi cannot be loaded"):
        MimiEncoder("kyutai/mimi", 4, str(tmp_path / "cache"))


def test_rejects_another_model(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "encodec"}')
    with pytest.raises(InputError, match="is a encodec model, not a Mimi of 24 kHz"):
        MimiEncoder(str(tmp_path), 4)
    (tmp_path / "config.json").write_text('{"model_type": "mimi", "num_quantizers": 8}')
    with pytest.raises(InputError, match="has 8 codebooks of 2048, not 16 of 2048"):
        MimiEncoder(str(tmp_path), 4)


def test_missing_torch_is_reported(mimi, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingToolError, match=r"--codes mimi needs torch") as raised:
        MimiEncoder(str(mimi), 4)
    assert raised.value.hint == install_extra("live")


def test_chunks_must_be_whole_frames():
    assert frames_of(Grid()) == 4
    with pytest.raises(ConfigError, match=r"not a whole number of Mimi's frames"):
        frames_of(Grid(frame_hz=Fraction(40, 3), frames_per_chunk=4))


def test_rebuilds_when_the_codec_changes(tmp_path):
    source, model = corpus.pair(tmp_path / "corpus"), save(tmp_path / "mimi")
    assert build_duplex(source, tmp_path / "data", settings(model)).details.built == 1
    before = corpus.tree_bytes(tmp_path / "data")
    assert build_duplex(source, tmp_path / "data", settings(model)).details.built == 0
    save(tmp_path / "mimi", seed=1)
    codec._load.cache_clear()  # a process loads a model once
    assert build_duplex(source, tmp_path / "data", settings(model)).details.built == 1
    assert corpus.tree_bytes(tmp_path / "data") != before
