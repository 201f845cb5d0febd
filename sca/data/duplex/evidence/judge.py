"""Derive findings from the measurements of all tracks. The evidence for the limits is in docs/duplex.md."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import get_args

from sca.config import DuplexConfig
from sca.data.duplex.evidence.duplicates import duplicates, make_finding
from sca.data.duplex.evidence.repair import with_suggestions
from sca.data.duplex.model.evidence import EvidenceReport, Finding, FindingKind, TrackEvidence

__all__ = ["judge"]

# A track with less is too short to judge: the detector can miss a single "yeah".
_LEAST_WORDS_S = 1.0
_LEAST_SPEECH_S = 0.5
# Words that are moved or stretched have to follow the speech then, and clearly better than before.
_EXPLAINED = 0.6
_GAIN = 0.05
_ORDER = get_args(FindingKind)


def judge(tracks: Sequence[TrackEvidence], limits: DuplexConfig) -> EvidenceReport:
    """Return the evidence of a data set with its findings, the worst first.

    Args:
        tracks: All tracks, those of a session together.
        limits: The settings with the limits.
    """
    findings: list[Finding] = []
    for _, session in groupby(tracks, key=lambda track: track.session):
        in_session = list(session)
        of_session = _of_session(in_session, limits)
        findings += with_suggestions(in_session, of_session) if limits.repair == "suggest" else of_session
    findings += duplicates(tracks, limits)
    findings.sort(key=lambda finding: _ORDER.index(finding.kind))
    return EvidenceReport(verdict="look" if findings else "ok", findings=findings, tracks=list(tracks))


def _of_session(tracks: Sequence[TrackEvidence], limits: DuplexConfig) -> list[Finding]:
    with_words = [track for track in tracks if track.words_s >= _LEAST_WORDS_S]
    first = tracks[0]
    if with_words and all(_is_elsewhere(track, limits) for track in with_words):
        found = "the recordings look swapped: " + "; ".join(
            f"{track.speaker} has {_percent(track.words_in_own)} of the words in the speech of the own track and "
            f"{_percent(track.words_in_other)} in that of the other"
            for track in with_words
        )
        return [make_finding("swapped", first, 0.0, found, speaker="")]
    if len(tracks) > 1 and first.same_speech >= limits.max_same_speech and first.speech_s >= _LEAST_SPEECH_S:
        found = (
            f"the tracks have the same speech ({first.same_speech:.0%} of it at the same time): is it one mix twice?"
        )
        return [make_finding("same_speech", first, 0.0, found, speaker="")]
    return [finding for track in tracks for finding in _of_track(track, limits)]


def _of_track(track: TrackEvidence, limits: DuplexConfig) -> Iterator[Finding]:
    moved = list(_of_words(track, limits)) if track.words_s >= _LEAST_WORDS_S else []
    yield from moved
    if track.past_end_s > 0:
        found = f"{track.past_end_s:.2f} s of words after the end of this speaker's recording"
        yield make_finding("past_end", track, track.words_gap_at_s, found)
    share = track.unlabelled_s / track.speech_s if track.speech_s else 0.0
    # Words in other places leave their speech without words, which is then no finding of its own.
    transcribed = track.speech_without_words is not None and not moved
    if transcribed and share > limits.max_unlabelled_speech and track.unlabelled_s >= _LEAST_SPEECH_S:
        found = f"{track.unlabelled_s:.2f} s of speech without words ({share:.0%} of the track's speech)"
        yield make_finding("unlabelled_speech", track, track.unlabelled_at_s, found)


def _of_words(track: TrackEvidence, limits: DuplexConfig) -> Iterator[Finding]:
    """Yield the one finding that explains most about the times of the words."""
    own = track.words_in_own or 0.0
    if not track.speech_s:
        found = f"no speech in the recording, but {track.words_s:.2f} s of words"
        yield make_finding("no_speech", track, track.words_gap_at_s, found)
        return
    explained = track.best_fit >= _EXPLAINED and track.best_fit - track.fit >= _GAIN
    if explained and abs(track.drift) > limits.max_drift:
        found = (
            f"the clock of the words differs by {track.drift:+.1%} from the recording's "
            f"(and {track.offset_s:+.2f} s at the start): {_percent(own)} of the words lie in speech"
        )
        yield make_finding("drift", track, track.words_gap_at_s, found)
    elif explained and abs(track.offset_s) > limits.max_word_offset_s:
        direction = "later" if track.offset_s > 0 else "earlier"
        found = f"the speech is {abs(track.offset_s):.2f} s {direction} than its words: {_percent(own)} of them lie in speech"
        yield make_finding("offset", track, track.words_gap_at_s, found)
    elif own < limits.min_words_in_speech:
        found = (
            f"{_percent(own)} of the words lie in this track's speech, {_percent(track.words_in_other)} in another's: "
            "do recording and transcript belong together?"
        )
        yield make_finding("mismatch", track, track.words_gap_at_s, found)


def _is_elsewhere(track: TrackEvidence, limits: DuplexConfig) -> bool:
    """Whether the words of a track lie in the speech of others and not in its own."""
    own, other = track.words_in_own or 0.0, track.words_in_other or 0.0
    return own < limits.min_words_in_speech and other - own > 0.3


def _percent(share: float | None) -> str:
    return f"{share or 0.0:.0%}"
