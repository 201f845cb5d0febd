"""Repairs of a conversation: recordings exchanged between two speakers, words moved or stretched. Sound is not changed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sca.data.corpora.base import Conversation, Track
from sca.data.duplex.evidence.refine import TimeMap
from sca.data.duplex.model.evidence import Explanation, TrackEvidence
from sca.data.duplex.model.records import RepairRecord
from sca.errors import InputError
from sca.units import HEARD_HZ

__all__ = ["confirmed", "repaired"]

_SPEAKERS = 2
_PAST_EDGE = HEARD_HZ // 2  # as in the timing of words


def repaired(conversation: Conversation, repairs: Mapping[str, RepairRecord]) -> Conversation:
    """Return a conversation with repaired tracks.

    Args:
        conversation: The conversation.
        repairs: The repairs by speaker.

    Raises:
        InputError: A repair names a speaker that the conversation does not have.
    """
    by_speaker = {track.speaker_id: track for track in conversation.tracks}
    tracks = []
    for track in conversation.tracks:
        repair = repairs.get(track.speaker_id)
        if repair is not None:
            source = by_speaker.get(repair["audio_of"] or track.speaker_id)
            if source is None:
                raise InputError(
                    f"{conversation.session_id} has no speaker {repair['audio_of']} to exchange recordings with"
                )
            moved = _moved(track, TimeMap(repair["offset_s"], repair["drift"]))
            track = replace(moved, audio=source.audio, part=source.part)
        tracks.append(track)
    return replace(conversation, tracks=tuple(tracks))


def _moved(track: Track, time_map: TimeMap) -> Track:
    """Return a track with other times of its utterances and words; none begins before 0."""

    def at(sample: int) -> int:
        return max(0, time_map.sample(sample))

    utterances = tuple(replace(one, start=at(one.start), end=at(one.end)) for one in track.utterances)
    words = track.words
    if words is not None:
        words = tuple(replace(word, start=at(word.start), end=at(word.end)) for word in words)
    return replace(track, utterances=utterances, words=words)


def confirmed(
    evidence: Sequence[TrackEvidence], conversation: Conversation, recorded: Sequence[int]
) -> list[TrackEvidence]:
    """Return the evidence without explanations that the corpus contradicts.

    A mixed recording has no tracks to exchange, and a transcript that reaches out of the recording is not its own.

    Args:
        evidence: The measurements of the tracks.
        conversation: The conversation, as measured.
        recorded: The length of each recording at 16 kHz.
    """
    if not any(track.explained for track in evidence):
        return list(evidence)
    possible = _has_two_recordings(conversation.tracks) and all(
        _is_within(track, one.explained, recorded[1 - n if one.explained.exchanged else n])
        for n, (track, one) in enumerate(zip(conversation.tracks, evidence, strict=True))
        if one.explained is not None
    )
    return list(evidence) if possible else [one.model_copy(update={"explained": None}) for one in evidence]


def _has_two_recordings(tracks: Sequence[Track]) -> bool:
    sources = {(track.audio, track.part.channel) for track in tracks}
    return len(tracks) == len(sources) == _SPEAKERS and all(track.part.spans is None for track in tracks)


def _is_within(track: Track, explained: Explanation, recorded: int) -> bool:
    """Whether all utterances lie in the recording after the repair."""
    time_map = TimeMap(explained.offset_s, explained.drift)
    spans = [time_map.span((one.start, one.end)) for one in track.utterances]
    return all(start < recorded and 0 < end <= recorded + _PAST_EDGE for start, end in spans)
