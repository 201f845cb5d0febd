"""Compare the evidence of a report with that of the stored audio and words."""

from collections.abc import Iterator, Mapping, Sequence

from sca.config import DuplexConfig
from sca.data.duplex.evidence.judge import judge
from sca.data.duplex.evidence.repair import remaining
from sca.data.duplex.model.evidence import EvidenceReport, TrackEvidence
from sca.data.duplex.model.records import RepairRecord
from sca.data.quality.fingerprint import decode_fingerprint
from sca.data.quality.matching import compare

__all__ = ["evidence_problems", "repair_problems"]

# Processors can differ in the last bits of a speech probability, which can move the edge of a few spans by a frame.
_TOLERANCE_SHARE = 0.02
_TOLERANCE_S = 0.6
# Larger ones are not searched; the offset counts from time 0, also with a drift.
_MOST_OFFSET_S = 6.0
_MOST_DRIFT = 0.11
_SPEAKERS = 2
_SECONDS = frozenset({"words_s", "past_end_s", "speech_s", "unlabelled_s"})
_SHARES = frozenset(
    {"words_in_own", "words_in_other", "speech_without_words", "same_speech", "peak", "fit", "best_fit"}
)
_LATER = frozenset({"same_sound", "same_transcript", "same_voice"})
_NEW_TEXTS = ("text", "voice")  # None in reports of earlier versions
_TEXTS = frozenset({"session", "speaker", "words"})


def evidence_problems(recorded: EvidenceReport | None, found: EvidenceReport | None) -> Iterator[str]:
    """Yield where recorded measurements differ from new ones by more than processors can.

    Args:
        recorded: The evidence in the report; None in data sets of earlier versions, which are not compared.
        found: The evidence of the stored data; None if it has no audio.
    """
    if recorded is None or found is None:
        return
    tracks = {(track.session, track.speaker): track for track in recorded.tracks}
    for track in found.tracks:
        before = tracks.pop((track.session, track.speaker), None)
        if before is None:
            yield f"evidence: {track.session} {track.speaker} is missing"
            continue
        # Reports without fingerprints have another digest of the audio, which cannot be compared with its MD5.
        texts = _TEXTS if before.sound is None else _TEXTS | {"audio"}
        for name in sorted(_SECONDS | _SHARES | texts):
            if _differs(name, getattr(before, name), getattr(track, name), track):
                yield (
                    f"evidence: {track.session} {track.speaker}: {name} {getattr(before, name)!r}, "
                    f"now {getattr(track, name)!r}"
                )
        for name in _NEW_TEXTS:
            if getattr(before, name) not in (None, getattr(track, name)):
                yield f"evidence: {track.session} {track.speaker}: {name} is not that of the data"
        if _sound_differs(before.sound, track.sound):
            yield f"evidence: {track.session} {track.speaker}: sound is not that of the data"
    for session, speaker in tracks:
        yield f"evidence: {session} {speaker} is not in the data set"
    # Earlier versions have no fingerprints, so they do not have the findings that follow from them.
    unknown = _LATER if any(track.sound is None for track in recorded.tracks) else frozenset()
    before_kinds, kinds = ([one.kind for one in part.findings if one.kind not in unknown] for part in (recorded, found))
    if before_kinds != kinds:
        yield f"evidence: has {len(before_kinds)} findings, now {len(kinds)}"


def _sound_differs(before: str | None, now: str | None) -> bool:
    """Whether two fingerprints are not of one recording. Rounding on other processors can move single landmarks."""
    if before is None or now is None or before == now:
        return False
    try:
        first, second = decode_fingerprint(before), decode_fingerprint(now)
    except ValueError:
        return True
    return compare(first, second).shared < len(second.hashes) / 2


def repair_problems(
    repairs: Mapping[str, RepairRecord],
    evidence: Sequence[TrackEvidence] | None,
    speakers: Sequence[str],
    limits: DuplexConfig,
) -> Iterator[str]:
    """Yield what is wrong with the recorded repairs of a session.

    Args:
        repairs: The repairs by speaker.
        evidence: The measurements of the tracks as stored; None if they cannot be measured.
        speakers: The speakers of the session.
        limits: The settings of the data set.
    """
    if not repairs:
        return
    if limits.repair != "apply":
        yield "is recorded as repaired, but its settings have repair = " + limits.repair
    sources = {speaker: repair["audio_of"] for speaker, repair in repairs.items()}
    exchanged = dict(zip(speakers, reversed(speakers), strict=True))
    if len(speakers) != _SPEAKERS or (any(sources.values()) and sources != exchanged):
        yield f"has recordings of {sources}, only those of two speakers can be exchanged"
    for speaker, repair in repairs.items():
        offset, drift = repair["offset_s"], repair["drift"]
        if not (abs(offset) <= _MOST_OFFSET_S and abs(drift) <= _MOST_DRIFT):
            yield f"{speaker}: no repair moves words by {offset} s and stretches them by {drift}"
        elif not (offset or drift or repair["audio_of"]):
            yield f"{speaker}: is recorded as repaired, without a change"
    for finding in remaining(judge(evidence, limits).findings, repairs) if evidence else ():
        yield f"{finding.speaker}: is recorded as repaired, but {finding.message}".removeprefix(": ")


def _differs(name: str, before: float | str | None, now: float | str | None, track: TrackEvidence) -> bool:
    if not isinstance(before, float) or not isinstance(now, float):
        return before != now
    if name in _SECONDS:
        return abs(before - now) > max(_TOLERANCE_S, _TOLERANCE_SHARE * track.speech_s)
    # A short track has few frames, so one frame is a large share of it.
    return abs(before - now) > max(_TOLERANCE_SHARE, 0.2 / max(track.words_s, track.speech_s, 0.2))
