"""Measure random access to the items of a long show through `easy_load`, compared with decoding the whole show.

    python scripts/bench/easy_load.py [--minutes 60] [--lines 100] [--seconds 20]

Conditions: one process, one thread, CPU only; a show of filtered noise from a seed, converted by `sca convert`;
random items of up to 60 s that end in `--seconds` of target, with a warm page cache. `whole` decodes both stored
tracks of the show, which is the cost of an item if a cell is decoded before it is sliced.

Prints a table, then one JSON line.
"""

import argparse
import io
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000


def write_show(folder: Path, minutes: float, target_s: float) -> None:
    """Write a recording, and a timeline of targets with one second between them."""
    rng = np.random.default_rng(0)
    seconds = round(minutes * 60)
    with soundfile.SoundFile(folder / "show.flac", "w", RATE, 1, "PCM_16") as file:
        for _ in range(seconds):
            noise = np.convolve(rng.standard_normal(RATE), np.hanning(9) / 4, "same")
            file.write(np.float32(0.1 * rng.uniform() * noise))
    starts = np.arange(4.0, seconds - target_s - 2, target_s + 1)
    events = [
        {"start": float(s), "end": float(s) + target_s, "role": "comedian", "content": f"Part {n}."}
        for n, s in enumerate(starts)
    ]
    (folder / "show.jsonl").write_text(json.dumps({"video_id": "show", "timeline": events}) + "\n")


def convert(folder: Path) -> Path:
    from sca.config import Settings
    from sca.data.shows.convert import convert as run

    run(folder / "show.jsonl", folder, folder / "data", Settings(), jobs=1)
    return folder / "data"


def whole_ms(data: Path) -> float:
    """Return the milliseconds to decode both tracks of the show."""
    import pyarrow as pa

    with pa.memory_map(str(data / "storage" / "show.arrow")) as source:
        batch = next(iter(pa.ipc.open_stream(source)))
        cells = [batch.column(name).field("bytes")[0].as_py() for name in ("audio", "clean_audio")]
    start = time.perf_counter()
    for cell in cells:
        soundfile.read(io.BytesIO(cell), dtype="float32")
    return (time.perf_counter() - start) * 1000


def lines_ms(data: Path, shape: str, count: int) -> np.ndarray:
    """Return the milliseconds of `count` random items, after a first one that opens the files."""
    from sca import easy_load

    lines = easy_load(data, format=shape)
    lines[0]
    took = []
    for index in np.random.default_rng(1).integers(0, len(lines), count):
        start = time.perf_counter()
        lines[int(index)]
        took.append((time.perf_counter() - start) * 1000)
    return np.array(took)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60, help="length of the show")
    parser.add_argument("--lines", type=int, default=100, help="number of random items")
    parser.add_argument("--seconds", type=float, default=20, help="length of a target")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_show(folder, options.minutes, options.seconds)
        data = convert(folder)
        found = {shape: lines_ms(data, shape, options.lines) for shape in ("raw", "chat", "talker_chat")}
        whole = min(whole_ms(data) for _ in range(3))
    results = {
        shape: {f"p{p}": round(float(np.percentile(ms, p)), 2) for p in (50, 95, 99)} for shape, ms in found.items()
    }
    print(f"{'ms a line':14}{'p50':>9}{'p95':>9}{'p99':>9}{'of the whole':>15}")
    for shape, ms in results.items():
        print(f"{shape:14}{ms['p50']:9.2f}{ms['p95']:9.2f}{ms['p99']:9.2f}{ms['p50'] / whole:15.2%}")
    print(f"{'whole show':14}{whole:9.0f}")
    facts = {"minutes": options.minutes, "lines": options.lines, "target_s": options.seconds, "cpus": os.cpu_count()}
    print(
        json.dumps(
            {"bench": "easy_load", "unit": "ms_per_line", **facts, "whole_ms": round(whole, 1), "results": results}
        )
    )


if __name__ == "__main__":
    main()
