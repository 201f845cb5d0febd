"""The targets of the duplex data set, each number measured: one table, and one JSON line.

Corpora: conversations made by the corpus tool (two speakers, word times known), the same played faster or slower so that their
speech has 5 and 6 text tokens a second, and real conversations without word times. `given` is built with the true word times,
`hidden` with utterance times alone. Where times were interpolated, the report's own error is against the times it believed, which
is no measure of quality: it is printed as `believed_…`, without a target, and where the truth is known `true_…` is against that.

    uv run python scripts/bench/duplex_quality.py [--hours 2] [--jobs 2]
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import soxr

from sca.config import Settings, load_settings
from sca.data.duplex.build import build_duplex
from sca.data.duplex.load import DuplexDataset, load
from sca.data.duplex.verify import verify

SHARED = Path(__file__).resolve().parents[3] / "shared"
# The highest value that reaches the target; the lowest for those in AT_LEAST.
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
    "read_30s_flac_ms": 20.0,
    "read_30s_pcm16_ms": 2.0,
}
AT_LEAST = {"coverage"}


def settings(**duplex: object) -> Settings:
    """The defaults, with the built-in tokenizer."""
    named = {f"duplex.{name}": value for name, value in duplex.items()}
    return load_settings(overrides={"duplex.model_path": "builtin:qwen", **named}, env={})


def tempo(source: Path, target: Path, factor: float) -> Path:
    """A corpus whose every moment comes `factor` times as early: all times divided, the recordings played that much faster."""
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
    """The same corpus without its word times."""
    target.mkdir()
    for kind in ("WAV", "TXT"):
        (target / kind).symlink_to(source / kind)
    return target


def against_truth(data: Path, true: Path) -> dict[str, float]:
    """How far the words of `data`, and the first token of each (corrected for the lead), are from the onsets stored in `true`."""
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
    """Text tokens for each second of speech in one piece."""
    rows = load(data)
    segments = [s for i in range(len(rows)) for s in rows.record(i)["segments"]]
    return float(sum(s["n_tokens"] for s in segments) / sum(s["end_s"] - s["start_s"] for s in segments))


def quality(source: Path, data: Path, jobs: int, **duplex: object) -> dict[str, Any]:
    """Build, verify, and what the proof says."""
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
        "build_x_real_time": round(summary.report.sessions.hours * 3600 / wall, 1),
    }


def speakers(rows: DuplexDataset) -> list[tuple[str, str]]:
    """(session, speaker) of every row."""
    return [(r["session_id"], r["speaker"]) for r in map(rows.record, range(len(rows)))]


def read_ms(data: Path) -> float:
    """Median of reading a row of about 30 s, in ms."""
    rows = load(data)
    index = min(range(len(rows)), key=lambda i: abs(rows.record(i)["n_chunks"] * 0.32 - 30))
    times = []
    for _ in range(15):
        began = time.perf_counter()
        rows[index]
        times.append((time.perf_counter() - began) * 1e3)
    return round(statistics.median(times[1:]), 3)


def measure(work: Path, hours: float, jobs: int, tool: Path) -> dict[str, dict[str, Any]]:
    """Every corpus by name with its numbers."""
    minutes = min(10.0, hours * 60)
    sessions = max(1, round(hours * 60 / minutes))
    made = work / "made"
    command = [sys.executable, str(tool), str(made), "--sessions", str(sessions), "--minutes", str(minutes)]
    subprocess.run(command, check=True, capture_output=True)
    found = {"given": quality(made, work / "given", jobs)}
    found["hidden"] = quality(hidden(made, work / "no_words"), work / "hidden", jobs)
    found["hidden"] |= against_truth(work / "hidden", work / "given")
    found["given"]["read_30s_flac_ms"] = read_ms(work / "given")
    build_duplex(made, work / "pcm16", settings(audio_format="pcm16"), jobs=jobs)
    found["given"]["read_30s_pcm16_ms"] = read_ms(work / "pcm16")
    shutil.rmtree(work / "pcm16")
    natural = found["given"]["tokens_a_second"]
    for rate in (5, 6):
        fast = tempo(made, work / f"tempo{rate}", rate / natural)
        found[f"given, {rate} tokens/s"] = quality(fast, work / f"given{rate}", jobs)
    if (SHARED / "data" / "conversation").is_dir():
        found["real conversation"] = quality(SHARED / "data" / "conversation", work / "real", jobs)
    return found


def verdict(name: str, value: object) -> str:
    """Whether a number reaches its target; empty where it has none."""
    target = TARGETS.get(name)
    if target is None or not isinstance(value, int | float):
        return ""
    reached = value >= target if name in AT_LEAST else value <= target
    return f"{'≥' if name in AT_LEAST else '≤'} {target:g} {'reached' if reached else 'MISSED'}"


def main() -> None:
    """Print the table and the line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=2.0, help="of made conversation")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--tool", type=Path, default=SHARED / "tools" / "make_corpus.py")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), given.hours, given.jobs, given.tool)
    for corpus, numbers in found.items():
        print(f"\n{corpus}")
        for name, value in numbers.items():
            print(f"  {name:24} {value!s:42} {verdict(name, value)}")
    print(json.dumps({"bench": "duplex_quality", "hours": given.hours, "corpora": found}))


if __name__ == "__main__":
    main()
