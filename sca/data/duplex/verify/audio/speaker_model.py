"""The speaker model of a verification: the one that is given, or the one that the build used if it is at hand."""

from collections.abc import Callable, Mapping
from pathlib import Path

from sca.config import Settings
from sca.data.duplex.audio.speaker_at_hand import find_speaker
from sca.data.duplex.storage.build_settings import recorded_speaker
from sca.data.duplex.verify.audio.embedding import SpeakerModelUsed
from sca.data.speakers.base import NO_SPEAKER_MODEL
from sca.data.speakers.registry import load_speaker, speaker_digest
from sca.errors import MissingToolError, UsageError

__all__ = ["speaker_model_of"]


def speaker_model_of(
    root: Path, settings: Settings, document: Mapping[str, object], given: str | None, on_problem: Callable[[str], None]
) -> SpeakerModelUsed | None:
    """Return the model to compute the embeddings of a data set with; None to compare them with each other only.

    Args:
        root: The data set.
        settings: Its settings.
        document: The content of its `settings.json`.
        given: The model that the caller gives; by default, the one that the build used if it is on this machine.
        on_problem: Called with a message if `given` is not the recorded model.

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
        on_problem(f"settings.json: its speaker model is {name} ({recorded}), {given} is {digest}")
        return None
    return SpeakerModelUsed(given, digest, cache_dir)


def _loadable(model: SpeakerModelUsed) -> SpeakerModelUsed | None:
    """Return the model; None if a library that it needs is missing, or a model of the catalogue was not fetched."""
    try:
        load_speaker(model.name, model.cache_dir)
    except MissingToolError:
        return None
    return model
