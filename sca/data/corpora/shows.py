"""What `sca transcribe` wrote: shows with one microphone. The comedian is learned, the room without him is what he hears.

A mono recording has no track of the room. Two are made of it that add up to it: in the one it is silent wherever the comedian does
not speak, in the other wherever he does, with ramps between. So laughter under his words stays on his track and is not heard by
the model; what the room does while he pauses is. Nobody writes down what the room says, so it is heard only.
"""

from collections.abc import Iterator
from pathlib import Path

from sca.audio.decode import probe
from sca.data.corpora.base import Part, Skipped
from sca.data.corpora.magichub import KEPT
from sca.data.corpora.staging import ForeignSession, ForeignTrack, Said, inside, plain_name
from sca.data.media.find_audio import AudioFolder
from sca.errors import InputError
from sca.timeline import AudienceEvent, BrokenLine, ComedianEvent, Show, read_shows

__all__ = ["read", "spans_of"]

_AROUND_S = 0.15  # recognisers' word times are about this far off
_APART_S = 0.1  # pauses shorter than this are not worth opening the room's track for
_OTHER_RECORDING_S = 1.0


def read(source: Path, audio_dir: Path) -> Iterator[ForeignSession | Skipped]:
    """The shows of a file; no sound is read. Raises `InputError` when the file or the folder of recordings cannot be."""
    folder = AudioFolder(audio_dir)
    for number, show in read_shows(source):
        if isinstance(show, BrokenLine):
            yield Skipped(source, number, show.reason)
            continue
        try:
            session, reports = _session(source, number, show, folder.of(show))
        except (ValueError, InputError) as error:
            yield Skipped(source, number, str(error))
            continue
        yield from reports
        yield session


def spans_of(show: Show, seconds: float) -> tuple[tuple[float, float], ...]:
    """When the comedian is heard, in seconds, sorted and apart, a little wider than his events say."""
    spans: list[tuple[float, float]] = []
    for event in show.timeline:
        if not isinstance(event, ComedianEvent) or event.end <= event.start or event.start >= seconds:
            continue
        start, end = max(0.0, event.start - _AROUND_S), min(seconds, event.end + _AROUND_S)
        if spans and start - spans[-1][1] < _APART_S:
            spans[-1] = (spans[-1][0], max(spans[-1][1], end))
        else:
            spans.append((start, end))
    return tuple(spans)


def _session(source: Path, number: int, show: Show, audio: Path) -> tuple[ForeignSession, list[Skipped]]:
    """One show. Raises `ValueError` with what is wrong with it."""
    seconds = probe(audio).duration_s
    if seconds is None:
        raise ValueError(f"{audio} does not say how long it is; transcode it first")
    if show.duration_s is not None and abs(show.duration_s - seconds) > _OTHER_RECORDING_S:
        raise ValueError(
            f"{audio} lasts {seconds:.3f} s, {show.video_id} was transcribed from one of {show.duration_s:.3f} s"
        )
    speech = [event for event in show.timeline if isinstance(event, ComedianEvent) and event.event_type == "speech"]
    lines, reports = inside(
        (Said(one.content, one.start, one.end) for one in speech if one.content.strip()), seconds, source
    )
    if not lines:
        raise ValueError(f"{show.video_id} has no speech of the comedian")
    given = (Said("".join(word.word.split()), word.start, word.end) for word in show.words if word.word.strip())
    words, _ = inside(given, seconds, source)
    spans, name = spans_of(show, seconds), plain_name(show.video_id)
    tracks = (
        ForeignTrack(f"{name}.comedian", audio, Part(spans=spans), lines, words or None),
        ForeignTrack(f"{name}.room", audio, Part(spans=spans, inside=False), None),
    )
    under, heard = _under(show, spans)
    if under > 0:
        reports.append(
            Skipped(
                source,
                number,
                f"{KEPT}{under:.1f} of {heard:.1f} s of reactions lie under his speech and stay on his track",
            )
        )
    return ForeignSession(name, source, tracks, number), reports


def _under(show: Show, spans: tuple[tuple[float, float], ...]) -> tuple[float, float]:
    """Seconds of the audience's reactions that lie in `spans`, and of all of them."""
    reactions = [event for event in show.timeline if isinstance(event, AudienceEvent)]
    under = sum(max(0.0, min(one.end, b) - max(one.start, a)) for one in reactions for a, b in spans)
    return under, sum(one.end - one.start for one in reactions)
