"""`sca verify`: check a data set against its report, from its files."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.executor.options import RAY, place_of
from sca.cli.shared.console import emit_json, print_line
from sca.cli.shared.options import CorpusLayout, Jobs, Json, Quiet
from sca.cli.shared.progress import audio_progress
from sca.cli.shared.settings_options import settings_options
from sca.cli.shared.verification import show_verification
from sca.errors import UsageError, VerificationError
from sca.textutil import counted

if TYPE_CHECKING:
    from sca.config import Settings
    from sca.data.duplex.verify.check_table import Verification

__all__ = ["verify"]


@settings_options("diarization.separate", "audio.accept_damage_s", "audio.track", "audio.language", *RAY)
def verify(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DIR|FILE", help="Data set made by sca build-duplex, or timelines made by sca transcribe."
        ),
    ],
    *,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Exit with 5 also if there are places to look at, not only if data is broken."),
    ] = False,
    source: Annotated[
        Path | None,
        typer.Option(
            metavar="CORPUS",
            help="The corpus of DIR: its sessions are built again and compared word for word and sample for sample.",
            show_default=False,
        ),
    ] = None,
    layout: CorpusLayout = "auto",
    audio_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of the recordings: of timelines, in which speech is then detected again, or of the corpus.",
            show_default=False,
        ),
    ] = None,
    speaker: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="The speaker model of DIR: its embeddings are computed again from the audio. Not needed if it is still "
            "where the build found it.",
            show_default=False,
        ),
    ] = None,
    settings: "Settings",
    jobs: Jobs = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check a duplex data set against its report, from its files; check that timelines account for all speech.

    If a check fails, the problems are listed and the exit code is 5. Where words and sound do not belong together, the
    places to look at are listed; the exit code stays 0, or is 5 with --strict.
    """
    from sca.data.corpora.shows import ShowReader
    from sca.data.duplex.origin.rebuild import sessions_of_corpus
    from sca.data.duplex.storage.build_settings import read_settings, settings_of
    from sca.data.duplex.verify.dataset import verify as run

    if data.is_file() and ShowReader().matches(data):
        _verify_timelines(data, audio_dir, settings, json=json, quiet=quiet)
        return
    if source is None and (layout != "auto" or audio_dir is not None):
        raise UsageError("--format and --audio-dir are about the corpus", hint="give it with --source CORPUS")
    if settings.executor.in_shards:
        raise UsageError("sca verify has no shards: it writes no results", hint="--executor local, or ray")
    cache_dir = settings.paths.resolved_cache_dir
    separate = settings.diarization.separation
    origin = None
    if source is not None:
        reading = settings_of(read_settings(data)).audio.reading
        origin = sessions_of_corpus(source, layout, audio_dir, cache_dir, separate, reading)
    with place_of(settings, jobs) as place, audio_progress("sessions", quiet=quiet) as progress:
        verification = run(
            data,
            cache_dir=cache_dir,
            origin=origin,
            speaker=speaker,
            jobs=jobs or 0,
            listener=progress,
            executor=place.executor,
        )
    if json:
        emit_json(_document(data, verification))
    else:
        show_verification(verification)
    if not verification.holds:
        raise VerificationError(
            f"{data} is broken in {counted(len(verification.problems), 'place')}: {verification.problems[0]}",
            hint="restore the files, or delete them and run the same sca build-duplex again: it makes what is missing",
        )
    if strict and verification.findings:
        raise VerificationError(
            f"{data} has {counted(len(verification.findings), 'place')} to look at: {verification.findings[0]}",
            hint="sca inspect shows the place; correct the corpus and build it again",
        )


def _verify_timelines(file: Path, audio_dir: Path | None, settings: "Settings", *, json: bool, quiet: bool) -> None:
    from sca.data.media.find_audio import AudioFolder
    from sca.data.shows.verify import verify_timelines

    recordings = None if audio_dir is None else AudioFolder(audio_dir)
    with audio_progress("recordings", quiet=quiet or recordings is None) as progress:
        proof = verify_timelines(file, recordings, settings.audio.reading, progress)
    if json:
        emit_json(
            {
                "data": str(file),
                "holds": not proof.problems,
                "problems": list(proof.problems),
                "shows": proof.shows,
                "heard": proof.heard,
                "speech": proof.speech.document() | {"shows_without": proof.without_speech_spans},
            },
            "timelines",
        )
    else:
        without = proof.without_speech_spans
        heard = f", speech detected again in {proof.heard}" if recordings is not None else ""
        older = f"; {without} of an older version, without proof" if without else ""
        print_line(f"{counted(proof.shows, 'recording')}{heard}{older}: {proof.speech}")
    if proof.problems:
        raise VerificationError(
            f"{file} is broken in {counted(len(proof.problems), 'place')}: {proof.problems[0]}",
            hint="transcribe the recording again, without its line in the file",
        )


def _document(data: Path, verification: "Verification") -> dict[str, object]:
    return {
        "data": str(data),
        "holds": verification.holds,
        "problems": verification.problems,
        "findings": [finding.model_dump() for finding in verification.findings],
        "checks": [asdict(check) for check in verification.checks],
        "report": verification.report.model_dump(mode="json"),
    }
