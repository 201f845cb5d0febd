"""Calibrate a model: conversations with exact truth are spoken and recognized, and a profile is written.

Every conversation is a line of a ledger in the cache folder, so that an interrupted run continues where it stopped, and a
second run only writes the profile.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from sca.calibrate.material import Piece, pieces
from sca.calibrate.measure import fit, measure_by_noise
from sca.calibrate.subjects import Listen, heard_tracks, load_subject
from sca.calibrate.tracks import HeardTrack
from sca.config import Settings
from sca.data.runs.files import atomic_write
from sca.data.runs.incremental import IncrementalRun, Item
from sca.data.runs.ledger import Ledger, LedgerEntry, lock_dir
from sca.data.runs.local import SerialExecutor
from sca.data.runs.progress import ProgressListener
from sca.data.runs.summary import Outcome, RunSummary
from sca.data.transcription.whisper import Recognizer
from sca.distribution import __version__
from sca.errors import InputError, MissingToolError
from sca.synth.voices import Voices, parse_voices
from sca.word_times.profile import Measured, Profile, Use, cached_path
from sca.word_times.weights import Weights, weights_of

__all__ = ["Calibration", "calibrate"]


@dataclass(slots=True)
class Calibration:
    """What a run found.

    Attributes:
        path: The profile.
        profile: Its content.
    """

    path: Path
    profile: Profile | None = None


def calibrate(
    model: str,
    settings: Settings,
    use: Use = "transcribe",
    output: Path | None = None,
    *,
    work: Path | None = None,
    recognizer: Recognizer | None = None,
    listener: ProgressListener | None = None,
) -> RunSummary[Calibration]:
    """Measure the word times of a model, and write its profile.

    Args:
        model: A model of `sca.models`, a folder, a size or a hub id.
        settings: The settings; those of `calibrate` decide the conversations.
        use: What the model is used for.
        output: The profile to write; by default that of the model in the cache folder, which is used from then on.
        work: The folder of the ledger; by default one in the cache folder.
        recognizer: A recognizer that is loaded, if `use` is `transcribe`.
        listener: Receives the progress.

    Raises:
        MissingToolError: No voice or no model is on this machine.
        UsageError: A voice or the model does not exist.
        InputError: The model found no word, or every conversation failed.
        OutputError: The profile or the ledger cannot be written.
    """
    cache_dir = settings.paths.resolved_cache_dir
    wanted = list(pieces(settings.calibrate))
    _check_voices(wanted)
    listen = load_subject(use, model, settings, recognizer)
    weights = weights_of(model, cache_dir)
    if weights is None:
        raise MissingToolError(f"the weights of {model} are not on this machine", hint="give a folder with the model")
    path = output or cached_path(weights, use, cache_dir)
    folder = work or cache_dir / "calibration" / f"{use}-{weights.sha256[:16]}"
    with lock_dir(folder):
        run = IncrementalRun(Ledger(folder / "ledger.jsonl"), Calibration(path), retry_failed=True, listener=listener)
        _hear(run, wanted, weights, listen)
        tracks = _tracks(run, wanted)
        if not any(track.found for _, group in tracks for track in group):
            reasons = "; ".join(reason for _, reason in run.summary.failed[:1]) or "it found no word"
            raise InputError(f"{model} cannot be calibrated: {reasons}")
        profile = _profile(model, weights, use, settings, tracks)
        with atomic_write(path) as temporary:
            temporary.write_text(profile.model_dump_json(indent=1) + "\n", encoding="utf-8", newline="\n")
        run.summary.details.profile = profile
        return run.summary


def _check_voices(wanted: Sequence[Piece]) -> None:
    """Raise the error of a voice that cannot be used before any work is done."""
    with Voices(wanted[0].settings.rate_hz) as voices:
        for name in parse_voices(wanted[0].settings.voices):
            voices.open(name)


def _hear(run: IncrementalRun[Calibration], wanted: Sequence[Piece], weights: Weights, listen: Listen) -> None:
    """Speak and recognize the conversations that the ledger lacks."""
    items = [Item(piece.name, piece, _key(piece, weights), piece.estimate_s) for piece in wanted]

    def work(piece: Piece) -> list[HeardTrack]:
        return heard_tracks(piece.spoken(), piece.noise, listen)

    def record(item: Item[Piece], tracks: list[HeardTrack]) -> Outcome:
        extra = {"tracks": [track.model_dump(mode="json") for track in tracks]}
        return Outcome(LedgerEntry(item.name, item.key, "kept", extra=extra), tracks[0].audio_s)

    run.execute(run.plan(items, lambda _: True), work, record, executor=SerialExecutor())
    run.settle()


def _key(piece: Piece, weights: Weights) -> str:
    identity = [piece.number, piece.script.sha256, piece.settings.model_dump(mode="json"), weights.sha256, __version__]
    return sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _tracks(run: IncrementalRun[Calibration], wanted: Sequence[Piece]) -> list[tuple[int, list[HeardTrack]]]:
    """Return the tracks of every conversation that did not fail, with its number."""
    found = []
    for piece in wanted:
        entry = run.entries[piece.name]
        if entry.status == "kept":
            tracks = [HeardTrack.model_validate(track) for track in entry.extra["tracks"]]
            found.append((piece.number, tracks))
    return found


def _profile(
    model: str, weights: Weights, use: Use, settings: Settings, groups: Sequence[tuple[int, list[HeardTrack]]]
) -> Profile:
    tracks = [track for _, group in groups for track in group]
    correction = fit(tracks)
    options = settings.calibrate
    voices = sorted({track.voice for track in tracks})
    return Profile(
        model=Path(model).name,
        weights_sha256=weights.sha256,
        weights_bytes=weights.size,
        use=use,
        **asdict(correction),
        made_with={
            "sca_version": __version__,
            "minutes": options.minutes,
            "seed": options.seed,
            "snr_db": options.snr_db,
            "voices": ",".join(voices),
            "conversations": len(groups),
        },
        before=measure_by_noise([(track, None) for track in tracks]),
        after=_held_out(groups),
    )


def _held_out(groups: Sequence[tuple[int, list[HeardTrack]]]) -> tuple[Measured, ...]:
    """Measure each half of the conversations with the correction that fits the other half."""
    halves = [[track for n, (_, group) in enumerate(groups) if n % 2 == half for track in group] for half in (0, 1)]
    if not all(halves):
        return ()
    fitted = [fit(half) for half in halves]
    return measure_by_noise([(track, fitted[1 - n]) for n, half in enumerate(halves) for track in half])
