"""The speaker model of a verification, and the line of the table about embeddings."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from sca.config import Settings
from sca.data.duplex.audio.speaker_at_hand import find_speaker
from sca.data.duplex.storage.build_settings import recorded_speaker
from sca.data.duplex.verify.audio.embedding import EmbeddedTrack, SpeakerModelUsed
from sca.data.duplex.verify.check_table import Check, Problems
from sca.data.speakers.base import NO_SPEAKER_MODEL, public_name
from sca.data.speakers.registry import load_speaker, speaker_digest
from sca.errors import MissingToolError, UsageError
from sca.textutil import counted

__all__ = ["embeddings_check", "speaker_model_of"]


def speaker_model_of(
    root: Path, settings: Settings, document: Mapping[str, object], given: str | None, problems: Problems
) -> SpeakerModelUsed | None:
    """Return the model to compute the embeddings of a data set with; None to compare them with each other only.

    Args:
        root: The data set.
        settings: Its settings.
        document: The content of its `settings.json`.
        given: The model that the caller gives; by default, the one that the build used if it is on this machine.
        problems: Gets a message if `given` is not the recorded model.

    Raises:
        UsageError: A model is given for a data set without embeddings, or has another form.
        MissingToolError, InputError: The given model is missing, or not a speaker model.
    """
    recorded, name = recorded_speaker(document), settings.duplex.speaker_model
    cache_dir = settings.paths.resolved_cache_dir
    if given is None:
        found = find_speaker(root, name, recorded)
        return None if found is None or recorded is None else _loadable(SpeakerModelUsed(found, recorded, cache_dir))
    if name == NO_SPEAKER_MODEL:
        raise UsageError(f"{root} has no speaker embeddings", hint="leave --speaker out")
    if not load_speaker(given, cache_dir).has_model:
        raise UsageError(f"{given} is not a speaker model", hint=f"give {name}, which the build used")
    digest = speaker_digest(given)
    if recorded is not None and digest != recorded:
        problems.add("files", f"settings.json: its speaker model is {name} ({recorded}), {given} is {digest}")
        return None
    return SpeakerModelUsed(given, digest, cache_dir)


def _loadable(model: SpeakerModelUsed) -> SpeakerModelUsed | None:
    """Return the model; None if a library that it needs is missing, or a model of the catalogue was not fetched."""
    try:
        load_speaker(model.name, model.cache_dir)
    except MissingToolError:
        return None
    return model


def embeddings_check(
    settings: Settings,
    tracks: Sequence[EmbeddedTrack],
    model: SpeakerModelUsed | None,
    problems: Problems,
    *,
    has_audio: bool,
) -> Check:
    """Return the line about embeddings.

    Args:
        settings: The settings of the data set.
        tracks: The tracks of all sessions.
        model: The model with which the embeddings were computed again.
        problems: The problems found.
        has_audio: Whether the tracks have their audio, which the model needs.
    """
    count = sum(track.values is not None for track in tracks)
    found = f"{count} of {counted(len(tracks), 'track')}"
    if model is not None and has_audio:
        found += f", computed again with {public_name(model.name)}"
    else:
        found += ", compared with each other"
        found += f"; --speaker {settings.duplex.speaker_model} computes them again" if has_audio else ""
    return Check("speaker embeddings", found, not problems.by_kind["embeddings"])
