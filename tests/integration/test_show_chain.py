"""From recordings to messages: transcode, transcribe (a tiny Whisper with a scripted sentence), convert, easy_load."""

import json

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

import sca
from sca.audio.decode import read_audio
from sca.cli.main import app
from sca.units import seconds_to_samples
from tests.helpers.tiny_speaker import write_speaker
from tests.helpers.tiny_whisper import SENTENCE, scripted_whisper

SHOW = "abcdefghij1"


def run(*arguments):
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done


@pytest.fixture(scope="module")
def made(tmp_path_factory, trial_data):
    root = tmp_path_factory.mktemp("chain")
    downloads, audio, data = (root / name for name in ("video_downloads", "audio_outputs", "converted"))
    downloads.mkdir()
    speech = read_audio(trial_data / "clips" / "jfk.flac", 48_000)
    quiet = np.zeros(4 * 48_000, np.float32)
    soundfile.write(downloads / f"A speech [{SHOW}].wav", np.concatenate([quiet, speech, quiet, speech, quiet]), 48_000)
    run("transcode", downloads, audio, "wav", "flac", "--quiet")
    whisper = scripted_whisper(tmp_path_factory.getbasetemp())
    lines = root / "inference_outputs.jsonl"
    run(
        "transcribe",
        audio,
        "--save-file",
        lines,
        "--model",
        whisper,
        "--device",
        "cpu",
        "--language",
        "en",
        "--reactions",
        "none",
        "-q",
    )
    voice = write_speaker(root / "voice.onnx")
    folders = ["--input-file", lines, "--audio-dir", audio, "--output-dir", data]
    run("convert", *folders, "--speaker", voice, "--min-speech-duration", "1", "-q")
    return json.loads(lines.read_text()), data


def test_rows_contain_the_transcribed_text(made):
    timeline, data = made
    rows = sca.easy_load(data)
    assert len(rows) >= 1
    # Both stretches of speech are in one window of 30 s. The window gets the sentence, which is cut into events at
    # pauses.
    text = " ".join(event["content"].strip() for event in timeline["timeline"])
    assert text.split() == SENTENCE.split()
    assert {row["session_id"] for row in rows} == {timeline["video_id"]}
    assert SHOW in timeline["video_id"]
    for row in rows:
        assert row["target_text"] in text
        assert len(row["audio"]["array"]) == seconds_to_samples(row["end_sec"], 16_000) - seconds_to_samples(
            row["start_sec"], 16_000
        )
        seconds = row["target_end_sec"] - row["target_start_sec"]
        assert len(row["target_audio"]["array"]) == pytest.approx(seconds * 24_000, abs=1)


@pytest.mark.parametrize("shape", ["chat", "talker_chat"])
def test_messages_contain_audio_and_text(made, shape):
    _, data = made
    raw, lines = sca.easy_load(data), sca.easy_load(data, format=shape)
    assert len(lines) == len(raw)
    for row, line in zip(raw, lines, strict=True):
        system, user, assistant = line["messages"]
        assert system["content"][0]["text"]
        heard = [part for part in user["content"] if part["type"] == "audio"]
        before = seconds_to_samples(row["target_start_sec"], 16_000) - seconds_to_samples(row["start_sec"], 16_000)
        assert [len(part["audio"]) for part in heard] == ([before] if before else [])
        assert assistant["content"][0]["text"] == row["target_text"]
        spoken = [part for part in assistant["content"] if part["type"] == "audio"]
        assert len(spoken) == (shape == "talker_chat")
        for part in spoken:
            assert np.array_equal(part["audio"], row["target_audio"]["array"])
            assert np.abs(part["audio"]).max() > 0.05  # the speech, not the pause
    assert np.linalg.norm(raw[0]["speaker_embedding"]) == pytest.approx(1, abs=1e-5)
