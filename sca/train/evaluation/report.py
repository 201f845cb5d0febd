"""Write `report.html` of a training run: curves of losses and of turn-taking, and all evaluations with their conversations."""

import html
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sca.files.atomic import atomic_write
from sca.train.evaluation.alarms import alarm_text
from sca.train.evaluation.curves import Curve, curves_svg
from sca.train.evaluation.records import EvaluationFile, read_lines

__all__ = ["REPORT", "write_report"]

REPORT = "report.html"

_RATES = ("turn_f1", "take_over", "silence_kept", "false_barge_in", "backchannel_recall")
_FORCED = ("silence_precision", "silence_recall", "forced_onset_precision", "forced_onset_recall")
_COLUMNS = ("turn_f1", "take_over", "latency_s", "false_barge_in", "silence_kept", "talk_ratio", "loss")
_STYLE = """
:root{color-scheme:light dark;--ink:light-dark(#222,#ddd);--soft:light-dark(#666,#999);--line:light-dark(#ddd,#444)}
body{font:15px/1.45 system-ui,sans-serif;color:var(--ink);background:light-dark(#fff,#161616);max-width:76rem;margin:2rem auto;
padding:0 1rem}
.curves{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,30rem),1fr));gap:1rem}
figure{margin:0}
svg{width:100%}
svg text{font-family:inherit;fill:var(--ink)}
svg .grid{stroke:var(--line)}
.scroll{overflow-x:auto}
table{border-collapse:collapse}
th,td{padding:.25rem .7rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
tr.best td{font-weight:600}
.soft{color:var(--soft)}
"""


def write_report(output: Path) -> Path:
    """Write the page from `train.jsonl` and `evaluations.jsonl`, and return its path.

    Args:
        output: The folder of the run.

    Raises:
        OutputError: It cannot be written.
    """
    trained = [one for one in read_lines(output / "train.jsonl") if isinstance(one.get("step"), int)]
    evaluations = EvaluationFile(output / "evaluations.jsonl")
    path = output / REPORT
    name = html.escape(output.resolve().name)
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">",
        f'<title>Training: {name}</title><link rel="icon" href="data:,"><style>{_STYLE}</style></head><body>',
        f"<h1>Training: {name}</h1>",
        f'<p class="soft">{_summary(trained, evaluations)}</p>',
        f'<div class="curves">{"".join(_pictures(trained, evaluations.lines))}</div>',
        _table(evaluations),
        "</body></html>",
    ]
    with atomic_write(path) as temporary:
        temporary.write_text("\n".join(parts) + "\n", encoding="utf-8")
    return path


def _summary(trained: Sequence[dict[str, Any]], evaluations: EvaluationFile) -> str:
    last = max((one["step"] for one in [*trained, *evaluations.lines]), default=0)
    best = evaluations.best
    chosen = "" if best is None else f"; the best evaluation is that of step {best['step']} (best/)"
    return f"{last} optimiser steps, {len(evaluations.lines)} evaluations{chosen}"


def _pictures(trained: Sequence[dict[str, Any]], evaluations: Sequence[dict[str, Any]]) -> list[str]:
    measured = [{"step": one["step"], **one["metrics"]} for one in evaluations]
    pictures = [
        curves_svg("Loss of the training rows, by kind", _losses(trained), low=0.0),
        curves_svg("Loss of the evaluated rows, by kind", _losses(measured), low=0.0),
        curves_svg("Turn-taking, running freely", {name: _curve(measured, name) for name in _RATES}, low=0.0, high=1.0),
        curves_svg(
            "Silence and onsets, teacher-forced", {name: _curve(measured, name) for name in _FORCED}, low=0, high=1
        ),
        curves_svg(
            "Latency in seconds",
            {"model": _curve(measured, "latency_s"), "rows": _curve(measured, "rows_latency_s")},
            low=0.0,
        ),
        curves_svg("Learning rate", {"rate": _curve(trained, "learning_rate")}, low=0.0),
    ]
    return [f"<figure>{ET.tostring(one, encoding='unicode')}</figure>" for one in pictures]


def _losses(lines: Sequence[dict[str, Any]]) -> dict[str, Curve]:
    names = sorted({name for one in lines for name in one if name == "loss" or name.startswith("loss_")})
    return {"all, weighted" if name == "loss" else name.removeprefix("loss_"): _curve(lines, name) for name in names}


def _curve(lines: Sequence[dict[str, Any]], name: str) -> list[tuple[float, float]]:
    return [(one["step"], float(one[name])) for one in lines if isinstance(one.get(name), int | float)]


def _table(evaluations: EvaluationFile) -> str:
    if not evaluations.lines:
        return ""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ("step", *_COLUMNS, "rows", "conversations", ""))
    best, rows = evaluations.best, []
    for one in reversed(evaluations.lines):
        cells = [str(one["step"]), *(_number(one["metrics"].get(name)) for name in _COLUMNS), str(one.get("rows", ""))]
        links = " ".join(
            f'<a href="{quote(path)}">{k}</a>'
            for k, path in enumerate(one.get("samples", ()), 1)
            if isinstance(path, str)
        )
        alarm = one.get("alarm")
        note = html.escape(alarm_text(alarm, one["metrics"])) if alarm in ("stuck_silent", "stuck_talking") else ""
        kind = ' class="best"' if one is best else ""
        filled = "".join(f"<td>{cell}</td>" for cell in [*map(html.escape, cells), links, note])
        rows.append(f"<tr{kind}>{filled}</tr>")
    return f'<h2>Evaluations</h2><div class="scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def _number(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else "–"
