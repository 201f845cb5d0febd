"""`sca eval reactions`: F1 of known cases, one-to-one matching, and lines that cannot be parsed."""

import json
from itertools import permutations
from pathlib import Path

import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from sca.cli.main import app
from sca.data.reactions.evaluate import count_matches
from sca.resources import demo_corpus
from tests.helpers import tiny_tagger
from tests.helpers.tiny_whisper import scripted_whisper


def show(video_id: str, *events: tuple) -> str:
    timeline = [
        {"start": start, "end": end, "role": "audience", "content": kind, "reaction_type": kind}
        for kind, start, end in events
    ]
    return json.dumps({"video_id": video_id, "timeline": timeline})


def file(path: Path, *lines: str) -> str:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def run(*words: str):
    return CliRunner().invoke(app, ["eval", "reactions", *words])


@pytest.fixture
def known(tmp_path) -> tuple[str, str]:
    """Laughter: 2 of 3 found, 1 false alarm. Applause: all found. Gasp: only a false alarm. Cheer: missed."""
    speech = {"start": 0, "end": 9, "role": "comedian", "content": "Hi."}
    extra = json.loads(show("b", ("laughter", 0, 1), ("cheer", 5, 6)))
    extra["timeline"].append(speech)
    truth = file(
        tmp_path / "truth.jsonl",
        show("a", ("laughter", 1, 3), ("laughter", 8, 9), ("applause", 20, 30)),
        json.dumps(extra),
    )
    predicted = file(
        tmp_path / "pred.jsonl",
        show("a", ("laughter", 1.5, 2.5), ("laughter", 8, 9.6), ("applause", 20.2, 29.8), ("gasp", 4, 5)),
        show("b", ("laughter", 0, 1)),
        show("c", ("laughter", 0, 1)),
    )
    return predicted, truth


def test_f1_of_a_known_case(known):
    done = run(*known, "--json")
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    classes = document["classes"]
    assert set(classes) == {"laughter", "applause", "gasp", "cheer"}
    assert classes["laughter"] == {
        "precision": pytest.approx(2 / 3),
        "recall": pytest.approx(2 / 3),
        "f1": pytest.approx(2 / 3),
        "found": 2,
        "predicted": 3,
        "true": 3,
    }
    assert classes["applause"]["f1"] == 1
    assert (classes["gasp"]["f1"], classes["gasp"]["recall"]) == (0, None)
    assert (classes["cheer"]["f1"], classes["cheer"]["precision"]) == (0, None)
    assert document["all"]["f1"] == pytest.approx(2 * 3 / (5 + 5))
    assert (document["shows"], document["not_predicted"], document["not_in_truth"]) == (2, [], ["c"])
    assert document["collar_s"] == 0.5
    assert document["any"] == document["all"] | {"found": 3}


def test_any_matches_events_of_different_reactions(tmp_path):
    truth = file(tmp_path / "t.jsonl", show("a", ("laughter", 0, 2), ("cheer", 5, 6)))
    predicted = file(tmp_path / "p.jsonl", show("a", ("other", 0.2, 2), ("cheer", 5, 6)))
    document = json.loads(run(predicted, truth, "--json").stdout)
    assert (document["all"]["found"], document["any"]["found"], document["any"]["true"]) == (1, 2, 2)


def test_tolerance_is_an_option(known):
    document = json.loads(run(*known, "--tolerance", "0.7", "--json").stdout)
    assert (document["collar_s"], document["classes"]["laughter"]["found"]) == (0.7, 3)
    for bad in ("-1", "nan", "inf"):
        done = run(*known, "--tolerance", bad)
        assert (done.exit_code, "not a number of seconds" in done.stderr) == (2, True)


def test_prints_a_table(known):
    done = run(*known)
    assert done.exit_code == 0
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert rows["laughter"] == ["0.667", "0.667", "0.667", "2", "3", "3"]
    assert rows["gasp"] == ["0.000", "0.000", "-", "0", "1", "0"]
    assert rows["all"] == ["0.600", "0.600", "0.600", "3", "5", "5"]
    assert "c: not in" in done.stderr


def test_show_without_prediction_counts_as_missed(tmp_path):
    truth = file(tmp_path / "t.jsonl", show("a", ("laughter", 0, 1)), show("b", ("laughter", 0, 1)))
    done = run(file(tmp_path / "p.jsonl", show("a", ("laughter", 0, 1))), truth, "--json")
    assert json.loads(done.stdout)["all"]["recall"] == 0.5
    assert "b: no prediction" in done.stderr


def test_last_line_of_a_show_counts(tmp_path):
    truth = file(tmp_path / "t.jsonl", show("a", ("laughter", 0, 1)))
    done = run(file(tmp_path / "p.jsonl", show("a"), show("a", ("laughter", 0, 1))), truth, "--json")
    assert json.loads(done.stdout)["all"]["f1"] == 1


def test_f1_is_null_without_events(tmp_path):
    path = file(tmp_path / "t.jsonl", show("a"))
    assert json.loads(run(path, path, "--json").stdout)["all"]["f1"] is None


def test_reports_broken_lines_and_compares_the_others(tmp_path):
    truth = file(tmp_path / "t.jsonl", show("a", ("laughter", 0, 1)))
    done = run(file(tmp_path / "p.jsonl", '{"video_id": "x", "tim', show("a", ("laughter", 0, 1))), truth)
    assert done.exit_code == 7
    assert "p.jsonl: line 1: not JSON" in done.stderr
    assert done.stdout.splitlines()[-2].split() == ["all", "1.000", "1.000", "1.000", "1", "1", "1"]


def test_rejects_files_without_timelines(tmp_path):
    truth = file(tmp_path / "t.jsonl", show("a"))
    for bad in (str(tmp_path / "no.jsonl"), file(tmp_path / "empty.jsonl"), file(tmp_path / "bad.jsonl", "{")):
        done = run(bad, truth)
        assert (done.exit_code, done.stdout) == (5, "")
        assert Path(bad).name in done.stderr


def test_from_audio_with_laughter_to_f1(tmp_path, tmp_path_factory):
    with demo_corpus() as folder:
        talk, rate = soundfile.read(sorted((folder / "WAV").glob("*.flac"))[0], dtype="float32")
    assert rate == tiny_tagger.HZ
    talk = talk[: 20 * rate]
    laughter = [(4.0, 6.5), (12.0, 14.0)]
    for start, end in laughter:
        talk[int(start * rate) : int(end * rate)] += tiny_tagger.noise(end - start)
    soundfile.write(tmp_path / "show.flac", talk, rate)
    model = tiny_tagger.write(tmp_path / "tagger" / "model.onnx")
    whisper = scripted_whisper(tmp_path_factory.getbasetemp())
    predicted = tmp_path / "lines.jsonl"
    options = ["--save-file", str(predicted), "--model", str(whisper), "--device", "cpu", "--language", "en", "-q"]
    done = CliRunner().invoke(
        app, ["transcribe", str(tmp_path / "show.flac"), *options, "--reactions", str(model.parent)]
    )
    assert done.exit_code == 0, done.stderr
    [line] = predicted.read_text().splitlines()
    assert json.loads(line)["reactions"] == str(model.parent)
    assert {event["role"] for event in json.loads(line)["timeline"]} == {"comedian", "audience"}
    truth = file(tmp_path / "truth.jsonl", show("show", *(("laughter", *times) for times in laughter)))
    assert json.loads(run(str(predicted), truth, "--json").stdout)["classes"] == {
        "laughter": {"precision": 1, "recall": 1, "f1": 1, "found": 2, "predicted": 2, "true": 2}
    }


# --- matching ---


def test_collar_applies_to_both_ends():
    assert count_matches([(0.7, 2.0)], [(1.2, 2.5)]) == 1
    assert count_matches([(0.69, 2.0)], [(1.2, 2.5)]) == 0
    assert count_matches([(1.2, 2.0)], [(1.2, 2.51)]) == 0


def test_matches_each_event_once():
    assert count_matches([(0, 1), (0.1, 1.1), (0.2, 1.2)], [(0, 1)]) == 1
    assert count_matches([(0, 1)], [(0, 1), (0.1, 1.1)]) == 1
    # A greedy matching would leave the second event without a partner.
    assert count_matches([(0.0, 1.0), (0.4, 1.4)], [(0.4, 1.4), (0.6, 1.6)]) == 2
    assert count_matches([(0.5, 1.5), (0.0, 1.0)], [(0.4, 1.4), (1.0, 2.0)]) == 2


EVENTS = st.lists(st.tuples(st.integers(0, 6), st.integers(1, 4)), max_size=5).map(
    lambda found: [(start / 4, (start + length) / 4) for start, length in found]
)


@given(EVENTS, EVENTS)
def test_matching_is_maximum(predicted, true):
    few, many = sorted((predicted, true), key=len)
    largest = max(
        sum(abs(a[0] - b[0]) <= 0.5 and abs(a[1] - b[1]) <= 0.5 for a, b in zip(few, order, strict=True))
        for order in permutations(many, len(few))
    )
    assert count_matches(predicted, true) == count_matches(true, predicted) == largest


def test_hundreds_of_events_at_one_time():
    crowd = [(i / 10000, 1 + i / 10000) for i in range(300)]
    assert count_matches(crowd, crowd[:250]) == 250
