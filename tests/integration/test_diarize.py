"""`sca transcribe --diarize`: speakers of words, events and turns, and what later steps make of them."""

import json

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from sca.audio.resample import resample
from sca.cli.main import app
from sca.data.corpora.segments.rttm import read_rttm
from sca.data.speakers.windows import load_window_model
from sca.errors import InputError, UsageError
from sca.resources import demo_corpus
from sca.timeline import Show, read_shows
from tests.helpers.tiny_dvector import write_dvector
from tests.helpers.tiny_speaker import write_speaker
from tests.helpers.tiny_whisper import scripted_whisper


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    """One minute of two synthetic speakers on one channel, and the true speech of each."""
    folder = tmp_path_factory.mktemp("talk")
    tracks, spans = [], []
    with demo_corpus() as corpus:
        for recording, transcript in zip(
            sorted((corpus / "WAV").iterdir()), sorted((corpus / "TXT").iterdir()), strict=True
        ):
            samples, rate = soundfile.read(recording, dtype="float32")
            tracks.append(resample(samples, rate, 16_000))
            times = [line.split("]")[0].strip("[").split(",") for line in transcript.read_text("utf-8").splitlines()]
            spans.append([(float(start), float(end)) for start, end in times])
    (folder / "in").mkdir()
    soundfile.write(folder / "in" / "talk.wav", sum(tracks), 16_000)
    soundfile.write(folder / "in" / "one.wav", tracks[0][: 16_000 * 20], 16_000)
    return folder / "in", spans


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    base = tmp_path_factory.mktemp("models")
    model = write_dvector(base / "dvector.onnx")
    whisper = scripted_whisper(tmp_path_factory.getbasetemp())
    return [
        "transcribe",
        "--model",
        whisper,
        "--language",
        "en",
        "--device",
        "cpu",
        "--diarize",
        "--diarize-model",
        model,
    ]


def sca(*words):
    return CliRunner().invoke(app, [*map(str, words)])


def lines(path):
    return {show.video_id: show for _, show in read_shows(path) if isinstance(show, Show)}


def share_right(turns, spans):
    """Return the share of the true speech that has the right speaker, with the better assignment."""
    names = ["SPEAKER_00", "SPEAKER_01"]
    found = {name: np.zeros(7_000, bool) for name in names}
    for turn in turns:
        found[turn.speaker][round(turn.start * 100) : round(turn.end * 100)] = True
    true = [np.zeros(7_000, bool) for _ in spans]
    for mask, own in zip(true, spans, strict=True):
        for start, end in own:
            mask[round(start * 100) : round(end * 100)] = True
    total = sum(mask.sum() for mask in true)
    return max(
        sum((mask & found[name]).sum() for mask, name in zip(true, order, strict=True)) / total
        for order in (names, names[::-1])
    )


@pytest.fixture(scope="module")
def transcribed(talk, command, tmp_path_factory):
    folder, _ = talk
    save = tmp_path_factory.mktemp("out") / "lines.jsonl"
    done = sca(*command, folder, "--save-file", save, "--output-format", "rttm,srt,json")
    assert done.exit_code == 0, done.output
    return save


def test_speakers_of_a_conversation_and_of_a_monologue(transcribed, talk):
    found = lines(transcribed)
    assert {turn.speaker for turn in found["one"].turns} == {"SPEAKER_00"}
    assert {turn.speaker for turn in found["talk"].turns} == {"SPEAKER_00", "SPEAKER_01"}
    assert share_right(found["talk"].turns, talk[1]) > 0.85


def test_words_and_events_have_speakers_and_roles(transcribed):
    show = lines(transcribed)["talk"]
    assert {word.speaker for word in show.words} == {"SPEAKER_00", "SPEAKER_01"}
    roles = {(event.role, event.speaker) for event in show.timeline}
    assert roles == {("comedian", "SPEAKER_00"), ("other_speaker", "SPEAKER_01")}
    assert "overlapping" in show.guards
    assert sca("verify", transcribed).exit_code == 0


def test_turns_are_written_as_rttm_and_speakers_in_other_formats(transcribed):
    show = lines(transcribed)["talk"]
    turns = read_rttm(transcribed.with_name("talk.rttm"))
    assert [(t.speaker, round(t.start_s, 3)) for t in turns] == [(t.speaker, round(t.start, 3)) for t in show.turns]
    assert [t.end_s for t in turns] == pytest.approx([t.end for t in show.turns], abs=0.0011)
    assert "\n[SPEAKER_01]: " in transcribed.with_name("talk.srt").read_text()
    document = json.loads(transcribed.with_name("talk.json").read_text())
    assert {segment["speaker"] for segment in document["segments"]} == {"SPEAKER_00", "SPEAKER_01"}


def test_second_run_does_nothing_unless_the_bounds_change(transcribed, talk, command):
    before = transcribed.read_bytes()
    again = [*command, talk[0], "--save-file", transcribed, "--json"]
    assert json.loads(sca(*again).stdout)["made"] == 0
    assert transcribed.read_bytes() == before
    other = [
        *command,
        talk[0] / "talk.wav",
        "--save-file",
        transcribed.with_name("b.jsonl"),
        "--max-speakers",
        1,
        "--json",
    ]
    assert json.loads(sca(*other).stdout)["made"] == 1
    assert {turn.speaker for turn in lines(transcribed.with_name("b.jsonl"))["talk"].turns} == {"SPEAKER_00"}


def test_other_speakers_are_no_targets(transcribed, talk, tmp_path):
    root = tmp_path / "shows"
    short = ["--min-speech-duration", 0.3, "--cut-start", 0, "--cut-end", 0]
    done = sca("convert", "--input-file", transcribed, "--audio-dir", talk[0], "--output-dir", root, *short, "--json")
    assert done.exit_code == 0, done.output
    counts = json.loads(done.stdout)["counts"]
    show = lines(transcribed)["talk"]
    others = [event for event in show.timeline if event.role == "other_speaker"]
    assert counts["other_speaker"] == len(others) > 0
    import datasets

    rows = datasets.load_from_disk(str(root))["train"]
    for row in rows:
        if row["session_id"] == "talk":
            overlaps = [
                e for e in others if e.start < row["target_end_sec"] - 0.001 and row["target_start_sec"] + 0.001 < e.end
            ]
            assert overlaps == []


def test_speech_too_short_for_the_speakers_is_noted(talk, command, tmp_path):
    samples, _ = soundfile.read(talk[0] / "one.wav", dtype="float32")
    soundfile.write(tmp_path / "short.wav", samples[8_000 : 8_000 + 8_000], 16_000)
    soundfile.write(tmp_path / "silent.wav", np.zeros(32_000), 16_000)
    done = sca(*command, tmp_path, "--save-file", tmp_path / "x.jsonl", "--min-speakers", 3)
    assert done.exit_code == 0
    assert "short: 1 speaker found, 3 requested: there is too little speech to tell more apart" in done.stderr
    assert lines(tmp_path / "x.jsonl")["silent"].turns == ()


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--min-speakers", 2], 2, "--min-speakers was given without --diarize"),
        (["--output-format", "rttm"], 2, "RTTM has the turns of speakers, which only --diarize finds"),
        (
            ["--diarize", "--min-speakers", 3, "--max-speakers", 2],
            2,
            "should not be below diarization.min_speakers, which is 3",
        ),
        (["--diarize", "--diarize-model", "nothing"], 2, "a diarization model is dvector, ecapa"),
        (["--diarize", "--diarize-model", "no/model.onnx"], 4, "the speaker model no/model.onnx does not exist"),
        (["--diarize"], 4, "sca models get dvector"),
    ],
)
def test_bad_options_are_one_line(talk, command, tmp_path, monkeypatch, options, code, message):
    monkeypatch.setenv("SCA_CACHE_DIR", str(tmp_path / "empty"))
    done = sca(*command[:7], talk[0], "--save-file", tmp_path / "x.jsonl", *options)
    assert done.exit_code == code
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2


def test_models_of_other_sizes_and_kinds(tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.1, 40_000).astype(np.float32)
    model = load_window_model(str(write_speaker(tmp_path / "a.onnx", size=512)))
    assert model.embed_windows(noise, [0, 8_000]).shape == (2, 512)
    (tmp_path / "b.onnx").write_text("no model")
    with pytest.raises(InputError):
        load_window_model(str(tmp_path / "b.onnx"))
    with pytest.raises(UsageError):
        load_window_model("b.bin")
