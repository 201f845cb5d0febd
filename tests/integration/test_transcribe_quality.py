"""Quality columns and filters of `sca transcribe`: what is left out, and how it returns, without a transcription."""

import json
import os

import numpy as np
import pytest
import soundfile
import soxr
from typer.testing import CliRunner

from sca.audio.decode import read_audio
from sca.cli.main import app
from sca.data.digests import file_facts
from sca.data.quality import filters
from sca.data.quality.mos import Mos
from sca.data.transcription import selection, transcriber
from sca.errors import InputError
from tests.helpers.tiny_whisper import scripted_whisper

RATE = 16_000


@pytest.fixture(scope="module")
def made(tmp_path_factory, trial_data):
    """Return a folder with a clean, a noisy and a telephone recording of one speech, and their transcription."""
    root = tmp_path_factory.mktemp("quality")
    speech = read_audio(trial_data / "clips" / "jfk.flac", RATE)
    rng = np.random.default_rng(0)
    quiet = np.zeros(2 * RATE, np.float32)
    clean = np.concatenate([quiet, speech, quiet]) + 1e-4 * rng.standard_normal(len(speech) + 4 * RATE)
    telephone = soxr.resample(soxr.resample(clean, RATE, 8_000), 8_000, RATE)
    noisy = np.clip(3 * clean + 0.06 * rng.standard_normal(len(clean)), -0.9, 0.9)
    other = np.concatenate([quiet, speech[::-1], quiet])  # not a copy of the first
    other = other + 0.03 * rng.standard_normal(len(other))
    for name, samples in (("a clean", clean), ("b phone", telephone), ("c noisy", noisy), ("d other", other)):
        (root / "in").mkdir(exist_ok=True)
        soundfile.write(root / "in" / f"{name}.wav", samples, RATE)
    whisper = scripted_whisper(tmp_path_factory.getbasetemp())

    def run(*options):
        words = ["transcribe", root / "in", "--save-file", root / "lines.jsonl", "--model", whisper, "--language", "en"]
        words += ["--device", "cpu", "--reactions", "none", "--json", "-q", *options]
        done = CliRunner().invoke(app, [*map(str, words)])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    summary = run()
    assert (summary["made"], summary["left_out"]) == (4, {})
    assert summary["notes"] == [[name, "the same recording as a clean"] for name in ("b phone", "c noisy")]
    return root, run


def ledger(root):
    return {entry["item"]: entry for entry in map(json.loads, (root / "lines.ledger.jsonl").read_text().splitlines())}


def names(path):
    return [json.loads(line)["video_id"] for line in path.read_text().splitlines()]


@pytest.fixture
def no_transcription(monkeypatch):
    def fail(*_, **__):
        raise AssertionError("a recording is transcribed again")

    monkeypatch.setattr(transcriber.Transcriber, "transcribe", fail)


def test_ledger_has_the_quality_of_every_recording(made):
    root, _ = made
    extras = {name: entry["extra"] for name, entry in ledger(root).items()}
    quality = {name: extra["quality"] for name, extra in extras.items()}
    assert quality["a clean"]["snr_db"] > quality["d other"]["snr_db"] + 10
    assert quality["b phone"]["bandwidth_hz"] == pytest.approx(4_000, rel=0.1)
    assert quality["a clean"]["bandwidth_hz"] == 8_000
    assert quality["a clean"]["clipping"] == 0
    assert quality["a clean"]["music"] is None  # no tagger looked for it
    assert (quality["a clean"]["language"], quality["a clean"]["language_probability"]) == ("en", 1)
    assert {name: extra.get("copy_of") for name, extra in extras.items() if "copy_of" in extra} == dict.fromkeys(
        ("b phone", "c noisy"), "a clean"
    )


def test_filters_leave_out_and_take_back(made, no_transcription):
    root, run = made
    lines, left_out = root / "lines.jsonl", root / "lines.left_out.jsonl"
    before, entries = lines.read_bytes(), ledger(root)
    summary = run("--min-snr", "30", "--min-bandwidth", "5000")
    assert summary["left_out"].keys() == {"b phone", "c noisy", "d other"}
    assert summary["filters"] == {"SNR": 2, "bandwidth": 1}
    assert (summary["made"], summary["already"]) == (0, 1)
    assert names(lines) == ["a clean"]
    assert names(left_out) == ["b phone", "c noisy", "d other"]
    entry = ledger(root)["b phone"]
    assert entry["status"] == "dropped"
    assert entry["reason"].startswith("bandwidth ")
    assert entry["reason"].endswith(" Hz is below 5000 Hz")
    after = lines.read_bytes(), left_out.read_bytes(), (root / "lines.ledger.jsonl").read_bytes()
    run("--min-snr", "30", "--min-bandwidth", "5000")
    assert (lines.read_bytes(), left_out.read_bytes(), (root / "lines.ledger.jsonl").read_bytes()) == after
    assert run("--copies", "drop")["filters"] == {"copies": 2}
    assert names(lines) == ["a clean", "d other"]
    assert run("--language-is", "de,fr")["filters"] == {"language": 4}
    assert names(left_out) == ["a clean", "b phone", "c noisy", "d other"]
    assert run()["already"] == 4
    assert lines.read_bytes() == before
    assert not left_out.exists()
    assert ledger(root) == entries


def test_recordings_of_earlier_versions_are_measured(made, no_transcription):
    root, run = made
    entries = ledger(root)
    bare = [{**entry, "extra": {"origin": entry["extra"]["origin"]}} for entry in entries.values()]
    (root / "lines.ledger.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in bare))
    assert run("--min-bandwidth", "5000")["filters"] == {"bandwidth": 1}
    run()
    found = ledger(root)
    assert {name: entry["extra"]["quality"] for name, entry in found.items()} == {
        name: entry["extra"]["quality"] for name, entry in entries.items()
    }


def test_unchanged_files_are_not_read_again(made, no_transcription, monkeypatch):
    root, run = made
    for path in (root / "in").iterdir():
        os.utime(path, ns=(10**9, 10**9))  # a file that was changed just before it was read is read again
    run()
    hashed = []
    digest = file_facts.input_sha256
    monkeypatch.setattr(file_facts, "input_sha256", lambda path: hashed.append(path.stem) or digest(path))
    assert run()["already"] == 4
    assert hashed == []
    os.utime(root / "in" / "b phone.wav", ns=(1, 1))
    assert run()["already"] == 4
    assert hashed == ["b phone"]
    assert run()["already"] == 4
    assert hashed == ["b phone"]


def test_scores_are_kept_in_the_ledger(made, no_transcription, monkeypatch):
    root, run = made
    scored = []

    def score(path, model, reading):
        scored.append(path.stem)
        if path.stem == "d other":
            raise InputError("it is broken")
        return Mos(ovrl=2.0 if path.stem == "c noisy" else 4.0, sig=4.0, bak=3.0, p808=3.5)

    monkeypatch.setattr(filters, "load_mos", lambda: None)
    monkeypatch.setattr(selection, "load_mos", lambda: None)
    monkeypatch.setattr(selection, "score_recording", score)
    summary = run("--min-mos", "3")
    assert (summary["filters"], sorted(scored)) == ({"MOS": 1}, ["a clean", "b phone", "c noisy", "d other"])
    assert ["d other", "its MOS is unknown: it is broken"] in summary["notes"]
    assert ledger(root)["c noisy"]["reason"] == "MOS 2 is below 3"
    assert ledger(root)["a clean"]["extra"]["mos"] == {"ovrl": 4, "sig": 4, "bak": 3, "p808": 3.5}
    assert run("--min-mos", "1")["left_out"] == {}
    assert len(scored) == 5, "only the recording without a score is scored again"


def test_missing_model_of_scores_fails_first(made, tmp_path, monkeypatch):
    root, _ = made
    monkeypatch.setenv("SCA_CACHE_DIR", str(tmp_path))
    filters.load_mos.cache_clear()
    done = CliRunner().invoke(app, ["transcribe", str(root / "in"), "--save-file", "x.jsonl", "--min-mos", "3"])
    assert done.exit_code == 4
    assert "sca models get dnsmos" in done.stderr
