"""JSON of recognisers: whisper, whisperX, faster-whisper, whisper.cpp, Deepgram, AssemblyAI; and of SpokenWOZ."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from sca.data.corpora.segments.model import Parsed, Problem, Segment, Word, checked
from sca.data.corpora.segments.tables import value_of
from sca.data.corpora.text.encoding import read_text

__all__ = ["is_moshi", "read_json"]

_KNOWN = "whisper's segments, Deepgram's results, AssemblyAI's utterances, SpokenWOZ's log, moshi's alignments"


def is_moshi(path: Path) -> bool:
    """Return whether a JSON file has the alignments of moshi-finetune."""
    try:
        document = json.loads(read_text(path).text)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and "alignments" in document


def read_json(path: Path) -> Parsed:
    """Read a JSON transcript. The tool is detected by the keys.

    Raises:
        ValueError: The file is not JSON, or none of the known shapes.
    """
    try:
        document = json.loads(read_text(path).text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error})") from error
    found = _entries(document)
    if found is None:
        keys = ", ".join(map(str, document))[:80] if isinstance(document, dict) else type(document).__name__
        raise ValueError(f"{path} has {keys or 'nothing'}; expected one of {_KNOWN}, or a list of start, end, text")
    return found


def _entries(document: Any) -> Parsed | None:
    match document:
        case {"results": {"channels": list(channels)}}:
            return _deepgram(channels)
        case {"log": list(turns)}:
            return _segments(map(_spokenwoz, turns), 1000)
        case {"transcription": list(turns)}:  # whisper.cpp
            return _segments(({"text": turn["text"], **_offsets(turn)} for turn in turns), 1000)
        # AssemblyAI has the text, its id and its model beside the utterances, and times in milliseconds.
        case {"utterances": list(turns)}:
            return _segments(turns, 1000 if "audio_url" in document or "language_code" in document else _unit(turns))
        case {"segments": list(turns)} | list(turns) if all(isinstance(turn, dict) for turn in turns):
            return _segments(turns, 1)
    return None


def _unit(turns: Sequence[Any]) -> int:
    """Return the time units in a second: AssemblyAI writes integers, all others decimals."""
    times = [turn.get("end") for turn in turns if isinstance(turn, dict)]
    return 1000 if times and all(isinstance(time, int) for time in times) else 1


def _segments(turns: Iterator[Any] | Sequence[Any], unit: int) -> Parsed:
    for number, turn in enumerate(turns, 1):
        label = f"segment {number}"
        try:
            words = tuple(_words(turn.get("words") or (), unit))
            start, end = value_of(turn, "start"), value_of(turn, "end")
            if not isinstance(start, float) or not isinstance(end, float):
                if not words:
                    raise ValueError("no start and end")
                start, end = words[0].start_s * unit, words[-1].end_s * unit
        except (ValueError, AttributeError) as error:
            yield Problem(None, f"{label}: {error}")
            continue
        text, speaker, channel = value_of(turn, "text"), value_of(turn, "speaker"), value_of(turn, "channel")
        if str(text or "").strip():
            named = None if speaker is None else str(speaker)
            side = channel if isinstance(channel, int) else None
            yield checked(Segment(start / unit, end / unit, str(text).strip(), named, side, words, label=label))


def _words(words: Sequence[Any], unit: int) -> Iterator[Word]:
    """Yield the words that have times; recognisers leave the times of numbers out."""
    for word in words:
        text = word.get("punctuated_word") or word.get("word") or word.get("text") if isinstance(word, dict) else None
        if not text or word.get("start") is None or word.get("end") is None:
            continue
        yield Word("".join(str(text).split()), float(word["start"]) / unit, float(word["end"]) / unit)


def _deepgram(channels: Sequence[Any]) -> Parsed:
    """Yield the words of each channel or, with one channel, of each speaker that diarization found."""
    for channel, content in enumerate(channels):
        try:
            spoken = content["alternatives"][0]["words"]
            by_speaker = groupby(spoken, key=lambda word: word.get("speaker"))
            turns = [(speaker, tuple(_words(list(words), 1))) for speaker, words in by_speaker]
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            yield Problem(None, f"channel {channel} has no alternative with words ({error!r})")
            continue
        side = channel if len(channels) > 1 else None
        for speaker, words in turns:
            if words:
                named = None if side is not None or speaker is None else str(speaker)
                yield Segment(words[0].start_s, words[-1].end_s, "", named, side, words)


def _spokenwoz(turn: Mapping[str, Any]) -> dict[str, Any]:
    """Return a turn of SpokenWOZ under the names of the others."""
    words = [word for word in turn.get("words") or () if isinstance(word, dict)]
    timed = [{"word": w.get("Word"), "start": w.get("BeginTime"), "end": w.get("EndTime")} for w in words]
    channels = {word.get("ChannelId") for word in words}
    channel = channels.pop() if len(channels) == 1 else None
    return {"text": turn.get("text"), "words": timed, "speaker": turn.get("tag"), "channel": channel}


def _offsets(turn: Mapping[str, Any]) -> dict[str, Any]:
    offsets = turn.get("offsets")
    return {"start": offsets.get("from"), "end": offsets.get("to")} if isinstance(offsets, dict) else {}
