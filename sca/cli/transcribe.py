"""`sca transcribe`: transcribe recordings into timelines."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.executor.options import ANYWHERE, place_of, show_shard, submitted
from sca.cli.shared.console import emit_json, print_line, print_notes
from sca.cli.shared.options import MAX_JOBS, Json, Quiet, RetryFailed, count_option
from sca.cli.shared.progress import audio_progress
from sca.cli.shared.settings_options import settings_options
from sca.errors import PartialFailure, UsageError
from sca.textutil import counted

if TYPE_CHECKING:
    from sca.config import Settings
    from sca.data.runs.summary import RunSummary
    from sca.data.transcription.text_files import TextFiles
    from sca.data.transcription.transcribe import TranscribeDetails

__all__ = ["transcribe"]


@settings_options(
    "transcribe.reactions",
    "transcribe.captions",
    "audio.accept_damage_s",
    "audio.track",
    "audio.language",
    "diarization.model",
    "diarization.min_speakers",
    "diarization.max_speakers",
    "diarization.threshold",
    "quality.min_snr_db",
    "quality.max_clipping",
    "quality.min_bandwidth_hz",
    "quality.max_music",
    "quality.language_is",
    "quality.min_language_probability",
    "quality.min_mos",
    "quality.copies",
    "word_times.profile",
    *ANYWHERE,
)
def transcribe(
    sources: Annotated[
        list[Path], typer.Argument(metavar="DIR|FILE…", help="Files, and folders with their subfolders.")
    ],
    save_file: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="JSONL file to write, one line per recording.")
    ] = Path("dataset/inference_outputs.jsonl"),
    output_format: Annotated[
        list[str] | None,
        typer.Option(
            metavar="jsonl|srt|vtt|tsv|txt|json|rttm",
            help="Further files per recording; may be repeated, or separated by commas. jsonl is always written.",
            show_default=False,
        ),
    ] = None,
    output_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of these files. Not set: that of the JSONL file.", show_default=False),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="Whisper model: a size, a hub id, a folder in CTranslate2's format, or a name that sca models lists.",
        ),
    ] = "large-v3-turbo",
    device: Annotated[
        str, typer.Option(metavar="auto|cpu|cuda", help="Device; auto is a GPU if one is available.")
    ] = "auto",
    compute_type: Annotated[
        str, typer.Option(metavar="TYPE", help="int8, float16, …; auto is the type that the weights are stored in.")
    ] = "auto",
    batch_size: Annotated[
        int, count_option("--batch-size", least=1, most=1024, help="Number of 30 s segments that are decoded together.")
    ] = 8,
    language: Annotated[
        str | None,
        typer.Option(
            metavar="CODE|NAME",
            help="Language of the speech, such as en or English. Not set: detected.",
            show_default=False,
        ),
    ] = None,
    multilingual: Annotated[
        bool, typer.Option("--multilingual", help="Detect the language anew in every segment of 30 s.")
    ] = False,
    vad: Annotated[
        bool,
        typer.Option("--vad/--no-vad", help="Decode only speech, in batches; or everything, one window after another."),
    ] = True,
    word_timestamps: Annotated[
        bool, typer.Option("--word-timestamps/--no-word-timestamps", help="Give every word its times.")
    ] = True,
    beam_size: Annotated[
        int,
        count_option("--beam-size", least=1, most=100, help="Hypotheses of the beam search; 1 is greedy and faster."),
    ] = 5,
    hotwords: Annotated[
        str | None,
        typer.Option(metavar="WORDS", help="Words that are likely to occur, such as names.", show_default=False),
    ] = None,
    initial_prompt: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Text whose style and spelling the result follows.", show_default=False),
    ] = None,
    diarize: Annotated[
        bool, typer.Option("--diarize", help="Tell speakers apart; the one who speaks most is the comedian.")
    ] = False,
    jobs: Annotated[
        int | None,
        count_option(
            "--jobs",
            "-j",
            least=1,
            most=MAX_JOBS,
            help="Number of parallel jobs. Not set: one per GPU, or one on a CPU.",
            show_default=False,
        ),
    ] = None,
    *,
    settings: "Settings",
    retry_failed: RetryFailed = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Transcribe recordings to timelines of words and audience reactions, one JSON line per recording.

    A second run does only what is missing: a recording is done if its content and these settings are those of its line.
    Doubtful text (loops, impossible speed, low probability) is marked as unsure; improbable text on silence is removed.
    """
    from sca.data.transcription.languages import language_code
    from sca.data.transcription.transcribe import transcribe as run
    from sca.data.transcription.whisper import RecognizerOptions
    from sca.word_times.profile import find_profile

    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"unknown device {device!r}", hint="auto, cpu or cuda")
    options = RecognizerOptions(
        model,
        device,
        compute_type,
        batch_size,
        None if language is None else language_code(language),
        vad,
        word_timestamps,
        jobs or 0,
        beam_size,
        hotwords,
        initial_prompt,
        multilingual,
    )
    _check_diarization(settings, output_format or (), diarize=diarize)
    if submitted(settings, json=json):
        return
    with place_of(settings, jobs) as place, audio_progress("transcribe", quiet=quiet) as progress:
        summary = run(
            sources,
            save_file,
            options,
            reactions=settings.transcribe.reactions,
            captions=settings.transcribe.captions,
            retry_failed=retry_failed,
            reading=settings.audio.reading,
            listener=progress,
            executor=place.executor,
            shard=place.shard,
            texts=_text_files(save_file, output_dir, output_format or ()),
            diarization=settings.diarization if diarize else None,
            filters=settings.quality,
            profile=find_profile(settings.word_times.profile, model, "transcribe", settings.paths.resolved_cache_dir),
        )
    if place.shard is not None:
        show_shard(summary, place, json=json, quiet=quiet)
        return
    _report(summary, save_file, json=json, quiet=quiet)


def _text_files(save_file: Path, output_dir: Path | None, formats: Sequence[str]) -> "TextFiles":
    """Return the files in other formats that the options ask for."""
    from sca.data.transcription.text_files import TextFiles, parse_formats

    texts = TextFiles(output_dir or save_file.parent, parse_formats(formats))
    if output_dir is not None and not texts.formats:
        raise UsageError(
            "--output-dir was given without a format for its files", hint="add --output-format, such as srt"
        )
    return texts


def _report(summary: "RunSummary[TranscribeDetails]", save_file: Path, *, json: bool, quiet: bool) -> None:
    """Print the notes and the summary of a run.

    Raises:
        PartialFailure: A recording failed.
    """
    from sca.data.transcription.transcribe import ledger_of

    if not quiet:
        notes = [f"{item}: failed: {reason}" for item, reason in summary.failed]
        notes += [f"{item}: left out: {reason}" for item, reason in summary.dropped]
        print_notes(notes + [f"{item}: {note}" for item, note in summary.notes])
    if json:
        emit_json(_document(summary))
    else:
        _print_summary(summary)
    if summary.failed:
        raise PartialFailure(
            f"{counted(len(summary.failed), 'recording')} failed",
            hint=f"the reasons are in {ledger_of(save_file)}; --retry-failed tries them again",
        )


def _check_diarization(settings: "Settings", formats: Sequence[str], *, diarize: bool) -> None:
    """Check that options of diarization are not given without it."""
    if diarize:
        return
    for field in ("model", "min_speakers", "max_speakers", "threshold"):
        _, _, option = settings.origin(f"diarization.{field}").partition("command line --")
        if option and option != "set":
            raise UsageError(f"--{option} was given without --diarize", hint="add --diarize")
    if any("rttm" in value.lower().split(",") for value in formats):
        raise UsageError("RTTM has the turns of speakers, which only --diarize finds", hint="add --diarize")


def _document(summary: "RunSummary[TranscribeDetails]") -> dict[str, object]:
    details = summary.details
    return {
        "save_file": str(details.save_file),
        "made": summary.made,
        "already": summary.already,
        "audio_s": round(summary.audio_s, 3),
        "words": details.words,
        "events": dict(details.events),
        "guards": dict(details.guards),
        "text_files": details.text_files,
        "word_times": None if details.profile is None else str(details.profile),
        "captions": details.captions.document() if details.captions.recordings else None,
        "left_out": dict(summary.dropped),
        "filters": details.left_out,
        "failed": dict(summary.failed),
        "failed_before": summary.old_failures,
        "notes": [list(note) for note in summary.notes],
    }


def _print_summary(summary: "RunSummary[TranscribeDetails]") -> None:
    details = summary.details
    acted = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in details.guards.items() if count)
    events = ", ".join(f"{counted(count, f'{role} event')}" for role, count in details.events.items()) or "no events"
    location = f"; in {details.save_file}" if details.save_file.exists() else ""
    print_line(
        f"{counted(summary.made, 'recording')} transcribed, {summary.audio_s / 3600:.2f} h, "
        f"{counted(details.words, 'word')}, {events}; "
        f"{summary.already} transcribed before, {len(summary.failed)} failed{location}",
    )
    if details.left_out:
        filters = ", ".join(f"{name} {count}" for name, count in details.left_out.items())
        print_line(f"{counted(len(summary.dropped), 'recording')} left out by quality: {filters}")
    if details.text_files:
        print_line(f"{counted(details.text_files, 'file')} in other formats written")
    if details.captions.recordings:
        print_line(str(details.captions))
    if details.profile is not None and summary.made:
        print_line(str(details.profile))
    if acted:
        print_line(f"guards: {acted}")
