"""`sca eval` with the parrot on a small folder in the layout of Full-Duplex-Bench."""

import json
import shutil

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from sca.audio.decode import read_audio
from sca.cli.main import app
from sca.resources import demo_corpus

TASKS = ["candor_pause_handling", "candor_turn_taking", "icc_backchannel", "synthetic_user_interruption"]


@pytest.fixture(scope="module")
def speech():
    with demo_corpus() as corpus:
        sound = read_audio(sorted(corpus.glob("WAV/*"))[0], 16_000)
    return sound[232_000:280_000]  # one turn with almost no pauses


@pytest.fixture
def bench(tmp_path, speech):
    """One item per task: three seconds of speech, then time to answer; the last answer is interrupted."""
    gap = np.zeros(16_000 * 5, np.float32)
    talk = np.concatenate([speech, gap])
    # The parrot answers about 1 s after the speech; at 4.8 s it is still speaking.
    broken_in = np.concatenate([speech, np.zeros(int(16_000 * 1.8), np.float32), speech, gap])
    metadata = {
        TASKS[0]: ("pause.json", [{"text": "[PAUSE]", "timestamp": [1.0, 1.4]}], talk),
        TASKS[1]: ("turn_taking.json", [{"text": "", "timestamp": [3.0, 3.2]}], talk),
        TASKS[2]: ("transcription.json", {"text": "", "chunks": []}, talk),
        TASKS[3]: ("interrupt.json", [{"context": "", "interrupt": "", "timestamp": [4.8, 7.8]}], broken_in),
    }
    root = tmp_path / "fdb"
    for task, (name, content, sound) in metadata.items():
        (root / task / "1").mkdir(parents=True)
        soundfile.write(root / task / "1" / "input.wav", sound, 16_000)
        (root / task / "1" / name).write_text(json.dumps(content))
    return root


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_runs_and_measures_every_item(bench):
    result = run("eval", "fdb", bench, "--json", "--quiet")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert set(report["tasks"]) == set(TASKS)
    for task in TASKS:
        heard, said = (
            soundfile.info(bench / task / "1" / "input.wav"),
            soundfile.info(bench / task / "1" / "output.wav"),
        )
        assert said.frames * 2 == heard.frames * 3
        assert json.loads((bench / task / "1" / "timing.json").read_text())["engine"] == "parrot"
    turn = report["tasks"]["candor_turn_taking"]
    assert turn["take_over_rate"] == 1
    assert (
        0.3 < turn["response_latency_s"] < 1.7
    )  # 0.64 s of silence, up to two chunks of 0.32 s, and the play-out delay
    assert report["tasks"]["candor_pause_handling"]["spoke_in_pause_rate"] is not None
    assert report["tasks"]["icc_backchannel"]["take_over_rate"] == 1  # it repeats a whole turn
    cut = report["tasks"]["synthetic_user_interruption"]
    assert cut["take_over_rate"] == 1
    assert 0 < cut["stop_latency_s"] < 1.0
    assert "benchmark's own scripts" in report["note"]


def test_second_run_reuses_outputs_of_the_same_settings(bench):
    first = json.loads(run("eval", "fdb", bench, "--json", "-q").stdout)
    files = sorted(bench.rglob("output.wav"))
    stamps = [file.stat().st_mtime_ns for file in files]
    again = json.loads(run("eval", "fdb", bench, "--json", "-q").stdout)
    assert [item["reused"] for item in first["items"]] == [False] * 4
    assert [item["reused"] for item in again["items"]] == [True] * 4
    assert [file.stat().st_mtime_ns for file in files] == stamps
    assert again["tasks"] == first["tasks"]
    files[0].write_bytes(b"damaged")
    assert [item["reused"] for item in json.loads(run("eval", "fdb", bench, "--json", "-q").stdout)["items"]].count(
        True
    ) == 3
    other = json.loads(run("eval", "fdb", bench, "--json", "-q", "--set", "live.end_of_turn_ms=900").stdout)
    assert not any(item["reused"] for item in other["items"])
    assert other["tasks"][TASKS[1]]["response_latency_s"] > first["tasks"][TASKS[1]]["response_latency_s"]


def test_invalid_item_does_not_affect_others(bench):
    (bench / TASKS[0] / "1" / "input.wav").write_bytes(b"no sound")
    (bench / TASKS[3] / "1" / "interrupt.json").write_text('[{"timestamp": "soon"}]')
    result = run("eval", "fdb", bench, "-q")
    assert result.exit_code == 7
    assert "2 of 4 items failed" in result.stderr
    assert "no timestamps" in result.stderr.replace("\n", " ")
    assert (bench / TASKS[1] / "1" / "output.wav").is_file()
    assert "candor_turn_taking" in result.stdout


def test_rejects_a_folder_without_items(tmp_path):
    result = run("eval", "fdb", tmp_path)
    assert result.exit_code == 5
    assert "input.wav" in result.stderr


def test_turns_prints_the_latency_of_each_turn(bench, tmp_path):
    result = run("eval", "turns", bench / TASKS[1], bench / TASKS[3] / "1" / "input.wav", "-q", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    first, second = document["files"]
    (turn,) = first["turns"]
    assert set(turn) == {"turn", "speech_end_s", "commit_s", "latency_s"}
    assert turn["latency_s"] == pytest.approx(turn["commit_s"] - turn["speech_end_s"], abs=1e-3)
    assert 0.5 < turn["latency_s"] < 1.4
    assert len(second["turns"]) == 2
    shown = run("eval", "turns", bench / TASKS[1], "-q", "--out", tmp_path / "turns.json")
    assert (shown.exit_code, shown.stdout) == (0, "")
    shown = run("eval", "turns", bench / TASKS[1], "-q").stdout.splitlines()
    assert shown[0].split()[0] == "turn"
    assert f"{turn['latency_s']:.2f}" in shown[1]
    assert len(json.loads((tmp_path / "turns.json").read_text())["files"]) == 1


def test_turns_without_audio_files(tmp_path):
    assert run("eval", "turns", tmp_path).exit_code == 5
    (tmp_path / "a.wav").write_bytes(b"no sound")
    assert run("eval", "turns", tmp_path / "a.wav", "-q").exit_code == 7


def test_sweep_compares_the_values_of_a_setting(bench, tmp_path):
    for task in TASKS[2:]:
        shutil.rmtree(bench / task)
    folder = tmp_path / "curve"
    setting = "live.end_of_turn_ms"
    arguments = ("eval", "fdb", bench, "--sweep", f"{setting}=300,2500", "-o", folder, "--json", "--quiet")
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["engine"], report["setting"]) == ("parrot", setting)
    quick, slow = report["points"]
    assert (quick["value"], slow["value"], quick["items"]) == (300, 2500, 2)
    assert quick["take_over_rate"] == 1
    assert slow["response_latency_s"] > quick["response_latency_s"] + 1
    assert report.pop("schema") == "sca.eval.fdb.sweep/1"
    assert json.loads((folder / "curve.json").read_text()) == report
    assert (folder / "curve.svg").read_text().startswith("<svg")
    assert (folder / f"{setting}=300" / TASKS[0] / "1" / "timing.json").is_file()
    assert not list(bench.rglob("output.wav"))
    kept = (folder / f"{setting}=300" / TASKS[0] / "1" / "output.wav").stat()
    again = run(*arguments)
    assert json.loads(again.stdout)["points"] == report["points"]
    assert (folder / f"{setting}=300" / TASKS[0] / "1" / "output.wav").stat().st_mtime_ns == kept.st_mtime_ns
    table = run(*(one for one in arguments if one != "--json"))
    assert table.exit_code == 0, table.output
    assert "take-over" in table.output


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("--sweep", "turn.nothing=1"), 2, "turn.nothing is not a setting"),
        (("--sweep", "live.step_cost_ms=-1"), 3, "live.step_cost_ms cannot be -1"),
        (("-o", "folder"), 2, "-o is for --sweep"),
    ],
)
def test_refuses_sweeps_that_cannot_run(bench, arguments, code, text):
    result = run("eval", "fdb", bench, *arguments)
    assert result.exit_code == code or getattr(result.exception, "exit_code", None) == code
    assert text in result.output + str(result.exception)
