"""The cells of the matrix: one command under one fault, at every step."""

import os
import pickle
import shutil
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scripts.faults.commands import Command
from scripts.faults.faults import AT_STEPS, StepFault
from scripts.faults.forks import Ended, import_what_it_needs, run_sca, serve_folder
from scripts.faults.power import PowerCuts
from scripts.faults.steps import Disk, Step
from scripts.faults.trees import Tree, differences, restore, stable, take

__all__ = ["FAULTS", "Cell", "Lab"]

FAULTS = (*AT_STEPS, "power cut", "link", "stranger")
_BUGS = ("Traceback (most recent call last)", "a bug in sca", "a bug of sca")
_STRANGER = b"this is not of sca\n"


@dataclass
class Cell:
    """What happened under one fault.

    Attributes:
        ok: Runs that finished, or finished when they were run again, with the bytes of an unbroken run.
        refused: Runs that ended with one clear line, and finished when the fault was gone.
        failed: What was wrong, one line per run.
    """

    ok: int = 0
    refused: int = 0
    failed: list[str] = field(default_factory=list)

    def add(self, ended: Ended, faults: Iterable[str], where: str) -> None:
        """Count one run."""
        faults = list(faults)
        if faults:
            self.failed.append(f"{where}: {'; '.join(faults)}")
        elif ended.code is not None and ended.code > 0:
            self.refused += 1
        else:
            self.ok += 1

    def text(self) -> str:
        """Return the cell of the table."""
        total = self.ok + self.refused + len(self.failed)
        if self.failed:
            return f"FAIL {len(self.failed)}/{total}"
        parts = [f"{count} {name}" for count, name in ((self.ok, "ok"), (self.refused, "refused")) if count]
        return ", ".join(parts) or "-"


class Lab:
    """A command with its inputs, its unbroken run, and a folder to break it in."""

    def __init__(self, command: Command, base: Path) -> None:
        """Prepare the inputs, and run the command without a fault, twice.

        Args:
            command: The command.
            base: An empty folder.

        Raises:
            RuntimeError: The command does not work without a fault.
        """
        self.command, self.base, self.work = command, base, base / "work"
        self.skip = frozenset({"in"})
        (self.work / "in").mkdir(parents=True)
        self._in_fork(lambda: command.prepare(self.work / "in"), "prepare")
        self._begin = take(self.work)
        self.others: dict[Path, bytes] = {}
        self._env = {"HOME": str(base / "home"), "TMPDIR": str(base / "tmp"), "SCA_CACHE_DIR": str(base / "cache")}
        self._url, self._server = serve_folder(self.work / "in") if command.served else ("", None)
        import_what_it_needs(self._words(), self.work, self._env)
        self.unbroken = self._expect()
        first = take(self.work, self.skip)
        restore(self.work, self._begin)
        self.steps = self._steps()
        hide = stable(first, self.tree())
        self._normal = lambda name, content: hide(name, command.normal(name, content))
        self.expected = first
        if command.change is not None:
            self._expect_changed(command.change)

    def _in_fork(self, work: Callable[[], None], name: str) -> None:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                work()
                code = 0
            finally:
                os._exit(code)
        if os.waitpid(child, 0)[1]:
            raise RuntimeError(f"{self.command.name}: cannot {name}")

    def _expect(self) -> Ended:
        ended = self.run()
        if ended.code != 0:
            raise RuntimeError(f"{self.command.name} without a fault: {ended.code}\n{ended.stdout}{ended.stderr}")
        return ended

    def _steps(self) -> list[Step]:
        disk = Disk(self.work, lambda step, half: None)
        ended = self.run(disk=disk, at_end=lambda: [(one.number, one.kind, one.path) for one in disk.steps])
        assert isinstance(ended.told, list), ended
        return [Step(*one) for one in ended.told]

    def _expect_changed(self, change: Callable[[Path], None]) -> None:
        restore(self.work, self._begin)
        self._in_fork(lambda: change(self.work / "in"), "change the inputs")
        after = take(self.work)
        changed = {name: text for name, text in after.items() if text != self._begin[name]}
        self.others = {self.work / name: text for name, text in changed.items() if isinstance(text, bytes)}
        self._expect()
        self.expected_of_others = self.tree()

    def run(
        self,
        *again: str,
        disk: Disk | None = None,
        at_end: Callable[[], object] = lambda: None,
    ) -> Ended:
        """Run the command once in the folder as it is now."""
        for name in ("home", "tmp"):
            shutil.rmtree(self.base / name, ignore_errors=True)
            (self.base / name).mkdir()

        def before() -> None:
            self.command.patch()
            if disk is not None:
                disk.install()

        return run_sca((*self._words(), *again), self.work, self._env, before=before, at_end=at_end)

    def _words(self) -> list[str]:
        return [word.replace("{url}", self._url) for word in self.command.words]

    def close(self) -> None:
        """End the server of the inputs, if there is one."""
        if self._server is not None:
            os.kill(self._server, signal.SIGKILL)
            os.waitpid(self._server, 0)

    def tree(self) -> Tree:
        """Return what the command wrote."""
        return take(self.work, self.skip)

    def reset(self, more: Mapping[str, bytes | str | None] | None = None) -> None:
        """Put the folder back to its state before the command, with more entries."""
        restore(self.work, {**self._begin, **(more or {})})

    # --- faults ---

    def cell(self, fault: str, every: int = 1) -> Cell:
        """Return what happens under a fault, at every step or at every `every`-th."""
        if fault == "power cut":
            return self._power_cuts(every)
        if fault == "link":
            return self._in_the_way(every, self._links)
        if fault == "stranger":
            return self._in_the_way(every, self._strangers)
        kind = AT_STEPS[fault]
        cell = Cell()
        if kind.needs_inputs and not self.others:
            return cell
        for step in [step for step in self.steps if kind.concerns(step)][::every]:
            self._break(kind, step, cell)
        return cell

    def _break(self, kind: StepFault, step: Step, cell: Cell) -> None:
        self.reset()
        ended = self.run(disk=Disk(self.work, kind.at(step.number, self.others)))
        faults = self._faults_of(ended, killed=kind.kills)
        expected = self.expected_of_others if kind.needs_inputs else self.expected
        if ended.code == 0 and not kind.needs_inputs:
            # A temporary file that could not be removed may stay until the next run.
            wrong = [one for one in self._wrong(expected) if not one.startswith("left over: ")]
            faults += [f"ended with 0, but {one}" for one in wrong]
        faults += self._continued(expected, over=self.command.over if kind.needs_inputs else ())
        cell.add(ended, faults, f"step {step.number} {step.kind} {step.path}")

    def _wrong(self, expected: Tree) -> list[str]:
        return differences(expected, self.tree(), self._normal)

    def _continued(self, expected: Tree, over: Sequence[str] = ()) -> list[str]:
        """Run the command again without a fault, and return what is wrong then.

        Args:
            expected: What there must be.
            over: Words of a third run, if the second one refuses.
        """
        ended = self.run(*self.command.again)
        if ended.code in (5, 7) and over:
            if faults := self._faults_of(ended):
                return faults
            ended = self.run(*over)
        if ended.code != 0:
            return [f"cannot go on ({ended.code}): {_last_line(ended)}"]
        return [f"after another run, {one}" for one in self._wrong(expected)]

    def _faults_of(self, ended: Ended, *, killed: bool = False) -> list[str]:
        """Return what is wrong with the end of a run under a fault."""
        if ended.code is None:
            return ["it hangs"]
        if killed:
            return [] if ended.code == -9 else [f"not killed, but ended with {ended.code}"]
        if ended.code < 0:
            return [f"ended by signal {-ended.code}"]
        told = ended.stderr + ended.stdout
        for name, content in self.tree().items():
            if name.endswith("ledger.jsonl") and isinstance(content, bytes):
                told += content.decode(errors="replace")
        if ended.code == 1 or any(bug in told for bug in _BUGS):
            return [f"told as a bug ({ended.code}): {_last_line(ended)}"]
        if ended.code != 0 and not ended.stderr.strip():
            return [f"ended with {ended.code} and no message"]
        return []

    def _power_cuts(self, every: int) -> Cell:
        store = self.base / "images"
        shutil.rmtree(store, ignore_errors=True)
        store.mkdir()
        self.reset()
        cuts = PowerCuts(self.work, store, self.skip)
        ended = self.run(disk=Disk(self.work, cuts), at_end=cuts.end)
        assert isinstance(ended.told, dict), ended
        cell = Cell()
        inputs = {name: content for name, content in self._begin.items() if name.split("/")[0] in self.skip}
        for key, places in [*ended.told.items()][::every]:
            image = dict(pickle.loads((store / key).read_bytes()))
            restore(self.work, {**inputs, **image})
            faults = self._continued(self.expected)
            number, loss = places[0]
            step = self.steps[number] if 0 <= number < len(self.steps) else None
            where = f"before step {number} {step.kind} {step.path}" if step is not None else "after the end"
            cell.add(Ended(0), faults, f"{loss} lost {where} ({len(places)} moments)")
        return cell

    def _in_the_way(self, every: int, places: Callable[[], list[tuple[str, Tree]]]) -> Cell:
        cell = Cell()
        for where, more in places()[::every]:
            theirs = {name: text for name, text in more.items() if isinstance(text, bytes | str)}
            self.reset(more)
            ended = self.run()
            faults = self._faults_of(ended)
            found = self.tree()
            for name, text in theirs.items():
                if (name.startswith("stranger/") or where.startswith("file")) and found.get(name) != text:
                    faults.append(f"changed {name}")
            faults += [f"wrote {n} through a link" for n in found if n.startswith("stranger/") and n not in more]
            cell.add(ended, faults, where)
        return cell

    def _outputs(self) -> list[str]:
        """Return every name that a run makes, also for a while, but the folder that the user named."""
        names = {step.path for step in self.steps if step.changes} | set(self.expected)
        known = {name for name in names if name.split("/")[0] not in self.skip and not name.endswith(" (deleted)")}
        return sorted(name for name in known if name not in ("out", "."))

    def _links(self) -> list[tuple[str, Tree]]:
        theirs: Tree = {"stranger": None, "stranger/file": _STRANGER, "stranger/folder": None}
        theirs["stranger/folder/file"] = _STRANGER
        made: list[tuple[str, Tree]] = []
        for name in self._outputs():
            up = "../" * name.count("/")
            is_folder = self.expected.get(name, b"") is None
            targets = ("stranger/folder",) if is_folder else ("stranger/file", "stranger/none")
            made += [(f"link {name} to {target}", {**theirs, name: f"{up}{target}"}) for target in targets]
        return made

    def _strangers(self) -> list[tuple[str, Tree]]:
        made: list[tuple[str, Tree]] = [
            ("file README.md of others in out", {"out": None, "out/README.md": _STRANGER, "out/notes.txt": _STRANGER})
        ]
        for name, content in self.expected.items():
            if isinstance(content, bytes) and name not in self.command.named:
                made.append((f"file {name} of others", {name: _STRANGER}))
        return made


def _last_line(ended: Ended) -> str:
    lines = [line for line in (ended.stderr or ended.stdout).splitlines() if line.strip()]
    return lines[-1][:200] if lines else "no message"
