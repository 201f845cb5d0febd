"""`sca build-duplex`: turn a two-speaker corpus into a duplex data set."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.executor.options import ANYWHERE, place_of, show_shard, submitted
from sca.cli.shared.console import emit_json, out, print_line, print_note, print_notes
from sca.cli.shared.hub import Hub
from sca.cli.shared.options import AudioDir, CorpusLayout, Force, Jobs, Json, Quiet, RetryFailed
from sca.cli.shared.progress import audio_progress
from sca.cli.shared.settings_options import settings_options
from sca.cli.shared.verification import show_findings
from sca.errors import PartialFailure, UsageError
from sca.textutil import command_line, counted

if TYPE_CHECKING:
    from sca.config import Settings
    from sca.data.duplex.build.dataset import BuildDetails
    from sca.data.runs.summary import RunSummary

__all__ = ["build_duplex"]

_MAX_TAGS = 5  # that many kinds of tags are printed


class Mode(StrEnum):
    """The kind of output."""

    dataset = "dataset"
    script = "script"


_OUTPUTS = {Mode.dataset: Path("dataset/duplex"), Mode.script: Path("dataset/parsed_json")}


@settings_options(
    "duplex.model_path",
    "duplex.text_tokens_per_chunk",
    "duplex.lead_chunks",
    "duplex.window",
    "duplex.on_lag",
    "duplex.unlabelled_speech",
    "duplex.others",
    "diarization.separate",
    "duplex.validation",
    "duplex.tags",
    "duplex.align",
    "duplex.align_model",
    "word_times.profile",
    "duplex.hold_id",
    "duplex.start_id",
    "duplex.stop_id",
    "duplex.backchannel_id",
    "duplex.speaker_model",
    "duplex.on_bleed",
    "duplex.repair",
    "duplex.drops",
    "duplex.codes",
    "duplex.codes_model",
    "augment.copies",
    "duplex.audio_format",
    "audio.accept_damage_s",
    "audio.track",
    "audio.language",
    *ANYWHERE,
    preset=True,
)
def build_duplex(
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="[INPUT]",
            help="A corpus: a folder with WAV/ and TXT/, a folder of recordings with transcripts, Kaldi's data "
            "folder, or a list (moshi-finetune, lhotse cuts, NeMo's manifest, the output of sca transcribe). "
            "Not set: the only folder with WAV/ and TXT/ in this one.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Folder to write to. Not set: dataset/duplex, or dataset/parsed_json with --mode script.",
            show_default=False,
        ),
    ] = None,
    *,
    mode: Annotated[
        Mode, typer.Option(help="dataset: rows and audio. script: one JSON file per transcript, with tokens, no audio.")
    ] = Mode.dataset,
    layout: CorpusLayout = "auto",
    audio_dir: AudioDir = None,
    settings: "Settings",
    hub: Hub,
    jobs: Jobs = None,
    retry_failed: RetryFailed = True,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Turn a two-speaker corpus into a full-duplex training data set.

    Each row is a stretch of a conversation from the perspective of one speaker: the other speaker is the input and this
    speaker the output, both on a grid of 0.32 s. A second run builds only what is missing. Check the result with `sca
    verify`.
    """
    hub.check()
    source = _source(source)
    output = output or _OUTPUTS[mode]
    if mode is Mode.script:
        if hub.push_to_hub is not None:
            raise UsageError("--push-to-hub needs --mode dataset", hint="scripts are not a data set")
        _build_script(source, output, settings, json=json)
        return
    if submitted(settings, json=json):
        return
    from sca.data.duplex.build.dataset import build_duplex as build

    with place_of(settings, jobs) as place, audio_progress("sessions", quiet=quiet) as progress:
        summary = build(
            source,
            output,
            settings,
            jobs=jobs or 0,
            force=force,
            layout=layout,
            audio_dir=audio_dir,
            retry_failed=retry_failed,
            listener=progress,
            executor=place.executor,
            shard=place.shard,
        )
    if place.shard is not None:
        show_shard(summary, place, json=json, quiet=quiet)
        return
    if not quiet:
        unbuilt = [f"{session}: dropped: {reason}" for session, reason in summary.dropped]
        unbuilt += [f"{session}: failed: {reason}" for session, reason in summary.failed]
        print_notes(unbuilt, " in ledger.jsonl")
        print_notes(summary.details.skipped + summary.details.notices, " in ledger.jsonl")
    url = None
    try:
        url = hub.push(output)
    finally:  # the data set exists even if the upload fails
        if json:
            emit_json(_document(summary, url))
        else:
            _show(summary, settings, url)
    if summary.failed:
        raise PartialFailure(
            f"{len(summary.failed)} of {counted(summary.total, 'session')} failed",
            hint=f"the reasons are in {output / 'ledger.jsonl'}",
        )


def _source(given: Path | None) -> Path:
    """Return the corpus: the given one, or the only one in the working folder."""
    if given is not None:
        return given
    from sca.data.corpora.magichub import find_corpus

    found = find_corpus(Path())
    print_note(f"sca: reading {found}")
    return found


def _build_script(source: Path, output: Path, settings: "Settings", *, json: bool) -> None:
    from sca.data.duplex.build.script import build_script

    summary = build_script(source, output, settings)
    print_notes(summary.skipped)
    if json:
        emit_json(
            {
                "files": summary.files,
                "events": summary.events,
                "tokens": summary.tokens,
                "skipped": summary.skipped,
                "output": str(output),
            },
            "script",
        )
    else:
        print_line(
            f"{counted(summary.files, 'file')} with {counted(summary.events, 'event')} and "
            f"{counted(summary.tokens, 'token')} in {output}"
        )


def _document(summary: "RunSummary[BuildDetails]", url: str | None) -> dict[str, object]:
    details = summary.details
    return {
        "output": str(details.root),
        "built": details.built,
        "failed": dict(summary.failed),
        "dropped": dict(summary.dropped),
        "skipped": details.skipped,
        "notices": details.notices,
        "report": details.report.model_dump(mode="json"),
        "hub": url,
    }


def _show(summary: "RunSummary[BuildDetails]", settings: "Settings", url: str | None) -> None:
    from sca.data.duplex.report.wording import (
        interpolated_share,
        placement_name,
        repairs_made,
        text_rate_warning,
        unlabelled_text,
        word_times,
    )

    root, report = summary.details.root, summary.details.report
    placement, coverage, share = report.placement, report.coverage, interpolated_share(report.align_source)
    console = out()
    console.print(
        f"{counted(report.sessions.kept, 'session')}, {report.sessions.hours:.2f} h, "
        f"{counted(report.rows, 'row')} in {root} "
        f"({summary.details.built} built now, {len(summary.dropped)} dropped, {len(summary.failed)} failed, "
        f"{counted(report.skipped, 'line or file', 'lines or files')} skipped)"
    )
    console.print(
        f"{coverage.words_in_rows} of {counted(coverage.words, 'word')}, {counted(placement.tokens, 'token')}, "
        f"{coverage.tokens_dropped + coverage.tokens_dropped_on_request} dropped; "
        f"{placement_name(share)} "
        f"{placement.mean_error_s:.3f} s mean, {placement.p95_error_s:.2f} s p95, "
        f"{placement.max_late_s:.2f} s latest"
    )
    if report.alignment.word_times is not None:
        console.print(report.alignment.word_times)
    if share:
        console.print(f"word times: {word_times(share)}")
    if report.tags:
        handling = "kept" if settings.duplex.tags == "keep" else "removed"
        most = sorted(report.tags, key=lambda tag: (-report.tags[tag], tag))[:_MAX_TAGS]
        console.print(
            f"{counted(sum(report.tags.values()), 'tag')} {handling}: "
            f"{', '.join(f'{tag} {report.tags[tag]}' for tag in most)}{', …' if len(report.tags) > _MAX_TAGS else ''}",
        )
    if report.evidence is not None:
        found = len(report.evidence.findings)
        console.print(
            f"words against sound: look here, {counted(found, 'place')}" if found else "words against sound: ok"
        )
        show_findings(report.evidence.findings)
    if report.unlabelled.speech_s or report.unlabelled.chunks:
        console.print(f"unlabelled speech: {unlabelled_text(report.model_dump(mode='json'))}")
    if made := repairs_made(report.model_dump()):
        console.print(made)
    if coverage.units_dropped_on_request:
        console.print(
            f"left out because they lag: {counted(coverage.units_dropped_on_request, 'segment')} with "
            f"{counted(coverage.tokens_dropped_on_request, 'token')}"
        )
    if coverage.rows_left_out:
        console.print(f"left out: {counted(coverage.rows_left_out, 'row')} on the list {settings.duplex.drops}")
    rate = report.text_rate
    if rate is not None and not rate.sufficient:
        console.print(text_rate_warning(rate))
    if url is not None:
        console.print(f"uploaded to {url}")
    console.print(f"verify it:  {command_line('verify', root)}")
