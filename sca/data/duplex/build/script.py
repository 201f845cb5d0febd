"""`--mode script`: one JSON a transcript, its utterances with their tokens. No audio is read and nothing is placed."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sca.config import Settings
from sca.data.corpora import magichub
from sca.data.corpora.base import Track
from sca.data.duplex.rows.text import clean
from sca.data.duplex.storage.build_settings import tokenizer_of
from sca.data.runs.files import write_json
from sca.errors import InputError
from sca.tokenizer.base import TextTokenizer
from sca.units import HEARD_HZ

__all__ = ["ScriptSummary", "build_script"]


@dataclass(slots=True)
class ScriptSummary:
    """How many transcripts were written, with how many events and tokens, and what was left out."""

    files: int = 0
    events: int = 0
    tokens: int = 0
    skipped: list[str] = field(default_factory=list)


def build_script(source: Path, root: Path, settings: Settings) -> ScriptSummary:
    """Write `root/<transcript>.json` = {session_id, speaker_id, events: [{start, end, duration, text, input_ids}]}."""
    scan = magichub.scan(source)
    if not scan.sessions:
        raise InputError(f"{source} has no session with two speakers")
    tokenizer = tokenizer_of(settings)
    summary = ScriptSummary(skipped=[str(issue) for issue in scan.issues])
    for files in scan.sessions:
        conversation = magichub.read(files)
        summary.skipped += map(str, conversation.issues)
        for track in conversation.tracks:
            events = _events(track, tokenizer)
            document = {"session_id": conversation.session_id, "speaker_id": track.speaker_id, "events": events}
            write_json(root / f"{conversation.session_id}_{track.speaker_id}.json", document)
            summary.files += 1
            summary.events += len(events)
            summary.tokens += sum(len(event["input_ids"]) for event in events)
    return summary


def _events(track: Track, tokenizer: TextTokenizer) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    for utterance in track.utterances:
        text = clean(utterance.text).text
        if not text:
            continue
        events.append(
            {
                "start": utterance.start / HEARD_HZ,
                "end": utterance.end / HEARD_HZ,
                "duration": (utterance.end - utterance.start) / HEARD_HZ,
                "text": text,
                "input_ids": tokenizer.encode(f" {text}" if events else text),
            }
        )
    return events
