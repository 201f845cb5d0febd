"""Encodes the audio of one show, and recognizes audio that is already encoded."""

import json
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path

from pydantic import TypeAdapter

from sca.config import Settings
from sca.data.digests.file_facts import FileFacts
from sca.data.media.enhance import Enhancer
from sca.data.media.enhancers import load_enhancer
from sca.data.runs.files import Unchanged, write_json
from sca.data.shows.model import ShowRecord
from sca.data.shows.paths import record_file, storage_file
from sca.data.shows.storage import SCHEMA_VERSION, write_storage
from sca.data.speakers.base import NO_SPEAKER_MODEL
from sca.data.speakers.embedder import SpeakerEmbedder
from sca.data.speakers.registry import load_speaker, speaker_identity
from sca.errors import writing
from sca.models import identity
from sca.timeline import ComedianEvent, Show

__all__ = ["EncodeJob", "encode_show", "load_models", "plan_encoding", "read_record"]

_RECORD = TypeAdapter(ShowRecord)


@dataclass(frozen=True, slots=True)
class EncodeJob:
    """A show to encode.

    Attributes:
        show: The show.
        audio: Its recording.
        key: The key of its `ShowRecord`.
        sha256: Hash of the recording.
        unchanged: The identity of the recording before it was read.
    """

    show: Show
    audio: Path
    key: str
    sha256: str
    unchanged: Unchanged


def plan_encoding(
    show: Show, audio: Path, before: ShowRecord | None, settings: Settings, facts: FileFacts
) -> EncodeJob:
    """Create the job of a show.

    Args:
        show: The show.
        audio: Its recording.
        before: The record of an earlier run.
        settings: The settings.
        facts: What is known of recordings.

    Raises:
        InputError: The recording cannot be read.
    """
    unchanged = Unchanged(audio)
    is_known = before is not None and list(before.stat) == unchanged.stat and not facts.may_differ(unchanged)
    sha256 = before.sha256 if before is not None and is_known else facts.sha256(unchanged)
    return EncodeJob(show, audio, _key(show, sha256, settings), sha256, unchanged)


def encode_show(job: EncodeJob, root: Path, settings: Settings) -> ShowRecord:
    """Write the audio file of a show and then its record, which marks the file as complete.

    Raises:
        InputError: The recording cannot be decoded, or was replaced meanwhile.
        OutputError: The files cannot be written.
    """
    embedder, enhancer = load_models(settings)
    record_path = record_file(root, job.show.video_id)
    record_path.unlink(missing_ok=True)
    storage = storage_file(root, job.show.video_id)
    reading = settings.audio.reading
    track, has_embedding = write_storage(storage, job.show, job.audio, embedder, enhancer, reading=reading)
    job.unchanged.check()
    size, time_ns = job.unchanged.stat
    record = ShowRecord(job.key, job.sha256, (size, time_ns), track.samples, has_embedding, track.notes)
    # Without remarks, the file is that of earlier versions.
    write_json(record_path, {name: value for name, value in asdict(record).items() if name != "notes" or value})
    return record


def load_models(settings: Settings) -> tuple[SpeakerEmbedder, Enhancer | None]:
    """Load the speaker embedder and the enhancer of the settings, once per process.

    Raises:
        UsageError: A name is unknown.
        MissingToolError: A model or the library that runs it is missing.
        InputError: A file is not a suitable model.
    """
    config = settings.convert
    return _load_models(config.speaker_model, config.enhance, settings.paths.resolved_cache_dir)


@cache
def _load_models(speaker: str, enhancer: str, cache_dir: Path) -> tuple[SpeakerEmbedder, Enhancer | None]:
    return load_speaker(speaker, cache_dir), load_enhancer(enhancer, cache_dir)


def read_record(root: Path, show_id: str) -> ShowRecord | None:
    """Read the record of an encoded show; None if the show is not encoded.

    An audio file that an earlier run set aside (see `sca.data.shows.assemble`) is moved back.

    Raises:
        OutputError: The file cannot be moved back.
    """
    storage, record_path = storage_file(root, show_id), record_file(root, show_id)
    aside = record_path.with_suffix(".arrow")
    if aside.is_file() and not storage.exists():
        with writing(storage):
            aside.replace(storage)
    try:
        record = _RECORD.validate_json(record_path.read_bytes())
    except (OSError, ValueError):
        return None
    return record if storage.is_file() else None


def _key(show: Show, sha256: str, settings: Settings) -> str:
    """Hash everything that determines the bytes of a show's audio file: its audio, and the speech that is embedded."""
    config = settings.convert
    kind, speaker = speaker_identity(config.speaker_model)
    parts: dict[str, object] = {
        "schema": SCHEMA_VERSION,
        "id": show.video_id,
        "audio": sha256,
        "enhance": identity(config.enhance) or config.enhance,
        "speaker": f"{kind}:{speaker}" if kind else speaker,
        **settings.audio.reading.choice(),
    }
    if config.speaker_model != NO_SPEAKER_MODEL:
        parts["speech"] = [
            (event.start, event.end)
            for event in show.timeline
            if isinstance(event, ComedianEvent) and event.event_type == "speech"
        ]
    return blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()
