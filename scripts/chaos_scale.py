"""Kill workers, the main process and nodes of Ray at random moments of a run, and compare with an unbroken run.

    python scripts/chaos_scale.py --kill worker main node --times 20 --items 200

Each run is killed once, at a random moment, and continued by the same command. Its outputs must be those of an unbroken run, byte
for byte, with one line per item in the ledger. `--case` shows other conditions: `tiny` (10 000 items), `long` (one long item among
short ones: the idle time of each worker), `starved` (SIGSTOP for nine tenths of the time), `clock` (the clock jumps), `denied` (a
folder without permission), `interrupt` (Ctrl-C once and twice). The last line is one JSON document; the exit code is 7 if
something differs.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
WORK = '''
import os, sys, time
from functools import partial
from pathlib import Path

from sca.data.runs.files import atomic_write
from sca.data.runs.incremental import IncrementalRun, Item
from sca.data.runs.ledger import Ledger, LedgerEntry, lock_dir
from sca.data.runs.local import ProcessExecutor
from sca.data.runs.summary import Outcome


def work(job, out, seconds, log):
    """Write the output of an item in pieces, slowly."""
    name, size = job
    begin = time.time()
    with atomic_write(Path(out, name)) as temporary, temporary.open("wb") as file:
        for piece in range(size):
            file.write(f"{name} {piece}\\n".encode() * 50)
            file.flush()
            time.sleep(seconds)
    if log:
        with open(log, "a") as lines:
            lines.write(f"{os.getpid()} {begin} {time.time()}\\n")
    return name


def record(item, name):
    return Outcome(LedgerEntry(item.name, item.key, "kept"), 1.0)


def main(out, items, seconds, executor, log="", long=0):
    """Make the missing items of a run; the item 0 is `long` times as long as the others."""
    out = Path(out)
    items = [
        Item(f"i{n:05}", (f"i{n:05}", long if long and not n else 3), f"key {n}", float(long if long and not n else 3))
        for n in range(int(items))
    ]
    with lock_dir(out):
        run = IncrementalRun(Ledger(out / "ledger.jsonl"), None, retry_failed=True)
        todo = run.plan(items, lambda item: (out / item.name).exists())
        run.execute(todo, partial(work, out=str(out), seconds=float(seconds), log=log), record, executor=executor)
        run.settle()
    print(run.summary.made, run.summary.already, len(run.summary.failed), flush=True)
    return run.summary
'''
RUN = """
import sys
sys.path.insert(0, sys.argv[1])
from chaos_work import main
from sca.data.runs.local import ProcessExecutor, ThreadExecutor
kind, address, out, items, seconds, log, long = sys.argv[2:]
if kind == "ray":
    from sca.data.runs.cluster.ray import RayExecutor
    executor = RayExecutor(address or None, workers=2)
elif kind == "threads":
    executor = ThreadExecutor(2)
else:
    executor = ProcessExecutor(2)
if __name__ == "__main__":
    try:
        main(out, items, seconds, executor, log, int(long))
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
        (folder / "chaos_work.py").write_text(WORK, encoding="utf-8")
        (folder / "run.py").write_text(RUN, encoding="utf-8")
        self.whole = folder / "whole"
        assert self.start(self.whole, seconds=0.0).wait() == 0
        self.took_s = 0.0

    def start(
        self, out: Path, kind: str = "local", *, seconds: float | None = None, log: str = "", long: int = 0
    ) -> subprocess.Popen[str]:
        """Start a run."""
        given = self.seconds if seconds is None else seconds
        words = [self.folder, kind, self.address, out, self.items, given, log, long]
        path = os.pathsep.join([str(self.folder), str(ROOT), os.environ.get("PYTHONPATH", "")])
        return subprocess.Popen(
            [sys.executable, str(self.folder / "run.py"), *map(str, words)],
            env=os.environ | {"PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_with_interrupts,
        )

    def differences(self, out: Path) -> list[str]:
        """Return what differs from the unbroken run: content, files too much, files that are missing."""
        found, wanted = _files(out), _files(self.whole)
        return sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))


def _with_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for programs in the background


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
