"""The points and the picture of an operating curve, and how a sweep is written."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from sca.config import Settings
from sca.errors import ConfigError, UsageError
from sca.infer.eval.curve_picture import curve_svg
from sca.infer.eval.full_duplex_bench import BenchItem, BenchItemResult
from sca.infer.eval.operating_curve import Sweep, operating_point, parse_sweep
from sca.infer.eval.turn_metrics import TurnMetrics

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("qwen.silence_bias=-2:2:0.5", (-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)),
        ("qwen.silence_bias=1:0:-0.4", (1.0, 0.6, 0.2)),
        ("qwen.text_top_k=1,20", (1, 20)),
        ("qwen.yield_to_speech=false,true", (False, True)),
        ("qwen.tell=once,spread", ("once", "spread")),
    ],
)
def test_values_of_a_sweep(text, values):
    assert parse_sweep(text).values == values


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("qwen.silence_bias", "has no values"),
        ("qwen.silence_bias=", "has no values"),
        ("qwen.nothing=1,2", "qwen.nothing is not a setting"),
        ("qwen.silence_bias=a,b", "a is not a value of float"),
        ("qwen.silence_bias=0:1:0", "not a range"),
        ("qwen.silence_bias=0:1:-1", "has 0 values"),
        ("qwen.silence_bias=0:1:0.001", "has 1001 values"),
        ("qwen.silence_bias=1,1.0", "a value twice"),
    ],
)
def test_refuses_other_sweeps(text, problem):
    with pytest.raises(UsageError, match=problem):
        parse_sweep(text)


def test_a_value_keeps_all_other_settings():
    sweep, before = Sweep("qwen.silence_bias", (1.0, 101.0)), Settings()
    after = sweep.applied(before, 1.0)
    assert after.qwen == before.qwen.model_copy(update={"silence_bias": 1.0})
    assert after.live == before.live
    with pytest.raises(ConfigError, match=r"qwen\.silence_bias cannot be 101\.0: input should be less"):
        sweep.applied(before, 101.0)
    assert sweep.generation_option == "silence_bias"
    assert Sweep("qwen.seed", (1,)).generation_option is None
    assert Sweep("live.voice", ("x",)).generation_option is None


def result(task, metrics):
    return BenchItemResult(BenchItem(task, "1", Path()), metrics, None if metrics else "broken")


def test_rates_of_a_point():
    results = [
        result("turn_taking", TurnMetrics(True, 0.5)),
        result("turn_taking", TurnMetrics(False)),
        result("user_interruption", TurnMetrics(True, 1.5)),
        result("user_interruption", None),
        result("pause_handling", TurnMetrics(True, spoke_in_pause=False)),
        result("pause_handling", TurnMetrics(False, spoke_in_pause=True)),
        result("icc_backchannel", TurnMetrics(True)),
        result("icc_backchannel", TurnMetrics(False)),
    ]
    assert operating_point(0.5, results) == {
        "value": 0.5,
        "take_over_rate": 0.6667,
        "false_barge_in_rate": 0.5,
        "response_latency_s": 1.0,
        "items": 7,
        "failed": 1,
    }
    empty = operating_point(1, [])
    assert (empty["take_over_rate"], empty["false_barge_in_rate"], empty["response_latency_s"]) == (None, None, None)


def test_picture_has_each_point_at_its_place():
    points = [
        {"take_over_rate": 1.0, "false_barge_in_rate": 0.5, "response_latency_s": 0.5, "value": "<a>"},
        {"take_over_rate": 0.5, "false_barge_in_rate": 0.0, "response_latency_s": 1.0, "value": 2},
        {"take_over_rate": None, "false_barge_in_rate": 0.0, "response_latency_s": None, "value": 3},
    ]
    report = {"engine": "tiny & small", "setting": "qwen.silence_bias", "points": points}
    svg = ET.fromstring(curve_svg(report))
    lines = [line.get("points") for line in svg.iter(f"{SVG}polyline")]
    assert lines[0] == "220.0,50.0 70.0,200.0"
    assert [len(line.split()) for line in lines] == [2, 2, 3, 2]
    texts = [text.text for text in svg.iter(f"{SVG}text")]
    assert "tiny & small: qwen.silence_bias" in texts
    assert "latency (1 is 1.00 s)" in texts
    assert {"<a>", "2", "3"} <= set(texts)
    assert curve_svg(report) == curve_svg(report)
