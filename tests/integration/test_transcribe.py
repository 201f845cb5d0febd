"""`sca transcribe` with a real (tiny, scripted) Whisper: lines, resuming, doubts, bad input."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from sca.audio.decode import read_audio
from sca.cli.main import app
from sca.data.corpora.registry import open_corpus
from sca.data.corpora.segments.cues import read_cues
from sca.data.digests import file_facts
from sca.data.media.find_audio import AudioFolder
from sca.data.runs.local import ProcessExecutor
from sca.data.transcription import selection, transcriber
from sca.data.transcription.coverage import coverage_of
from sca.data.transcription.speech import find_speech
from sca.data.transcription.transcribe import ledger_of, transcribe
from sca.data.transcription.whisper import RecognizerOptions
from sca.timeline import Show, read_shows
from tests.helpers.broken import REASON, break_for
from tests.helpers.held import held
from tests.helpers.replaced import replace_after
from tests.helpers.tiny_tagger import noise as laughter_noise
from tests.helpers.tiny_tagger import write as write_tagger
from tests.helpers.tiny_whisper import SENTENCE, scripted_whisper

ROOT = Path(__file__).resolve().parents[2]
WORDS = SENTENCE.split()


@pytest.fixture(scope="session")
def whisper(tmp_path_factory):
    return scripted_whisper(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def speech(trial_data):
    return read_audio(trial_data / "clips" / "jfk.flac", 16_000)


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch):
    """A tiny model gains nothing from a second thread, and threads that wait for a busy core spin."""
    monkeypatch.setattr(transcriber, "usable_cores", lambda: 1)


def words_for(whisper, *sources, save_file, options=()):
    plain = [
        "transcribe",
        *map(str, sources),
        "--save-file",
        str(save_file),
        "--model",
        str(whisper),
        "--device",
        "cpu",
    ]
    # The default, `auto`, depends on the models of the machine.
    return [*plain, "--language", "en", "--reactions", "none", "--json", "-q", *options]


def run(whisper, *sources, save_file, options=()):
    done = CliRunner().invoke(app, words_for(whisper, *sources, save_file=save_file, options=options))
    summary = json.loads(done.stdout) if done.stdout else None
    return done.exit_code, summary, done.stderr


def runner_json(*words):
    done = CliRunner().invoke(app, [*map(str, words), "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def shows(path):
    return {show.video_id: show for _, show in read_shows(path) if isinstance(show, Show)}


def record(path, samples, rate_hz=16_000):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate_hz)
    return path


def test_summary_has_singulars_and_names_only_written_files(whisper, tmp_path):
    tone = record(tmp_path / "tone.wav", np.sin(np.arange(32_000) / 8).astype(np.float32))
    arguments = [
        word for word in words_for(whisper, tone, save_file=tmp_path / "out.jsonl") if word not in ("--json", "-q")
    ]
    done = CliRunner().invoke(app, arguments)
    assert done.stdout.startswith("1 recording transcribed, 0.00 h, ")
    assert done.stdout.splitlines()[0].endswith(f"0 transcribed before, 0 failed; in {tmp_path}/out.jsonl")
    (tmp_path / "bad.wav").write_text("no sound")
    other = {str(tone): str(tmp_path / "bad.wav"), str(tmp_path / "out.jsonl"): str(tmp_path / "no.jsonl")}
    done = CliRunner().invoke(app, [other.get(word, word) for word in arguments])
    assert done.exit_code == 7
    assert done.stdout.splitlines() == [
        "0 recordings transcribed, 0.00 h, 0 words, no events; 0 transcribed before, 1 failed"
    ]
    assert "sca: 1 recording failed" in done.stderr
    assert not (tmp_path / "no.jsonl").exists()


def test_folder_of_real_recordings(whisper, trial_data, tmp_path):
    save_file = tmp_path / "out" / "lines.jsonl"
    code, summary, _ = run(whisper, trial_data / "clips", save_file=save_file)
    assert (code, summary["made"], summary["failed"]) == (0, 5, {})
    found = shows(save_file)
    assert list(found) == ["big_buck_bunny_small", "hotwords", "jfk", "multilingual", "stereo_diarization"]
    jfk = found["jfk"]
    assert (jfk.language, jfk.duration_s, jfk.source, jfk.model) == ("en", 11.0, "jfk.flac", str(whisper))
    assert [word.word for word in jfk.words] == WORDS
    assert " ".join(event.content for event in jfk.timeline if event.event_type == "speech") == SENTENCE.strip()
    # The scripted words do not cover all speech. The rest has no text, and the line says so.
    assert {event.doubt for event in jfk.timeline if event.event_type == "unsure"} == {"no_words"}
    assert all(event.avg_logprob <= 0 < event.probability for event in jfk.timeline if event.event_type == "speech")
    assert jfk.language_probability == 1.0
    assert len(jfk.speech) == 5
    assert runner_json("verify", save_file)["problems"] == []
    assert {event.role for event in jfk.timeline} == {"comedian"}
    for show in found.values():
        starts = [event.start for event in show.timeline]
        assert starts == sorted(starts)
        coverage = coverage_of(show)
        assert coverage.omitted == ()
        parts = (coverage.labelled_s, coverage.unsure_s, coverage.reactions_s, coverage.edges_s)
        assert sum(parts) == pytest.approx(coverage.speech_s) == pytest.approx(sum(b - a for a, b in show.speech))
        assert all(0 <= word.start < word.end <= show.duration_s for word in show.words)


@pytest.mark.parametrize(
    ("clip", "seconds"), [("jfk.flac", 11), ("multilingual.mp3", 29), ("stereo_diarization.wav", 5)]
)
def test_words_lie_in_the_speech_that_the_vad_finds(whisper, trial_data, tmp_path, clip, seconds):
    samples = read_audio(trial_data / "clips" / clip, 16_000)
    spans = [(start / 16_000, end / 16_000) for start, end in find_speech(samples)]
    assert 0.4 * seconds < sum(end - start for start, end in spans) <= len(samples) / 16_000
    run(whisper, trial_data / "clips" / clip, save_file=tmp_path / "x.jsonl")
    (show,) = shows(tmp_path / "x.jsonl").values()
    assert show.words
    for word in show.words:
        assert any(low - 0.2 <= word.start and word.end <= high + 0.2 for low, high in spans), word


def test_second_run_transcribes_only_changed_recordings(whisper, speech, tmp_path):
    one, two = (record(tmp_path / "in" / f"{name}.wav", speech[: 16_000 * n]) for name, n in (("a", 4), ("b", 5)))
    save_file = tmp_path / "lines.jsonl"
    run(whisper, tmp_path / "in", save_file=save_file)
    before = save_file.read_bytes()
    code, summary, _ = run(tmp_path / "no model is loaded", tmp_path / "in", save_file=save_file)
    assert code != 0  # another model is another setting
    code, summary, _ = run(whisper, tmp_path / "in", save_file=save_file)
    assert (code, summary["made"], summary["already"], save_file.read_bytes()) == (0, 0, 2, before)
    record(one, speech[16_000:80_000])
    code, summary, _ = run(whisper, tmp_path / "in", save_file=save_file)
    assert (code, summary["made"], summary["already"]) == (0, 1, 1)
    assert [json.loads(line)["video_id"] for line in save_file.read_text().splitlines()] == ["a", "b"]
    shutil.copy(two, tmp_path / "in" / "c.wav")  # the same sound under another name is another recording
    assert run(whisper, tmp_path / "in", save_file=save_file)[1]["made"] == 1


def test_model_is_identified_by_its_weights(whisper, speech, tmp_path):
    record(tmp_path / "in" / "a.wav", speech[: 3 * 16_000])
    lines, moved = tmp_path / "out.jsonl", tmp_path / "moved"
    shutil.copytree(whisper, moved)
    assert run(whisper, tmp_path / "in", save_file=lines)[1]["made"] == 1
    assert run(moved, tmp_path / "in", save_file=lines)[1]["already"] == 1
    weights = bytearray((moved / "model.bin").read_bytes())
    weights[-1] ^= 1
    (moved / "model.bin").write_bytes(weights)
    assert run(moved, tmp_path / "in", save_file=lines)[1]["made"] == 1
    assert len(shows(lines)) == 1


def test_tagger_is_identified_by_its_weights(whisper, speech, tmp_path):
    record(tmp_path / "in" / "a.wav", speech[: 3 * 16_000])
    lines, tagger = tmp_path / "out.jsonl", write_tagger(tmp_path / "tagger.onnx")
    options = ["--reactions", str(tagger)]
    assert run(whisper, tmp_path / "in", save_file=lines, options=options)[1]["made"] == 1
    assert run(whisper, tmp_path / "in", save_file=lines, options=options)[1]["already"] == 1
    write_tagger(tagger, logits=True)
    assert run(whisper, tmp_path / "in", save_file=lines, options=options)[1]["made"] == 1


def test_killed_and_continued_equals_uninterrupted(whisper, speech, tmp_path):
    for n in range(12):
        record(tmp_path / "in" / f"show{n:02}.wav", speech[800 * n : 800 * n + 24_000])
    save_file, ledger = tmp_path / "killed" / "lines.jsonl", ledger_of(tmp_path / "killed" / "lines.jsonl")
    with held(*words_for(whisper, tmp_path / "in", save_file=save_file), at="*/killed/lines.jsonl", after=5) as child:
        child.kill()
    had = save_file.read_bytes().count(b"\n")
    assert had == 5
    with save_file.open("ab") as file:
        file.write(b'{"video_id": "show05", "timel')  # as after a power failure while a line was written
    code, summary, _ = run(whisper, tmp_path / "in", save_file=save_file)
    assert (code, summary["made"] + summary["already"]) == (0, 12)
    assert summary["already"] == had
    whole = tmp_path / "whole" / "lines.jsonl"
    run(whisper, tmp_path / "in", save_file=whole)
    assert save_file.read_bytes() == whole.read_bytes()
    assert ledger.read_bytes() == ledger_of(whole).read_bytes()


def test_two_workers_write_the_same_as_one(whisper, speech, tmp_path):
    for n in range(4):
        record(tmp_path / "in" / f"show{n}.wav", speech[800 * n : 800 * n + 24_000])
    for jobs in ("1", "2"):
        code, summary, _ = run(
            whisper, tmp_path / "in", save_file=tmp_path / jobs / "x.jsonl", options=["--jobs", jobs]
        )
        assert (code, summary["made"]) == (0, 4)
    assert (tmp_path / "1" / "x.jsonl").read_bytes() == (tmp_path / "2" / "x.jsonl").read_bytes()


def test_worker_processes_write_the_same_as_threads(whisper, speech, tmp_path):
    for n in range(3):
        record(tmp_path / "in" / f"show{n}.wav", speech[800 * n : 800 * n + 24_000])
    options = RecognizerOptions(str(whisper), device="cpu", language="en")
    for name, executor in (("here", None), ("processes", ProcessExecutor(2))):
        summary = transcribe(
            [tmp_path / "in"], tmp_path / name / "x.jsonl", options, reactions="none", executor=executor
        )
        assert (summary.made, summary.failed) == (3, [])
    for name in ("x.jsonl", "x.ledger.jsonl"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "processes" / name).read_bytes()


def test_bad_recordings_fail_and_the_others_are_done(whisper, speech, tmp_path):
    folder = tmp_path / "in"
    record(folder / "good.wav", speech[:64_000])
    record(folder / "short.wav", speech[:16_000])
    record(folder / "silent.wav", np.zeros(48_000, np.float32))
    record(folder / "six.wav", np.repeat(speech[:48_000, None], 6, axis=1))
    (folder / "corrupt.flac").write_bytes(os.urandom(4000))
    (folder / "empty.wav").touch()
    _film_without_sound(folder / "mute.mp4")
    for sub in ("x", "y"):
        record(folder / sub / "twin.wav", speech[:32_000])
    save_file = tmp_path / "lines.jsonl"
    code, summary, stderr = run(whisper, folder, save_file=save_file)
    assert code == 7
    assert sorted(shows(save_file)) == ["good", "short", "silent", "six", "x/twin", "y/twin"]
    assert set(summary["failed"]) == {"corrupt", "empty", "mute"}
    assert "sound" in summary["failed"]["mute"]
    assert ["silent", "no speech was heard"] in summary["notes"]
    assert shows(save_file)["silent"].timeline == ()
    assert [word.word for word in shows(save_file)["six"].words] == WORDS
    assert "Traceback" not in stderr

    # Failed recordings are tried again on request only, and then no others.
    code, again, _ = run(whisper, folder, save_file=save_file)
    assert (code, again["made"], again["already"], again["failed_before"]) == (7, 0, 6, 3)
    record(folder / "mended.wav", speech[:48_000]).replace(folder / "corrupt.flac")
    code, mended, _ = run(whisper, folder, save_file=save_file, options=["--retry-failed"])
    assert (mended["made"], mended["already"], mended["failed_before"]) == (1, 6, 0)
    assert "corrupt" in shows(save_file)


def test_unexpected_exception_fails_its_recording_only(whisper, speech, tmp_path, monkeypatch):
    for name in ("good", "odd"):
        record(tmp_path / "in" / f"{name}.wav", speech[:48_000])
    break_for(monkeypatch, transcriber, "read_samples", "odd.wav")
    save_file = tmp_path / "lines.jsonl"
    code, summary, stderr = run(whisper, tmp_path / "in", save_file=save_file)
    assert (code, list(shows(save_file)), summary["failed"]) == (7, ["good"], {"odd": REASON})
    assert "Traceback" not in stderr
    assert "ZeroDivisionError: injected" in ledger_of(save_file).read_text()
    monkeypatch.undo()
    code, again, _ = run(whisper, tmp_path / "in", save_file=save_file, options=["--retry-failed"])
    assert (code, again["made"]) == (0, 1)
    assert "traceback" not in ledger_of(save_file).read_text()


def test_recording_that_is_replaced_meanwhile_fails(whisper, speech, tmp_path, monkeypatch):
    source = record(tmp_path / "in" / "a.wav", speech[:48_000])
    replace_after(monkeypatch, transcriber, "read_samples", source, record(tmp_path / "b.wav", speech[48_000:96_000]))
    save_file = tmp_path / "lines.jsonl"
    code, summary, _ = run(whisper, source, save_file=save_file)
    assert (code, summary["failed"]) == (7, {"a": f"{source} changed while it was read"})
    code, again, _ = run(whisper, source, save_file=save_file)
    assert (code, again["made"]) == (0, 1)


@pytest.mark.parametrize("cut", [False, True], ids=["touched", "copied-in-place"])
def test_recording_with_the_same_bytes_is_done_again(whisper, speech, tmp_path, monkeypatch, cut):
    source, save_file = record(tmp_path / "a.wav", speech[:48_000]), tmp_path / "out" / "lines.jsonl"
    whole, read, calls = source.read_bytes(), transcriber.read_samples, []

    def touched(path, *args, **kwargs):
        calls.append(path)
        if len(calls) > 1:
            return read(path, *args, **kwargs)
        if cut:
            source.write_bytes(whole[:1000])
        try:
            return read(path, *args, **kwargs)
        finally:
            source.write_bytes(whole)
            os.utime(source, ns=(1, 1))

    monkeypatch.setattr(transcriber, "read_samples", touched)
    code, summary, _ = run(whisper, source, save_file=save_file)
    assert (code, summary["made"], len(calls)) == (0, 1, 2)
    assert shows(save_file)["a"].duration_s == 3.0
    assert run(whisper, source, save_file=save_file)[1]["already"] == 1


@pytest.mark.parametrize(("module", "name"), [(file_facts, "input_sha256"), (selection, "Unchanged")])
def test_unexpected_exception_in_planning_fails_its_item(whisper, speech, tmp_path, monkeypatch, module, name):
    for stem in ("good", "odd"):
        record(tmp_path / "in" / f"{stem}.wav", speech[:48_000])
    break_for(monkeypatch, module, name, "odd.wav")
    save_file = tmp_path / "lines.jsonl"
    for made in (1, 0):  # it is tried again in every run
        code, summary, stderr = run(whisper, tmp_path / "in", save_file=save_file)
        assert (code, list(shows(save_file)), summary["failed"]) == (7, ["good"], {"odd.wav": REASON})
        assert (summary["made"], "Traceback" in stderr) == (made, False)
        assert "ZeroDivisionError: injected" in ledger_of(save_file).read_text()
    monkeypatch.undo()
    code, again, _ = run(whisper, tmp_path / "in", save_file=save_file)
    assert (code, again["made"], again["already"], sorted(shows(save_file))) == (0, 1, 1, ["good", "odd"])
    assert "traceback" not in ledger_of(save_file).read_text()


def test_unexpected_exception_about_copies_fails_its_item(whisper, speech, tmp_path, monkeypatch):
    for name, seconds in (("good", 3), ("odd", 4)):
        record(tmp_path / "in" / f"{name}.wav", speech[: seconds * 16_000])
    save_file = tmp_path / "lines.jsonl"
    assert run(whisper, tmp_path / "in", save_file=save_file)[0] == 0
    lines = save_file.read_bytes()
    entries = [json.loads(line) for line in ledger_of(save_file).read_text().splitlines()]
    broken = next(entry["extra"]["quality"]["sound"] for entry in entries if entry["item"] == "odd")
    break_for(monkeypatch, selection, "fingerprint_of", broken)
    code, summary, stderr = run(whisper, tmp_path / "in", save_file=save_file)
    assert (code, summary["failed"], summary["already"]) == (7, {"odd": REASON}, 1)
    assert "ZeroDivisionError: injected" in ledger_of(save_file).read_text()
    assert (save_file.read_bytes(), "Traceback" in stderr) == (lines, False)
    monkeypatch.undo()
    code, again, _ = run(whisper, tmp_path / "in", save_file=save_file, options=["--retry-failed"])
    assert (code, again["made"], again["already"], save_file.read_bytes()) == (0, 1, 1, lines)


def test_a_copy_is_dropped_before_it_is_transcribed(whisper, speech, tmp_path):
    record(tmp_path / "in" / "long.wav", speech[: 10 * 16_000])
    record(tmp_path / "in" / "again.wav", speech[: 10 * 16_000] * np.float32(0.5))
    save_file = tmp_path / "lines.jsonl"
    code, summary, _ = run(whisper, tmp_path / "in", save_file=save_file, options=["--copies", "drop"])
    left_out = {"long": "copy of again at 0:00, share 1.00"}
    assert (code, summary["made"], summary["left_out"]) == (0, 1, left_out)
    code, summary, _ = run(whisper, tmp_path / "in", save_file=save_file)
    assert (code, summary["made"], summary["already"]) == (0, 1, 1)
    code, summary, _ = run(whisper, tmp_path / "in", save_file=save_file, options=["--copies", "drop"])
    assert (code, summary["made"], summary["left_out"]) == (0, 0, left_out)
    assert len(save_file.read_text().splitlines()) == 1


def _film_without_sound(path):
    with av.open(str(path), "w") as film:
        stream = film.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(10):
            film.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")))
        film.mux(stream.encode())


def test_no_vad_decodes_everything_and_guards_silence(whisper, speech, tmp_path):
    silence = record(tmp_path / "hush.wav", np.zeros(160_000, np.float32))
    code, summary, _ = run(whisper, silence, save_file=tmp_path / "lines.jsonl", options=["--no-vad"])
    assert (code, summary["guards"]["no_speech_found"], summary["words"]) == (0, len(WORDS), len(WORDS))
    (show,) = shows(tmp_path / "lines.jsonl").values()
    assert {(event.event_type, event.doubt) for event in show.timeline} == {("unsure", "no_speech_found")}
    talk = record(tmp_path / "talk.wav", speech)
    _, summary, _ = run(whisper, talk, save_file=tmp_path / "lines.jsonl", options=["--no-vad"])
    assert summary["words"] == len(WORDS)


def test_other_formats_are_written_per_recording(whisper, speech, tmp_path):
    for name in ("a.wav", "x/twin.wav", "y/twin.wav"):
        record(tmp_path / "in" / name, speech[: 16_000 * (4 + len(name))])
    save_file, texts = tmp_path / "lines.jsonl", tmp_path / "texts"
    formats = ["--output-format", "srt,vtt", "--output-format", "tsv,txt,json"]
    options = [*formats, "--output-dir", str(texts), "--reactions", "energy"]
    code, summary, _ = run(whisper, tmp_path / "in", save_file=save_file, options=options)
    assert (code, summary["made"], summary["text_files"]) == (0, 3, 15)
    found = shows(save_file)
    files = {path.relative_to(texts).as_posix(): path.read_bytes() for path in texts.rglob("*") if path.is_file()}
    assert set(files) == {f"{name}.{kind}" for name in found for kind in ("srt", "vtt", "tsv", "txt", "json")}
    assert set(found) == {"a", "x/twin", "y/twin"}
    for name, show in found.items():
        assert " ".join(files[f"{name}.txt"].decode().split()) == SENTENCE.strip()
        document = json.loads(files[f"{name}.json"])
        assert (document["text"], document["language"]) == (SENTENCE, "en")
        words = [word["word"].strip() for one in document["segments"] for word in one["words"]]
        assert words == [word.word for word in show.words]
        assert [one["doubt"] for one in document["segments"]] == [
            event.doubt for event in show.timeline if event.role == "comedian"
        ]
        cues = [one.text for one in read_cues(texts / f"{name}.srt")]
        assert " ".join(text for text in cues if not text.startswith("[")) == SENTENCE.strip()
        assert cues == [one.text for one in read_cues(texts / f"{name}.vtt")]


def test_files_of_finished_recordings_are_completed(whisper, speech, tmp_path, monkeypatch):
    for name in ("a", "b"):
        record(tmp_path / "in" / f"{name}.wav", speech[:64_000])
    save_file = tmp_path / "lines.jsonl"
    assert run(whisper, tmp_path / "in", save_file=save_file)[1]["text_files"] == 0
    break_for(monkeypatch, transcriber, "read_samples", "a.wav")  # a second transcription would fail
    options = ["--output-format", "jsonl,srt"]
    code, summary, _ = run(whisper, tmp_path / "in", save_file=save_file, options=options)
    assert (code, summary["made"], summary["already"], summary["text_files"]) == (0, 0, 2, 2)
    whole = (tmp_path / "a.srt").read_bytes()
    (tmp_path / "a.srt").unlink()
    (tmp_path / "b.srt").write_text("corrected by hand")
    code, summary, _ = run(whisper, tmp_path / "in", save_file=save_file, options=options)
    assert (code, summary["text_files"], (tmp_path / "a.srt").read_bytes()) == (0, 1, whole)
    assert (tmp_path / "b.srt").read_text() == "corrected by hand"
    ((name, note),) = summary["notes"]
    assert (name, "b.srt" in note, "was kept" in note) == ("b", True, True)
    monkeypatch.undo()
    record(tmp_path / "in" / "b.wav", speech[16_000:80_000])  # a new recording has new files
    code, summary, _ = run(whisper, tmp_path / "in", save_file=save_file, options=options)
    notes = [["b", "the same recording as a"]]  # a part of the same speech
    assert (code, summary["made"], summary["text_files"], summary["notes"]) == (0, 1, 1, notes)
    assert (tmp_path / "b.srt").read_text().startswith("1\n00:00:0")
    assert not list(tmp_path.glob(".*.tmp"))


def test_killed_before_its_line_writes_its_files_again(whisper, speech, tmp_path):
    for n in range(3):
        record(tmp_path / "in" / f"show{n}.wav", speech[800 * n : 800 * n + 48_000])
    options = ["--output-format", "srt,json"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    words = words_for(whisper, tmp_path / "in", save_file=killed / "lines.jsonl", options=options)
    with held(*words, at="*/killed/lines.jsonl", after=1) as child:
        child.kill()
    run(whisper, tmp_path / "in", save_file=killed / "lines.jsonl", options=options)
    run(whisper, tmp_path / "in", save_file=whole / "lines.jsonl", options=options)
    names = sorted(path.name for path in whole.iterdir() if path.is_file())
    assert len([name for name in names if name.endswith((".srt", ".json"))]) == 6
    for name in names:
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name


def test_output_dir_that_is_a_file_is_refused_first(whisper, speech, tmp_path):
    talk = record(tmp_path / "talk.wav", speech[:32_000])
    options = ["--output-format", "srt", "--output-dir", str(talk)]
    code, _, stderr = run(whisper, talk, save_file=tmp_path / "lines.jsonl", options=options)
    assert (code, "is not a folder" in stderr, (tmp_path / "lines.jsonl").exists()) == (5, True, False), stderr


def test_folder_in_the_place_of_a_file_loses_no_line(whisper, speech, tmp_path):
    for name in ("a", "b"):
        record(tmp_path / "in" / f"{name}.wav", speech[:48_000])
    save_file, options = tmp_path / "lines.jsonl", ["--output-format", "txt"]
    run(whisper, tmp_path / "in", save_file=save_file)
    before = save_file.read_bytes(), ledger_of(save_file).read_bytes()
    (tmp_path / "a.txt").mkdir()
    code, _, stderr = run(whisper, tmp_path / "in", save_file=save_file, options=options)
    assert (code, str(tmp_path / "a.txt") in stderr, "Traceback" in stderr) == (5, True, False), stderr
    assert (save_file.read_bytes(), ledger_of(save_file).read_bytes()) == before
    (tmp_path / "a.txt").rmdir()
    code, summary, _ = run(whisper, tmp_path / "in", save_file=save_file, options=options)
    assert (code, summary["already"], summary["text_files"]) == (0, 2, 2)


def test_language_names_are_codes_and_defaults_stay_finished(whisper, speech, tmp_path):
    talk = record(tmp_path / "talk.wav", speech[:64_000])
    save_file = tmp_path / "lines.jsonl"
    assert run(whisper, talk, save_file=save_file, options=["--language", "English"])[1]["made"] == 1
    assert run(whisper, talk, save_file=save_file, options=["--language", "en"])[1]["already"] == 1
    assert shows(save_file)["talk"].language == "en"
    assert "multilingual" not in RecognizerOptions().identity()


@pytest.mark.parametrize("vad", ["--vad", "--no-vad"])
def test_multilingual_is_passed_to_faster_whisper(whisper, speech, tmp_path, monkeypatch, vad):
    import faster_whisper

    owner = faster_whisper.BatchedInferencePipeline if vad == "--vad" else faster_whisper.WhisperModel
    original, given = owner.transcribe, []

    def spy(self, *arguments, **options):
        given.append(options["multilingual"])
        return original(self, *arguments, **options)

    monkeypatch.setattr(owner, "transcribe", spy)
    talk = record(tmp_path / "talk.wav", speech[:64_000])
    for options, value in (([], False), (["--multilingual"], True)):
        assert run(whisper, talk, save_file=tmp_path / "lines.jsonl", options=[vad, *options])[1]["made"] == 1
        assert given.pop() is value
    assert [word.word for word in shows(tmp_path / "lines.jsonl")["talk"].words] == WORDS


def test_events_are_segments_without_word_times(whisper, speech, tmp_path):
    talk = record(tmp_path / "talk.wav", speech)
    run(whisper, talk, save_file=tmp_path / "lines.jsonl", options=["--no-word-timestamps"])
    (show,) = shows(tmp_path / "lines.jsonl").values()
    assert (show.words, [event.content for event in show.timeline if event.content]) == ((), [SENTENCE.strip()])


def test_loops_are_removed_and_counted(speech, tmp_path):
    looping = scripted_whisper(tmp_path, " Well" + " and then he said" * 5 + ".", 10.0)
    talk = record(tmp_path / "talk.wav", speech)
    _, summary, _ = run(looping, talk, save_file=tmp_path / "lines.jsonl")
    (show,) = shows(tmp_path / "lines.jsonl").values()
    certain = [event.content for event in show.timeline if event.event_type == "speech"]
    assert " ".join(certain) == "Well and then he said"
    repeated = [event.content for event in show.timeline if event.doubt == "repeated"]
    assert " ".join(repeated).count("and then he said") == 4
    assert len(show.words) == 21
    assert summary["guards"]["repeated"] == show.guards["repeated"] == 16


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--device", "cuda"], 4, "no CUDA device is available"),
        (["--device", "tpu"], 2, "unknown device 'tpu'"),
        (["--compute-type", "float17"], 2, "cannot compute in float17"),
        (["--language", "xx"], 2, "does not have the language 'xx'"),
        (["--language", "Germann"], 2, "did you mean German (de)?"),
        (["--output-format", "srt,lrc"], 2, "the output format 'lrc' does not exist"),
        (["--output-dir", "subtitles"], 2, "without a format for its files"),
        (["--model", "small"], 6, "the model small cannot be downloaded"),
        (["--model", "no such thing"], 2, "the model no such thing does not exist"),
        (["--model", "./nowhere"], 4, "is not a folder with a model"),
    ],
)
def test_model_that_cannot_be_loaded_is_one_line(whisper, speech, tmp_path, options, code, message):
    import ctranslate2

    if "cuda" in options and ctranslate2.get_cuda_device_count():
        options = ["--device", "cuda", "--compute-type", "float17"]
        code, message = 2, "cannot compute in float17"
    talk = record(tmp_path / "talk.wav", speech[:32_000])
    found, _, stderr = run(whisper, talk, save_file=tmp_path / "lines.jsonl", options=options)
    assert (found, message in stderr, "Traceback" in stderr) == (code, True, False), stderr
    assert not (tmp_path / "lines.jsonl").exists()


@pytest.mark.parametrize("missing", ["model.bin", "config.json", "vocabulary.json", "tokenizer.json"])
def test_incomplete_model_folder_names_the_missing_file(whisper, speech, tmp_path, missing):
    shutil.copytree(whisper, tmp_path / "model")
    (tmp_path / "model" / missing).unlink()
    talk = record(tmp_path / "talk.wav", speech[:32_000])
    code, _, stderr = run(tmp_path / "model", talk, save_file=tmp_path / "lines.jsonl")
    assert (code, missing in stderr, "lacks" in stderr) == (4, True, True)


def test_recordings_of_one_name_keep_their_lines(whisper, speech, tmp_path):
    folder, save_file = tmp_path / "in", tmp_path / "lines.jsonl"
    for season, start in (("season1", 0), ("season2", 8_000)):
        record(folder / season / "01.wav", speech[start : start + 48_000])
        assert run(whisper, folder / season, save_file=save_file)[1]["made"] == 1
    assert sorted(shows(save_file)) == ["01", "season2/01"]
    # As folders of one input, they are still the recordings of these lines.
    code, summary, _ = run(whisper, folder, save_file=save_file)
    assert (code, summary["made"], summary["already"]) == (0, 0, 2)
    record(folder / "season1" / "01.wav", speech[16_000:80_000])  # other content at the same place replaces the line
    assert run(whisper, folder / "season1", save_file=save_file)[1]["made"] == 1
    assert sorted(shows(save_file)) == ["01", "season2/01"]
    assert shows(save_file)["01"].duration_s == 4.0
    both = tmp_path / "both.jsonl"
    run(whisper, folder, save_file=both)
    assert {name: show.source for name, show in shows(both).items()} == {
        "season1/01": "season1/01.wav",
        "season2/01": "season2/01.wav",
    }
    for lines in (save_file, both):
        found = AudioFolder(folder)
        paths = {name: found.of(show).relative_to(folder).as_posix() for name, show in shows(lines).items()}
        assert sorted(paths.values()) == ["season1/01.wav", "season2/01.wav"]
        assert all(path.startswith("season2") == name.startswith("season2") for name, path in paths.items())


def test_names_with_unprintable_characters_are_found(whisper, speech, tmp_path):
    names = [
        "👨\u200d👩\u200d👧 [abcdefghijk]",
        "全角\u3000空白",
        "nbsp\u00a0name",
        "stand\u00adup",
        "rtl \u200f mark",
        "a\nb",
    ]
    for name in names:
        record(tmp_path / "in" / f"{name}.wav", speech[:48_000])
    save_file = tmp_path / "lines.jsonl"
    assert run(whisper, tmp_path / "in", save_file=save_file)[1]["made"] == len(names)
    folder = AudioFolder(tmp_path / "in")
    assert {folder.of(show).stem for show in shows(save_file).values()} == set(names)
    assert len(open_corpus(save_file, audio_dir=tmp_path / "in").sessions().sources) == len(names)


def test_no_recordings_is_an_error(whisper, tmp_path):
    code, _, stderr = run(whisper, tmp_path, save_file=tmp_path / "lines.jsonl")
    assert (code, "no sound or video file" in stderr) == (5, True)
    code, _, stderr = run(whisper, tmp_path / "gone.wav", save_file=tmp_path / "lines.jsonl")
    assert (code, "does not exist" in stderr) == (5, True)


def test_lines_of_other_programs_stay(whisper, speech, tmp_path):
    save_file = tmp_path / "lines.jsonl"
    older = '{"video_id": "zz", "timeline": [{"start": 1, "end": 2, "role": "audience", "content": "ha"}]}\n'
    save_file.write_text(older + "not json\n")
    run(whisper, record(tmp_path / "talk.wav", speech[:64_000]), save_file=save_file)
    lines = save_file.read_text().splitlines()
    assert [json.loads(lines[0])["video_id"], lines[1] + "\n", lines[2]] == ["talk", older, "not json"]


def test_main_py_is_the_same_command(whisper, speech, tmp_path):
    talk = record(tmp_path / "talk.wav", speech[:48_000])
    command = [sys.executable, ROOT / "main.py", *words_for(whisper, talk, save_file=tmp_path / "a.jsonl")[1:]]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    run(whisper, talk, save_file=tmp_path / "b.jsonl")
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_auto_without_a_tagger_is_none_and_says_how_to_get_one(whisper, speech, tmp_path, monkeypatch):
    monkeypatch.setenv("SCA_CACHE_DIR", str(tmp_path / "cache"))
    record(tmp_path / "in" / "a.wav", speech[: 3 * 16_000])
    lines = {name: tmp_path / name / "out.jsonl" for name in ("auto", "none")}
    for name, path in lines.items():
        code, summary, _ = run(whisper, tmp_path / "in", save_file=path, options=["--reactions", name])
        assert code == 0
        assert ["sca models get yamnet" in note for _, note in summary["notes"]] == [True] * (name == "auto")
    assert lines["auto"].read_bytes() == lines["none"].read_bytes()
    assert run(whisper, tmp_path / "in", save_file=lines["auto"])[1]["made"] == 0


def test_change_of_the_tagger_is_not_silent(whisper, speech, tmp_path):
    record(tmp_path / "in" / "a.wav", speech[: 3 * 16_000])
    lines = tmp_path / "out.jsonl"
    run(whisper, tmp_path / "in", save_file=lines)
    _, summary, _ = run(whisper, tmp_path / "in", save_file=lines, options=["--reactions", "energy"])
    note = "1 line with reactions by none made again with energy; --reactions none would not"
    assert (summary["made"], summary["notes"]) == (1, [["out.jsonl", note]])
    assert shows(lines)["a"].reactions == "energy"
    assert json.loads(ledger_of(lines).read_text())["extra"]["reactions"] == "energy"


def captions_of(show, shift_s=0.0):
    """Return the words of a line as WebVTT, one cue each."""
    cue = "00:{:02}:{:06.3f} --> 00:{:02}:{:06.3f}\n{}\n\n".format
    times = [(*divmod(word.start + shift_s, 60), *divmod(word.end + shift_s, 60), word.word) for word in show.words]
    return "WEBVTT\n\n" + "".join(cue(int(a), b, int(c), d, text) for a, b, c, d, text in times)


def test_captions_are_a_second_witness(whisper, speech, tmp_path):
    folder, lines = tmp_path / "in", tmp_path / "lines.jsonl"
    for name in ("good", "other", "empty", "binary", "without"):
        record(folder / f"{name}.wav", np.roll(speech, 100 * len(name)))
    _, summary, _ = run(whisper, folder, save_file=lines)
    assert summary["captions"] is None
    assert {note for _, note in summary["notes"]} == {"the same recording as binary"}
    before = lines.read_bytes()
    (folder / "good.en.vtt").write_text(captions_of(shows(lines)["good"]) + "00:10.000 --> 00:11.000\n[Applause]\n")
    strangers = "".join(f"00:{n:02}.000 --> 00:{n:02}.900\nstranger{n}\n\n" for n in range(40))
    (folder / "other.en.vtt").write_text("WEBVTT\n\n" + strangers)
    (folder / "empty.en.srt").touch()
    (folder / "binary.en.vtt").write_bytes(bytes(range(256)) * 8)

    code, summary, _ = run(whisper, folder, save_file=lines)  # captions that come later count too
    assert (code, summary["made"], lines.read_bytes()) == (0, 0, before)
    assert (summary["captions"]["recordings"], summary["captions"]["words"]) == (1, 1.0)
    notes = dict(summary["notes"])
    assert set(notes) == {"other", "empty", "binary"}
    assert notes["other"].startswith("other.en.vtt does not fit: 0% of the words agree")
    assert notes["empty"] == "empty.en.srt has no captions; it was not used"
    assert notes["binary"].startswith("binary.en.vtt cannot be read: ")
    entries = {one["item"]: one.get("extra", {}) for one in map(json.loads, ledger_of(lines).read_text().splitlines())}
    assert entries["good"]["captions"] == {
        "file": "good.en.vtt",
        "words": 1.0,
        "of_words": 2 * len(WORDS),
        "windows": [1.0],
    }
    assert "unusable" in entries["other"]["captions"]
    assert "captions" not in entries["without"]
    arguments = [word for word in words_for(whisper, folder, save_file=lines) if word not in ("--json", "-q")]
    assert "captions of 1 recording: 100% of the words agree" in CliRunner().invoke(app, arguments).stdout

    code, summary, _ = run(whisper, folder, save_file=lines, options=["--captions", "none"])
    assert (code, summary["captions"], summary["notes"]) == (0, None, [])
    code, _, stderr = run(whisper, folder, save_file=lines, options=["--captions", str(tmp_path / "no")])
    assert (code, "the folder of captions" in stderr) == (5, True)


def test_reactions_are_compared_with_the_marks_of_captions(whisper, speech, tmp_path):
    sound = np.concatenate([speech, np.zeros(16_000, np.float32), laughter_noise(3), np.zeros(16_000, np.float32)])
    record(tmp_path / "in" / "a.wav", sound)
    marks = "00:12.000 --> 00:15.000\n[Laughter]\n\n00:01.000 --> 00:02.000\n(audience laughs)\n"
    (tmp_path / "in" / "a.en.vtt").write_text("WEBVTT\n\n" + marks)
    options = ["--reactions", str(write_tagger(tmp_path / "tagger.onnx"))]
    _, summary, _ = run(whisper, tmp_path / "in", save_file=tmp_path / "lines.jsonl", options=options)
    counts = {"marked": 2, "marked_found": 1, "found": 1, "found_marked": 1}
    assert summary["captions"]["reactions"] == {"laughter": counts}
