"""Words against sound: every kind of defect is reported as itself, and good data gives no finding."""

import copy
import io
import json
import re
import shutil

import numpy as np
import pyarrow as pa
import pytest
import soundfile as sf
from typer.testing import CliRunner

from sca.cli.main import app
from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.evidence.judge import judge
from sca.data.duplex.evidence.measure import measure_session
from sca.data.duplex.storage.reader import open_dataset
from sca.data.duplex.verify.check_table import evidence_checks
from sca.data.duplex.verify.dataset import verify
from tests.helpers import corpus


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("evidence")
    build_duplex(corpus.demo(root / "corpus"), root / "data", corpus.settings())
    return root / "data"


@pytest.fixture
def tracks(data):
    """The records and the heard audio of the demo conversation, to be changed."""
    stored = open_dataset(data).tracks("D0001_S0001_0")
    return [copy.deepcopy(track.record) for track in stored], [track.heard for track in stored]


def findings(records, audio, settings=None):
    measured = measure_session(records, audio)
    return judge(measured, (settings or corpus.settings()).duplex).findings


def kinds(records, audio):
    return [finding.kind for finding in findings(records, audio)]


def move(record, time):
    for word in record["words"]:
        word["start"], word["end"] = time(word["start"]), time(word["end"])


def encoded(folder, samples):
    path = folder / "changed.flac"
    sf.write(path, samples, 16_000, subtype="PCM_16")
    return pa.py_buffer(path.read_bytes())


def samples_of(cell):
    return sf.read(pa.BufferReader(cell), dtype="float32")[0]


def test_good_data_has_no_finding(tracks):
    assert kinds(*tracks) == []


def test_swapped_recordings(tracks):
    records, audio = tracks
    assert kinds(records, audio[::-1]) == ["swapped"]


def test_the_table_tells_good_tracks_from_swapped_ones(tracks):
    records, audio = tracks
    (good,), (swapped,) = (
        evidence_checks(judge(measure_session(records, order), corpus.settings().duplex))
        for order in (audio, audio[::-1])
    )
    shares = [[float(share) for share in re.findall(r"([\d.]+)%", check.found)] for check in (good, swapped)]
    assert "in own speech" in good.found
    own, other, without = zip(*shares, strict=True)
    assert own[0] > 75 > own[1]
    assert other[0] < 50 < other[1]
    assert without[0] < 25 < without[1]


@pytest.mark.parametrize("seconds", [1.0, -0.8, 3.0])
def test_an_offset_is_measured(tracks, seconds):
    records, audio = tracks
    move(records[0], lambda time: max(0.0, time + seconds))
    (finding,) = findings(records, audio)
    assert finding.kind == "offset"
    assert finding.speaker == records[0]["speaker_id"]
    measured = measure_session(records, audio)[0]
    assert measured.offset_s == pytest.approx(-seconds, abs=0.1)


@pytest.mark.parametrize("factor", [0.92, 0.99, 1.05])
def test_a_drifting_clock_is_measured(tracks, factor):
    records, audio = tracks
    for record in records:
        move(record, lambda time: time * factor)
    found = findings(records, audio)
    assert {finding.kind for finding in found} == {"drift"}
    measured = measure_session(records, audio)[0]
    assert measured.drift == pytest.approx(1 / factor - 1, abs=0.004)


def test_half_of_the_lines_missing(tracks):
    records, audio = tracks
    records[0]["words"] = [word for word in records[0]["words"] if word["unit"] % 2 == 0]
    (finding,) = findings(records, audio)
    assert finding.kind == "unlabelled_speech"
    assert finding.at_s > 0


def test_noise_for_speech(tracks, tmp_path):
    records, audio = tracks
    noise = np.random.default_rng(0).normal(0, 0.05, len(samples_of(audio[0]))).astype(np.float32)
    assert kinds(records, [encoded(tmp_path, noise), audio[1]]) == ["no_speech"]


def test_one_mix_on_both_tracks(tracks, tmp_path):
    records, audio = tracks
    mix = encoded(tmp_path, sum(map(samples_of, audio)) / 2)
    assert kinds(records, [mix, mix]) == ["same_speech", "same_recording"]


def test_a_foreign_transcript(tracks):
    records, audio = tracks
    for record in records:
        end = max(word["end"] for word in record["words"])
        mirrored = [word | {"start": end - word["end"], "end": end - word["start"]} for word in record["words"]]
        record["words"] = sorted(mirrored, key=lambda word: word["start"])
    assert "mismatch" in kinds(records, audio)


def test_words_after_the_end_of_the_recording(tracks):
    records, audio = tracks
    last = records[0]["words"][-1]["end"]
    records[0]["provenance"]["padded_samples"] = records[0]["duration_samples"] - int((last - 0.5) * 16_000)
    (finding,) = findings(records, audio)
    assert finding.kind == "past_end"


def test_one_conversation_under_two_names(tmp_path):
    source = corpus.demo(tmp_path / "corpus")
    for path in sorted(source.rglob("D0001*")):
        other = path.name.replace("D0001", "D0002").replace("G0001", "G0003").replace("G0002", "G0004")
        shutil.copy(path, path.with_name(other))
    for path in source.rglob("TXT/D0002*"):
        path.write_text(path.read_text().replace("G0001", "G0003").replace("G0002", "G0004"))
    report = build_duplex(source, tmp_path / "data", corpus.settings(validation=0.5)).details.report
    assert set(report.splits) == {"train"}  # the copy would be in the validation split
    found = [(finding.kind, finding.session) for finding in report.evidence.findings]
    assert found == [("same_recording", "D0002_S0001_0")] * 2
    assert "two names" in report.evidence.findings[0].message


def renamed_copy(source, change):
    """Add the demo conversation under other names, with recordings that `change` makes of the samples."""
    for path in sorted(source.rglob("D0001*")):
        other = path.name.replace("D0001", "D0002").replace("G0001", "G0003").replace("G0002", "G0004")
        target = path.with_name(other)
        if path.parent.name == "WAV":
            samples, rate = sf.read(path, dtype="float32")
            mp3 = io.BytesIO()
            sf.write(mp3, change(samples), rate, format="MP3", subtype="MPEG_LAYER_III")
            mp3.seek(0)
            sf.write(target.with_suffix(".wav"), *sf.read(mp3, dtype="float32"), subtype="PCM_16")
        else:
            target.write_text(path.read_text().replace("G0001", "G0003").replace("G0002", "G0004"))


def test_a_conversation_encoded_again_under_two_names(tmp_path):
    source = corpus.demo(tmp_path / "corpus")
    renamed_copy(source, lambda samples: samples[1600:] * np.float32(0.4))
    report = build_duplex(source, tmp_path / "data", corpus.settings(validation=0.5)).details.report
    assert set(report.splits) == {"train"}  # the copy would be in the validation split
    found = [(finding.kind, finding.session, finding.speaker) for finding in report.evidence.findings]
    assert found == [("same_sound", "D0002_S0001_0", "G0003"), ("same_sound", "D0002_S0001_0", "G0004")]
    assert "0.10 s earlier, the same speaker under two names" in report.evidence.findings[0].message
    assert verify(tmp_path / "data").holds


def test_a_transcript_at_other_times_with_another_recording(tmp_path):
    source = corpus.demo(tmp_path / "corpus")
    renamed_copy(source, lambda samples: samples[::-1])
    for path in source.rglob("WORDS/D0002*"):
        words = json.loads(path.read_text())
        path.write_text(json.dumps([[word, start + 0.05, end + 0.05] for word, start, end in words]))
    report = build_duplex(source, tmp_path / "data", corpus.settings()).details.report
    found = [finding for finding in report.evidence.findings if finding.kind == "same_transcript"]
    assert len(found) == 2
    assert all("at other times, with another recording" in finding.message for finding in found)


def test_a_report_without_fingerprints_verifies_and_is_completed(tmp_path):
    source = corpus.demo(tmp_path / "corpus")
    renamed_copy(source, lambda samples: samples)
    wanted = build_duplex(source, tmp_path / "data", corpus.settings()).details.report
    for path in [tmp_path / "data" / "report.json", *(tmp_path / "data" / ".sca" / "sessions").iterdir()]:
        document = json.loads(path.read_text())
        tracks = document["evidence"] if path.name != "report.json" else document["evidence"]["tracks"]
        for track in tracks:
            del track["sound"], track["text"], track["voice"]
            track["audio"] = "0123456789abcdef" * 2  # a digest of another kind
        if path.name == "report.json":
            document["evidence"]["findings"] = []
        path.write_text(json.dumps(document))
    problems = verify(tmp_path / "data").problems
    assert all(problem.startswith(("report.html", "README.md")) for problem in problems), problems
    summary = build_duplex(source, tmp_path / "data", corpus.settings())
    assert (summary.details.built, summary.details.report) == (0, wanted)
    assert verify(tmp_path / "data").holds


def test_a_setting_moves_the_limit(tracks):
    records, audio = tracks
    move(records[0], lambda time: time + 1)
    assert not findings(records, audio, corpus.settings(max_word_offset_s=2.0))


def test_strict_makes_findings_an_error(tmp_path):
    source = corpus.demo(tmp_path / "corpus")
    first, second = sorted((source / "WAV").iterdir())
    first.rename(tmp_path / "first"), second.rename(first), (tmp_path / "first").rename(second)
    run = CliRunner().invoke
    built = run(app, ["build-duplex", str(source), "--output", str(tmp_path / "data"), "--quiet"])
    assert "look here: D0001_S0001_0" in built.stdout
    verified = run(app, ["verify", str(tmp_path / "data"), "--quiet"])
    assert verified.exit_code == 0
    assert "swapped" in verified.stdout
    strict = run(app, ["verify", str(tmp_path / "data"), "--quiet", "--strict"])
    assert strict.exit_code != 0


def test_verify_measures_again(data, tmp_path):
    shutil.copytree(data, tmp_path / "data")
    path = tmp_path / "data" / "report.json"
    report = json.loads(path.read_text())
    report["evidence"]["tracks"][0]["words_in_own"] = 0.5
    path.write_text(json.dumps(report))
    assert any("words_in_own 0.5" in problem for problem in verify(tmp_path / "data").problems)


def test_a_data_set_without_evidence_verifies(data, tmp_path):
    shutil.copytree(data, tmp_path / "data")
    path = tmp_path / "data" / "report.json"
    report = json.loads(path.read_text())
    del report["evidence"]
    path.write_text(json.dumps(report))
    assert verify(tmp_path / "data").holds


def test_settings_of_earlier_data_sets_are_unchanged(data):
    duplex = json.loads((data / "settings.json").read_text())["duplex"]
    assert "max_drift" not in duplex


def test_page_and_card_open_with_the_verdict(data):
    card = (data / "README.md").read_text()
    assert "| words against sound | ok |" in card
    assert "**ok**: Words and sound belong together in 2 tracks" in card
    page = (data / "report.html").read_text()
    assert "</span> ok</strong>" in page
    assert "Words and sound belong together in 2 tracks" in page


def test_a_second_build_keeps_the_data_set(data):
    summary = build_duplex(data.parent / "corpus", data, corpus.settings())
    assert (summary.details.built, summary.details.report.evidence.verdict) == (0, "ok")


def test_interpolated_times_are_named(tmp_path):
    source = corpus.demo(tmp_path / "corpus")
    shutil.rmtree(source / "WORDS")
    build_duplex(source, tmp_path / "data", corpus.settings())
    table = {check.name: check.found for check in verify(tmp_path / "data").checks}
    assert "placement against the times used" in table
    assert table["leak, by placement"].startswith("not known for 100% of the words")
    assert "placement against the times used" in (tmp_path / "data" / "README.md").read_text()
