"""Cross-talk is measured, kept, silenced or rejected, and the speakers' own speech is never changed."""

import shutil

import datasets
import numpy as np
import pytest
import soundfile as sf

from sca.data.duplex.audio.stored_samples import read_samples
from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.load.dataset import load
from sca.data.duplex.storage.records import speech_of
from sca.data.duplex.storage.tracks import stored_tracks
from sca.data.duplex.verify.dataset import verify
from sca.errors import InputError
from sca.units import seconds_to_samples
from tests.helpers import corpus
from tests.helpers.duplex_files import break_storage

RATE = 16_000
SESSION = "D0001_S0001_0"


def with_bleed(folder, level_db=None, delay=80, room=False):
    """Copy the demo conversation (which has backchannels and overlap), with the first speaker in the second's track."""
    source = corpus.demo(folder)
    first, second = sorted((source / "WAV").iterdir())
    if level_db is not None:
        voice, _ = sf.read(first, dtype="float32")
        own, _ = sf.read(second, dtype="float32")
        n = max(len(voice), len(own))
        voice, own = (np.pad(track, (0, n - len(track))) for track in (voice, own))
        delayed = np.concatenate([np.zeros(delay, np.float32), voice])[:n]
        if room:
            rng = np.random.default_rng(1)
            response = np.exp(-np.arange(2400) / 500) * rng.normal(0, 1, 2400)
            response[0] = 6.0
            delayed = np.convolve(delayed, (response / np.linalg.norm(response)).astype(np.float32))[:n]
        second.unlink()
        sf.write(second.with_suffix(".wav"), own + 10 ** (level_db / 20) * delayed, RATE, subtype="PCM_16")
    return source


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    root = tmp_path_factory.mktemp("clean")
    summary = build_duplex(with_bleed(root / "c"), root / "data", corpus.settings())
    return root / "data", summary.details.report


@pytest.fixture(scope="module")
def gated(tmp_path_factory):
    root = tmp_path_factory.mktemp("gated")
    summary = build_duplex(with_bleed(root / "c", -20), root / "data", corpus.settings(on_bleed="gate"))
    return root / "data", summary.details.report


def heard(data):
    tracks = stored_tracks(data / "storage" / f"{SESSION}.arrow")
    return [(read_samples(t.heard, 0, 1 << 30, RATE), t.record) for t in tracks]


def test_finds_no_bleed_in_clean_tracks(clean):
    data, report = clean
    assert report.bleed.tried_s > 5
    assert (report.bleed.bleed_s, report.bleed.tracks, report.bleed.gated_s) == (0, 0, 0)
    assert verify(data).holds


def test_finds_no_bleed_in_real_recordings(tmp_path, trial_data):
    report = build_duplex(trial_data / "conversation", tmp_path / "data", corpus.settings()).details.report
    assert report.bleed.tried_s > 10
    assert report.bleed.bleed_s == 0


@pytest.mark.parametrize(
    ("level_db", "delay", "room"), [(-12, 0, False), (-20, 80, False), (-30, 197, False), (-20, 80, True)], ids=str
)
def test_measures_level_and_delay_of_bleed(tmp_path, level_db, delay, room):
    source = with_bleed(tmp_path / "c", level_db, delay, room)
    report = build_duplex(source, tmp_path / "data", corpus.settings()).details.report
    (silent,), (found,) = datasets.load_from_disk(str(tmp_path / "data"))["storage"]["bleed"]
    assert silent["bleed_s"] == 0
    assert found["bleed_s"] > 0.85 * found["tried_s"]
    assert found["level_db"] == pytest.approx(level_db, abs=1.5)
    assert found["delay_ms"] == pytest.approx(delay / 16, abs=0.15)
    assert report.bleed.bleed_s == found["bleed_s"]
    assert report.bleed.tracks == 1
    assert verify(tmp_path / "data").holds


def test_gate_silences_bleed_and_keeps_speech(clean, gated, tmp_path):
    """Where the second speaker speaks, also over the first, and 0.2 s around it, all samples are as recorded."""
    data, report = gated
    assert verify(data).holds
    assert report.bleed.gated_s > 0.85 * report.bleed.bleed_s > 0
    build_duplex(with_bleed(tmp_path / "c", -20), tmp_path / "kept", corpus.settings())
    (first, first_record), (second, record) = heard(data)
    (first_before, _), (second_before, _) = heard(tmp_path / "kept")
    np.testing.assert_array_equal(first, first_before)
    assert not first_record["gated"]
    own = speech_of(record)
    overlapped = [(max(a, c), min(b, d)) for a, b in own for c, d in speech_of(first_record) if a < d and c < b]
    assert overlapped, "the conversation has real overlap"
    for start, end in own:
        around = slice(max(0, start - RATE // 5), end + RATE // 5)
        np.testing.assert_array_equal(second[around], second_before[around])
    touched = np.zeros(len(second), bool)
    for span in record["gated"]:
        start, end = (seconds_to_samples(span[name], RATE) for name in ("start", "end"))
        touched[start:end] = True
        assert not second[start + 160 : end - 160].any()
        steps = np.abs(np.diff(second[start - 1 : end + 1].astype(int)))
        assert steps.max() <= np.abs(np.diff(second_before[start - 1 : end + 1].astype(int))).max() + 100, "no click"
    np.testing.assert_array_equal(second[~touched], second_before[~touched])
    alone = [(c, d) for c, d in speech_of(first_record)]
    energy = [sum(np.square(t[a:b].astype(float)).sum() for a, b in alone) for t in (second, second_before)]
    with_own = np.concatenate(
        [second_before[max(a, c) : min(b, d)] for a, b in alone for c, d in own if a < d and c < b]
    )
    assert energy[0] - np.square(with_own.astype(float)).sum() < 0.15 * (
        energy[1] - np.square(with_own.astype(float)).sum()
    )


def test_loader_returns_the_silenced_track(gated):
    data, _ = gated
    rows = load(data)
    _, (_, record) = heard(data)
    span = max(record["gated"], key=lambda span: span["end"] - span["start"])
    index = next(i for i in range(len(rows)) if rows.record(i)["listener"] == record["speaker_id"])
    chunks = rows[index].heard.reshape(-1)
    first = rows.record(index)["start_chunk"] * 5120
    start, end = (seconds_to_samples(span[name], RATE) - first for name in ("start", "end"))
    if 0 <= start < end <= len(chunks):
        assert not chunks[start + 160 : end - 160].any()


def test_gate_keeps_sounds_that_are_not_transcribed(tmp_path):
    """A loud laugh in the second track while only the first speaks is louder than the bleed, so it is kept."""
    source = with_bleed(tmp_path / "c", -30)
    build_duplex(source, tmp_path / "before", corpus.settings(on_bleed="gate"))
    _, (_, record) = heard(tmp_path / "before")
    span = max(record["gated"], key=lambda span: span["end"] - span["start"])
    middle = seconds_to_samples((span["start"] + span["end"]) / 2, RATE)
    wav = sorted((source / "WAV").iterdir())[1]
    samples, _ = sf.read(wav, dtype="float32")
    laugh = 0.3 * np.sin(2 * np.pi * 210 * np.arange(RATE // 2) / RATE) * np.hanning(RATE // 2)
    samples[middle - RATE // 4 : middle + RATE // 4] += laugh
    sf.write(wav, samples, RATE, subtype="PCM_16")
    build_duplex(source, tmp_path / "data", corpus.settings(on_bleed="gate"))
    _, (found, _) = heard(tmp_path / "data")
    around = slice(middle - RATE // 8, middle + RATE // 8)
    recorded = np.rint(samples[around] * 32768).astype(int)
    assert np.abs(found[around].astype(int) - recorded).max() <= 1


def test_drops_a_session_with_too_much_bleed(tmp_path):
    source = with_bleed(tmp_path / "c", -20)
    for n, start in enumerate((1.0, 4.0)):
        noise = np.random.default_rng(n).normal(0, 0.1, 8 * RATE)
        corpus.write_track(source, f"Z0001_S0001_0_Z{n}", [(start, start + 2, "hello there my friend")], noise)
    summary = build_duplex(source, tmp_path / "data", corpus.settings(on_bleed="drop"))
    ((session, reason),) = summary.dropped
    assert session == SESSION
    assert "is also audible in the track of" in reason
    assert "-20 dB, 5.0 ms later" in reason
    assert summary.details.report.sessions.dropped == 1
    assert verify(tmp_path / "data").holds
    with pytest.raises(InputError, match="no session could be used"):
        build_duplex(with_bleed(tmp_path / "alone", -20), tmp_path / "none", corpus.settings(on_bleed="drop"))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda records: records[1]["bleed"][0].update(bleed_s=3.0), "recorded are 3.00 s"),
        (lambda records: records[1]["gated"].append({"start": 0.5, "end": 1.0}), "not silent from 0.500 s"),
        (lambda records: records[1]["bleed"].clear(), "instead of the other speakers"),
    ],
    ids=["bleed", "gate", "none"],
)
def test_verify_measures_bleed_again(clean, tmp_path, change, problem):
    shutil.copytree(clean[0], tmp_path / "data")
    break_storage(tmp_path / "data", lambda records, cells: change(records))
    assert any(problem in found for found in verify(tmp_path / "data").problems)
