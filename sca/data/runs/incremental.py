"""An incremental run: do what is missing of a list of items, record every item in a ledger, and summarize the run.

A command describes its items, how to recognize finished ones, and the work; this module does the rest: which items are
left, progress, the ledger, failures, the summary. Where the work is done is an argument, see
`sca.data.runs.executor.Executor`.

    run = IncrementalRun(Ledger(folder / "ledger.jsonl"), details, retry_failed=retry_failed, listener=listener)
    todo = run.plan(items, output_exists)
    run.execute(todo, work, record, executor=ProcessExecutor(jobs))
    run.settle()
    return run.summary
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Generic, TypeVar

from sca.data.runs.executor import Executor, UnexpectedError, WorkerDiedError, guarded, needs_model, prepare
from sca.data.runs.ledger import Ledger, LedgerEntry
from sca.data.runs.progress import NullProgress, ProgressListener
from sca.data.runs.shards import Shard, entries_of_shards, remove_shard_files
from sca.data.runs.summary import Outcome, RunSummary
from sca.errors import DamageError, InputError, OutputError, ScaError
from sca.textutil import one_line
from sca.urls.shown import with_urls

__all__ = [
    "NEEDED",
    "IncrementalRun",
    "Item",
    "damage_facts",
    "failure",
    "failure_reason",
    "longest_first",
    "with_traceback",
]

NEEDED = "needs_accept_damage_s"
"""What the ledger calls the limit that accepts a damaged recording."""
Job = TypeVar("Job")
Result = TypeVar("Result")
Details = TypeVar("Details")
Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True)
class Item(Generic[Job]):
    """One unit of work.

    Attributes:
        name: The name in the ledger.
        job: What the work function is called with.
        key: Hash of the item's content and the settings of the run; empty if only the work can compute it.
        audio_s: The expected length in seconds, 0 if unknown.
    """

    name: str
    job: Job
    key: str = ""
    audio_s: float = 0.0


def longest_first(items: Iterable[Item[Job]]) -> list[Item[Job]]:
    """Return items sorted by their expected length, so that no worker waits long for another one at the end."""
    return sorted(items, key=lambda item: -item.audio_s)


def failure(item: Item[Job], error: ScaError) -> Outcome:
    """Describe the failure of an item. It is marked as retryable unless the item's own input is at fault."""
    retryable = isinstance(error, OutputError) or not isinstance(error, InputError)
    extra = damage_facts(error)
    return Outcome(LedgerEntry(item.name, item.key, "failed", failure_reason(error), retryable, extra=extra))


def failure_reason(error: ScaError) -> str:
    """Return the reason of a failure in one line. That of a damaged recording has the option that accepts it."""
    hinted = isinstance(error, DamageError) and error.needed_s is not None
    # Ledgers are read on other machines too: paths of the cache of this one mean nothing there.
    return one_line(with_urls(f"{error.message} ({error.hint})" if hinted else error.message))


def damage_facts(error: ScaError) -> dict[str, object]:
    """Return what the ledger records of a damaged recording besides the reason: the limit that accepts it."""
    needed_s = error.needed_s if isinstance(error, DamageError) else None
    return {} if needed_s is None else {NEEDED: needed_s}


class IncrementalRun(Generic[Details]):
    """A run over items that are recorded in a ledger.

    The folder of the ledger must be locked (`lock_dir`) for the life of this object.

    Attributes:
        before: The ledger's entries at the start, by item.
        entries: The entries of this run, by item.
        summary: The counts so far.
    """

    def __init__(
        self,
        ledger: Ledger,
        details: Details,
        *,
        retry_failed: bool,
        listener: ProgressListener | None = None,
        accept_damage_s: float = 0.0,
        shard: Shard | None = None,
    ) -> None:
        """Read the ledger, and those of shards.

        Args:
            ledger: The ledger.
            details: What the command reports besides the counts.
            retry_failed: Whether to try items again that failed in an earlier run with the same key.
            listener: Receives the progress.
            accept_damage_s: Recordings that failed because of damage, and that this limit accepts, are tried again in
                any case.
            shard: The part of the items to do, see `mine`; None for all. A shard has a ledger of its own.
        """
        self._accept_damage_s, self._shard = accept_damage_s, shard
        self._whole = ledger.path
        self.before = ledger.entries()
        self.before.update(entries_of_shards(ledger.path))
        self.ledger = ledger if shard is None else Ledger(shard.file_of(ledger.path))
        self._own: set[str] = set() if shard is None else set(self.ledger.entries())
        self.entries: dict[str, LedgerEntry] = {}
        self.summary = RunSummary(details)
        self._retry_failed = retry_failed
        self._listener = listener or NullProgress()

    def plan(self, items: Iterable[Item[Job]], output_exists: Callable[[Item[Job]], bool]) -> list[Item[Job]]:
        """Count the items that need no work, and return the others.

        An item needs no work if the ledger has its key and its output exists, if it was dropped under its key, or if it
        failed before (see `leave_old_failure`).

        Args:
            items: All items of the run.
            output_exists: Whether the result of an item is there.
        """
        todo = []
        for item in items:
            before = self.before.get(item.name)
            known = before if before is not None and before.key == item.key else None
            if known is not None and (known.status == "dropped" or (known.status != "failed" and output_exists(item))):
                self.count(Outcome(known, made=False))
            elif not self.leave_old_failure(item.name, item.key):
                todo.append(item)
        return todo

    def leave_old_failure(self, name: str, key: str = "") -> bool:
        """Count an item as an old failure if it failed in an earlier run and is not to be tried again.

        Args:
            name: The name of the item.
            key: Its key. A failure with another key does not count; an empty key matches every key.

        Returns:
            Whether it was counted. If not, the item needs work.
        """
        before = self.before.get(name)
        if self._retry_failed or before is None or before.status != "failed":
            return False
        if key and before.key and key != before.key:
            return False
        if before.extra.get(NEEDED, math.inf) <= self._accept_damage_s:
            return False
        self.summary.old_failures += 1
        self.count(Outcome(before, made=False))
        return True

    def count(self, outcome: Outcome) -> None:
        """Count an item that needed no work. Its ledger entry is written by `settle`."""
        self.entries[outcome.entry.item] = outcome.entry
        self.summary.add(outcome)

    def mine(self, things: Iterable[Thing], name: Callable[[Thing], str]) -> list[Thing]:
        """Return what belongs to the shard; everything without a shard. A shard plans and executes nothing else.

        Args:
            things: What the run is about, before anything of it is read: a shard hashes only its own files.
            name: Returns the name of one, which must be the same in every shard.
        """
        return [thing for thing in things if self._shard is None or self._shard.takes(name(thing))]

    def record(self, outcome: Outcome) -> None:
        """Count an item that was worked on, and append its entry to the ledger."""
        self.count(outcome)
        self._own.add(outcome.entry.item)
        self.ledger.append(outcome.entry)

    def execute(
        self,
        items: Sequence[Item[Job]],
        work: Callable[[Job], Result],
        record: Callable[[Item[Job], Result], Outcome],
        *,
        executor: Executor,
        fail: Callable[[Item[Job], ScaError], Outcome] = failure,
        fatal: tuple[type[ScaError], ...] = (OutputError,),
        show_progress: bool = True,
    ) -> None:
        """Do the work of `items` and record every outcome. See `outcomes`."""
        for _ in self.outcomes(
            items, work, record, executor=executor, fail=fail, fatal=fatal, show_progress=show_progress
        ):
            pass

    def outcomes(
        self,
        items: Sequence[Item[Job]],
        work: Callable[[Job], Result],
        record: Callable[[Item[Job], Result], Outcome],
        *,
        executor: Executor,
        fail: Callable[[Item[Job], ScaError], Outcome] = failure,
        fatal: tuple[type[ScaError], ...] = (OutputError,),
        show_progress: bool = True,
    ) -> Iterator[Outcome]:
        """Do the work of `items`, and yield every outcome after it was recorded.

        An exception that `work` raises is the failure of its item and does not end the run, except for `fatal` ones.
        The ledger entry has the traceback of an unexpected one.

        Args:
            items: The items to do, in the order in which they are begun (`longest_first`).
            work: Does one job. It runs where the executor runs it, see `Executor.run`.
            record: Makes a result durable, in this thread, before the ledger has the item; returns the outcome.
            executor: Where the work is done.
            fail: Describes the failure of an item.
            fatal: Errors that end the run. A worker process that died and an unexpected exception never do.
            show_progress: Whether the listener gets these items; not for a second stage of the run.
        """
        listener = self._listener if show_progress else NullProgress()
        audio_s = sum(item.audio_s for item in items)
        listener.on_start(self.summary.total + len(items), len(items), audio_s)
        guarded_work = _GuardedModel(work) if needs_model(work) else partial(_work_on, work)
        with closing(executor.run(items, guarded_work)) as results:
            for item, result in results:
                if not isinstance(result, ScaError):
                    outcome = record(item, result)
                elif isinstance(result, fatal) and not isinstance(result, WorkerDiedError | UnexpectedError):
                    raise result
                else:
                    outcome = with_traceback(fail(item, result), result)
                self.record(outcome)
                listener.on_item_end(outcome)
                yield outcome

    def settle(self, *, keep_others: bool = True) -> None:
        """Rewrite the ledger with the last entry of every item, sorted. A whole run takes the place of its shards.

        Interrupted and uninterrupted runs leave the same bytes.

        Args:
            keep_others: Whether entries of items that are not part of this run stay in the ledger.
        """
        if self._shard is not None:
            self.ledger.settle(self.entries[name] if name in self.entries else self.before[name] for name in self._own)
        else:
            others = (name for name in self.before if name not in self.entries) if keep_others else ()
            self.ledger.settle(chain(map(self.before.__getitem__, others), self.entries.values()))
            remove_shard_files(self._whole)
        self.summary.failed.sort()
        self.summary.dropped.sort()


def _work_on(work: Callable[[Job], Result], item: Item[Job]) -> Result:
    return guarded(work, item.job)


class _GuardedModel(Generic[Job, Result]):
    """`_work_on` for work with a model, see `ModelWork`."""

    def __init__(self, work: Callable[[Job], Result]) -> None:
        self._work = work

    def load(self) -> None:
        """Load the models, see `ModelWork.load`."""
        prepare(self._work)

    def __call__(self, item: Item[Job]) -> Result:
        return guarded(self._work, item.job)


def with_traceback(outcome: Outcome, error: ScaError) -> Outcome:
    """Return the outcome of an item that failed, with the traceback of an unexpected error in its ledger entry."""
    if not isinstance(error, UnexpectedError):
        return outcome
    entry = outcome.entry
    return replace(outcome, entry=replace(entry, extra=entry.extra | {"traceback": error.traceback}))
