"""Kill workers, the main process and nodes of Ray at random moments of a run, and compare with an unbroken run.

    python scripts/chaos_scale.py --kill worker main node --times 20 --items 200

Each run is killed once, at a random moment, and continued by the same command. Its outputs must be those of an unbroken run, byte
for byte, with one line per item in the ledger. `--case` shows other conditions: `tiny` (10 000 items), `long` (one long item among
short ones: the idle time of each worker), `starved` (SIGSTOP for nine tenths of the time), `clock` (the clock jumps), `denied` (a
folder in the place of an output, and an output folder without permission), `full` (files may not grow further),
`interrupt` (Ctrl-C once and twice). The last line is one JSON document; the exit code is 7 if
something differs.
"""

import argparse
import ctypes
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE = 24, 1
"""Of linux/prctl.h and linux/capability.h."""
RUN = """
import sys
from pathlib import Path
from scripts.chaos_scale_work import main
from sca.data.runs.local import ProcessExecutor, ThreadExecutor
kind, address, out, items, seconds, log, long = sys.argv[1:]
if kind == "ray":
    from sca.data.runs.cluster.ray import RayExecutor
    executor = RayExecutor(address or None, workers=2)
elif kind == "threads":
    executor = ThreadExecutor(2)
else:
    executor = ProcessExecutor(2)
if __name__ == "__main__":
    try:
        main(Path(out), int(items), float(seconds), executor, log, int(long))
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        if kind == "ray":
            executor.close()
"""


class Bench:
    """A folder with the program of the runs, and the unbroken result."""

    def __init__(self, folder: Path, items: int, seconds: float, address: str = "") -> None:
        self.folder, self.items, self.seconds, self.address = folder, items, seconds, address
        (folder / "run.py").write_text(RUN, encoding="utf-8")
        self.whole = folder / "whole"
        done = self.start(self.whole, "threads", seconds=0.0)  # in one process, which starts faster
        done.communicate()
        assert done.returncode == 0

    def start(
        self,
        out: Path,
        kind: str = "local",
        *,
        seconds: float | None = None,
        log: str = "",
        long: int = 0,
        prepare: Callable[[], None] | None = None,
    ) -> subprocess.Popen[str]:
        """Start a run. `prepare` is called in its process before the program."""

        def begin() -> None:
            signal.signal(
                signal.SIGINT, signal.default_int_handler
            )  # a shell ignores it for programs in the background
            if prepare is not None:
                prepare()

        given = self.seconds if seconds is None else seconds
        words = [kind, self.address, out, self.items, given, log, long]
        path = os.pathsep.join([str(self.folder), str(ROOT), os.environ.get("PYTHONPATH", "")])
        return subprocess.Popen(
            [sys.executable, str(self.folder / "run.py"), *map(str, words)],
            env=os.environ | {"PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=begin,
        )

    def differences(self, out: Path) -> list[str]:
        """Return what differs from the unbroken run: content, files too much, files that are missing."""
        found, wanted = _files(out), _files(self.whole)
        return sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def _made(out: Path) -> int:
    return sum(1 for path in out.glob("i*")) if out.is_dir() else 0


def _wait_for(process: subprocess.Popen[str], out: Path, items: int) -> bool:
    """Wait until a run has made some items; return whether it still runs."""
    while process.poll() is None and _made(out) < items:
        time.sleep(0.01)
    return process.poll() is None


def _workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the worker processes of a run: those that do items, not the resource tracker."""
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(_words(child)) or _words(child)[:1] == ["ray::_do"]]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def kill_worker(bench: Bench, out: Path, kind: str, draw: random.Random) -> list[str]:
    """Kill a worker; the run itself must go on and end well."""
    process = bench.start(out, kind)
    if _wait_for(process, out, draw.randrange(1, bench.items - 4)) and (workers := _workers(process)):
        draw.choice(workers).kill()
    stdout, stderr = process.communicate(timeout=300)
    if process.returncode:
        return [f"exit code {process.returncode}: {stderr[-300:]}"]
    made = stdout.split()
    return [] if made == [str(bench.items), "0", "0"] else [f"counted {made}"]


def kill_main(bench: Bench, out: Path, kind: str, draw: random.Random) -> list[str]:
    """Kill the main process, wait until its workers have ended, and continue."""
    process = bench.start(out, kind)
    workers: list[psutil.Process] = []
    if _wait_for(process, out, draw.randrange(1, bench.items - 4)):
        workers = psutil.Process(process.pid).children(recursive=True)
        process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(workers, timeout=30)
    again = bench.start(out, kind)
    stdout, stderr = again.communicate(timeout=300)
    if again.returncode or alive:
        return [f"{len(alive)} workers left, exit code {again.returncode}: {stderr[-300:]}"]
    made, already, failed = map(int, stdout.split())
    return [] if (made + already, failed) == (bench.items, 0) else [f"counted {stdout}"]


def in_a_cluster(check: Callable[[Callable[[], None], str], list[str]]) -> list[str]:
    """Call `check` with what kills and replaces a node of a cluster of two, and its address."""
    from sca.data.runs.cluster.ray_start import set_switches

    set_switches()
    from ray.cluster_utils import Cluster

    options = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "object_store_memory": 80 << 20}
    cluster = Cluster(initialize_head=True, head_node_args=options | {"include_dashboard": False})
    nodes = [cluster.add_node(**options)]

    def lose_a_node() -> None:
        node = nodes.pop()
        raylet = node.all_processes["raylet"][0].process
        raylet.kill()
        raylet.wait()
        cluster.remove_node(node, allow_graceful=False)
        nodes.append(cluster.add_node(**options))

    try:
        return check(lose_a_node, cluster.address)
    finally:
        cluster.shutdown()


def kill_nodes(folder: Path, items: int, seconds: float, times: int, draw: random.Random) -> dict[str, object]:
    """Kill a node of a Ray cluster of two in each of several runs."""

    def check(lose_a_node: Callable[[], None], address: str) -> list[str]:
        bench, wrong = Bench(folder, items, seconds, address), []
        for time_ in range(times):
            out = folder / f"node{time_}"
            process = bench.start(out, "ray")
            if _wait_for(process, out, draw.randrange(1, items - 4)):
                lose_a_node()
            stdout, stderr = process.communicate(timeout=300)
            if process.returncode or stdout.split() != [str(items), "0", "0"]:
                wrong.append(f"run {time_}: exit code {process.returncode}, counted {stdout.split()}: {stderr[-300:]}")
            wrong += [f"run {time_}: {name} differs" for name in bench.differences(out)]
            shutil.rmtree(out, ignore_errors=True)
        return wrong

    return {"case": "node", "runs": times, "wrong": in_a_cluster(check)}


def kill_processes(bench: Bench, what: str, kind: str, times: int, draw: random.Random) -> dict[str, object]:
    """Kill a worker, or the main process, in each of several runs."""
    wrong = []
    for time_ in range(times):
        out = bench.folder / f"{what}{time_}"
        try:
            problems = (kill_worker if what == "worker" else kill_main)(bench, out, kind, draw)
        except (psutil.NoSuchProcess, subprocess.TimeoutExpired) as error:
            problems = [repr(error)]
        problems += [f"{name} differs" for name in bench.differences(out)]
        wrong += [f"run {time_}: {problem}" for problem in problems]
        shutil.rmtree(out, ignore_errors=True)
    return {"case": what, "executor": kind, "runs": times, "wrong": wrong}


def tiny(bench: Bench, _: random.Random) -> dict[str, object]:
    """Do 10 000 items that take no time."""
    bench.items = 10_000
    begin = time.monotonic()
    process = bench.start(bench.folder / "tiny", "threads", seconds=0.0)
    stdout, stderr = process.communicate()
    wrong = [] if stdout.split() == ["10000", "0", "0"] else [stdout + stderr[-300:]]
    wrong += [] if len(list((bench.folder / "tiny").glob("i*"))) == bench.items else ["outputs are missing"]
    return {"case": "tiny", "items": bench.items, "seconds": round(time.monotonic() - begin, 1), "wrong": wrong}


def long_one(bench: Bench, _: random.Random) -> dict[str, object]:
    """Do one item that takes 60 times as long as each of the others; report how long workers wait at the end."""
    log = bench.folder / "long.log"
    process = bench.start(bench.folder / "long", log=str(log), long=180)
    _, stderr = process.communicate()
    spans: dict[str, list[tuple[float, float]]] = {}
    for line in log.read_text(encoding="utf-8").splitlines():
        pid, begin, end = line.split()
        spans.setdefault(pid, []).append((float(begin), float(end)))
    begin = min(first for own in spans.values() for first, _ in own)
    whole = max(last for own in spans.values() for _, last in own) - begin
    idle = [1 - sum(last - first for first, last in own) / whole for own in spans.values()]
    wrong = [f"a worker was idle for {share:.0%} of the run" for share in idle if share > 0.1]
    return {
        "case": "long",
        "idle": [round(share, 3) for share in idle],
        "wrong": wrong + ([stderr] if process.returncode else []),
    }


def starved(bench: Bench, _: random.Random) -> dict[str, object]:
    """Stop all processes of a run for nine tenths of the time."""
    out = bench.folder / "starved"
    process = bench.start(out, seconds=0.001)
    while process.poll() is None:
        for number, seconds in ((signal.SIGSTOP, 0.09), (signal.SIGCONT, 0.01)):
            try:
                for one in (psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)):
                    one.send_signal(number)
            except psutil.Error:
                continue
            time.sleep(seconds)
    return {"case": "starved", "wrong": bench.differences(out)}


def clock(bench: Bench, _: random.Random) -> dict[str, object]:
    """Run with a clock that jumps a day forward and back at every reading."""
    jump = "import time, itertools\nreal, turn = time.time, itertools.count()\n"
    jump += "time.time = lambda: real() + (86400 if next(turn) % 2 else -86400)\n"
    (bench.folder / "sitecustomize.py").write_text(jump, encoding="utf-8")
    out = bench.folder / "clock"
    bench.start(out).communicate()
    (bench.folder / "sitecustomize.py").unlink()
    return {"case": "clock", "wrong": bench.differences(out)}


def denied(bench: Bench, _: random.Random) -> dict[str, object]:
    """Write where it is refused: to a folder in the place of an output, and (EACCES) to a folder without permission."""
    wrong = []
    in_the_way, closed = bench.folder / "in-the-way", bench.folder / "closed"
    (in_the_way / "i00007").mkdir(parents=True)
    closed.mkdir(mode=0o555)
    for out, user in ((in_the_way, None), (closed, _without_rights)):
        process = bench.start(out, prepare=user)
        _, stderr = process.communicate()
        if process.returncode == 0 or (user is not None and "Permission denied" not in stderr):
            wrong.append(f"{out.name}: exit code {process.returncode}: {stderr[-200:]}")
    (in_the_way / "i00007").rmdir()
    closed.chmod(0o755)
    for out in (in_the_way, closed):
        bench.start(out).communicate()
        wrong += [f"{out.name}: {name}" for name in bench.differences(out)]
    return {"case": "denied", "wrong": wrong}


def _without_rights() -> None:
    """Let permissions hold for root too: without the capability CAP_DAC_OVERRIDE, see capabilities(7)."""
    if os.getuid() == 0 and ctypes.CDLL(None, use_errno=True).prctl(_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "CAP_DAC_OVERRIDE cannot be dropped")


def full(bench: Bench, _: random.Random) -> dict[str, object]:
    """Run where no file may become larger than half of an output; then continue without the limit."""
    out = bench.folder / "full"
    size = (bench.whole / "i00000").stat().st_size // 2

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that the write fails, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    process = bench.start(out, prepare=limit)
    process.communicate()
    wrong = ["the run without space ended well"] if process.returncode == 0 else []
    wrong += [f"{path.name} is left" for path in out.glob("i*")]
    bench.start(out).communicate()
    return {"case": "full", "wrong": wrong + bench.differences(out)}


def interrupt(
    bench: Bench, draw: random.Random, kinds: tuple[str, ...] = ("local", "threads", "ray")
) -> dict[str, object]:
    """Interrupt a run once, and in another run twice; it must end within 5 s, without processes, and continue."""
    wrong, ends_s = [], {}
    for kind in kinds:
        for presses in (1, 2):
            out = bench.folder / f"interrupt-{kind}-{presses}"
            process = bench.start(out, kind)
            _wait_for(process, out, draw.randrange(1, max(2, bench.items // 3)))
            children = psutil.Process(process.pid).children(recursive=True)
            begin = time.monotonic()
            for _ in range(presses):
                process.send_signal(signal.SIGINT)
                time.sleep(0.1)
            process.communicate()
            ends_s[f"{kind} {presses}"] = round(time.monotonic() - begin, 2)
            _, alive = psutil.wait_procs(children, timeout=5)
            if presses == 1 and process.returncode != 130:
                wrong.append(f"{kind}: exit code {process.returncode}")
            if alive:
                wrong.append(f"{kind}, {presses} times: {len(alive)} processes are left")
            bench.start(out, "threads").communicate()
            wrong += [f"{kind}, {presses} times: {name} differs" for name in bench.differences(out)]
    return {"case": "interrupt", "ends_s": ends_s, "wrong": wrong}


CASES = {
    "tiny": tiny,
    "long": long_one,
    "starved": starved,
    "clock": clock,
    "denied": denied,
    "full": full,
    "interrupt": interrupt,
}


def main() -> int:
    """Run what the command line names, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kill", nargs="*", choices=["worker", "main", "node"], default=[])
    parser.add_argument("--case", nargs="*", choices=list(CASES), default=[])
    parser.add_argument("--executor", choices=["local", "ray"], default="local", help="of the runs of --kill")
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--times", type=int, default=20, help="runs of each kind of --kill")
    parser.add_argument("--seconds", type=float, default=0.01, help="seconds of each of the 3 pieces of an item")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    draw = random.Random(given.seed)
    results = []
    for what in (*given.kill, *given.case):
        with tempfile.TemporaryDirectory(prefix="sca-chaos-") as folder:
            if what == "node":
                result = kill_nodes(Path(folder), given.items, given.seconds, given.times, draw)
            elif what in CASES:
                result = CASES[what](Bench(Path(folder), given.items, given.seconds), draw)
            else:
                bench = Bench(Path(folder), given.items, given.seconds)
                result = kill_processes(bench, what, given.executor, given.times, draw)
        results.append(result)
        print(result, flush=True)
    print(json.dumps({"items": given.items, "seed": given.seed, "results": results}))
    return 7 if any(result["wrong"] for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
