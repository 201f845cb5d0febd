"""`sca synth`: conversations with exact truth, from scripts and synthetic voices."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.executor.options import ANYWHERE, place_of, show_shard, submitted
from sca.cli.shared.console import emit_json, print_line, print_notes
from sca.cli.shared.options import MAX_COUNT, Force, Jobs, Json, Quiet, RetryFailed
from sca.cli.shared.progress import audio_progress
from sca.cli.shared.settings_options import settings_options
from sca.errors import InputError, PartialFailure, UsageError
from sca.textutil import command_line, counted, one_line

if TYPE_CHECKING:
    from sca.config import Settings
    from sca.data.runs.summary import RunSummary
    from sca.synth.run import SynthDetails
    from sca.synth.script import Script

__all__ = ["synth"]

_TEMPERATURE = 0.8
"""Of a language model that writes scripts, unless the settings have one: at 0 all scripts would be alike."""
_TOKENS_A_TURN = 60


@settings_options(
    "synth.voices",
    "synth.timing",
    "synth.interruptions",
    "synth.backchannels",
    "synth.room",
    "synth.bleed_db",
    "synth.snr_db",
    "synth.codec",
    "synth.rate_hz",
    "synth.stereo",
    "synth.seed",
    "llm.base_url",
    "llm.model",
    "synth.script_turns",
    *ANYWHERE,
)
def synth(
    scripts: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[SCRIPT…]", help="Scripts: JSON lines with speaker and text.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Folder to write to.", show_default=False)
    ] = None,
    *,
    shipped: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A script that ships with sca, or all; may be repeated.", show_default=False),
    ] = None,
    list_shipped: Annotated[bool, typer.Option("--list", help="List the scripts that ship with sca.")] = False,
    topic: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Topic of scripts that a language model writes.", show_default=False),
    ] = None,
    personas: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Descriptions of the speakers, for the language model.", show_default=False),
    ] = None,
    conversations: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MAX_COUNT,
            metavar="N",
            help="Number of conversations; not set: one of each script.",
            show_default=False,
        ),
    ] = None,
    hours: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            max=1e5,
            metavar="H",
            help="Hours of conversation, instead of --conversations.",
            show_default=False,
        ),
    ] = None,
    settings: "Settings",
    jobs: Jobs = None,
    retry_failed: RetryFailed = True,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Speak scripts as two-speaker conversations with exact word times and labels.

    Two voices speak; the result is a corpus for sca build-duplex. A second run makes only what is missing, with the same bytes.
    """
    if list_shipped:
        _list(json=json)
        return
    if output is None:
        raise UsageError("--output is missing", hint="sca synth --shipped cafe -o talk")
    if conversations is not None and hours is not None:
        raise UsageError("--conversations and --hours exclude each other")
    if settings.executor.in_shards and (topic is not None or hours is not None):
        raise UsageError(
            f"{'--hours' if topic is None else '--topic'} has no shards", hint="give scripts and --conversations"
        )
    if submitted(settings, json=json):
        return
    from sca.synth.run import synthesize

    found, unreadable = _scripts(scripts or [], shipped or [])
    if topic is not None:
        found += _written(topic, personas, output, conversations or 1, settings)
    with place_of(settings, jobs) as place, audio_progress("conversations", quiet=quiet) as progress:
        summary = synthesize(
            found,
            output,
            settings.synth,
            unreadable=unreadable,
            conversations=conversations,
            hours=hours,
            jobs=jobs or 0,
            force=force,
            retry_failed=retry_failed,
            listener=progress,
            executor=place.executor,
            shard=place.shard,
        )
    if place.shard is not None:
        show_shard(summary, place, json=json, quiet=quiet)
        return
    _report(summary, json=json, quiet=quiet)


def _scripts(paths: list[Path], names: list[str]) -> "tuple[list[Script], dict[str, InputError]]":
    """Return the scripts, and the errors of the files that are not scripts. If no script is left, the first one is raised."""
    from sca.synth.script import read_script, shipped_names, shipped_script

    wanted = [name for given in names for name in (shipped_names() if given == "all" else [given])]
    found, unreadable = [shipped_script(name) for name in wanted], {}
    for path in paths:
        try:
            found.append(read_script(path))
        except InputError as error:
            unreadable[one_line(str(path))] = error
    if unreadable and not found:
        raise next(iter(unreadable.values()))
    return found, unreadable


def _written(topic: str, personas: str | None, output: Path, count: int, settings: "Settings") -> "list[Script]":
    from sca.infer.language.registry import load_language_model
    from sca.synth.writer import Request, write_scripts

    llm, turns = settings.llm, settings.synth.script_turns
    changed: dict[str, object] = {"max_tokens": max(llm.max_tokens, _TOKENS_A_TURN * turns)}
    if settings.origin("llm.temperature") == "default":
        changed["temperature"] = _TEMPERATURE
    model = load_language_model(llm.model_copy(update=changed), settings.paths.resolved_cache_dir)
    try:
        request = Request(topic, personas, turns, llm.model or "")
        return write_scripts(output, count, request, model, settings.synth.script_attempts)
    finally:
        model.close()


def _list(*, json: bool) -> None:
    from sca.synth.script import shipped_names, shipped_script

    scripts = [shipped_script(name) for name in shipped_names()]
    if json:
        emit_json(
            [{"name": script.name, "speakers": script.speakers, "turns": len(script.turns)} for script in scripts],
            "list",
        )
        return
    for script in scripts:
        text = f"{script.name:<14} {len(script.turns):>3} turns  {' and '.join(script.speakers)}"
        print_line(text)


def _report(summary: "RunSummary[SynthDetails]", *, json: bool, quiet: bool) -> None:
    details = summary.details
    if json:
        emit_json(
            {
                "output": str(details.root),
                "timing": details.timing.name,
                "made": summary.made,
                "already": summary.already,
                "others": details.others,
                "audio_s": round(details.audio_s, 3),
                "words": details.words,
                "turns": details.turns,
                "failed": dict(summary.failed),
            }
        )
    elif not quiet:
        kinds = ", ".join(counted(count, kind) for kind, count in sorted(details.turns.items()))
        print_line(
            f"{counted(summary.made + summary.already, 'conversation')} ({summary.made} made now), "
            f"{details.audio_s / 3600:.2f} h, {counted(details.words, 'word')} in {details.root}"
        )
        print_line(kinds)
        if details.others:
            print_line(f"{counted(details.others, 'more conversation')} of earlier runs in the folder")
        print_line(f"build it:  {command_line('build-duplex', details.root, '-o', 'my_data')}")
    if summary.failed:
        if not quiet:
            print_notes([f"{name}: failed: {reason}" for name, reason in summary.failed], " in ledger.jsonl")
        name, reason = summary.failed[0]
        kind = InputError if len(summary.failed) == summary.total else PartialFailure
        raise kind(f"{len(summary.failed)} of {counted(summary.total, 'item')} failed; {name}: {reason}")
