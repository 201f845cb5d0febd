"""Reader of the output of `sca transcribe`: shows recorded with one microphone, a comedian and an audience.

The comedian is the target speaker, the audience what the model hears. One mono recording becomes two tracks that add up
to it: one is silent where the comedian does not speak, the other where the comedian speaks, with ramps between. Unsure
speech is on the comedian's track too, without text: on the other track, the model would hear its own voice.
Laughter during the comedian's speech therefore stays on the comedian's track, which the model does not hear; reactions
in the pauses are heard. The audience is not transcribed, so its track is input audio only.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override

from sca.audio.decode import length_s
from sca.data.corpora.base import Conversation, CorpusReader, Issue, Part
from sca.data.corpora.timed_text import TimedText, file_safe_name, make_track, split_at_end
from sca.data.media.find_audio import AudioFolder
from sca.data.runs.json_lines import first_objects
from sca.errors import InputError
from sca.timeline import AudienceEvent, BrokenLine, ComedianEvent, Show, is_unsure, read_shows

__all__ = ["ShowReader", "speech_spans"]

_MARGIN_S = 0.15  # about the error of recognised word times
_SHORTEST_GAP_S = 0.1  # shorter pauses do not switch to the audience's track
_MAX_DIFFERENCE_S = 1.0


@dataclass(frozen=True, slots=True)
class ShowReader(CorpusReader):
    """The `CorpusReader` of this layout.

    Attributes:
        audio_dir: The folder of the recordings; None for the folder of the file.
    """

    audio_dir: Path | None = None

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
                conversation, issues = _conversation(source, number, show, folder.of(show))
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


def _conversation(source: Path, number: int, show: Show, audio: Path) -> tuple[Conversation, list[Issue]]:
    """Make the conversation of one show; `ValueError` has the reason why it cannot be used."""
    seconds = length_s(audio)
    if show.duration_s is not None and abs(show.duration_s - seconds) > _MAX_DIFFERENCE_S:
        raise ValueError(
            f"{audio} lasts {seconds:.3f} s, {show.video_id} was transcribed from one of {show.duration_s:.3f} s"
        )
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
