"""`sca transcribe`: recordings become timelines of what was said, word by word."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sca.cli.shared.console import emit_json, out, say_notes
from sca.cli.shared.options import Json, Quiet
from sca.cli.shared.progress import audio_progress
from sca.errors import PartialFailure
from sca.textutil import counted

if TYPE_CHECKING:
    from sca.data.transcription.transcribe import Summary

__all__ = ["transcribe"]


def transcribe(
    sources: Annotated[
        list[Path], typer.Argument(metavar="DIR|FILE…", help="Files, and folders with their sub-folders.")
    ],
    save_file: Annotated[Path, typer.Option(metavar="FILE", help="The JSONL to write: one line a recording.")] = Path(
        "dataset/inference_outputs.jsonl"
    ),
    model: Annotated[
        str,
        typer.Option(
            "--model", metavar="MODEL", help="Whisper: a size, a hub id, or a folder in CTranslate2's format."
        ),
    ] = "large-v3-turbo",
    device: Annotated[
        str, typer.Option(metavar="auto|cpu|cuda", help="Where it runs; auto takes a GPU if there is one.")
    ] = "auto",
    compute_type: Annotated[
        str, typer.Option(metavar="TYPE", help="int8, float16, …; auto is what the weights are stored in.")
    ] = "auto",
    batch_size: Annotated[
        int, typer.Option(min=1, metavar="N", help="Stretches of 30 s that are decoded together.")
    ] = 8,
    language: Annotated[
        str | None,
        typer.Option(metavar="CODE", help="What is spoken, such as en; detected if not given.", show_default=False),
    ] = None,
    vad: Annotated[
        bool,
        typer.Option(
            "--vad/--no-vad", help="Decode only where speech is heard; without, all of it, one window after another."
        ),
    ] = True,
    word_timestamps: Annotated[
        bool, typer.Option("--word-timestamps/--no-word-timestamps", help="When each word is said.")
    ] = True,
    reactions: Annotated[
        str,
        typer.Option(
            metavar="none|energy|MODEL",
            help="What hears the audience: nothing, crowd noise by its energy, or a tagger.",
        ),
    ] = "none",
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            min=1,
            metavar="N",
            help="Recordings at a time; one a GPU, or one, if not given.",
            show_default=False,
        ),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try recordings again that failed before.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write down what is said in recordings, and when, one JSON line each.

    A second run does only what is missing: a recording is done when its content and these settings are those of its line. What the
    recogniser is known to make up (text on silence, loops, impossible speed) is taken out and counted.
    """
    from sca.data.transcription.transcribe import ledger_of
    from sca.data.transcription.transcribe import transcribe as run
    from sca.data.transcription.whisper import RecogniserOptions
    from sca.errors import UsageError

    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"there is no device {device!r}", hint="auto, cpu or cuda")
    options = RecogniserOptions(model, device, compute_type, batch_size, language, vad, word_timestamps, jobs or 0)
    with audio_progress("transcribe", quiet=quiet) as progress:
        summary = run(sources, save_file, options, reactions=reactions, retry_failed=retry_failed, watch=progress)
    if not quiet:
        _say(summary)
    if json:
        emit_json(_document(summary))
    else:
        _show(summary)
    if summary.failed:
        raise PartialFailure(
            f"{counted(len(summary.failed), 'recording')} failed",
            hint=f"the reasons are in {ledger_of(save_file)}; --retry-failed tries them again",
        )


def _say(summary: "Summary") -> None:
    lines = [f"{item}: failed: {reason}" for item, reason in summary.failed]
    lines += [f"{item}: {note}" for item, note in summary.notes]
    say_notes(lines)


def _document(summary: "Summary") -> dict[str, Any]:
    return {
        "save_file": str(summary.save_file),
        "made": summary.made,
        "already": summary.already,
        "audio_s": round(summary.audio_s, 3),
        "words": summary.words,
        "events": dict(summary.events),
        "guards": dict(summary.guards),
        "failed": dict(summary.failed),
        "failed_before": summary.old_failures,
        "notes": [list(note) for note in summary.notes],
    }


def _show(summary: "Summary") -> None:
    acted = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in summary.guards.items() if count)
    events = ", ".join(f"{counted(count, f'{role} event')}" for role, count in summary.events.items()) or "no events"
    where = f"; in {summary.save_file}" if summary.save_file.exists() else ""
    out().print(
        f"{counted(summary.made, 'recording')} transcribed, {summary.audio_s / 3600:.2f} h, "
        f"{counted(summary.words, 'word')}, {events}; "
        f"{summary.already} transcribed before, {len(summary.failed)} failed{where}",
        markup=False,
    )
    if acted:
        out().print(f"guards: {acted}", markup=False)
