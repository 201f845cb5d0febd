"""`--mode script`: one JSON file per transcript, with the tokens of its utterances. No audio is read."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from sca.config import Settings
from sca.data.corpora import magichub
from sca.data.corpora.base import Track
from sca.data.corpora.text.scripts import starts_with_space
from sca.data.duplex.rows.text import clean
from sca.data.duplex.storage.build_settings import tokenizer_of
from sca.data.runs.files import write_json
from sca.errors import InputError
from sca.tokenizer.base import TextTokenizer
from sca.units import HEARD_HZ, samples_to_seconds

__all__ = ["ScriptSummary", "build_script"]


class ScriptEvent(TypedDict):
    """An utterance, with times in seconds."""

    start: float
    end: float
    duration: float
    text: str
    input_ids: list[int]


@dataclass(slots=True)
class ScriptSummary:
    """The result of a run.

    Attributes:
        files: Files written.
        events: Utterances in them.
        tokens: Tokens of those.
        skipped: Issues of the corpus.
    """

    files: int = 0
    events: int = 0
    tokens: int = 0
    skipped: list[str] = field(default_factory=list)


def build_script(source: Path, root: Path, settings: Settings) -> ScriptSummary:
    """Write `root/<transcript>.json` with `{session_id, speaker_id, events: [ScriptEvent, ...]}`.

    Args:
        source: A corpus of the MagicHub layout.
        root: The folder to write to.
        settings: The settings, for the tokenizer.

    Raises:
        InputError: The corpus cannot be read, or one of its sessions.
    """
    scan = magichub.scan(source)
    if not scan.sessions:
        raise InputError(f"{source} has no session with two speakers")
    tokenizer = tokenizer_of(settings)
    summary = ScriptSummary(skipped=[str(issue) for issue in scan.issues])
    for files in scan.sessions:
        conversation = magichub.read(files)
        summary.skipped += map(str, conversation.issues)
        for track in conversation.tracks:
            events = _events(track, tokenizer, keep_tags=settings.duplex.tags == "keep")
            document = {"session_id": conversation.session_id, "speaker_id": track.speaker_id, "events": events}
            write_json(root / f"{conversation.session_id}_{track.speaker_id}.json", document)
            summary.files += 1
            summary.events += len(events)
            summary.tokens += sum(len(event["input_ids"]) for event in events)
    return summary


def _events(track: Track, tokenizer: TextTokenizer, *, keep_tags: bool) -> list[ScriptEvent]:
    events: list[ScriptEvent] = []
    for utterance in track.utterances:
        text = clean(utterance.text, keep_tags=keep_tags).text
        if not text:
            continue
        events.append(
            {
                "start": samples_to_seconds(utterance.start, HEARD_HZ),
                "end": samples_to_seconds(utterance.end, HEARD_HZ),
                "duration": samples_to_seconds(utterance.end - utterance.start, HEARD_HZ),
                "text": text,
                "input_ids": tokenizer.encode(f" {text}" if events and starts_with_space(text) else text),
            }
        )
    return events
