"""Building a data set: its content, resuming, failed sessions, and problems in a corpus."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
import soundfile as sf
from typer.testing import CliRunner

from sca.cli.main import app
from sca.config import load_settings
from sca.data.duplex.build import dataset, session
from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.build.script import build_script
from sca.data.duplex.load.dataset import load
from sca.data.duplex.storage.writer import merge_tables, write_split_files
from sca.data.duplex.verify import dataset as proof
from sca.data.duplex.verify.dataset import verify
from sca.data.runs.executor import WorkerDiedError
from sca.data.runs.ledger import Ledger
from sca.errors import ConfigError, InputError, OutputError
from sca.tokenizer import load_tokenizer
from sca.units import seconds_to_samples
from tests.helpers import corpus
from tests.helpers.broken import REASON, break_for
from tests.helpers.held import held
from tests.helpers.replaced import replace_after


@pytest.fixture(scope="module")
def demo_data(tmp_path_factory):
    root = tmp_path_factory.mktemp("demo")
    source = corpus.demo(root / "corpus")
    build_duplex(source, root / "data", corpus.settings())
    return root / "data"


def test_the_datasets_library_reads_it(demo_data):
    data = datasets.load_from_disk(str(demo_data))
    assert set(data) == {"storage", "train"}
    track = data["storage"][0]
    heard, rate = sf.read(io.BytesIO(track["audio_16k"]["bytes"]), dtype="int16")
    assert (rate, len(heard)) == (16_000, track["duration_samples"])
    spoken, rate = sf.read(io.BytesIO(track["audio_24k"]["bytes"]))
    assert (rate, len(spoken)) == (24_000, (track["duration_samples"] * 3 + 1) // 2)
    assert track["speaker_embedding"] is None
    row = data["train"][0]
    assert row["input_ids"][row["prompt_tokens"] :][:4] == [-100] * 4


def test_stores_16_khz_16_bit_audio_bit_for_bit(demo_data):
    data = datasets.load_from_disk(str(demo_data))["storage"]
    with corpus.demo_corpus() as shipped:
        for track in data:
            source, _ = sf.read(shipped / "WAV" / track["provenance"]["audio"], dtype="int16")
            stored, _ = sf.read(io.BytesIO(track["audio_16k"]["bytes"]), dtype="int16")
            np.testing.assert_array_equal(stored[: len(source)], source)


def test_rows_of_a_speaker_have_all_words_in_order(demo_data):
    data = datasets.load_from_disk(str(demo_data))
    for track in data["storage"]:
        rows = [row for row in data["train"] if row["speaker"] == track["speaker_id"]]
        words = [word["word"] for row in rows for segment in row["segments"] for word in segment["words"]]
        assert words == [word["word"] for word in track["words"]]
        assert {word["source"] for word in track["words"]} == {"given"}


def test_tokens_of_a_row_decode_to_its_text(demo_data):
    tokenizer = load_tokenizer("builtin:qwen")
    rows = load(demo_data)
    for i in range(len(rows)):
        record, row = rows.record(i), rows[i]
        body = [t for t in row.input_ids[record["prompt_tokens"] :].tolist() if t not in (-100, 151646)]
        text = "".join((" " if s["leading_space"] else "") + s["text"] for s in record["segments"])
        assert tokenizer.decode(body) == text
        assert row.heard.shape == (record["n_chunks"], 5120)
        assert row.spoken.shape == (record["n_chunks"], 7680)
        assert (row.input_ids == -100).sum() == 4 * record["n_chunks"]


def test_input_of_one_side_is_output_of_the_other(demo_data):
    """The input chunks of one side equal the output chunks of the other, at 24 kHz."""
    rows = load(demo_data)
    by_start = {
        (r["speaker"], r["start_chunk"], r["n_chunks"]): i for i, r in enumerate(map(rows.record, range(len(rows))))
    }
    (speaker, start, _), i = next(iter(by_start.items()))
    twin = rows[next(j for (s, a, _), j in by_start.items() if s != speaker and a == start)]
    energy_heard = np.square(twin.heard).mean(axis=1)
    energy_spoken = np.square(rows[i].spoken).mean(axis=1)
    shared = min(len(energy_heard), len(energy_spoken))
    assert np.corrcoef(energy_heard[:shared], energy_spoken[:shared])[0, 1] > 0.99


def test_words_of_a_row_have_sound(demo_data):
    """The output audio of a row has sound at the times of its words."""
    rows = load(demo_data)
    for i in range(len(rows)):
        row = rows[i]
        wave = row.spoken.reshape(-1)
        for segment in row.segments:
            for word in segment["words"]:
                a, b = (max(0, seconds_to_samples(word[key], 24_000)) for key in ("start_s", "end_s"))
                if b - a > 1200:
                    assert np.abs(wave[a:b]).max() > 0.01, word["word"]


def test_second_run_builds_nothing_with_any_number_of_jobs(tmp_path):
    source = corpus.pair(corpus.short_demo(tmp_path / "corpus"), audio=12.0)
    once = []
    for jobs in (1, 2):
        data = tmp_path / f"by {jobs}"
        assert build_duplex(source, data, corpus.settings(), jobs=jobs).details.built == 2
        once.append(corpus.tree_bytes(data))
        stamps = {p: p.stat().st_mtime_ns for p in (data / "storage").iterdir() if p.suffix == ".arrow"}
        for others in (1, 2):
            assert build_duplex(source, data, corpus.settings(), jobs=others).details.built == 0
        assert corpus.tree_bytes(data) == once[-1]
        assert {p: p.stat().st_mtime_ns for p in stamps} == stamps
    assert once[0] == once[1]


def test_builds_only_new_sessions_of_a_corpus(tmp_path):
    source = corpus.pair(tmp_path / "corpus")
    build_duplex(source, tmp_path / "data", corpus.settings())
    corpus.pair(source, "A0002_S0002_0", audio=15.0)
    assert build_duplex(source, tmp_path / "data", corpus.settings()).details.built == 1
    build_duplex(source, tmp_path / "whole", corpus.settings())
    assert corpus.tree_bytes(tmp_path / "data") == corpus.tree_bytes(tmp_path / "whole")


def test_rebuilds_changed_and_removes_missing_sessions(tmp_path):
    source = corpus.pair(corpus.pair(tmp_path / "corpus"), "A0002_S0002_0")
    build_duplex(source, tmp_path / "data", corpus.settings())
    corpus.write_track(source, "A0001_S0001_0_G0001", [(1.0, 2.0, "something else")])
    for path in (source / "WAV").glob("A0002*"):
        path.unlink()
    for path in (source / "TXT").glob("A0002*"):
        path.unlink()
    summary = build_duplex(source, tmp_path / "data", corpus.settings())
    assert (summary.details.built, summary.details.report.sessions.kept) == (1, 1)
    assert verify(tmp_path / "data").holds
    assert {p.stem for p in (tmp_path / "data" / "storage").glob("*.arrow")} == {"A0001_S0001_0"}


def test_recording_that_is_replaced_meanwhile_fails(tmp_path, monkeypatch):
    for n in range(2):
        corpus.pair(tmp_path / "corpus", f"A{n:04d}_S{n:04d}_0", audio=12.0)
    source = tmp_path / "corpus" / "WAV" / "A0000_S0000_0_G0001.wav"
    sf.write(tmp_path / "new.wav", corpus.tone(12.0, level=0.1), corpus.RATE)
    replace_after(monkeypatch, session, "_write_tables", source, tmp_path / "new.wav")
    first = build_duplex(tmp_path / "corpus", tmp_path / "data", corpus.settings(), jobs=1)
    assert first.failed == [("A0000_S0000_0", f"{source} changed while it was read")]
    assert first.details.kept == 1
    assert build_duplex(tmp_path / "corpus", tmp_path / "data", corpus.settings(), jobs=1).details.built == 1
    build_duplex(tmp_path / "corpus", tmp_path / "again", corpus.settings(), jobs=1)
    stored = [(tmp_path / name / "storage" / "A0000_S0000_0.arrow").read_bytes() for name in ("data", "again")]
    assert stored[0] == stored[1]


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGINT])
def test_resumes_after_kill_or_interrupt_with_equal_bytes(tmp_path, signal_number):
    source = tmp_path / "corpus"
    for n in range(4):
        corpus.pair(source, f"A{n:04d}_S{n:04d}_0", audio=12.0)
    words = ["build-duplex", source, "-o", tmp_path / "data", "--model-path", "builtin:qwen", "--jobs", "1"]
    with held(*words, at="*/.sca/sessions/*.json", after=2) as process:
        process.send_signal(signal_number)
        _, stderr = process.communicate()
    done = len(list((tmp_path / "data" / ".sca" / "sessions").glob("*.json")))
    assert done == 2
    if signal_number == signal.SIGINT:
        assert process.returncode == 130
        assert "interrupted" in stderr
    assert not (tmp_path / "data" / "dataset_dict.json").exists(), "an unfinished folder must not look like a data set"
    summary = build_duplex(source, tmp_path / "data", corpus.settings())
    assert summary.details.built == 4 - done
    build_duplex(source, tmp_path / "whole", corpus.settings())
    assert corpus.tree_bytes(tmp_path / "data") == corpus.tree_bytes(tmp_path / "whole")


class DeadWorkers:
    """An executor in which the worker processes of some sessions die."""

    def __init__(self, *sessions):
        self.sessions = sessions

    def run(self, jobs, work):
        for item in jobs:
            died = WorkerDiedError("its worker process was killed twice (SIGKILL)")
            yield item, died if item.name in self.sessions else work(item)


def test_session_whose_worker_dies_fails_alone(tmp_path):
    source = corpus.pair(corpus.pair(tmp_path / "corpus", audio=12.0), "A0002_S0002_0", audio=12.0)
    executor = DeadWorkers("A0001_S0001_0")
    summary = build_duplex(source, tmp_path / "data", corpus.settings(), executor=executor)
    reason = "its worker process was killed twice (SIGKILL)"
    assert (summary.made, summary.failed) == (1, [("A0001_S0001_0", reason)])
    assert summary.details.report.sessions.failed == 1
    entries = Ledger(tmp_path / "data" / "ledger.jsonl").entries()
    assert {name: (entry.status, entry.reason) for name, entry in entries.items()} == {
        "A0001_S0001_0": ("failed", reason),
        "A0002_S0002_0": ("kept", None),
    }
    assert verify(tmp_path / "data").holds
    again = build_duplex(source, tmp_path / "data", corpus.settings(), retry_failed=False)
    assert (again.made, again.already, again.old_failures, again.failed) == (0, 1, 1, summary.failed)
    assert again.details.report == summary.details.report
    assert build_duplex(source, tmp_path / "data", corpus.settings()).failed == []
    build_duplex(source, tmp_path / "whole", corpus.settings())
    assert corpus.tree_bytes(tmp_path / "data") == corpus.tree_bytes(tmp_path / "whole")


def test_unexpected_exception_fails_its_session_only(tmp_path, monkeypatch):
    source = corpus.pair(corpus.pair(tmp_path / "corpus", audio=12.0), "A0002_S0002_0", audio=12.0)
    break_for(monkeypatch, dataset, "build_session", "A0001_S0001_0")
    summary = build_duplex(source, tmp_path / "data", corpus.settings())
    assert (summary.made, summary.failed) == (1, [("A0001_S0001_0", REASON)])
    assert "ZeroDivisionError: injected" in (tmp_path / "data" / "ledger.jsonl").read_text()
    monkeypatch.undo()
    assert build_duplex(source, tmp_path / "data", corpus.settings()).failed == []
    build_duplex(source, tmp_path / "whole", corpus.settings())
    assert corpus.tree_bytes(tmp_path / "data") == corpus.tree_bytes(tmp_path / "whole")


def test_unexpected_exception_of_the_proof_is_about_its_session(tmp_path, monkeypatch):
    source = corpus.pair(corpus.pair(tmp_path / "corpus", audio=12.0), "A0002_S0002_0", audio=12.0)
    build_duplex(source, tmp_path / "data", corpus.settings())
    break_for(monkeypatch, proof, "verify_session", "A0001_S0001_0")
    result = verify(tmp_path / "data")
    assert not result.holds
    assert REASON in str(result.problems)


def test_copy_whose_worker_dies_fails_alone(tmp_path):
    source = corpus.demo(tmp_path / "corpus")
    settings = load_settings(overrides={"duplex.model_path": "builtin:qwen", "augment.copies": 2}, env={})
    summary = build_duplex(source, tmp_path / "data", settings, executor=DeadWorkers("D0001_S0001_0+1"))
    assert [name for name, _ in summary.failed] == ["D0001_S0001_0+1"]
    assert (summary.details.kept, summary.details.report.augmented.sessions) == (2, 1)
    assert verify(tmp_path / "data").holds
    again = build_duplex(source, tmp_path / "data", settings, retry_failed=False)
    assert (again.made, again.failed) == (0, summary.failed)
    assert build_duplex(source, tmp_path / "data", settings).made == 1


def test_failed_sessions_are_left_without_retry_failed(tmp_path):
    source = corpus.pair(corpus.pair(tmp_path / "corpus", audio=12.0), "A0002_S0002_0", audio=12.0)
    wav = source / "WAV" / "A0002_S0002_0_G0001.wav"
    audio = wav.read_bytes()
    wav.write_bytes(b"not audio")
    command = ["build-duplex", str(source), "-o", str(tmp_path / "data"), "--jobs", "1", "--json"]
    for option, built in ((None, 2), ("--retry-failed", 1), ("--no-retry-failed", 0)):
        finished = CliRunner().invoke(app, [*command, *([option] if option else [])])
        assert finished.exit_code == 7
        assert "1 of 2 sessions failed" in finished.stderr
        document = json.loads(finished.stdout)
        assert (document["built"], list(document["failed"])) == (built, ["A0002_S0002_0"])
    # Another content is not the failure of before.
    wav.write_bytes(audio)
    assert build_duplex(source, tmp_path / "data", load_settings(env={}), retry_failed=False).made == 1


def test_rejects_other_settings_without_force(tmp_path):
    source = corpus.pair(tmp_path / "corpus")
    build_duplex(source, tmp_path / "data", corpus.settings())
    with pytest.raises(OutputError, match=r"duplex\.lead_chunks 1, now 0"):
        build_duplex(source, tmp_path / "data", corpus.settings(lead_chunks=0))
    build_duplex(source, tmp_path / "data", corpus.settings(lead_chunks=0), force=True)
    assert verify(tmp_path / "data").holds


def test_never_touches_a_folder_with_other_files(tmp_path):
    source = corpus.pair(tmp_path / "corpus")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("dear")
    for force in (False, True):
        with pytest.raises(OutputError, match="has other files in it"):
            build_duplex(source, tmp_path / "home", corpus.settings(), force=force)
    assert [p.name for p in (tmp_path / "home").iterdir() if p.name != ".lock"] == ["thesis.tex"]
    with pytest.raises(OutputError, match="the corpus itself"):
        build_duplex(source, source, corpus.settings())


@pytest.mark.parametrize(
    "overrides",
    [
        {"lead_chunks": 0},
        {"lead_chunks": 3},
        {"window": "session"},
        {"window": "5-8"},
        {"text_tokens_per_chunk": 1},
        {"on_lag": "drop-unit", "text_tokens_per_chunk": 1, "max_lag_chunks": 0},
        {"audio_format": "pcm16"},
        {"system_prompt": ""},
        {"max_tokens": 400, "window": "session"},
        {"max_segments": 1},
    ],
    ids=str,
)
def test_settings_give_valid_data_sets(tmp_path, overrides):
    source = corpus.short_demo(tmp_path / "corpus")
    summary = build_duplex(source, tmp_path / "data", corpus.settings(**overrides))
    outcome = verify(tmp_path / "data")
    assert outcome.holds, outcome.problems[:3]
    assert summary.details.report.coverage.tokens_dropped == 0
    if overrides.get("on_lag") == "drop-unit":
        assert summary.details.report.coverage.units_dropped_on_request > 0
    else:
        assert summary.details.report.coverage.share == 1.0
    if "max_tokens" in overrides:
        rows = load(tmp_path / "data")
        assert max(len(rows.record(i)["input_ids"]) for i in range(len(rows))) <= 400


def test_preset_8x4(tmp_path):
    from sca.config import apply_preset

    settings = load_settings(overrides={"duplex.model_path": "builtin:qwen", **apply_preset("8x4")}, env={})
    build_duplex(corpus.demo(tmp_path / "corpus"), tmp_path / "data", settings)
    assert verify(tmp_path / "data").holds
    row = load(tmp_path / "data")[0]
    assert row.heard.shape[1] == 10_240
    assert row.spoken.shape[1] == 15_360


def test_real_speech(tmp_path, trial_data):
    summary = build_duplex(trial_data / "conversation", tmp_path / "data", corpus.settings())
    report = summary.details.report
    assert (report.sessions.kept, report.rows, report.coverage.tokens_dropped) == (2, 4, 0)
    assert verify(tmp_path / "data").holds


def test_three_speakers_make_all_ordered_pairs_with_leave(tmp_path):
    for n, text in enumerate(("one two", "three four", "five six")):
        corpus.write_track(tmp_path / "c", f"A0001_S0001_0_G000{n}", [(1 + 3 * n, 2 + 3 * n, text)], 12.0)
    build_duplex(tmp_path / "c", tmp_path / "data", corpus.settings(others="leave"))
    data = datasets.load_from_disk(str(tmp_path / "data"))
    sides = [(row["listener"], row["speaker"]) for row in data["train"]]
    assert len(data["storage"]) == 3, "no audio is stored twice"
    assert sorted(sides) == [(f"G000{a}", f"G000{b}") for a in range(3) for b in range(3) if a != b]
    assert verify(tmp_path / "data").holds


def test_script_mode_writes_one_json_per_transcript(tmp_path):
    source = corpus.pair(tmp_path / "corpus")
    summary = build_script(source, tmp_path / "out", corpus.settings())
    assert (summary.files, summary.events) == (2, 4)
    document = json.loads((tmp_path / "out" / "A0001_S0001_0_G0001.json").read_text())
    event = document["events"][0]
    assert (event["start"], event["end"], event["duration"], event["text"]) == (1.0, 3.0, 2.0, "hello there my friend")
    assert load_tokenizer("builtin:qwen").decode(event["input_ids"]) == "hello there my friend"


@pytest.mark.parametrize(
    ("tags", "text"),
    [("strip", "so I took it"), ("keep", "so [+] I <noise> took it [++]")],
)
def test_tags_are_removed_or_kept_and_counted(tmp_path, tags, text):
    corpus.write_track(tmp_path / "c", "A_S_0_G1", [(1.0, 5.0, "so [+] I <noise> took it [++]")])
    corpus.write_track(tmp_path / "c", "A_S_0_G2", [(6.0, 7.0, "[+] yes"), (8.0, 9.0, "[*]")])
    summary = build_duplex(tmp_path / "c", tmp_path / "data", corpus.settings(tags=tags))
    kept = {"strip": {"yes"}, "keep": {"[+] yes", "[*]"}}[tags]
    texts = {s["text"] for row in datasets.load_from_disk(str(tmp_path / "data"))["train"] for s in row["segments"]}
    assert texts == {text, *kept}
    assert summary.details.report.tags == {"[*]": 1, "[++]": 1, "[+]": 2, "<noise>": 1}
    assert verify(tmp_path / "data").holds


def test_data_set_from_before_a_setting_existed_is_continued(tmp_path):
    source = corpus.pair(tmp_path / "corpus")
    build_duplex(source, tmp_path / "data", corpus.settings())
    path = tmp_path / "data" / "settings.json"
    document = json.loads(path.read_text())
    del document["duplex"]["tags"]
    path.write_text(json.dumps(document))
    build_duplex(source, tmp_path / "data", corpus.settings())
    assert json.loads(path.read_text())["duplex"]["tags"] == "strip"
    assert verify(tmp_path / "data").holds
    with pytest.raises(OutputError, match=r"duplex\.tags 'strip', now 'keep'"):
        build_duplex(source, tmp_path / "data", corpus.settings(tags="keep"))


def test_control_tokens_in_a_transcript_are_plain_text(tmp_path):
    lines = [(1.0, 5.0, "he said <|object_ref_start|> and <|im_end|> out loud")]
    corpus.write_track(tmp_path / "c", "A_S_0_G1", lines)
    corpus.write_track(tmp_path / "c", "A_S_0_G2", [(6.0, 7.0, "今天天气很好 नमस्ते")])
    build_duplex(tmp_path / "c", tmp_path / "data", corpus.settings())
    assert verify(tmp_path / "data").holds
    texts = {s["text"] for row in datasets.load_from_disk(str(tmp_path / "data"))["train"] for s in row["segments"]}
    assert texts == {lines[0][2], "今天天气很好 नमस्ते"}


class TestCorpusProblems:
    def build(self, tmp_path, **overrides):
        return build_duplex(tmp_path / "c", tmp_path / "data", corpus.settings(**overrides))

    def test_no_wav_folder(self, tmp_path):
        (tmp_path / "c" / "TXT").mkdir(parents=True)
        with pytest.raises(InputError, match="WAV"):
            self.build(tmp_path)

    def test_transcript_without_a_recording(self, tmp_path):
        corpus.pair(tmp_path / "c")
        (tmp_path / "c" / "WAV" / "A0001_S0001_0_G0002.wav").unlink()
        with pytest.raises(InputError, match="no session with two speakers"):
            self.build(tmp_path)

    @pytest.mark.parametrize(
        ("content", "reason"),
        [(b"", "is empty"), (b"not audio at all, really not", "A0002_S0002_0_G0001.wav")],
        ids=["empty", "text"],
    )
    def test_unreadable_audio_fails_only_its_session(self, tmp_path, content, reason):
        corpus.pair(corpus.pair(tmp_path / "c"), "A0002_S0002_0")
        (tmp_path / "c" / "WAV" / "A0002_S0002_0_G0001.wav").write_bytes(content)
        summary = self.build(tmp_path)
        assert summary.details.kept == 1
        assert [session for session, _ in summary.failed] == ["A0002_S0002_0"]
        assert reason in summary.failed[0][1]
        assert verify(tmp_path / "data").holds

    def test_truncated_wav_fails_its_session(self, tmp_path):
        corpus.pair(corpus.pair(tmp_path / "c"), "A0002_S0002_0")
        wav = tmp_path / "c" / "WAV" / "A0002_S0002_0_G0001.wav"
        wav.write_bytes(wav.read_bytes()[:300_000])
        summary = self.build(tmp_path)
        assert "truncated" in dict(summary.failed)["A0002_S0002_0"]

    def test_wav_without_samples_fails_its_session(self, tmp_path):
        corpus.pair(corpus.pair(tmp_path / "c"), "A0002_S0002_0")
        sf.write(tmp_path / "c" / "WAV" / "A0002_S0002_0_G0001.wav", np.zeros(0), 16_000)
        assert dict(self.build(tmp_path).failed).keys() == {"A0002_S0002_0"}

    def test_silent_track_with_words_drops_its_session(self, tmp_path):
        corpus.pair(corpus.pair(tmp_path / "c"), "A0002_S0002_0")
        sf.write(tmp_path / "c" / "WAV" / "A0002_S0002_0_G0001.wav", np.zeros(16_000 * 30), 16_000)
        summary = self.build(tmp_path)
        assert "is silent" in dict(summary.dropped)["A0002_S0002_0"]
        assert summary.details.kept == 1

    def test_silent_listener_is_accepted(self, tmp_path):
        corpus.pair(tmp_path / "c")
        (tmp_path / "c" / "TXT" / "A0001_S0001_0_G0002.txt").write_bytes(b"")
        summary = self.build(tmp_path)
        assert (summary.details.kept, summary.details.report.rows) == (1, 2)
        assert verify(tmp_path / "data").holds

    def test_counts_mixed_channels(self, tmp_path):
        corpus.pair(tmp_path / "c")
        sf.write(tmp_path / "c" / "WAV" / "A0001_S0001_0_G0001.wav", np.stack([corpus.tone(30.0)] * 3, axis=1), 16_000)
        assert self.build(tmp_path).details.report.audio.tracks_mixed_down == 1

    def test_counts_nan_samples(self, tmp_path):
        corpus.pair(tmp_path / "c")
        samples = corpus.tone(30.0)
        samples[1000:1010] = np.nan
        sf.write(tmp_path / "c" / "WAV" / "A0001_S0001_0_G0001.wav", samples, 16_000, subtype="FLOAT")
        summary = self.build(tmp_path)
        assert summary.details.report.audio.non_finite_samples == 10
        assert verify(tmp_path / "data").holds

    def test_counts_padded_tracks(self, tmp_path):
        corpus.pair(tmp_path / "c")
        corpus.write_track(tmp_path / "c", "A0001_S0001_0_G0002", [(4.0, 7.0, "are you in a hurry")], 12.5)
        report = self.build(tmp_path).details.report
        assert (report.audio.tracks_padded, report.audio.padded_s) == (1, 17.5)
        assert verify(tmp_path / "data").holds

    @pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
    def test_other_rates(self, tmp_path, rate):
        corpus.write_track(tmp_path / "c", "A_S_0_G1", [(1.0, 3.0, "hello there")], 10.0, rate=rate)
        corpus.write_track(tmp_path / "c", "A_S_0_G2", [(4.0, 5.0, "hi")], 10.0)
        assert self.build(tmp_path).details.report.audio.tracks_padded == 0
        assert verify(tmp_path / "data").holds

    def test_reports_lines_past_the_end(self, tmp_path):
        corpus.pair(tmp_path / "c")
        corpus.write_track(tmp_path / "c", "A0001_S0001_0_G0001", [(1.0, 3.0, "hello"), (40.0, 41.0, "late")], 30.0)
        summary = self.build(tmp_path)
        assert any("G0001.txt:2" in note and "41.000" in note for note in summary.details.skipped)
        assert summary.details.report.coverage.words == 1 + 7

    def test_notes_word_times_that_do_not_match(self, tmp_path):
        corpus.pair(tmp_path / "c")
        lines = [(1.0, 3.0, "hello there my friend"), (8.0, 10.5, "no, not at all")]
        words = [["goodbye", 1.0, 1.5], ["no", 8.1, 8.4], ["not", 8.5, 8.8], ["at", 9.0, 9.2], ["all", 9.5, 10.0]]
        corpus.write_track(tmp_path / "c", "A0001_S0001_0_G0001", lines, words=words)
        summary = self.build(tmp_path)
        assert summary.details.report.align_source == {"given": 4, "interpolated": 11}
        assert any("G0001.txt:1" in note for note in summary.details.notices)

    def test_drops_a_session_without_words(self, tmp_path):
        corpus.pair(tmp_path / "c")
        for name in ("G0001", "G0002"):
            corpus.write_track(tmp_path / "c", f"A0002_S0002_0_{name}", [(1.0, 2.0, "[SONANT]")])
        assert dict(self.build(tmp_path).dropped) == {"A0002_S0002_0": "no track has any words"}

    def test_rejects_a_silence_token_that_is_text(self, tmp_path):
        corpus.pair(tmp_path / "c")
        with pytest.raises(ConfigError, match="uses for the text"):
            self.build(tmp_path, silence_token_id=11)
        with pytest.raises(ConfigError, match="has the ids 0 to 151675"):
            self.build(tmp_path, silence_token_id=999_999)

    def test_output_folder_that_cannot_be_made(self, tmp_path):
        corpus.pair(tmp_path / "c")
        (tmp_path / "file").write_text("")
        with pytest.raises(OutputError, match="the name is already in use"):
            build_duplex(tmp_path / "c", tmp_path / "file" / "data", corpus.settings())

    def test_rejects_a_second_run_at_the_same_time(self, tmp_path):
        from sca.data.runs.ledger import lock_dir

        corpus.pair(tmp_path / "c")
        with lock_dir(tmp_path / "data"), pytest.raises(InputError, match="another run"):
            self.build(tmp_path)


def test_full_disk_keeps_finished_sessions(tmp_path):
    """A limit on the size of files has the same effect as a full disk: the kernel refuses the write."""
    mostly_silent = np.zeros(130 * corpus.RATE)  # the longest session is built first; this one needs little space
    mostly_silent[: 2 * corpus.RATE] = corpus.tone(2.0, corpus.RATE)
    source = tmp_path / "c"
    corpus.write_track(source, "A0001_S0001_0_G0001", [(0.2, 1.0, "hello there")], mostly_silent)
    corpus.write_track(source, "A0001_S0001_0_G0002", [(1.1, 1.8, "hi")], mostly_silent)
    corpus.pair(source, "A0002_S0002_0", audio=120.0)
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))\n"
        "sys.argv = ['sca', 'build-duplex', sys.argv[1], '-o', sys.argv[2], '--model-path', 'builtin:qwen', '--jobs', '1']\n"
        "from sca.cli.main import run\nrun()\n"
    )
    command = [sys.executable, "-c", code, str(source), str(tmp_path / "data")]
    finished = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    )
    assert finished.returncode == 5, finished.stderr
    assert "Traceback" not in finished.stderr
    assert "cannot be written" in finished.stderr or "full" in finished.stderr
    assert (tmp_path / "data" / ".sca" / "sessions" / "A0001_S0001_0.json").exists()
    assert not (tmp_path / "data" / ".sca" / "scratch" / "A0002_S0002_0").exists()
    assert build_duplex(source, tmp_path / "data", corpus.settings()).details.built == 1


def test_command_line(tmp_path):
    source = corpus.pair(tmp_path / "corpus", audio=12.0)
    data = str(tmp_path / "data")
    words = ["build-duplex", str(source), "-o", data, "--model-path", "builtin:qwen", "--jobs", "1", "--json"]
    built = CliRunner().invoke(app, words)
    assert built.exit_code == 0, built.output
    assert json.loads(built.stdout)["report"]["coverage"]["share"] == 1.0
    verified = CliRunner().invoke(app, ["verify", data, "--json"])
    assert verified.exit_code == 0, verified.output
    assert json.loads(verified.stdout)["holds"] is True
    (Path(data) / "report.json").unlink()
    broken = CliRunner().invoke(app, ["verify", data])
    assert broken.exit_code == 5
    assert "report.json is missing" in broken.stderr


def test_validation_has_no_speaker_of_training(tmp_path):
    source = tmp_path / "corpus"
    for n in range(3):
        for speaker, start in (("a", 1.0), ("b", 4.0)):
            corpus.write_track(source, f"A000{n}_S_{speaker}{n}", [(start, start + 2, "hello there my friend")], 8.0)
    summary = build_duplex(source, tmp_path / "data", corpus.settings(validation=0.34))
    data = datasets.load_from_disk(str(tmp_path / "data"))
    assert summary.details.report.splits == {"train": 4, "validation": 2}
    heard = {
        split: {s for row in data[split] for s in (row["listener"], row["speaker"])}
        for split in ("train", "validation")
    }
    assert not heard["train"] & heard["validation"]
    assert len(load(tmp_path / "data", "validation")) == 2
    assert verify(tmp_path / "data").holds


def test_verify_finds_a_speaker_in_both_splits(tmp_path):
    corpus.pair(corpus.pair(tmp_path / "c", "A0001_S0001_0", 15.0), "A0002_S0002_0", 15.0)
    build_duplex(tmp_path / "c", tmp_path / "data", corpus.settings())
    parts = sorted((tmp_path / "data" / ".sca" / "rows").glob("*.arrow"))
    for split, part in zip(("train", "validation"), parts, strict=True):
        folder = tmp_path / "data" / split
        merge_tables(folder / "data-00000-of-00001.arrow", "rows", [part])
        write_split_files(folder, split, ["data-00000-of-00001.arrow"], [split])
    problems = verify(tmp_path / "data").problems
    assert "A0002_S0002_0: speaker G0001 is in train and in validation" in problems


def test_connected_speakers_have_no_validation_split(tmp_path):
    corpus.pair(corpus.pair(tmp_path / "c", "A0001_S0001_0", 15.0), "A0002_S0002_0", 15.0)
    build_duplex(tmp_path / "c", tmp_path / "data", corpus.settings(validation=0.5))
    assert not (tmp_path / "data" / "validation").exists()
    assert verify(tmp_path / "data").holds


def test_interpolated_words_are_near_their_onsets(tmp_path, demo_data):
    """The demo conversation without its word times: the target for corpora with utterance times only."""
    source = corpus.demo(tmp_path / "c")
    shutil.rmtree(source / "WORDS")
    build_duplex(source, tmp_path / "data", corpus.settings())
    true, hidden = (datasets.load_from_disk(str(root))["storage"] for root in (demo_data, tmp_path / "data"))
    off = []
    for a, b in zip(true, hidden, strict=True):
        assert {word["source"] for word in b["words"]} == {"interpolated"}
        off += [abs(x["start"] - y["start"]) for x, y in zip(a["words"], b["words"], strict=True)]
    assert np.mean(off) <= 0.27


def test_report_describes_the_conversation(tmp_path):
    """Counted by hand: B begins 0.5 s after A ends; A interrupts B 1 s before B ends; B has a backchannel during A's turn."""
    source = tmp_path / "c"
    corpus.write_track(
        source, "S_A", [(1.0, 3.0, "how are you today"), (5.5, 10.5, "no no let me tell you this")], 12.0
    )
    corpus.write_track(source, "S_B", [(3.5, 6.5, "well I have been better"), (8.0, 8.5, "yeah")], 12.0)
    talk = build_duplex(source, tmp_path / "data", corpus.settings()).details.report.talk
    minutes = 2 * 38 * 0.32 / 60
    assert talk.floor_offset_s == {"-1.0": 1, "0.5": 1}, (
        "the first turn has no offset, and a backchannel does not take the floor"
    )
    # Overlap: A's 1.0 s at the interruption and 0.5 s of the backchannel, and the same of B; of 2 + 5 + 3 + 0.5 s.
    assert talk.overlap_share == pytest.approx(3.0 / 10.5, abs=1e-4)
    assert talk.turns_a_minute == pytest.approx(2 / minutes, abs=1e-4)
    assert talk.interruptions_a_minute == pytest.approx(1 / minutes, abs=1e-4)
    assert talk.backchannels_a_minute == pytest.approx(1 / minutes, abs=1e-4)
    assert verify(tmp_path / "data").holds
