"""Measure every target of the duplex data set, and print a table and one JSON document.

Corpora: generated conversations (two speakers, word times known), the same at a tempo that gives 5 and 6 text tokens
per second of speech, and real conversations without word times. `given` is built with the true word times, `hidden`
with utterance times only. If times were interpolated, the report's error compares tokens with the interpolated times,
which does not measure quality: it is printed as `believed_…`, without a target, and `true_…` compares with the true
times. `least_error_mean_s` is the lower bound for any placement that preserves the order of tokens and the capacity
of chunks. Both exports that keep the grid are made from `given` and verified.

Two more tables follow: the findings of words against sound, with the defects of `duplex_evidence.py` injected into a
generated conversation of 6 minutes, where good data must give none, and the nine languages of `languages.py`.

    uv run python scripts/bench/duplex_quality.py [--hours 2] [--jobs 2] [--work DIR]

With `--work` the folder is kept, and an interrupted run continues in it. `duplex_loader.py` measures reading.

The corpus generator is a separate program that is not part of this repository.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import duplex_evidence
import languages
import numpy as np
import soundfile as sf
import soxr

from sca.config import Settings, load_settings
from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.load.dataset import DuplexDataset, load
from sca.data.duplex.storage.build_settings import read_settings, settings_of
from sca.data.duplex.verify.dataset import verify
from sca.data.export.run import export
from sca.units import HEARD_HZ

SHARED = Path(__file__).resolve().parents[3] / "shared"
# The highest value that meets the target; the lowest for the names in AT_LEAST.
TARGETS = {
    "error_mean_s": 0.03,
    "error_p95_s": 0.32,
    "error_max_late_s": 0.96,
    "true_onset_error_mean_s": 0.27,
    "true_token_error_mean_s": 0.27,
    "tokens_dropped": 0,
    "leak_structural_s": 0.0,
    "leak_placement_tokens": 0,
    "problems": 0,
    "coverage": 1.0,
    "tracks_a_speaker": 1.0,
    "parquet_problems": 0,
    "webdataset_problems": 0,
    "false_alarms": 0,
    "missed": 0,
    "languages_missed": 0,
}
AT_LEAST = {"coverage"}
# Numbers that are printed as tables of their own.
TABLES: dict[str, Callable[[Any], None]] = {
    "found": duplex_evidence.print_findings,
    "rows_of_languages": languages.print_rows,
}


def settings(**duplex: object) -> Settings:
    """Return the default settings with the built-in tokenizer."""
    named = {f"duplex.{name}": value for name, value in duplex.items()}
    return load_settings(overrides={"duplex.model_path": "builtin:qwen", **named}, env={})


def tempo(source: Path, target: Path, factor: float) -> Path:
    """Write the corpus at another tempo: all times divided by `factor`, the recordings resampled accordingly."""
    for kind in ("WAV", "TXT", "WORDS"):
        (target / kind).mkdir(parents=True)
    for path in sorted((source / "WAV").iterdir()):
        samples, rate = sf.read(path, dtype="float32")
        sf.write(target / "WAV" / path.name, soxr.resample(samples, rate * factor, rate), rate, subtype="PCM_16")
    for path in sorted((source / "WORDS").iterdir()):
        words = [[word, round(a / factor, 6), round(b / factor, 6)] for word, a, b in json.loads(path.read_text())]
        (target / "WORDS" / path.name).write_text(json.dumps(words))
    for path in sorted((source / "TXT").iterdir()):
        lines = []
        for line in path.read_text(encoding="utf-8").splitlines():
            times, rest = line[1:].split("]", 1)
            start, end = (float(part) / factor for part in times.split(","))
            lines.append(f"[{start:.6f},{end:.6f}]{rest}\n")
        (target / "TXT" / path.name).write_text("".join(lines), encoding="utf-8")
    return target


def hidden(source: Path, target: Path) -> Path:
    """Link the corpus without its word times."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for kind in ("WAV", "TXT"):
        (target / kind).symlink_to(source / kind)
    return target


def against_truth(data: Path, true: Path) -> dict[str, float]:
    """Return the distance of the words of `data`, and of their first tokens (plus the lead), to the onsets stored in `true`."""
    rows, truth = load(data), load(true)
    chunk = float(rows.grid.chunk_s)
    words, tokens = [], []
    for row in map(rows.record, range(len(rows))):
        known = truth.words(row["session_id"], row["speaker"])
        for segment in row["segments"]:
            for n, word in enumerate(segment["words"], segment["first_word"]):
                onset = known[n]["start"]
                words.append(abs(row["start_chunk"] * chunk + word["start_s"] - onset))
                tokens.append(
                    abs(row["start_chunk"] + word["chunk"] - max(int(onset / chunk) - 1, row["start_chunk"])) * chunk
                )
    return {
        "true_onset_error_mean_s": round(float(np.mean(words)), 4),
        "true_onset_error_p95_s": round(float(np.quantile(words, 0.95)), 4),
        "true_token_error_mean_s": round(float(np.mean(tokens)), 4),
        "true_token_error_p95_s": round(float(np.quantile(tokens, 0.95)), 4),
    }


def tokens_a_second(data: Path) -> float:
    """Return the text tokens per second of segment."""
    rows = load(data)
    segments = [s for i in range(len(rows)) for s in rows.record(i)["segments"]]
    return float(sum(s["n_tokens"] for s in segments) / sum(s["end_s"] - s["start_s"] for s in segments))


def quality(source: Path, data: Path, jobs: int, **duplex: object) -> dict[str, Any]:
    """Build and verify a data set, and return the numbers of the proof."""
    shutil.rmtree(data, ignore_errors=True)  # a partial build would only measure its remainder
    began = time.perf_counter()
    summary = build_duplex(source, data, settings(**duplex), jobs=jobs)
    wall = time.perf_counter() - began
    outcome = verify(data)
    report = outcome.report
    assert report is not None
    rows = load(data)
    lengths = [r["n_chunks"] * 0.32 for r in map(rows.record, range(len(rows)))]
    turns = [len(r["segments"]) for r in map(rows.record, range(len(rows)))]
    error = "error" if set(report.align_source) == {"given"} else "believed_error"
    return {
        "hours": report.sessions.hours,
        f"{error}_mean_s": report.placement.mean_error_s,
        f"{error}_p95_s": report.placement.p95_error_s,
        f"{error}_max_late_s": report.placement.max_late_s,
        "share_exact": report.placement.share_exact,
        "tokens_a_second": round(tokens_a_second(data), 3),
        "tokens_dropped": report.coverage.tokens_dropped,
        "leak_structural_s": report.leak.structural_s,
        "leak_placement_tokens": report.leak.placement_tokens,
        "problems": len(outcome.problems),
        "coverage": report.coverage.share,
        "tracks_a_speaker": report.sessions.tracks / len({tuple(s) for s in speakers(rows)}),
        "rows": report.rows,
        "row_s_median": round(statistics.median(lengths), 2),
        "row_s_longest": round(max(lengths), 2),
        "segments_most": max(turns),
        "row_flags": report.row_flags,
        "align_source": report.align_source,
        "build_x_real_time": round(summary.details.report.sessions.hours * 3600 / wall, 1),
    }


def speakers(rows: DuplexDataset) -> list[tuple[str, str]]:
    """Return (session, speaker) of every row."""
    return [(r["session_id"], r["speaker"]) for r in map(rows.record, range(len(rows)))]


def least_error_mean_s(rows: DuplexDataset) -> float:
    """Return the mean token-time error of the best possible placement, with tokens in order and chunks within capacity.

    Every token takes a slot after that of the previous one; dynamic programming over the slots finds the minimum.
    """
    chunk_s = float(rows.grid.chunk_s)
    capacity = settings_of(read_settings(rows.root)).duplex.tokens_per_chunk
    total, tokens = 0.0, 0
    for row in map(rows.record, range(len(rows))):
        words = [word for segment in row["segments"] for word in segment["words"]]
        # In samples, as in the proof, because 0.64 s / 0.32 s may be slightly below two in floating point.
        onsets = [round(word["start_s"] * HEARD_HZ) // rows.grid.heard_samples for word in words]
        wanted = np.repeat(np.maximum(np.array(onsets, int) - 1, 0), [word["n_tokens"] for word in words])
        slots = np.arange((row["n_chunks"] + len(wanted)) * capacity) // capacity
        best = np.zeros(len(slots))
        for n, want in enumerate(wanted):
            before = np.concatenate([[np.inf], np.minimum.accumulate(best)[:-1]]) if n else best
            best = before + np.abs(slots - want)
        total, tokens = total + float(best.min()), tokens + len(wanted)
    return round(total / max(tokens, 1) * chunk_s, 6)


def exported(data: Path, work: Path) -> dict[str, Any]:
    """Return the number of problems that `verify` finds in the exports that keep the grid."""
    found = {}
    for kind in ("parquet", "webdataset"):
        export(data, work / kind, kind, shard_bytes=500_000_000)
        found[f"{kind}_problems"] = len(verify(work / kind).problems)
        shutil.rmtree(work / kind)
    return found


def made_corpus(work: Path, hours: float, tool: Path) -> Path:
    """Generate the corpus, unless it exists."""
    made, minutes = work / "made", min(10.0, hours * 60)
    if not made.exists():
        work.mkdir(parents=True, exist_ok=True)
        half = work / "made.half"
        shutil.rmtree(half, ignore_errors=True)
        sessions = max(1, round(hours * 60 / minutes))
        command = [sys.executable, str(tool), str(half), "--sessions", str(sessions), "--minutes", str(minutes)]
        subprocess.run(command, check=True, capture_output=True)
        half.rename(made)
    return made


def measure(work: Path, hours: float, jobs: int, tool: Path) -> dict[str, dict[str, Any]]:
    """Return the numbers of every corpus by name. Results of an earlier run in `work` are reused."""
    record = work / "numbers.json"
    found: dict[str, dict[str, Any]] = json.loads(record.read_text()) if record.exists() else {}
    made = made_corpus(work, hours, tool)

    def given() -> dict[str, Any]:
        numbers = quality(made, work / "given", jobs)
        return (
            numbers | {"least_error_mean_s": least_error_mean_s(load(work / "given"))} | exported(work / "given", work)
        )

    def without_times() -> dict[str, Any]:
        numbers = quality(hidden(made, work / "no_words"), work / "hidden", jobs)
        return numbers | against_truth(work / "hidden", work / "given")

    def squeezed(rate: int) -> dict[str, Any]:
        source, data = work / f"tempo{rate}", work / f"given{rate}"
        shutil.rmtree(source, ignore_errors=True)
        numbers = quality(tempo(made, source, rate / found["given"]["tokens_a_second"]), data, jobs)
        return numbers | {"least_error_mean_s": least_error_mean_s(load(data))}

    def evidence() -> dict[str, Any]:
        source = made_corpus(work / "evidence", 0.1, tool)
        shutil.rmtree(work / "evidence" / "data", ignore_errors=True)
        kinds = duplex_evidence.findings(source, work / "evidence" / "data")
        return duplex_evidence.mistakes(kinds) | {"found": kinds}

    def nine_languages() -> dict[str, Any]:
        shutil.rmtree(work / "languages", ignore_errors=True)
        rows = [languages.row_of(name, t, work / "languages") for name in languages.LANGUAGES for t in languages.TEMPOS]
        return {"languages_missed": sum(not row["reached"] for row in rows), "rows_of_languages": rows}

    parts: dict[str, Callable[[], dict[str, Any]]] = {"given": given, "hidden": without_times}
    parts |= {f"given, {rate} tokens/s": partial(squeezed, rate) for rate in (5, 6)}
    if (SHARED / "data" / "conversation").is_dir():
        parts["real conversation"] = lambda: quality(SHARED / "data" / "conversation", work / "real", jobs)
    parts |= {"words against sound": evidence, "languages": nine_languages}
    for name, part in parts.items():
        if name not in found:
            began = time.perf_counter()
            found[name] = part()
            record.write_text(json.dumps(found))
            print(f"{name}: {time.perf_counter() - began:.0f} s", file=sys.stderr)
    return found


def verdict(name: str, numbers: dict[str, Any]) -> str:
    """Compare a number with its target; empty if it has none."""
    target, value = TARGETS.get(name), numbers[name]
    if target is None or not isinstance(value, int | float):
        return ""
    if value >= target if name in AT_LEAST else value <= target:
        end = "reached"
    else:
        least = numbers.get(f"least_{name}", 0)
        end = f"MISSED, by any placement (least {least:.3f})" if least > target else "MISSED"
    return f"{'≥' if name in AT_LEAST else '≤'} {target:g} {end}"


def main() -> None:
    """Print the table and the JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=2.0, help="length of the generated conversations")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--tool", type=Path, default=SHARED / "tools" / "make_corpus.py", help="the corpus generator")
    parser.add_argument("--work", type=Path, help="folder that is kept, and in which an interrupted run continues")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = (given.work or Path(folder)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        found = measure(work, given.hours, given.jobs, given.tool)
    for corpus, numbers in found.items():
        print(f"\n{corpus}")
        for name, value in numbers.items():
            if name not in TABLES:
                print(f"  {name:24} {value!s:42} {verdict(name, numbers)}")
            else:
                TABLES[name](value)
    print(json.dumps({"bench": "duplex_quality", "hours": given.hours, "corpora": found}))


if __name__ == "__main__":
    main()
