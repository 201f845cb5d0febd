"""Turn-taking of a model in training, from the chunks in which it and the row's speaker have text."""

import json
from collections import Counter

import numpy as np
import pytest

from sca.train.evaluation.alarms import alarm_of, alarm_text, same_alarms
from sca.train.evaluation.best import replace_best
from sca.train.evaluation.evaluate import headline, spread
from sca.train.evaluation.records import EvaluationFile, better
from sca.train.evaluation.report import write_report
from sca.train.evaluation.runs import Run, matched_onsets, runs_of
from sca.train.evaluation.turns import measure_turns, turn_metrics

CHUNK = 5120
ITEMS = ("turns", "pauses", "backchannels", "own_turns", "own_backchannels")


def speaking(text):
    """Return chunks with text where the drawing has an x."""
    return np.array([one == "x" for one in text])


def measured(said, wanted, user="", backchannels=(), tolerance=1):
    known = np.ones(len(wanted), bool)
    heard = [(run.first * CHUNK, run.end * CHUNK) for run in runs_of(speaking(user))]
    found = measure_turns(speaking(said), speaking(wanted), known, backchannels, heard, CHUNK, tolerance)
    return turn_metrics(found.counts, {name: getattr(found, name) for name in ITEMS})


@pytest.mark.parametrize(
    ("drawn", "runs"),
    [("..xx..", [(2, 4)]), ("x.x..x", [(0, 3), (5, 6)]), ("......", []), ("x..x", [(0, 1), (3, 4)])],
)
def test_two_silent_chunks_end_a_run(drawn, runs):
    assert runs_of(speaking(drawn)) == [Run(*one) for one in runs]


def test_onsets_match_one_to_one_within_the_tolerance():
    said, wanted = ([Run(first, first + 1) for first in firsts] for firsts in ((1, 2, 9), (2, 3, 12)))
    assert matched_onsets(said, wanted, 1) == [(0, 0), (1, 1)]
    assert matched_onsets(said, wanted, 3) == [(0, 0), (1, 1), (2, 2)]
    assert matched_onsets(said, wanted, 0) == [(1, 0)]


def test_a_model_that_says_the_row_has_all_rates():
    row, user = "......xxxxx.....xxxxx..", "xxxx.........xx........"
    found = measured(row, row, user)
    assert found["turn_f1"] == found["take_over"] == found["silence_kept"] == found["talk_ratio"] == 1
    assert found["false_barge_in"] == 0
    assert found["latency_s"] == found["rows_latency_s"] == pytest.approx((2 + 1) * 0.32 / 2)


def test_late_model_has_latency_and_misses_far_onsets():
    found = measured(".......xxxxx...........xxxxx", "......xxxxx.......xxxxx.....", "xxxx..........xxx...........")
    assert found["turn_f1"] == pytest.approx(0.5)
    assert found["onset_distance_chunks"] == 1
    assert found["latency_s"] == pytest.approx((3 + 6) * 0.32 / 2, abs=1e-4)


def test_talking_over_the_user_is_a_false_barge_in():
    found = measured("..xxxx......", "..........xx", "xxxxxxxx....")
    assert found["false_barge_in"] == 1
    assert found["turn_f1"] == 0
    assert found["silence_kept"] == pytest.approx(0.6)


def test_a_model_that_always_talks_has_no_f1():
    found = measured("x" * 12, "..........xx", "xxxxxxxx....")
    assert (found["turn_f1"], found["silence_kept"], found["false_barge_in"]) == (0, 0, 1)
    assert alarm_of(found) == "stuck_talking"


def test_onset_at_the_first_chunk_does_not_count():
    found = measured("xx......xxxx", "xx......xxxx")
    assert found["turn_f1"] == 1
    assert "turn_f1" not in measured("xx..........", "xx..........")


def test_backchannels_are_counted_apart():
    found = measured("....x.......", "....x...xxxx", "xxxxxxx.....", backchannels=[4])
    assert found["backchannel_recall"] == 1
    assert found["backchannels_per_s"] == pytest.approx(1 / (12 * 0.32), abs=1e-4)


def test_chunks_with_unknown_words_do_not_count():
    known = np.array([True] * 4 + [False] * 4)
    found = measure_turns(speaking("....xxxx"), speaking("........"), known, [], [], CHUNK, 1)
    assert found.counts["onsets_said"] == 0
    assert (found.counts["silent_kept"], found.counts["silent_chunks"]) == (4, 4)


def test_chunks_with_the_row_s_tokens_are_counted():
    assert turn_metrics(Counter(chunks=4, same_chunks=3), {name: [] for name in ITEMS})["same_chunks"] == 0.75


def test_rates_without_a_case_are_left_out():
    assert turn_metrics(Counter(), {name: [] for name in ITEMS}) == {}


@pytest.mark.parametrize(
    ("metrics", "alarm"),
    [
        ({"talk_ratio": 0.05, "silence_kept": 1.0}, "stuck_silent"),
        ({"talk_ratio": 2.0, "silence_kept": 0.1}, "stuck_talking"),
        ({"talk_ratio": 0.8, "silence_kept": 0.9}, None),
        ({}, None),
    ],
)
def test_alarms(metrics, alarm):
    assert alarm_of(metrics) == alarm
    if alarm is not None:
        assert alarm.replace("_", " ") in alarm_text(alarm, metrics)


def test_successive_alarms_are_counted():
    assert same_alarms(["stuck_silent", "stuck_talking", "stuck_talking"]) == 2
    assert same_alarms(["stuck_silent", None]) == same_alarms([]) == 0


def test_highest_f1_is_best_then_lowest_loss():
    assert better({"turn_f1": 0.6, "loss": 9}, {"turn_f1": 0.5, "loss": 1})
    assert better({"turn_f1": 0.5, "loss": 1}, {"turn_f1": 0.5, "loss": 2})
    assert not better({"turn_f1": 0.5, "loss": float("nan")}, {"turn_f1": 0.5, "loss": 2})
    assert better({"loss": 1}, {"loss": 2})


def test_evaluations_survive_a_crash_and_a_resume(tmp_path):
    path = tmp_path / "evaluations.jsonl"
    kept = EvaluationFile(path)
    for step, f1 in ((10, 0.4), (20, 0.9), (30, 0.5)):
        kept.add({"step": step, "metrics": {"turn_f1": f1}, "alarm": None})
    with path.open("a") as file:
        file.write('{"step": 40, "metr')
    again = EvaluationFile(path)
    assert [one["step"] for one in again.lines] == [10, 20, 30]
    assert again.best["step"] == 20
    again.forget_after(10)
    again.add({"step": 20, "metrics": {"turn_f1": 0.1}, "alarm": None})
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [10, 20]
    assert EvaluationFile(path).best["step"] == 10


def test_best_weights_are_replaced_as_a_whole(tmp_path):
    (tmp_path / "best.part").mkdir()
    (tmp_path / "best.part" / "half").write_text("left by a killed run")
    for text in ("first", "second"):
        replace_best(tmp_path, lambda folder, text=text: (folder / "weights").write_text(text), {"step": 1})
    assert sorted(one.name for one in tmp_path.iterdir()) == ["best"]
    assert sorted(one.name for one in (tmp_path / "best").iterdir()) == ["evaluation.json", "weights"]
    assert (tmp_path / "best" / "weights").read_text() == "second"


def test_a_failed_save_keeps_the_best_weights(tmp_path):
    replace_best(tmp_path, lambda folder: (folder / "weights").write_text("good"), {"step": 1})

    def fails(folder):
        (folder / "weights").write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="space"):
        replace_best(tmp_path, fails, {"step": 2})
    assert (tmp_path / "best" / "weights").read_text() == "good"


def test_rows_are_spread_over_the_data_set():
    assert spread(100, 4) == [0, 33, 66, 99]
    assert spread(3, 10) == [0, 1, 2]
    assert spread(0, 10) == []


def test_the_report_has_curves_and_evaluations(tmp_path):
    run = tmp_path / "run <1>"
    run.mkdir()
    lines = [{"step": step, "loss": 9.0 - step, "loss_silence": 1.0 / step, "loss_text": 8} for step in range(1, 900)]
    (run / "train.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    kept = EvaluationFile(run / "evaluations.jsonl")
    kept.add({"step": 1, "metrics": {"turn_f1": 0.25, "talk_ratio": 0.0}, "alarm": "stuck_silent", "rows": 4})
    kept.add({"step": 2, "metrics": {"turn_f1": 0.75}, "alarm": None, "rows": 4, "samples": ["samples/a b.html"]})
    page = write_report(run).read_text(encoding="utf-8")
    assert "Training: run &lt;1&gt;" in page
    assert "silence 0.00" in page  # the name of a curve with its last value
    assert "the best evaluation is that of step 2" in page
    assert "stuck silent" in page
    assert 'href="samples/a%20b.html"' in page
    assert max(len(points.split('"')[0].split()) for points in page.split('points="')[1:]) <= 400
    assert "<script" not in page


def test_a_report_without_values_is_a_page(tmp_path):
    assert "no values yet" in write_report(tmp_path).read_text(encoding="utf-8")


def test_the_headline_leaves_out_what_was_not_measured():
    assert headline({"turn_f1": 0.5, "loss": 1.0}) == "turn F1 0.50, loss 1.000"
