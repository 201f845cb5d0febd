"""Measure the time of reading a training row, and how it scales with loader workers.

Conditions: one generated conversation of 10 minutes in rows of 28 to 32 s, read in random order from the page cache,
in one process. Times are of whole rows (tokens, audio of both sides), scaled to 30 s. On a shared machine the minimum
is the cost of the code, the median includes the waiting, and `cpu` is the processor time of all threads.
`decode_floor_ms`: libsndfile alone reads two such stretches in sequence. `whole_session_ms`: a reader that decodes a
whole session for one row. `cost_60s_over_15s`: near 4 if the cost is proportional to the window.

With workers, torch's DataLoader makes batches of four with `DuplexCollator`, including the log-mel features. Reported
are rows per second, processor time per row, and `core_use`: the share of the cores' time that went into rows, at the
processor time that one process needs per row.

`storages`: `DuplexRows` reads every row of the folder and of its exports, on disk and at a URL of memory (which costs
the copies of a network, not its latency), in one process. The storages are measured in turn, `--rounds` times; reported
is the median of milliseconds per row, wall time.

The corpus generator is a separate program that is not part of this repository.

    uv run --extra live python scripts/bench/duplex_loader.py [--workers 1,2,4,8] [--tool PATH_TO_make_corpus.py]
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sca.config import load_settings
from sca.cores import usable_cores
from sca.data.duplex.audio.stored_samples import read_samples
from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.load.collate import DuplexCollator
from sca.data.duplex.load.dataset import DuplexDataset, load
from sca.data.duplex.load.stream import DuplexRows
from sca.data.duplex.storage.tracks import StoredTrack, stored_tracks
from sca.data.duplex.storage.writer import open_split
from sca.data.export.run import export
from sca.tokenizer import load_tokenizer

TOOL = Path(__file__).resolve().parents[3] / "shared" / "tools" / "make_corpus.py"
TARGETS_MS = {"flac": 20.0, "pcm16": 2.0}
BATCH = 4


def spent_ms(work: Callable[[], object]) -> float:
    """Return the wall time of one call in milliseconds."""
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


def reading(data: Path, rounds: int) -> dict[str, float]:
    """Measure reading rows in sequence."""
    rows = load(data)
    order = np.random.default_rng(0).permutation(len(rows))
    for i in order:
        rows[int(i)]
    times, cpu = [], []
    for i in [int(i) for _ in range(rounds) for i in order]:
        scale = 30 / (rows.record(i)["n_chunks"] * float(rows.grid.chunk_s))
        before = time.process_time()
        times.append(scale * spent_ms(lambda i=i: rows[i]))
        cpu.append(scale * 1000 * (time.process_time() - before))
    tracks = stored_tracks(open_split(data, "storage")[0])
    wide, narrow = (min(spent_ms(lambda n=n: two_sides(tracks, n)) for _ in range(rounds)) for n in (60, 15))
    return {
        "rows": len(rows),
        "read_30s_min_ms": round(min(times), 3),
        "read_30s_p50_ms": round(statistics.median(times), 3),
        "read_30s_p95_ms": round(float(np.quantile(times, 0.95)), 3),
        "read_30s_cpu_min_ms": round(min(cpu), 3),
        "read_30s_cpu_p50_ms": round(statistics.median(cpu), 3),
        "decode_floor_ms": round(min(spent_ms(lambda: two_sides(tracks, 30)) for _ in range(rounds)), 3),
        "whole_session_ms": round(min(spent_ms(lambda: two_sides(tracks, 600)) for _ in range(2)), 1),
        "cost_60s_over_15s": round(wide / narrow, 2),
    }


def two_sides(tracks: list[StoredTrack], seconds: int) -> None:
    """Read only the samples of both sides as float, from the middle of the session (a whole session from its start)."""
    first = 0 if seconds >= 600 else 300
    for audio, rate_hz in ((tracks[0].heard, 16_000), (tracks[1].spoken, 24_000)):
        read_samples(audio, first * rate_hz, seconds * rate_hz, rate_hz) * np.float32(1 / 32768)


class Repeated:
    """The rows of a data set repeated, so that an epoch is long enough to measure."""

    def __init__(self, rows: DuplexDataset, times: int) -> None:
        self.rows, self.times = rows, times

    def __len__(self) -> int:
        return len(self.rows) * self.times

    def __getitem__(self, index: int) -> Any:
        return self.rows[index % len(self.rows)]


def working(data: Path, workers: int, times: int, collator: DuplexCollator) -> tuple[float, float]:
    """Return rows per second with `workers` processes (0: in this one), and processor milliseconds per row."""
    from torch.utils.data import DataLoader

    rows = Repeated(load(data), times)
    loader: Any = DataLoader(
        rows,  # type: ignore[arg-type]  # a map-style data set needs these two methods only
        batch_size=BATCH,
        collate_fn=collator,
        num_workers=workers,
        persistent_workers=workers > 0,
        prefetch_factor=2 if workers else None,
    )
    for _ in loader:  # starts the workers and maps the files
        pass
    before, began = _cpu_s(), time.perf_counter()
    for _ in loader:
        pass
    wall, spent = time.perf_counter() - began, _cpu_s() - before
    return len(rows) / wall, 1000 * spent / len(rows)


def _cpu_s() -> float:
    """Return the processor time of this process and its workers; resource usage would count workers only after they end."""
    ticks = 0
    for worker in multiprocessing.active_children():
        fields = Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def storages(data: Path, rounds: int) -> dict[str, float]:
    """Return milliseconds per row of each storage of a data set."""
    import fsspec

    memory = fsspec.filesystem("memory")
    places: dict[str, DuplexRows] = {}
    for kind in ("arrow", "parquet", "webdataset"):
        root = data if kind == "arrow" else data.parent / f"{data.name}_{kind}"
        if kind != "arrow":
            export(data, root, kind, shard_bytes=500_000_000, jobs=1)
        for file in (path for path in root.rglob("*") if path.is_file() and ".sca" not in path.parts):
            memory.pipe(f"/{root.name}/{file.relative_to(root)}", file.read_bytes())
        places[kind] = DuplexRows(root)
        places[f"{kind} at a URL"] = DuplexRows(f"memory://{root.name}")
    times: dict[str, list[float]] = {name: [] for name in places}
    for turn in range(rounds + 1):
        for name, rows in places.items():
            spent = spent_ms(lambda rows=rows: sum(1 for _ in rows)) / len(rows)
            if turn:  # the first round opens the files
                times[name].append(spent)
    memory.store.clear()
    return {name: round(statistics.median(values), 2) for name, values in times.items()}


def main() -> None:
    """Print the table and the JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", default="1,2,4,8", help="numbers of worker processes")
    parser.add_argument("--rounds", type=int, default=10, help="how many times every row is read")
    parser.add_argument("--tool", type=Path, default=TOOL, help="the corpus generator")
    given = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="This DataLoader will create")  # more workers than cores is intended
    result: dict[str, Any] = {"bench": "duplex_loader", "cores": usable_cores()}
    collator = DuplexCollator(load_tokenizer("builtin:qwen"))
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        command = [sys.executable, str(given.tool), str(work / "made"), "--sessions", "1", "--minutes", "10"]
        subprocess.run(command, check=True, capture_output=True)
        for kind, target in TARGETS_MS.items():
            wanted = {"duplex.model_path": "builtin:qwen", "duplex.window": "28-32", "duplex.audio_format": kind}
            build_duplex(work / "made", work / kind, load_settings(overrides=wanted, env={}), jobs=1)
            numbers: dict[str, Any] = reading(work / kind, given.rounds)
            for name in ("min", "p50", "cpu_min"):
                value = numbers[f"read_30s_{name}_ms"]
                print(
                    f"{kind}: a row of 30 s, {name:7} {value:7.2f} ms ≤ {target:g} {'reached' if value <= target else 'MISSED'}"
                )
            numbers["storages"] = storages(work / kind, given.rounds)
            for name, value in numbers["storages"].items():
                print(f"{kind}: {name}, {value:.2f} ms per row")
            alone, price = working(work / kind, 0, given.rounds, collator)
            numbers["workers"] = {"0": {"rows_a_second": round(alone, 1), "cpu_ms_a_row": round(price, 2)}}
            for count in map(int, given.workers.split(",")):
                rate, cpu = working(work / kind, count, given.rounds, collator)
                use = rate * price / 1000 / min(count, usable_cores())
                numbers["workers"][count] = {
                    "rows_a_second": round(rate, 1),
                    "cpu_ms_a_row": round(cpu, 2),
                    "core_use": round(use, 2),
                }
                print(
                    f"{kind}: {count} workers, {rate:.1f} rows/s, {cpu:.1f} processor ms per row ({price:.1f} in one process)"
                )
            result[kind] = numbers
    print(json.dumps(result))


if __name__ == "__main__":
    main()
