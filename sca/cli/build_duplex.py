"""`sca build-duplex`: a two-speaker corpus becomes a duplex data set."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sca.cli.shared.console import emit_json, out, say_notes
from sca.cli.shared.options import ConfigFile, Force, Jobs, Json, Preset, Quiet, SetValues, Speaker, settings_from
from sca.cli.shared.progress import audio_progress
from sca.data.corpora.base import CorpusFormat
from sca.errors import PartialFailure
from sca.textutil import counted

if TYPE_CHECKING:
    from sca.config import Settings
    from sca.data.duplex.build.dataset import BuildSummary

__all__ = ["build_duplex"]


class Mode(StrEnum):
    """What to make."""

    dataset = "dataset"
    script = "script"


def build_duplex(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="A corpus: a folder with WAV/ and TXT/, a folder of stereo recordings with transcripts, or a list "
            "(moshi-finetune, lhotse cuts, what sca transcribe writes).",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The folder to write the data set to.")],
    mode: Annotated[
        Mode, typer.Option(help="dataset: rows and audio. script: one JSON a transcript, with tokens, no audio.")
    ] = Mode.dataset,
    layout: Annotated[
        CorpusFormat,
        typer.Option("--format", help="The layout of INPUT (auto: by what is in it)."),
    ] = CorpusFormat.auto,
    audio_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where the recordings of an events file are (the folder of INPUT, and those in it).",
            show_default=False,
        ),
    ] = None,
    model_path: Annotated[
        str | None,
        typer.Option(
            help="Whose tokenizer: builtin:qwen (Qwen3-Omni's, no network), a hub id or a folder (builtin:qwen).",
            show_default=False,
        ),
    ] = None,
    lead: Annotated[
        int | None, typer.Option(help="Chunks before its sound a token is placed (1).", show_default=False)
    ] = None,
    window: Annotated[
        str | None, typer.Option(help="Seconds a row lasts, MIN-MAX (20-60), or session.", show_default=False)
    ] = None,
    on_lag: Annotated[
        str | None,
        typer.Option(
            help="Units that fall more than max_lag_chunks behind: keep or drop-unit (keep).", show_default=False
        ),
    ] = None,
    validation: Annotated[
        float | None,
        typer.Option(
            help="Share of the hours to keep apart as validation, no speaker on both sides (0).", show_default=False
        ),
    ] = None,
    align: Annotated[
        str | None,
        typer.Option(
            help="Word times that a corpus lacks: interpolate, whisper or ctc (interpolate).", show_default=False
        ),
    ] = None,
    align_model: Annotated[
        str | None,
        typer.Option(help="The model of --align: a Whisper size, a hub id or a folder.", show_default=False),
    ] = None,
    hold_id: Annotated[
        int | None,
        typer.Option(
            metavar="ID", help="Token in chunks without text while the speaker speaks on.", show_default=False
        ),
    ] = None,
    start_id: Annotated[
        int | None, typer.Option(metavar="ID", help="Token before what is said.", show_default=False)
    ] = None,
    stop_id: Annotated[
        int | None, typer.Option(metavar="ID", help="Token where what is said has ended.", show_default=False)
    ] = None,
    backchannel_id: Annotated[
        int | None, typer.Option(metavar="ID", help="Token before a nod, in place of --start-id.", show_default=False)
    ] = None,
    speaker: Speaker = None,
    on_bleed: Annotated[
        str | None,
        typer.Option(
            help="One speaker's voice in another's track: keep, gate (silence it) or drop the session (keep).",
            show_default=False,
        ),
    ] = None,
    codes: Annotated[
        str | None,
        typer.Option(
            help="Codec targets of who speaks: none or mimi, which needs sca[live] (none).", show_default=False
        ),
    ] = None,
    codes_model: Annotated[
        str | None, typer.Option(help="The codec of --codes: a hub id or a folder (kyutai/mimi).", show_default=False)
    ] = None,
    augment: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Training conversations again, N times, with other pauses and overlaps (0).",
            show_default=False,
        ),
    ] = None,
    audio_format: Annotated[
        str | None, typer.Option(help="flac (small) or pcm16 (read without decoding) (flac).", show_default=False)
    ] = None,
    preset: Preset = None,
    config: ConfigFile = None,
    set_values: SetValues = None,
    jobs: Jobs = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Turn a two-speaker corpus into a full-duplex training data set.

    Each row is a stretch of a conversation from one side: what the other one says is heard, what this one says is spoken, both on a
    0.32 s grid. A second run does only what is missing. Check the result with `sca verify`.
    """
    options = {
        "duplex.model_path": model_path,
        "duplex.lead_chunks": lead,
        "duplex.window": window,
        "duplex.on_lag": on_lag,
        "duplex.validation": validation,
        "duplex.align": align,
        "duplex.align_model": align_model,
        "duplex.hold_id": hold_id,
        "duplex.start_id": start_id,
        "duplex.stop_id": stop_id,
        "duplex.backchannel_id": backchannel_id,
        "duplex.speaker_model": speaker,
        "duplex.on_bleed": on_bleed,
        "duplex.codes": codes,
        "duplex.codes_model": codes_model,
        "augment.copies": augment,
        "duplex.audio_format": audio_format,
    }
    settings = settings_from(config, set_values, preset, options)
    if mode is Mode.script:
        _script(source, output, settings, json)
        return
    from sca.data.duplex.build.dataset import build_duplex as build

    with audio_progress("sessions", quiet=quiet) as progress:
        summary = build(
            source,
            output,
            settings,
            jobs=jobs or 0,
            force=force,
            layout=layout,
            audio_dir=audio_dir,
            on_start=progress.start,
            progress=progress.advance,
        )
    if not quiet:
        ends = [f"{s}: dropped: {why}" for s, why in summary.dropped]
        say_notes(ends + [f"{s}: failed: {why}" for s, why in summary.failed], " in ledger.jsonl")
        say_notes(summary.skipped + summary.notices, " in ledger.jsonl")
    if json:
        emit_json(_document(summary))
    else:
        _show(summary)
    if summary.failed:
        total = summary.kept + len(summary.dropped) + len(summary.failed)
        raise PartialFailure(
            f"{len(summary.failed)} of {counted(total, 'session')} failed",
            hint=f"the reasons are in {output / 'ledger.jsonl'}",
        )


def _script(source: Path, output: Path, settings: "Settings", json: bool) -> None:
    from sca.data.duplex.build.script import build_script

    summary = build_script(source, output, settings)
    say_notes(summary.skipped)
    if json:
        emit_json(
            {
                "files": summary.files,
                "events": summary.events,
                "tokens": summary.tokens,
                "skipped": summary.skipped,
                "output": str(output),
            }
        )
    else:
        out().print(
            f"{counted(summary.files, 'file')} with {counted(summary.events, 'event')} and "
            f"{counted(summary.tokens, 'token')} in {output}"
        )


def _document(summary: "BuildSummary") -> dict[str, Any]:
    report = summary.report.model_dump(mode="json")
    return {
        "output": str(summary.root),
        "built": summary.built,
        "failed": dict(summary.failed),
        "dropped": dict(summary.dropped),
        "skipped": summary.skipped,
        "notices": summary.notices,
        "report": report,
    }


def _show(summary: "BuildSummary") -> None:
    report, placement, coverage = summary.report, summary.report.placement, summary.report.coverage
    console = out()
    console.print(
        f"{counted(report.sessions.kept, 'session')}, {report.sessions.hours:.2f} h, "
        f"{counted(report.rows, 'row')} in {summary.root} "
        f"({summary.built} built now, {len(summary.dropped)} dropped, {len(summary.failed)} failed, "
        f"{counted(report.skipped, 'line or file', 'lines or files')} skipped)"
    )
    console.print(
        f"{coverage.words_in_rows} of {counted(coverage.words, 'word')}, {counted(placement.tokens, 'token')}, "
        f"{coverage.tokens_dropped} dropped; "
        f"token-time error {placement.mean_error_s:.3f} s mean, {placement.p95_error_s:.2f} s p95, "
        f"{placement.max_late_s:.2f} s latest"
    )
    console.print(f"prove it:  sca verify {summary.root}")
