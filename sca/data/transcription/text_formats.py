"""Timelines as subtitles, tables and plain text, with the conventions of openai/whisper's command (`utils.py`).

Each format is a function from a timeline to the text of a file. Text that may be wrong is in every format, and marked in
JSON. Reactions and other sounds are in the formats that people read with the sound, in brackets, and in JSON.
"""

import json
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from html import escape
from types import MappingProxyType

from sca.timeline import AudienceEvent, EnvironmentEvent, Show, SpeechEvent, SpokenWord, is_unsure

__all__ = ["TEXT_FORMATS"]

_WITHOUT_SPACES = frozenset({"zh", "ja", "th", "lo", "my", "yue"})
"""Languages whose words Whisper does not separate (openai/whisper, `split_to_word_tokens`)."""


def _txt(show: Show) -> str:
    return "".join(f"{_named(event)}\n" for event in _spoken(show))


def _tsv(show: Show) -> str:
    """Return a table in integer milliseconds."""
    rows = [f"{_ms(event.start)}\t{_ms(event.end)}\t{_line(event.content)}\n" for event in _spoken(show)]
    return "".join(["start\tend\ttext\n", *rows])


def _srt(show: Show) -> str:
    cues = enumerate(_cues(show), 1)
    return "".join(
        f"{number}\n{_clock(start, ',', hours=True)} --> {_clock(end, ',', hours=True)}\n{text}\n\n"
        for number, (start, end, text) in cues
    )


def _vtt(show: Show) -> str:
    """Return WebVTT. `&`, `<` and `>` are markup in it, so they are escaped; Whisper's writer leaves them."""
    cues = [
        f"{_clock(start, '.')} --> {_clock(end, '.')}\n{escape(text, quote=False)}\n\n"
        for start, end, text in _cues(show)
    ]
    return "".join(["WEBVTT\n\n", *cues])


def _json(show: Show) -> str:
    """Return Whisper's JSON: `text`, `segments` and `language`; and `doubt` of a segment, and `reactions`."""
    spoken = [event for event in show.timeline if isinstance(event, SpeechEvent)]
    words = _words_of(show, spoken)
    space = "" if show.language in _WITHOUT_SPACES else " "
    segments: list[dict[str, object]] = []
    for number, event in enumerate(spoken):
        text = f"{space}{event.content}" if event.content else ""
        segment: dict[str, object] = {"id": number, "start": event.start, "end": event.end, "text": text}
        evidence = event.model_dump(include={"avg_logprob", "compression_ratio", "no_speech_prob"}, exclude_none=True)
        segment |= evidence
        if show.words:
            segment["words"] = _spaced(words[number], text)
        if event.speaker is not None:
            segment["speaker"] = event.speaker
        segment["doubt"] = (event.doubt or "unsure") if is_unsure(event) else None
        segments.append(segment)
    reactions = [
        {"start": event.start, "end": event.end, "sound": _sound(event)}
        for event in show.timeline
        if not isinstance(event, SpeechEvent)
    ]
    whole = "".join(str(segment["text"]) for segment in segments)
    document = {"text": whole, "segments": segments, "language": show.language, "reactions": reactions}
    return json.dumps(document, ensure_ascii=False) + "\n"


def _rttm(show: Show) -> str:
    """Return the turns of the speakers (NIST, RT-09 evaluation plan, appendix A)."""
    name = "_".join(show.video_id.split())
    return "".join(
        f"SPEAKER {name} 1 {turn.start:.3f} {turn.end - turn.start:.3f} <NA> <NA> {turn.speaker} <NA> <NA>\n"
        for turn in show.turns or ()
    )


TEXT_FORMATS = MappingProxyType[str, Callable[[Show], str]](
    {"srt": _srt, "vtt": _vtt, "tsv": _tsv, "txt": _txt, "json": _json, "rttm": _rttm}
)
"""The function of each format, which is also the extension of its files."""


def _spoken(show: Show) -> Iterator[SpeechEvent]:
    """Yield the events with text, certain or not. Speech whose text is not known has none."""
    return (event for event in show.timeline if isinstance(event, SpeechEvent) and event.content.strip())


def _cues(show: Show) -> Iterator[tuple[int, int, str]]:
    """Yield start and end in milliseconds, and the text, of everything that subtitles show. No cue is empty."""
    for event in show.timeline:
        text = _named(event) if isinstance(event, SpeechEvent) else f"[{_sound(event)}]"
        if text:
            start = _ms(event.start)
            yield start, max(_ms(event.end), start + 1), text.replace("-->", "->")


def _named(event: SpeechEvent) -> str:
    """Return the text on one line, after the speaker as whisperX writes it."""
    text = _line(event.content)
    return text if not text or event.speaker is None else f"[{event.speaker}]: {text}"


def _sound(event: AudienceEvent | EnvironmentEvent) -> str:
    if isinstance(event, EnvironmentEvent):
        return _line(event.sound_category or event.content).replace("_", " ") or "sound"
    if event.reaction_type == "other":
        return _line(event.content) or "reaction"
    return event.reaction_type.replace("_", " ")


def _words_of(show: Show, spoken: Sequence[SpeechEvent]) -> list[list[SpokenWord]]:
    """Return the words of each event: those that start in it or, by the rounding of times, right after it."""
    words: list[list[SpokenWord]] = [[] for _ in spoken]
    places = [number for number, event in enumerate(spoken) if event.content]
    starts = [spoken[number].start for number in places]
    for word in show.words:
        if places:
            words[places[max(0, bisect_right(starts, word.start) - 1)]].append(word)
    return words


def _spaced(words: list[SpokenWord], text: str) -> list[dict[str, object]]:
    """Return words as Whisper writes them: with the space before them, if the text has one there."""
    spaced: list[dict[str, object]] = []
    at = 0
    for word in words:
        found = text.find(word.word, at)
        has_space = found > 0 and text[found - 1].isspace()
        at = found + len(word.word) if found >= 0 else at
        spaced.append(word.model_dump(exclude_none=True) | {"word": f" {word.word}" if has_space else word.word})
    return spaced


def _line(text: str) -> str:
    """Return a text on one line: an empty line would end a subtitle, and a tab a column."""
    return " ".join(text.split())


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _clock(ms: int, decimal_mark: str, *, hours: bool = False) -> str:
    """Return a time such as `00:01:02,345`; without `hours`, hours are left out if they are 0."""
    whole_s, rest_ms = divmod(ms, 1000)
    whole_min, s = divmod(whole_s, 60)
    h, min_ = divmod(whole_min, 60)
    beginning = f"{h:02}:" if hours or h else ""
    return f"{beginning}{min_:02}:{s:02}{decimal_mark}{rest_ms:03}"
