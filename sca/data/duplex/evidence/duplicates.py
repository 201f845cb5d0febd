"""Derive findings about data that is there twice: recordings, transcripts, and speakers under two names."""

from collections.abc import Iterable, Iterator, Sequence

from sca.config import DuplexConfig
from sca.data.duplex.evidence.copies import find_copies, find_same_voices
from sca.data.duplex.model.evidence import Finding, FindingKind, TrackEvidence

__all__ = ["duplicates", "make_finding", "sessions_with_the_same_content"]

# Recordings with less speech can be equal without being copies: silence, a single "yeah".
_LEAST_SPEECH_S = 0.5
# Two readings of one script differ by more in the time that their words take.
_SAME_LENGTH = 0.005


def duplicates(tracks: Sequence[TrackEvidence], limits: DuplexConfig) -> Iterator[Finding]:
    """Yield what is there twice.

    Args:
        tracks: All tracks.
        limits: The settings with the limits.
    """
    copied: set[tuple[str, str]] = set()
    for track, first in _repeated(tracks, "audio"):
        if track.speech_s >= _LEAST_SPEECH_S:
            copied.add((track.session, track.speaker))
            yield make_finding(
                "same_recording", track, 0.0, f"the same recording as {_named(first)}{_renamed(track, first)}"
            )
    for copy in find_copies(tracks):
        if copy.track.speech_s >= _LEAST_SPEECH_S:
            copied.add((copy.track.session, copy.track.speaker))
            yield make_finding("same_sound", copy.track, 0.0, _copy_text(copy.track, copy.first, copy.offset_s))
    yield from _transcripts(tracks, copied)
    for voice in find_same_voices(tracks, limits.min_same_voice):
        if (voice.track.session, voice.track.speaker) not in copied:
            found = f"the voice of {voice.other} in {voice.session} (cosine {voice.cosine:.2f}): one speaker under two names?"
            yield make_finding("same_voice", voice.track, 0.0, found)


def sessions_with_the_same_content(tracks: Sequence[TrackEvidence]) -> Iterator[tuple[str, str]]:
    """Yield pairs of sessions that share a recording, or a transcript with its times.

    Args:
        tracks: All tracks.
    """
    for track, first in _repeated(tracks, "audio"):
        if track.speech_s >= _LEAST_SPEECH_S:
            yield track.session, first.session
    for copy in find_copies(tracks):
        if copy.track.speech_s >= _LEAST_SPEECH_S:
            yield copy.track.session, copy.first.session
    for track, first in _repeated(tracks, "words"):
        if track.text:  # a few words can be equal by chance
            yield track.session, first.session


def make_finding(
    kind: FindingKind, track: TrackEvidence, at_s: float, message: str, speaker: str | None = None
) -> Finding:
    """Return a finding about a track.

    Args:
        kind: The kind of the finding.
        track: The track.
        at_s: Where to look, in seconds.
        message: What was found.
        speaker: The speaker if it is not that of the track; empty for the whole session.
    """
    speaker = track.speaker if speaker is None else speaker
    return Finding(kind=kind, session=track.session, speaker=speaker, at_s=at_s, message=message)


def _copy_text(track: TrackEvidence, first: TrackEvidence, offset_s: float) -> str:
    direction = "later" if offset_s > 0 else "earlier"
    moved = f", {abs(offset_s):.2f} s {direction}" if abs(offset_s) >= 0.1 else ""
    return f"the same sound as {_named(first)}, encoded again{moved}{_renamed(track, first)}"


def _named(track: TrackEvidence) -> str:
    return f"{track.session} {track.speaker}"


def _renamed(track: TrackEvidence, first: TrackEvidence) -> str:
    return ", the same speaker under two names" if first.speaker != track.speaker else ""


def _transcripts(tracks: Sequence[TrackEvidence], copied: set[tuple[str, str]]) -> Iterator[Finding]:
    """Yield tracks with the transcript of another recording, with the same times or with moved ones."""
    found: set[tuple[str, str]] = set()
    for track, first in _repeated(tracks, "words"):
        name = (track.session, track.speaker)
        if track.audio != first.audio and name not in copied:
            found.add(name)
            yield make_finding(
                "same_transcript", track, 0.0, f"the same transcript as {_named(first)}, with another recording"
            )
    for track, first in _repeated(tracks, "text"):
        name = (track.session, track.speaker)
        equal = abs(track.words_s - first.words_s) <= _SAME_LENGTH * first.words_s
        if equal and track.words != first.words and name not in copied | found:
            text = f"the same transcript as {_named(first)} at other times, with another recording"
            yield make_finding("same_transcript", track, 0.0, text)


def _repeated(tracks: Iterable[TrackEvidence], name: str) -> Iterator[tuple[TrackEvidence, TrackEvidence]]:
    """Yield every track whose digest an earlier one has, with the earliest."""
    seen: dict[str, TrackEvidence] = {}
    for track in tracks:
        digest = getattr(track, name)
        if digest and digest in seen:
            yield track, seen[digest]
        seen.setdefault(digest, track)
