"""The files of a conversation, in the MagicHub layout that `sca build-duplex` reads, with labels beside it.

WAV/SESSION_SPEAKER.wav     one 16-bit recording per speaker, of one length
TXT/SESSION_SPEAKER.txt     [start,end] speaker gender text, in seconds, one turn per line
WORDS/SESSION_SPEAKER.json  [[word, start, end], ...] in seconds
STEREO/SESSION.wav          both speakers (with the option)
LABELS/SESSION.json         every turn with its kind, and how the conversation was made; the last file

Corpus readers find a conversation by its transcripts, so these are written after all that is read with them.
"""

import json
import re
from collections.abc import Collection, Iterator
from glob import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sca.audio.pcm import float32_to_int16
from sca.data.runs.files import atomic_write, write_json
from sca.synth.conversation import Event, SyntheticConversation

__all__ = [
    "conversation_files",
    "is_written",
    "remove_conversation",
    "remove_cut_off",
    "speaker_ids",
    "write_audio",
    "write_conversation",
]

_DIGITS = 6
"""Decimals of a time: a sample at 48 kHz is 21 µs."""
_OF_SPEAKERS = ("WAV", "TXT", "WORDS")
_NAME = re.compile(r"S\d{5,}-.+")
"""Names of conversations."""


def speaker_ids(conversation: SyntheticConversation) -> tuple[str, str]:
    """Return the ids of the speakers: the names of their voices, since a voice is the same person everywhere."""
    first, second = (
        "".join(letter if letter.isalnum() or letter in "+-" else "-" for letter in Path(str(voice)).name)
        for voice in conversation.voices
    )
    return first, f"{second}-2" if first == second else second


def write_conversation(root: Path, session: str, conversation: SyntheticConversation, made: dict[str, object]) -> None:
    """Write the files of a conversation, each complete or not at all, the transcripts and then the labels last.

    Args:
        root: The folder of the corpus.
        session: The name of the conversation.
        conversation: The conversation.
        made: How it was made, for the labels.

    Raises:
        OutputError: A file cannot be written.
    """
    speakers, rate_hz = speaker_ids(conversation), conversation.rate_hz
    tracks = [float32_to_int16(track, 32767) for track in conversation.tracks]
    said = [[event for event in conversation.events if event.speaker == side] for side in range(len(speakers))]
    for speaker, events, track in zip(speakers, said, tracks, strict=True):
        write_audio(root / "WAV" / f"{session}_{speaker}.wav", track, rate_hz)
        words = (
            json.dumps([word.text, _seconds(word.start, rate_hz), _seconds(word.end, rate_hz)], ensure_ascii=False)
            for event in events
            for word in event.words
        )
        _write_text(root / "WORDS" / f"{session}_{speaker}.json", "[\n" + ",\n".join(words) + "\n]\n")
    if made.get("stereo"):
        write_audio(root / "STEREO" / f"{session}.wav", np.stack(tracks, axis=1), rate_hz)
    for speaker, events in zip(speakers, said, strict=True):
        _write_text(root / "TXT" / f"{session}_{speaker}.txt", "".join(_lines(events, speaker, rate_hz)))
    write_json(root / "LABELS" / f"{session}.json", _labels(session, speakers, conversation, made))


def conversation_files(root: Path, session: str) -> Iterator[Path]:
    """Yield the files of a conversation that exist; the labels first."""
    yield from (path for path in [root / "LABELS" / f"{session}.json"] if path.is_file())
    for folder in _OF_SPEAKERS:
        yield from sorted((root / folder).glob(f"{escape(session)}_*"))
    yield from (path for path in [root / "STEREO" / f"{session}.wav"] if path.is_file())


def is_written(root: Path, session: str, *, stereo: bool) -> bool:
    """Return whether all files of a conversation exist."""
    return len(list(conversation_files(root, session))) == 7 + stereo


def remove_conversation(root: Path, session: str) -> None:
    """Delete the files of a conversation, the labels first."""
    for path in conversation_files(root, session):
        path.unlink()


def remove_cut_off(root: Path, finished: Collection[str]) -> None:
    """Delete the files of conversations that no run has finished, such as the one in progress when a run was killed.

    Args:
        root: The folder of the corpus.
        finished: The names of the finished conversations.
    """
    found = {path.stem.rpartition("_")[0] for folder in _OF_SPEAKERS for path in (root / folder).glob("S*_*")}
    found |= {path.stem for folder in ("LABELS", "STEREO") for path in (root / folder).glob("S*")}
    for session in sorted(found.difference(finished)):
        if _NAME.fullmatch(session):
            remove_conversation(root, session)


def write_audio(path: Path, samples: NDArray[np.int16], rate_hz: int) -> None:
    """Write a WAV file, complete or not at all.

    Args:
        path: The file.
        samples: Int16 `(n,)`, or `(n, channels)`.
        rate_hz: The rate.

    Raises:
        OutputError: The file cannot be written.
    """
    import soundfile

    with atomic_write(path) as temporary:
        soundfile.write(temporary, samples, rate_hz, subtype="PCM_16", format="WAV")


def _write_text(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def _seconds(sample: int, rate_hz: int) -> float:
    return round(sample / rate_hz, _DIGITS)


def _lines(events: list[Event], speaker: str, rate_hz: int) -> Iterator[str]:
    for event in events:
        start, end = (f"{at / rate_hz:.{_DIGITS}f}" for at in (event.start, event.end))
        yield f"[{start},{end}]\t{speaker}\tnone,none\t{event.text}\n"


def _labels(
    session: str, speakers: tuple[str, str], conversation: SyntheticConversation, made: dict[str, object]
) -> dict[str, object]:
    rate_hz = conversation.rate_hz
    return {
        "session": session,
        "script": conversation.script.name,
        "script_sha256": conversation.script.sha256,
        **made,
        "sample_rate": rate_hz,
        "seconds": _seconds(len(conversation.tracks[0]), rate_hz),
        "speakers": [
            {"id": speaker, "name": name, "voice": str(voice)}
            for speaker, name, voice in zip(speakers, conversation.script.speakers, conversation.voices, strict=True)
        ],
        "turns": [_turn(event, conversation) for event in conversation.events],
    }


def _turn(event: Event, conversation: SyntheticConversation) -> dict[str, object]:
    rate_hz = conversation.rate_hz
    over = None if event.over is None else conversation.events[event.over]
    return {
        "speaker": event.speaker,
        "kind": event.kind.value,
        "start": _seconds(event.start, rate_hz),
        "end": _seconds(event.end, rate_hz),
        "text": event.text,
        "unspoken": " ".join(event.unspoken),
        "skipped": list(event.skipped),
        "over": event.over,
        "offset_s": None if over is None else _seconds(event.start - over.end, rate_hz),
        "line": event.line,
    }
