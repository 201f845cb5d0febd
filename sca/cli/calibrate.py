"""`sca calibrate`: measure the word times of a model on speech with exact truth, and write its profile."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.shared.console import emit_json, out, print_notes
from sca.cli.shared.options import Json, Quiet
from sca.cli.shared.progress import audio_progress
from sca.cli.shared.settings_options import settings_options
from sca.errors import PartialFailure, UsageError
from sca.textutil import counted

if TYPE_CHECKING:
    from sca.calibrate.run import Calibration
    from sca.config import Settings
    from sca.data.runs.summary import RunSummary
    from sca.word_times.profile import Measured, Profile

__all__ = ["calibrate"]


@settings_options("calibrate.minutes", "calibrate.voices", "calibrate.seed", "calibrate.snr_db")
def calibrate(
    *,
    model: Annotated[
        str,
        typer.Option(
            "--model", metavar="MODEL", help="Model: a name that sca models lists, a folder, a size or a hub id."
        ),
    ] = "large-v3-turbo",
    use: Annotated[
        str,
        typer.Option(
            metavar="transcribe|whisper|ctc",
            help="What the model is used for: sca transcribe, or --align of sca build-duplex.",
        ),
    ] = "transcribe",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PROFILE",
            help="File to write. Not set: the profile that is used for this model from then on.",
            show_default=False,
        ),
    ] = None,
    settings: "Settings",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure the word times of a model on synthetic conversations, and write the profile that corrects them.

    Conversations of up to four voices are spoken, clean, in pink noise and through a telephone codec, and recognized.
    The profile has the errors and the correction, which sca transcribe and sca build-duplex --align apply.
    """
    from sca.calibrate.run import calibrate as run

    if use not in ("transcribe", "whisper", "ctc"):
        raise UsageError(f"unknown use {use!r}", hint="transcribe, whisper or ctc")
    with audio_progress("conversations", quiet=quiet) as progress:
        summary = run(model, settings, use, output, listener=progress)  # type: ignore[arg-type]
    profile = summary.details.profile
    assert profile is not None
    if json:
        emit_json({"profile": str(summary.details.path), **profile.model_dump(mode="json")})
    elif not quiet:
        _show(summary, profile)
    if summary.failed:
        print_notes([f"{item}: {reason}" for item, reason in summary.failed])
        raise PartialFailure(f"{counted(len(summary.failed), 'conversation')} failed")


def _show(summary: "RunSummary[Calibration]", profile: "Profile") -> None:
    console = out()
    console.print(
        f"{'':<11}{'words':>6}{'WER':>8}{'lost':>6}{'unsure':>8}{'invented':>10}   starts: bias, mean abs, p95",
    )
    for title, rows in (("measured", profile.before), ("corrected", profile.after)):
        console.print(title)
        for row in rows:
            console.print(f"  {_line(row)}")
    for text in (profile, summary.details.path):
        console.print(str(text))


def _line(row: "Measured") -> str:
    wer = "" if row.wer is None else f"{row.wer:.1%}"
    times = "no equal words"
    if row.start_bias_s is not None:
        times = f"{row.start_bias_s:+.3f} {row.start_mean_abs_s:.3f} {row.start_p95_s:.3f} s"
    return f"{row.noise:<9}{row.words:>6}{wer:>8}{row.lost:>6}{row.unsure:>8}{row.invented:>10}   {times}"
