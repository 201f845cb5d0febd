"""JSON of recognisers: whisper, whisperX, faster-whisper, whisper.cpp, Deepgram, AssemblyAI; and of SpokenWOZ."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, groupby
from pathlib import Path
from typing import Any

from sca.data.corpora.segments.model import Parsed, Problem, Segment, Word, checked
from sca.data.corpora.segments.tables import value_of
from sca.data.corpora.segments.word_times import WrittenWord, time_of, with_times
from sca.data.corpora.text.encoding import read_text

__all__ = ["MAIN", "entries_of", "read_json"]

MAIN = "SPEAKER_MAIN"
"""The speaker of moshi-finetune on the left channel."""

_KNOWN = "whisper's segments, Deepgram's results, AssemblyAI's utterances, SpokenWOZ's log, moshi's alignments"


def read_json(path: Path) -> Parsed:
    """Read a JSON transcript. The tool is detected by the keys.

    Raises:
        ValueError: The file is not JSON, or none of the known shapes.
    """
    try:
        document = json.loads(read_text(path).text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error})") from error
    try:
        found = entries_of(document)
    except ValueError as error:
        raise ValueError(f"{path} has {error}") from error
    if found is None:
        keys = ", ".join(map(str, document))[:80] if isinstance(document, dict) else type(document).__name__
        raise ValueError(f"{path} has {keys or 'nothing'}; expected one of {_KNOWN}, or a list of start, end, text")
    return found


def entries_of(document: Any) -> Parsed | None:
    """Return the segments of a JSON document, or None if its shape is unknown.

    Raises:
        ValueError: It has alignments of moshi-finetune without the speakers that they need.
    """
    match document:
        case {"alignments": list(alignments)}:
            return _moshi(alignments)
        case {"results": {"channels": list(channels)}}:
            return _deepgram(channels)
        case {"log": list(turns)}:
            return _segments(map(_spokenwoz, turns), 1000)
        case {"transcription": list(turns)}:  # whisper.cpp
            return _segments(({"text": turn["text"], **_offsets(turn)} for turn in turns), 1000)
        # AssemblyAI has the text, its id and its model beside the utterances, and times in milliseconds.
        case {"utterances": list(turns)}:
            return _segments(turns, 1000 if "audio_url" in document or "language_code" in document else _unit(turns))
        case {"segments": list(turns)} | {"chunks": list(turns)} | list(turns) if all(
            isinstance(turn, dict) for turn in turns
        ):
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
            words = with_times(list(_words(turn.get("words") or (), unit)))
            start, end = _times(turn)
            if start is None or end is None:
                if not words:
                    raise ValueError("no start and end")
                start, end = words[0].start_s * unit, words[-1].end_s * unit
        except (ValueError, AttributeError) as error:
            yield Problem(None, f"{label}: {error}")
            continue
        text, speaker, channel = value_of(turn, "text"), value_of(turn, "speaker"), value_of(turn, "channel")
        if text is None and str(turn.get("word") or "").strip():  # a list of words
            words = (Word("".join(str(turn["word"]).split()), start / unit, end / unit),)
        if str(text or "").strip() or words:
            named = None if speaker is None else str(speaker)
            yield checked(
                Segment(start / unit, end / unit, str(text or "").strip(), named, _channel(channel), words, label=label)
            )


def _channel(channel: object) -> int | None:
    """Return a channel; AssemblyAI writes "1" and "2"."""
    if isinstance(channel, str) and channel in ("1", "2"):
        return int(channel) - 1
    return channel if isinstance(channel, int) else None


def _times(turn: Mapping[str, Any]) -> tuple[float | None, float | None]:
    match turn.get("timestamp"):  # the chunks of transformers' pipeline
        case [first, last]:
            return time_of(first), time_of(last)
    start, end = value_of(turn, "start"), value_of(turn, "end")
    return start if isinstance(start, float) else None, end if isinstance(end, float) else None


def _words(words: Sequence[Any], unit: int) -> Iterator[WrittenWord]:
    """Yield the words; recognisers leave the times of numbers out."""
    for word in words:
        text = word.get("punctuated_word") or word.get("word") or word.get("text") if isinstance(word, dict) else None
        if isinstance(word, dict) and (plain := "".join(str(text or "").split())):
            yield WrittenWord(plain, time_of(word.get("start"), unit), time_of(word.get("end"), unit))


def _moshi(alignments: Sequence[Any]) -> Parsed:
    """Return the words of moshi-finetune. `MAIN` is the left channel; the channels of two other names are not known."""
    problems: list[Problem] = []
    words: dict[str, list[tuple[int, WrittenWord]]] = {}
    for number, entry in enumerate(alignments):
        match entry:
            case [str(text), [start, end], str(speaker)]:
                word = WrittenWord("".join(text.split()), time_of(start), time_of(end))
                words.setdefault(speaker, []).extend([(number + 1, word)] if word.text else [])
                if (start, end) != (None, None) and not word.is_timed:
                    reason = f"entry {number + 1} has the times {start} and {end}, which are not used"
                    problems.append(Problem(None, reason, "note"))
            case _:
                problems.append(Problem(None, f"entry {number + 1} is not [word, [start, end], speaker]"))
    if not (MAIN in words and len(words) <= 2) and len(words) != 2:
        found = ", ".join(sorted(words)) or "no speaker"
        why = f": {problems[0].reason}" if problems else ""
        raise ValueError(f"words of {found}; words of {MAIN} are needed, and of at most one other speaker{why}")
    return chain(problems, _moshi_words(words))


def _moshi_words(words: Mapping[str, Sequence[tuple[int, WrittenWord]]]) -> Parsed:
    for speaker, numbered in words.items():
        timed = with_times([word for _, word in numbered])
        if numbered and not timed:
            yield Problem(None, f"no word of {speaker} has times")
        side = (None if MAIN in words else speaker), (int(speaker != MAIN) if MAIN in words else None)
        for (number, _), word in zip(numbered, timed, strict=False):
            yield Segment(word.start_s, word.end_s, "", *side, (word,), label=f"entry {number}")


def _deepgram(channels: Sequence[Any]) -> Parsed:
    """Yield the words of each channel or, with one channel, of each speaker that diarization found."""
    for channel, content in enumerate(channels):
        try:
            spoken = content["alternatives"][0]["words"]
            by_speaker = groupby(spoken, key=lambda word: word.get("speaker"))
            turns = [(speaker, with_times(list(_words(list(words), 1)))) for speaker, words in by_speaker]
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
