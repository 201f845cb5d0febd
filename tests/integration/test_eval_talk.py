"""`sca eval talk`: the simulated user with the parrot and the cascade, its files, and engines that fail."""

import json

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from sca.cli.main import app
from sca.config import load_settings
from sca.errors import MissingToolError, ScaError, UsageError
from sca.infer.engines.cascade.engine import CascadeEngine
from sca.infer.engines.parrot import ParrotEngine
from sca.infer.speech import espeak_api
from sca.simulate.run import hold_talks
from tests.helpers.scripted_parts import echo, scripted_parts
from tests.helpers.talkers import Talker, answers


def run(*arguments):
    return CliRunner().invoke(app, ["eval", "talk", *map(str, arguments)])


@pytest.fixture(scope="module")
def parrot(tmp_path_factory):
    folder = tmp_path_factory.mktemp("talks") / "out"
    result = run("--engine", "parrot", "--talks", 1, "-o", folder, "--json", "-q")
    assert result.exit_code == 0, result.output
    return folder, json.loads(result.stdout)


def test_parrot(parrot):
    _, report = parrot
    found = report["scenarios"]
    assert list(found) == ["answer", "interrupt", "backchannel", "hold", "noise"]
    assert found["answer"]["take_over"] == {"count": 1, "of": 1, "rate": 1.0, "low": 0.2065, "high": 1.0}
    # 0.64 s of silence end a turn; then up to two chunks of 0.32 s, and the play-out delay.
    assert 0.6 < found["answer"]["response_latency"]["mean_s"] < 1.6
    assert found["interrupt"]["stop"]["rate"] == 1
    assert 0 < found["interrupt"]["stop_latency"]["mean_s"] < 1
    assert found["backchannel"]["false_stop"]["rate"] == 1  # it takes every sound for an interruption
    assert found["noise"]["false_takeover"]["rate"] == 0


def test_recordings_and_events(parrot):
    folder, report = parrot
    assert {"schema": "sca.eval.talk/1", **json.loads((folder / "report.json").read_text())} == report
    for item in report["items"]:
        sound, rate_hz = soundfile.read(folder / f"{item['talk']}.wav")
        events = json.loads((folder / f"{item['talk']}.json").read_text())
        assert (sound.shape[1], rate_hz) == (2, 24_000)
        assert len(sound) / rate_hz == pytest.approx(item["seconds"], abs=0.001)
        for side, spans in ((0, events["user"]), (1, events["engine_speech"])):
            for span in spans:
                inside = sound[int(span["start_s"] * rate_hz) : int(span["end_s"] * rate_hz), side]
                assert np.abs(inside).max() > 0.03
            before = sound[: int(spans[0]["start_s"] * rate_hz) - 240, side]
            assert np.abs(before).max() < 0.003
    words = json.loads((folder / "answer-001.json").read_text())["user"][0]
    assert words["words"][-1][2] == words["end_s"]


def test_second_run_gives_the_same_bytes(parrot, tmp_path):
    folder, report = parrot
    again = run("--engine", "parrot", "--talks", 1, "--scenarios", "interrupt", "-o", tmp_path / "x", "-q")
    assert again.exit_code == 0
    for name in ("interrupt-001.wav", "interrupt-001.json"):
        assert (tmp_path / "x" / name).read_bytes() == (folder / name).read_bytes()
    other = run("--talks", 1, "--scenarios", "answer", "-o", tmp_path / "x", "--seed", 5, "--json", "-q")
    assert json.loads(other.stdout)["items"][0]["seconds"] != report["items"][0]["seconds"]
    assert sorted(path.name for path in (tmp_path / "x").glob("*.wav")) == ["answer-001.wav"]


def test_table():
    result = run("--talks", 1, "--scenarios", "answer")
    assert result.exit_code == 0
    assert "take-over" in result.stdout
    assert "0.21-1.00" in result.stdout
    assert "virtual time" in result.stderr


def test_cascade():
    engine = CascadeEngine(scripted_parts())
    found = hold_talks(engine, load_settings(), talks=1).report["scenarios"]
    assert found["answer"]["take_over"]["rate"] == 1
    assert found["answer"]["false_takeover"]["rate"] == 0
    assert found["interrupt"]["stop"]["rate"] == 1
    assert found["interrupt"]["take_over"]["rate"] == 1


def test_error_of_a_part_fails_its_talk():
    asked = []

    def answer(messages):
        asked.append(messages)
        return [ScaError("the mind failed")] if len(asked) == 1 else echo(messages)

    run = hold_talks(CascadeEngine(scripted_parts(answer)), load_settings(), ["answer"], 2)
    assert [result.error is None for result in run.results] == [False, True]
    assert "the mind failed" in run.results[0].error
    assert run.report["scenarios"]["answer"]["failed"] == 1
    assert run.report["scenarios"]["answer"]["take_over"]["of"] == 1


def test_engine_that_fails_in_a_talk(monkeypatch):
    whole = ParrotEngine.open
    opened = []

    def open_failing(self, config):
        session = whole(self, config)
        opened.append(config.session_id)
        if len(opened) == 1:
            step = session.step
            session.step = lambda audio: step(audio) if audio.chunk_index < 5 else 1 / 0
        return session

    monkeypatch.setattr(ParrotEngine, "open", open_failing)
    result = run("--talks", 2, "--scenarios", "answer", "-q")
    assert result.exit_code == 7
    assert opened == ["answer-001", "answer-002"]
    assert "failed: answer-001: the engine parrot failed in chunk 5" in result.stderr.replace("\n", " ")
    assert "1 of 2 talks failed" in result.stderr
    assert "1/1" in result.stdout


def test_silent_engine_has_no_numbers():
    report = hold_talks(Talker(lambda session: False, answers_in_background=True), load_settings(), talks=1).report
    assert "was silent in all of the 5 talks" in report["notes"][1]
    assert "lockstep" in report["notes"][1]
    for found in report["scenarios"].values():
        rates = {name: value for name, value in found.items() if name not in ("talks", "failed", "not_judged")}
        assert set(rates.values()) == {None}
        assert (found["talks"], found["not_judged"]) == (1, 1)


def test_engine_without_sound_is_refused():
    with pytest.raises(UsageError, match="makes no sound"):
        hold_talks(Talker(answers(4), produces_audio=False), load_settings())


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--scenarios", "sing"), 2, "the scenario sing does not exist"),
        (("--engine", "parot"), 2, "parot"),
        (("--talks", "0"), 2, "0"),
        (("--voices", "espeak:en-us,espeak:xx-nobody", "--talks", "9"), 2, "no voice xx-nobody"),
    ],
)
def test_bad_options(arguments, code, message):
    result = run(*arguments)
    assert result.exit_code == code
    assert message in result.stderr


def test_folder_of_others_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("")
    result = run("--talks", 1, "-o", tmp_path)
    assert result.exit_code != 0
    assert "has other files in it" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_missing_espeak(monkeypatch):
    monkeypatch.setattr(espeak_api, "_FILES", ("libnothing.so",))
    result = run("--talks", 1)
    assert result.exit_code == MissingToolError("").exit_code
    assert "espeak-ng is not installed" in result.stderr
