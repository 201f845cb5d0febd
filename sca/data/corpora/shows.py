"""Reader of the output of `sca transcribe`: shows recorded with one microphone, a comedian and an audience.

The comedian is the target speaker, the audience what the model hears. One mono recording becomes two tracks that add up
to it: one is silent where the comedian does not speak, the other where the comedian speaks, with ramps between. Unsure
speech is on the comedian's track too, without text: on the other track, the model would hear its own voice.
Laughter during the comedian's speech therefore stays on the comedian's track, which the model does not hear; reactions
in the pauses are heard. The audience is not transcribed, so its track is input audio only.

A line with turns of several speakers is a conversation instead: a speaker's track is the recording where this speaker
talks alone, and silence elsewhere. Overlapping speech is on no track, and its speakers are not labelled as silent; with
a separation model, each voice is on its track. If the line has reactions, the sound of the room is a track without words.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from typing_extensions import override

from sca.audio.decode import ANY_DAMAGE, Reading, length_s
from sca.data.corpora.base import Conversation, CorpusReader, Issue, Part, Track, unexpected_fails_item
from sca.data.corpora.diarized.separate import Separated, Separation
from sca.data.corpora.diarized.spans import Spans, alone, overlaps, speaking, within
from sca.data.corpora.timed_text import TimedText, file_safe_name, make_track, split_at_end
from sca.data.media.find_audio import AudioFolder
from sca.data.runs.json_lines import first_objects
from sca.errors import InputError
from sca.spans import merge_spans
from sca.timeline import (
    AudienceEvent,
    BrokenLine,
    ComedianEvent,
    EnvironmentEvent,
    Show,
    SpeakerTurn,
    SpeechEvent,
    is_unsure,
    read_shows,
)
from sca.units import HEARD_HZ, seconds_to_samples

__all__ = ["ShowReader", "speech_spans"]

_MARGIN_S = 0.15  # about the error of recognised word times
_SHORTEST_GAP_S = 0.1  # shorter pauses do not switch to the audience's track
_MAX_DIFFERENCE_S = 1.0
_OVERLAPPING = "overlapping"


@dataclass(frozen=True, slots=True)
class ShowReader(CorpusReader):
    """The `CorpusReader` of this layout.

    Attributes:
        audio_dir: The folder of the recordings; None for the folder of the file.
        separation: Separates overlapping speech of diarized lines; None leaves it out.
        reading: The track of the recordings to look at.
    """

    audio_dir: Path | None = None
    separation: Separation | None = None
    reading: Reading = ANY_DAMAGE

    @override
    def matches(self, source: Path) -> bool:
        return any("video_id" in line and "timeline" in line for line in first_objects(source))

    @override
    def read(self, source: Path) -> Iterator[Conversation | Issue]:
        folder = AudioFolder(self.audio_dir or source.parent)
        for number, show in read_shows(source):
            if isinstance(show, BrokenLine):
                yield Issue("skipped", source, number, show.reason)
                continue
            try:
                with unexpected_fails_item():
                    audio = folder.of(show)
                    seconds = length_s(audio, self.reading)
                    conversation, issues = _conversation(source, number, show, audio, seconds, self.separation)
            except (ValueError, InputError) as error:
                yield Issue("skipped", source, number, str(error))
                continue
            yield from issues
            yield conversation


def speech_spans(show: Show, seconds: float) -> tuple[tuple[float, float], ...]:
    """Return when the comedian is heard, in seconds, sorted and disjoint, a little wider than the events.

    Args:
        show: The show.
        seconds: The length of its recording.
    """
    spans: list[tuple[float, float]] = []
    for event in show.timeline:
        if not isinstance(event, ComedianEvent) or event.end <= event.start or event.start >= seconds:
            continue
        start, end = max(0.0, event.start - _MARGIN_S), min(seconds, event.end + _MARGIN_S)
        if spans and start - spans[-1][1] < _SHORTEST_GAP_S:
            spans[-1] = (spans[-1][0], max(spans[-1][1], end))
        else:
            spans.append((start, end))
    return tuple(spans)


def _conversation(
    source: Path, number: int, show: Show, audio: Path, seconds: float, separation: Separation | None
) -> tuple[Conversation, list[Issue]]:
    """Make the conversation of one show; `ValueError` has the reason why it cannot be used."""
    if show.duration_s is not None and abs(show.duration_s - seconds) > _MAX_DIFFERENCE_S:
        raise ValueError(
            f"{audio} lasts {seconds:.3f} s, {show.video_id} was transcribed from one of {show.duration_s:.3f} s"
        )
    if _has_several_speakers(show):
        return _diarized(source, number, show, audio, seconds, separation)
    speech = [event for event in show.timeline if isinstance(event, ComedianEvent) and event.event_type == "speech"]
    utterances, issues = split_at_end(
        (
            TimedText(event.content, event.start, event.end, source, number, f"event at {event.start:.3f} s")
            for event in speech
            if event.content.strip()
        ),
        seconds,
    )
    if not utterances:
        raise ValueError(f"{show.video_id} has no speech of the comedian")
    unsure = [(event.start, event.end) for event in show.timeline if is_unsure(event)]
    words, _ = split_at_end(
        (
            TimedText("".join(word.word.split()), word.start, word.end, source, number)
            for word in show.words
            if word.word.strip() and not _is_inside((word.start + word.end) / 2, unsure)
        ),
        seconds,
    )
    spans, name = speech_spans(show, seconds), file_safe_name(show.video_id)
    comedian, left_out = make_track(f"{name}.comedian", audio, utterances, words, Part(spans=spans))
    audience, _ = make_track(f"{name}.room", audio, (), part=Part(spans=spans, inside=False))
    under, total = _seconds_under_speech(show, spans)
    if under > 0:
        lost = (
            f"{under:.1f} of {total:.1f} s of reactions overlap the comedian's speech and stay on the comedian's track"
        )
        issues.append(Issue("note", source, number, lost))
    tracks = tuple(track for track in (comedian, audience) if track is not None)
    return Conversation(name, tracks, tuple(left_out), number), issues


def _is_inside(time_s: float, spans: Sequence[tuple[float, float]]) -> bool:
    """Return whether a time is in one of the spans, which are sorted."""
    at = bisect_right(spans, (time_s, float("inf"))) - 1
    return at >= 0 and time_s <= spans[at][1]


def _seconds_under_speech(show: Show, spans: tuple[tuple[float, float], ...]) -> tuple[float, float]:
    """Return the seconds of the audience's reactions that lie in `spans`, and of all reactions."""
    reactions = [event for event in show.timeline if isinstance(event, AudienceEvent)]
    under = sum(max(0.0, min(event.end, b) - max(event.start, a)) for event in reactions for a, b in spans)
    return under, sum(event.end - event.start for event in reactions)


def _has_several_speakers(show: Show) -> bool:
    """Return whether a line has turns of several speakers."""
    return len({turn.speaker for turn in show.turns or ()}) > 1


def _diarized(
    source: Path, number: int, show: Show, audio: Path, seconds: float, separation: Separation | None = None
) -> tuple[Conversation, list[Issue]]:
    """Make the conversation of a line with several speakers.

    Args:
        source: The file of lines.
        number: The line, from 1.
        show: Its content.
        audio: The recording.
        seconds: Its length.
        separation: Separates overlapping speech; None leaves it out.

    Returns:
        The conversation, and remarks about it.

    Raises:
        ValueError: It cannot be used; the message is the reason.
        InputError: The recording cannot be read, or the separation model failed.
    """
    turns = show.turns or ()
    stretches = speaking(turns, seconds)
    both = overlaps(stretches)
    names = sorted({turn.speaker for turn in turns})
    spans = {name: alone(stretches, name, seconds) for name in names}
    found = Separated.nothing() if separation is None else separation.separate(audio, show, stretches, spans)
    left_out = tuple(span for span in both if span not in found.spans)
    issues = [_overlap_note(source, number, both, left_out)] if both else []
    tracks: list[Track] = []
    name = file_safe_name(show.video_id)
    for speaker in names:
        part = Part(spans=spans[speaker]) if speaker not in found.files else Part()
        own = found.files.get(speaker, audio)
        texts, late = _texts(source, number, show, speaker, names[0], left_out, seconds)
        track, unusable = make_track(f"{name}.{speaker}", own, texts[0], texts[1], part)
        issues += late + unusable
        if track is not None:
            tracks.append(replace(track, unlabelled=_samples_of(turns, speaker, left_out)))
    if not any(track.transcript for track in tracks):
        raise ValueError(f"{show.video_id} has no words of its speakers")
    if any(isinstance(event, AudienceEvent | EnvironmentEvent) for event in show.timeline):
        silenced = tuple(sorted({span for name in names for span in spans[name]} | set(both)))
        room, _ = make_track(f"{name}.room", audio, (), part=Part(spans=tuple(merge_spans(silenced)), inside=False))
        tracks += [room] if room is not None else []
    return Conversation(name, tuple(tracks), (), number), issues


def _texts(
    source: Path, number: int, show: Show, speaker: str, main: str, left_out: Spans, seconds: float
) -> tuple[tuple[list[TimedText], list[TimedText]], list[Issue]]:
    """Return the utterances and the words of a speaker, and issues about those after the end of the recording."""
    events = [
        event
        for event in show.timeline
        if isinstance(event, SpeechEvent) and (event.speaker or main) == speaker and event.content.strip()
    ]
    used = [event for event in events if _is_usable(event, left_out)]
    utterances, issues = split_at_end(
        (
            TimedText(event.content, event.start, event.end, source, number, f"event at {event.start:.3f} s")
            for event in used
        ),
        seconds,
    )
    times = [(event.start, event.end) for event in used]
    words, _ = split_at_end(
        (
            TimedText("".join(word.word.split()), word.start, word.end, source, number)
            for word in show.words
            if word.word.strip() and (word.speaker or main) == speaker and within((word.start + word.end) / 2, times)
        ),
        seconds,
    )
    return (utterances, words), issues


def _is_usable(event: SpeechEvent, left_out: Spans) -> bool:
    """Return whether the text of an event is certain. Text that is only in doubt because of an overlap is, if it is separated."""
    if event.event_type == "unsure" and event.doubt != _OVERLAPPING:
        return False
    return event.event_type in ("speech", "unsure") and not within((event.start + event.end) / 2, left_out)


def _samples_of(turns: tuple[SpeakerTurn, ...], speaker: str, left_out: Spans) -> tuple[tuple[int, int], ...]:
    """Return the overlaps in which a speaker talks, in samples at 16 kHz."""
    own = [turn for turn in turns if turn.speaker == speaker]
    return tuple(
        (seconds_to_samples(start, HEARD_HZ), seconds_to_samples(end, HEARD_HZ))
        for start, end in left_out
        if any(turn.start < end and start < turn.end for turn in own)
    )


def _overlap_note(source: Path, number: int, both: Spans, left_out: Spans) -> Issue:
    total, lost = (sum(end - start for start, end in spans) for spans in (both, left_out))
    reason = f"{total:.1f} s of overlapping speech: {total - lost:.1f} s separated, {lost:.1f} s on no track and not labelled"
    return Issue("note", source, number, reason)
