"""The measured and advised number of text tokens per chunk."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sca.cli.main import app
from sca.config import load_settings
from sca.data.corpora.session_source import SessionSource
from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.model.session import SessionResult
from sca.data.duplex.model.text_rate import TextRateCounters
from sca.data.duplex.verify.dataset import verify
from sca.data.runs.progress import NullProgress
from sca.errors import ConfigError
from tests.helpers import corpus

DEMO = Path(__file__).resolve().parents[2] / "sca" / "resources" / "demo"
HINDI = "मैं कल बस का इंतज़ार कर रहा था लेकिन वह आई ही नहीं"
AUTO = {"duplex.text_tokens_per_chunk": "auto"}


@pytest.fixture(scope="module")
def hindi(tmp_path_factory):
    """The demo with Hindi sentences of three seconds."""
    corpus = tmp_path_factory.mktemp("hindi") / "corpus"
    shutil.copytree(DEMO / "WAV", corpus / "WAV")
    (corpus / "TXT").mkdir()
    for path in sorted((DEMO / "TXT").glob("*.txt")):
        side = int(path.stem[-1])
        lines = [f"[{at:.3f},{at + 3:.3f}]\tG{side}\tmale\t{HINDI}\n" for at in (1 + 4 * side, 12 + 4 * side)]
        (corpus / "TXT" / path.name).write_text("".join(lines), encoding="utf-8")
    return corpus


def counters(late, very_late=None, off=None, tokens=100):
    found = TextRateCounters(tokens, 160_000)
    found.late.update(late)
    found.very_late.update(very_late or {})
    found.off.update(off or late)
    return found


def test_advice_is_the_smallest_number_in_time():
    assert counters({1: 60, 2: 20, 3: 5, 4: 1}).advised(0.32) == 3


def test_advice_limits_tokens_that_are_very_late():
    assert counters({1: 60, 2: 4, 3: 4}, {1: 30, 2: 2, 3: 1}).advised(0.32) == 3


def test_advice_limits_the_mean_error():
    found = counters({1: 60}, off={1: 60, 2: 40, 3: 10})
    assert found.in_time(2)
    assert found.advised(0.32) == 3


def test_no_advice_if_no_number_is_sufficient():
    assert counters(dict.fromkeys(range(1, 17), 50)).advised(0.32) is None


def test_counters_survive_json():
    found = SessionResult("s", "k", "kept", text_rate=counters({1: 60, 2: 20}))
    document = json.loads(json.dumps(found.to_json()))
    assert SessionResult.from_json(document).text_rate == found.text_rate
    del document["text_rate"]
    assert SessionResult.from_json(document).text_rate == TextRateCounters(), "records of earlier versions"


@pytest.mark.parametrize("value", [0, 1001, "many", 2.5, True])
def test_rejects_other_values(value):
    with pytest.raises(ConfigError, match=r"a whole number.* or auto"):
        load_settings(overrides={"duplex.text_tokens_per_chunk": value}, env={})


def test_auto_has_no_number_outside_of_a_build():
    with pytest.raises(ConfigError, match="only for sca build-duplex"):
        _ = load_settings(overrides=AUTO, env={}).duplex.tokens_per_chunk


def test_demo_needs_no_more_than_the_default(tmp_path):
    rate = build_duplex(DEMO, tmp_path, load_settings(env={}), jobs=1).details.report.text_rate
    assert rate is not None
    assert rate.sufficient
    assert rate.advised_tokens_per_chunk == 2


def test_auto_is_resolved_once_per_data_set(hindi, tmp_path):
    out = tmp_path / "data"
    report = build_duplex(hindi, out, load_settings(overrides=AUTO, env={}), jobs=1).details.report
    number = json.loads((out / "settings.json").read_text())["duplex"]["text_tokens_per_chunk"]
    assert number > 2
    assert report.text_rate is not None
    assert report.text_rate.sufficient
    assert report.text_rate.advised_tokens_per_chunk == number
    assert report.placement.mean_error_s <= 0.06
    assert verify(out).problems == []
    again = build_duplex(DEMO, out, load_settings(overrides=AUTO, env={}), jobs=1).details.report
    assert again.made_with == report.made_with, "later runs keep the number"
    forced = build_duplex(DEMO, out, load_settings(overrides=AUTO, env={}), jobs=1, force=True).details.report
    assert forced.made_with["duplex"]["text_tokens_per_chunk"] == 2  # type: ignore[index]


def test_build_warns_and_counts_dropped_segments(hindi, tmp_path):
    arguments = ["build-duplex", str(hindi), "--output", str(tmp_path / "data"), "--on-lag", "drop-unit"]
    result = CliRunner().invoke(app, [*arguments, "--jobs", "1"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "data" / "report.json").read_text())
    dropped = report["coverage"]["tokens_dropped_on_request"]
    assert dropped > 0
    assert f"{dropped} dropped" in result.output
    assert "left out because they lag" in result.output
    assert f"use --text-tokens {report['text_rate']['advised_tokens_per_chunk']} (or auto)" in result.output
    assert verify(tmp_path / "data").report.text_rate.model_dump() == report["text_rate"], "left-out segments count too"


class Events(NullProgress):
    """Records the order of warnings and finished items."""

    def __init__(self):
        self.events = []

    def on_warning(self, message):
        self.events.append(message)

    def on_item_end(self, outcome):
        self.events.append(outcome.entry.item)


def fast_talk(root):
    text = "antidisestablishmentarianism notwithstanding incomprehensibilities uncharacteristically"
    corpus.write_track(root, "A0001_S0001_0_G0001", [(0.5, 2.0, text)], 4.0)
    corpus.write_track(root, "A0001_S0001_0_G0002", [(2.5, 3.0, "yes")], 4.0)
    return root


def test_the_warning_comes_before_the_work(tmp_path):
    listener = Events()
    source, settings = fast_talk(tmp_path / "corpus"), corpus.settings()
    report = build_duplex(source, tmp_path / "data", settings, listener=listener).details.report
    warning, built = listener.events
    assert built == "A0001_S0001_0"
    assert f"use --text-tokens {report.text_rate.advised_tokens_per_chunk} (or auto)" in warning


def test_a_run_without_work_reads_no_transcript_again(tmp_path, monkeypatch):
    source = fast_talk(tmp_path / "corpus")
    build_duplex(source, tmp_path / "data", corpus.settings())
    monkeypatch.setattr(SessionSource, "read", lambda self: pytest.fail("a transcript was read"))
    listener = Events()
    summary = build_duplex(source, tmp_path / "data", corpus.settings(), listener=listener)
    assert (summary.details.built, listener.events) == (0, [])


def test_text_that_fits_has_no_warning(tmp_path):
    listener = Events()
    build_duplex(corpus.pair(tmp_path / "corpus"), tmp_path / "data", corpus.settings(), listener=listener)
    assert listener.events == ["A0001_S0001_0"]
