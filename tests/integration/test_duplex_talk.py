"""Control tokens, speaker embeddings and labels of a built data set, and their verification against the stored words."""

import shutil
import subprocess
import sys

import datasets
import numpy as np
import pytest
import soundfile as sf

from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.load.dataset import load
from sca.data.duplex.verify.dataset import verify
from sca.errors import ConfigError, UsageError
from tests.helpers import corpus
from tests.helpers.duplex_files import put_rows, rows_of
from tests.helpers.tiny_speaker import write_speaker

IDS = {"hold_id": 151647, "start_id": 151648, "stop_id": 151649, "backchannel_id": 151650}


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    """The shipped conversation with all control tokens and with speaker embeddings."""
    root = tmp_path_factory.mktemp("marked")
    voice = write_speaker(root / "voice.onnx")
    summary = build_duplex(
        corpus.demo(root / "corpus"), root / "data", corpus.settings(**IDS, speaker_model=str(voice))
    )
    return root / "data", summary.details.report


@pytest.fixture
def data(marked, tmp_path):
    shutil.copytree(marked[0], tmp_path / "data")
    return tmp_path / "data"


def test_counts_verifies_and_decodes_control_tokens(marked):
    root, report = marked
    assert verify(root).holds
    segments = sum(report.segments.values())
    backchannels = report.segments.get("backchannel", 0)
    assert backchannels > 0
    assert report.controls["start"] + report.controls["backchannel"] == report.controls["stop"] == segments
    assert report.controls["backchannel"] == backchannels
    assert report.controls["hold"] > 0
    rows = load(root)
    decoded = [mark for row in rows for mark in row.controls]
    assert {name: sum(mark.name == name for mark in decoded) for name in report.controls} == report.controls
    first = rows[0].controls[0]
    body = rows[0].input_ids[rows.record(0)["prompt_tokens"] :].tolist()
    assert (first.name, body[: body.index(151648)].count(-100) // 4 - 1) == ("start", first.chunk)


def test_decodes_nothing_without_control_tokens(tmp_path):
    build_duplex(corpus.pair(tmp_path / "c"), tmp_path / "data", corpus.settings())
    assert [row.controls for row in load(tmp_path / "data")] == [(), ()]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({151647: 151646}, "should have a hold token"),
        ({151648: 151650}, "should be around"),
        ({151649: 151650}, "should be around"),
        ({151646: 151647}, "should not have a hold token"),
    ],
    ids=["hold removed", "start replaced by backchannel", "stop replaced by backchannel", "hold in silence"],
)
def test_finds_changed_control_token(data, change, message):
    rows = rows_of(data)
    for row in rows:
        for at, token in enumerate(row["input_ids"]):
            lone = row["input_ids"][at - 1] == -100 and row["input_ids"][at + 1 : at + 2] in ([-100], [])
            if token in change and (lone or token != 151646):
                row["input_ids"][at] = change[token]
                break
    put_rows(data, rows)
    assert any(message in problem for problem in verify(data).problems), verify(data).problems[:5]


@pytest.mark.parametrize(
    ("field", "value"), [("kind", "interruption"), ("overlap", 0.77), ("floor_offset_s", -3.25)], ids=str
)
def test_finds_label_that_contradicts_the_words(data, field, value):
    rows = rows_of(data)
    segment = next(row for row in rows if row["segments"])["segments"][0]
    segment[field] = value
    put_rows(data, rows)
    assert any("is labelled" in problem and "its words give" in problem for problem in verify(data).problems)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ({"hold_id": 151646}, "duplex.hold_id and duplex.silence_token_id are both 151646"),
        ({"start_id": 151649, "stop_id": 151649}, "duplex.stop_id and duplex.start_id are both 151649"),
        ({"hold_id": 11}, "uses for the text"),
        ({"stop_id": 999_999}, "has the ids 0 to 151675"),
        ({"backchannel_id": 151675}, "another meaning"),
    ],
    ids=str,
)
def test_rejects_unusable_control_ids(tmp_path, ids, message):
    corpus.pair(tmp_path / "c")
    with pytest.raises(ConfigError, match=message):
        build_duplex(tmp_path / "c", tmp_path / "data", corpus.settings(**ids))
    assert not (tmp_path / "data").exists()


def test_rows_have_the_embedding_of_their_speaker(marked):
    root, report = marked
    storage = datasets.load_from_disk(str(root))["storage"]
    voices = {track["speaker_id"]: np.asarray(track["speaker_embedding"], np.float32) for track in storage}
    assert all(
        voice.shape == (192,) and np.linalg.norm(voice) == pytest.approx(1, abs=1e-5) for voice in voices.values()
    )
    rows = load(root)
    for i in range(len(rows)):
        np.testing.assert_array_equal(rows[i].speaker_embedding, voices[rows.record(i)["speaker"]])
    assert report.audio.missing_embeddings == 0
    assert report.made_with["duplex"]["speaker_model"] == "voice.onnx", "the name has no folder of this machine"


def test_embedding_uses_only_speech_of_the_speaker(tmp_path, marked):
    """Audio outside the speaker's words does not change the embedding; with less than 3 s of speech it is null."""
    source = corpus.demo(tmp_path / "c")
    voice = str(marked[0].parent / "voice.onnx")
    speaker, other = sorted((source / "TXT").glob("*.txt"))
    wav = next((source / "WAV").glob(f"{speaker.stem}.*"))
    samples, rate = sf.read(wav, dtype="int16")
    lines = [line[1:].split("]")[0].split(",") for line in speaker.read_text().splitlines()]
    spans = [(int(float(a) * rate), int(float(b) * rate) + 1) for a, b in lines]
    outside = np.ones(len(samples), bool)
    for a, b in spans:
        outside[a - rate // 2 : b + rate // 2] = False
    noise = np.random.default_rng(0).normal(0, 3000, len(samples)).astype(np.int16)
    sf.write(wav, np.where(outside, noise, samples), rate, subtype="PCM_16")
    other.write_text(other.read_text().splitlines()[0] + "\n")
    report = build_duplex(source, tmp_path / "data", corpus.settings(speaker_model=voice)).details.report
    before = {t["speaker_id"]: t["speaker_embedding"] for t in datasets.load_from_disk(str(marked[0]))["storage"]}
    after = {
        t["speaker_id"]: t["speaker_embedding"] for t in datasets.load_from_disk(str(tmp_path / "data"))["storage"]
    }
    kept, silent = sorted(before)
    assert after[kept] == before[kept]
    assert after[silent] is None
    assert report.audio.missing_embeddings == 1
    assert (
        load(tmp_path / "data")[0].speaker_embedding is not None or load(tmp_path / "data")[1].speaker_embedding is None
    )
    assert verify(tmp_path / "data").holds


def test_rebuilds_when_the_embedding_model_changes(tmp_path):
    source = corpus.demo(tmp_path / "c")
    chosen = corpus.settings(speaker_model=str(write_speaker(tmp_path / "voice.onnx")))
    assert build_duplex(source, tmp_path / "data", chosen).details.built == 1
    assert build_duplex(source, tmp_path / "data", chosen).details.built == 0
    write_speaker(tmp_path / "voice.onnx", metadata={"window_type": "povey"})
    assert build_duplex(source, tmp_path / "data", chosen).details.built == 1


def test_rejects_unknown_speaker_model_before_any_work(tmp_path):
    with pytest.raises(UsageError, match="a speaker model is none"):
        build_duplex(corpus.pair(tmp_path / "c"), tmp_path / "data", corpus.settings(speaker_model="xvector"))
    assert not (tmp_path / "data").exists()


def test_control_options_set_the_settings(tmp_path):
    source = corpus.pair(tmp_path / "c")
    command = [sys.executable, "-m", "sca", "build-duplex", str(source), "-o", str(tmp_path / "data"), "--quiet"]
    command += ["--hold-id", "151647", "--start-id", "151648", "--stop-id", "151649", "--backchannel-id", "151649"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 3
    assert "duplex.backchannel_id and duplex.stop_id are both 151649" in done.stderr
    subprocess.run([*command[:-1], "151650"], check=True, capture_output=True)
    assert verify(tmp_path / "data").report.controls == {"hold": 9, "start": 4, "stop": 4}
