"""Make a corpus of synthetic conversations: seeded, resumable, with a ledger; the same bytes in every run."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType

from sca.config import SynthConfig
from sca.data.runs.executor import Executor
from sca.data.runs.files import read_json, write_json
from sca.data.runs.incremental import IncrementalRun, Item, failure, longest_first
from sca.data.runs.ledger import Ledger, LedgerEntry
from sca.data.runs.local import ProcessExecutor
from sca.data.runs.owner import SYNTH, hold
from sca.data.runs.progress import ProgressListener
from sca.data.runs.shards import Shard, setting_up
from sca.data.runs.summary import Outcome, RunSummary
from sca.distribution import __version__
from sca.errors import InputError, OutputError, UsageError, writing
from sca.synth.conversation import make_conversation
from sca.synth.layout import is_written, remove_conversation, remove_cut_off, write_conversation
from sca.synth.measure import find_timing
from sca.synth.script import Script
from sca.synth.timing import Timing
from sca.synth.voices import Voices, parse_voices

__all__ = ["SynthDetails", "synthesize"]

_LEDGER = "ledger.jsonl"
_WORDS_A_S = 2.5
"""Words per second of conversation, to estimate how many conversations make an hour."""


@dataclass(slots=True)
class SynthDetails:
    """What a run made.

    Attributes:
        root: The folder of the corpus.
        timing: The distributions.
        words: Words of the finished conversations.
        turns: Their turns by kind.
        audio_s: Their length in seconds.
        others: Finished conversations in the folder that an earlier run made, and that this one was not to make.
    """

    root: Path
    timing: Timing
    words: int = 0
    turns: dict[str, int] = field(default_factory=dict)
    audio_s: float = 0.0
    others: int = 0


@dataclass(frozen=True, slots=True)
class _Job:
    """One conversation to make."""

    root: Path
    session: str
    number: int
    script: Script
    settings: SynthConfig
    timing: Timing


def synthesize(
    scripts: Sequence[Script],
    root: Path,
    settings: SynthConfig,
    *,
    unreadable: Mapping[str, InputError] = MappingProxyType({}),
    conversations: int | None = None,
    hours: float | None = None,
    jobs: int = 0,
    force: bool = False,
    retry_failed: bool = True,
    executor: Executor | None = None,
    shard: Shard | None = None,
    listener: ProgressListener | None = None,
) -> RunSummary[SynthDetails]:
    """Speak scripts, one after the other and again from the first, until there are enough conversations.

    Args:
        scripts: The scripts, at least one.
        root: The folder of the corpus.
        settings: Voices, timing, seed, sound.
        unreadable: Files that are not scripts, with their errors: they are failed items of the run.
        conversations: How many conversations; None is one of each script.
        hours: Or how many hours of conversation, at least.
        jobs: Worker processes; 0 is one per core.
        force: Replace conversations that other settings made.
        retry_failed: Whether to try conversations again that failed in an earlier run.
        executor: Where the work is done; by default in `jobs` processes.
        shard: The part of the items to do; None for all, and what joins them.
        listener: Receives the progress.

    Returns:
        The summary. Conversations that failed are in it and do not end the run.

    Raises:
        UsageError: A voice or a timing does not exist, or a shard has `hours`.
        InputError: The corpus to measure cannot be read.
        OutputError: The folder has other files in it, or a corpus of other settings.
        MissingToolError: An engine needs something that is not installed.
    """
    if not scripts:
        raise UsageError("there is no script", hint="give a script, or --shipped NAME")
    if shard is not None and hours is not None:  # how many are enough depends on the lengths of all
        raise UsageError("shards need --conversations, not --hours", hint="give the number of conversations")
    timing = find_timing(settings.timing)
    _check_voices(settings)
    with hold(root, SYNTH, shard):
        with setting_up(root, shard):
            _claim(root, scripts, settings, timing, force=force)
        details = SynthDetails(root, timing)
        run = IncrementalRun(Ledger(root / _LEDGER), details, retry_failed=retry_failed, listener=listener, shard=shard)
        executor = executor or ProcessExecutor(jobs)
        for name, error in unreadable.items():
            run.count(failure(Item(name, None), error))

        def make(first: int, count: int) -> None:
            items = [_item(root, first + at, scripts, settings, timing) for at in range(count)]
            items = run.mine(items, lambda item: item.name)
            todo = run.plan(items, lambda item: is_written(root, item.name, stereo=settings.stereo))
            run.execute(longest_first(todo), _work, _record, executor=executor)

        if hours is None:
            make(0, len(scripts) if conversations is None else conversations)
        else:
            _until(hours * 3600, scripts, make, run)
        run.settle()
        if shard is None:
            _clear(root, run)
        _add_totals(run)
        return run.summary


def _check_voices(settings: SynthConfig) -> None:
    """Raise the error of a voice that cannot be used before any work is done."""
    with Voices(settings.rate_hz) as voices:
        for name in parse_voices(settings.voices):
            voices.open(name)


def _claim(root: Path, scripts: Sequence[Script], settings: SynthConfig, timing: Timing, *, force: bool) -> None:
    """Record what the folder contains; conversations of other settings are deleted with `force`."""
    claim = {
        "sca_version": __version__,
        "settings": _sound_of(settings),
        "timing": repr(timing),
        "scripts": [[script.name, script.sha256] for script in scripts],
    }
    path = root / SYNTH.marker
    found = read_json(path) if path.is_file() else None
    if found == claim:
        return
    if found is not None:
        changed = next(
            (key for key in ("settings", "timing", "scripts") if found.get(key) != claim[key]), "sca_version"
        )
        if not force:
            raise OutputError(
                f"{root} has conversations with other {changed.replace('sca_version', 'versions of sca')}",
                hint="give another folder, or --force to replace them",
            )
        for entry in Ledger(root / _LEDGER).entries().values():
            remove_conversation(root, entry.item)
        (root / _LEDGER).unlink(missing_ok=True)
    write_json(path, claim)


def _item(root: Path, number: int, scripts: Sequence[Script], settings: SynthConfig, timing: Timing) -> Item[_Job]:
    script = scripts[number % len(scripts)]
    session = f"S{number + 1:05d}-{script.name}"
    identity = f"{number}\n{script.sha256}\n{json.dumps(_sound_of(settings))}\n{timing!r}"
    key = sha256(identity.encode()).hexdigest()
    return Item(session, _Job(root, session, number, script, settings, timing), key, _estimate_s(script))


def _sound_of(settings: SynthConfig) -> dict[str, object]:
    """Return the settings that change conversations: not those of the language model, which wrote a script."""
    return {name: value for name, value in settings.model_dump(mode="json").items() if not name.startswith("script_")}


def _estimate_s(script: Script) -> float:
    return sum(len(turn.text.split()) for turn in script.turns) / _WORDS_A_S


def _until(
    seconds: float, scripts: Sequence[Script], make: Callable[[int, int], None], run: IncrementalRun[SynthDetails]
) -> None:
    """Make conversations until they last `seconds`. How many depends on their lengths alone, not on the run."""
    mean_s = sum(map(_estimate_s, scripts)) / len(scripts)
    done, made_s = 0, 0.0
    while made_s < seconds:
        count = max(math.ceil((seconds - made_s) / mean_s), 1)
        make(done, count)
        done += count
        total_s = sum(_facts(entry, "seconds") for entry in run.entries.values())
        if total_s <= made_s:
            return  # all of them failed
        made_s, mean_s = total_s, total_s / done


def _work(job: _Job) -> tuple[str, float, int, dict[str, int]]:
    """Make and write one conversation; return its key's facts: seconds, words and turns by kind."""
    conversation = make_conversation(job.script, job.settings, job.timing, job.number)
    made: dict[str, object] = {
        "number": job.number,
        "seed": job.settings.seed,
        "timing": job.timing.name,
        "sca_version": __version__,
        **job.settings.model_dump(include={"room", "bleed_db", "snr_db", "codec", "stereo"}),
    }
    write_conversation(job.root, job.session, conversation, made)
    kinds: dict[str, int] = {}
    for event in conversation.events:
        kinds[event.kind.value] = kinds.get(event.kind.value, 0) + 1
    words = sum(len(event.words) for event in conversation.events)
    return job.session, len(conversation.tracks[0]) / conversation.rate_hz, words, kinds


def _record(item: Item[_Job], result: tuple[str, float, int, dict[str, int]]) -> Outcome:
    _, seconds, words, kinds = result
    extra = {"seconds": round(seconds, 6), "words": words, "turns": dict(sorted(kinds.items()))}
    return Outcome(LedgerEntry(item.name, item.key, "kept", extra=extra), seconds)


def _facts(entry: LedgerEntry, name: str) -> float:
    return float(entry.extra.get(name, 0.0)) if entry.status == "kept" else 0.0


def _clear(root: Path, run: IncrementalRun[SynthDetails]) -> None:
    """Remove what is left of conversations that were not finished, and count those that earlier runs finished."""
    finished = {name for name, entry in run.ledger.entries().items() if entry.status == "kept"}
    with writing(root):
        remove_cut_off(root, finished)
    run.summary.details.others = len(finished - run.entries.keys())


def _add_totals(run: IncrementalRun[SynthDetails]) -> None:
    details = run.summary.details
    for entry in run.entries.values():
        details.audio_s += _facts(entry, "seconds")
        details.words += int(_facts(entry, "words"))
        for kind, count in entry.extra.get("turns", {}).items():
            details.turns[kind] = details.turns.get(kind, 0) + count
