"""What has been done of a recipe: `.sca/run.json` in its folder, and a ledger with one line per stage."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from sca.data.runs.files import read_json, write_json
from sca.data.runs.ledger import Ledger, LedgerEntry
from sca.data.runs.owner import owner_of
from sca.errors import InputError, OutputError, writing
from sca.files.locks import HeldError, locked
from sca.recipes.plan import Plan, PlannedStage
from sca.urls.address import is_url
from sca.urls.shown import with_urls

__all__ = ["DONE", "FAILED", "PARTIAL", "STARTED", "RunState", "inputs_print"]

DONE, PARTIAL, FAILED, STARTED = "kept", "partial", "failed", "started"
"""Statuses in the ledger: finished; finished with failed items; failed; begun and not ended."""

_RECORD = Path(".sca") / "run.json"
_LEDGER = Path(".sca") / "run.jsonl"
_LOCK = Path(".sca") / "run.lock"
_HASHED_BYTES = 4_000_000
_HASHED = (".json", ".jsonl", ".toml", ".txt")


@dataclass(frozen=True, slots=True)
class RunState:
    """The state of a recipe in its folder.

    Attributes:
        plan: The recipe.
    """

    plan: Plan

    @property
    def ledger(self) -> Ledger:
        """The ledger, an entry per stage."""
        return Ledger(self.plan.folder / _LEDGER)

    def entries(self) -> Mapping[str, LedgerEntry]:
        """Return the last entry of each stage.

        Raises:
            InputError: The ledger cannot be read.
        """
        return self.ledger.entries()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder for one run, and make it if it does not exist.

        Raises:
            InputError: Another run holds it.
            OutputError: It belongs to another recipe or command, or cannot be written to.
        """
        self.check_folder()
        folder = self.plan.folder
        with writing(folder):
            (folder / _LOCK).parent.mkdir(parents=True, exist_ok=True)
        try:
            with locked(folder / _LOCK):
                self.check_folder()
                yield
        except HeldError as error:
            hint = "wait for it, or give another folder with --output"
            raise InputError(f"another sca run is at work in {folder}", hint=hint) from error

    def check_folder(self) -> None:
        """Check that the folder is free or has this recipe in it.

        Raises:
            OutputError: It has another recipe, or is the output of another command.
        """
        folder = self.plan.folder
        hint = "give another folder with --output"
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"{folder} is not a folder", hint=hint)
        if (folder / _RECORD.parent).is_symlink():
            raise OutputError(
                f"{folder / _RECORD.parent} is a link", hint="remove it, or give another folder with --output"
            )
        owner = owner_of(folder)
        if owner is not None:
            raise OutputError(f"{folder} has other files in it: those of {owner.command}", hint=hint)
        if (folder / _RECORD).is_file():
            record = read_json(folder / _RECORD)
            name = record.get("recipe") if isinstance(record, dict) else None
            if name != self.plan.head.name:
                raise OutputError(f"{folder} has the recipe {name} in it, not {self.plan.head.name}", hint=hint)

    def write_record(self) -> None:
        """Write `run.json`, from which `sca status` reads the stages and their outputs."""
        stages = [
            {"name": stage.name, "command": stage.command, "output": self._noted(stage.output)}
            for stage in self.plan.stages
        ]
        record = {
            "recipe": self.plan.head.name,
            "source": self.plan.source.name,
            "variables": dict(self.plan.variables),
            "stages": stages,
        }
        path = self.plan.folder / _RECORD
        if not path.is_file() or read_json(path) != record:
            write_json(path, record)

    def _noted(self, output: str | None) -> str | None:
        """Return an output as `run.json` has it: relative to the folder if it is in it, so that the folder can be moved."""
        if output is None or is_url(output):
            return output
        folder, path = self.plan.folder.absolute(), Path(output).absolute()
        return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else output

    def is_done(self, stage: PlannedStage, entries: Mapping[str, LedgerEntry]) -> bool:
        """Return whether a stage has ended well with the same words, and its inputs and its output are still there."""
        entry = entries.get(stage.name)
        if entry is None or entry.status != DONE or entry.key != stage.key:
            return False
        if stage.output is not None and not is_url(stage.output) and not Path(stage.output).exists():
            return False
        return bool(entry.extra.get("inputs") == inputs_print(stage.inputs))

    def record(self, stage: PlannedStage, status: str, reason: str | None = None, **extra: Any) -> None:
        """Append the state of a stage to the ledger."""
        self.ledger.append(LedgerEntry(stage.name, stage.key, status, reason, extra=extra))

    def settle(self) -> None:
        """Leave one line per stage of the recipe in the ledger."""
        names = {stage.name for stage in self.plan.stages}
        entries = self.entries()
        self.ledger.settle(entry for name, entry in entries.items() if name in names)


def inputs_print(places: Iterable[str]) -> str:
    """Return a hash of the state of inputs: names, sizes and times of files, and the content of small lists.

    Hidden files and folders do not count, nor does what an address names. The times of lists such as `ledger.jsonl` do not
    count, because a run that does nothing writes them again.
    """
    digest = sha256()
    for place in places:
        digest.update(f"{with_urls(place)}\0".encode(errors="surrogateescape"))
        if is_url(place):
            continue
        for line in _states(Path(place)):
            digest.update(f"{line}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _states(path: Path) -> Iterator[str]:
    try:
        if not path.is_dir():
            yield _state(path, path.name, content=True)
            return
        for folder, folders, files in os.walk(path):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for file in (Path(folder, name) for name in sorted(files) if not name.startswith(".")):
                yield _state(file, str(file.relative_to(path)), content=file.parent == path)
    except OSError as error:
        yield f"{type(error).__name__} {error.errno}"


def _state(path: Path, name: str, *, content: bool) -> str:
    try:
        stat = path.stat()
        if content and path.suffix in _HASHED and stat.st_size <= _HASHED_BYTES:
            return f"{name} {sha256(path.read_bytes()).hexdigest()}"
    except FileNotFoundError:
        return f"{name} missing"
    return f"{name} {stat.st_size} {stat.st_mtime_ns}"
