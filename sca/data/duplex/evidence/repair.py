"""The repairs that the evidence of a session calls for, and their description."""

from collections.abc import Container, Mapping, Sequence
from typing import Literal

from sca.data.duplex.model.evidence import Finding, FindingKind, TrackEvidence
from sca.data.duplex.model.records import RepairRecord

__all__ = ["REPAIRABLE", "describe_repairs", "remaining", "wanted_repairs", "with_suggestions"]

REPAIRABLE: frozenset[FindingKind] = frozenset({"swapped", "mismatch", "drift", "offset"})
"""Findings that an exchange of the recordings, or another time of the words, can explain."""


_DISPROVED_BY: frozenset[FindingKind] = REPAIRABLE | {"same_speech", "no_speech", "past_end"}


def wanted_repairs(tracks: Sequence[TrackEvidence], findings: Sequence[Finding]) -> dict[str, RepairRecord]:
    """Return the repair of every track that needs one, by speaker.

    Args:
        tracks: The tracks of a session.
        findings: The findings of the session.
    """
    found = [finding for finding in findings if finding.kind in REPAIRABLE]
    if not found:
        return {}
    repairs: dict[str, RepairRecord] = {}
    for n, track in enumerate(tracks):
        one = track.explained
        if one is not None and (one.exchanged or any(finding.speaker == track.speaker for finding in found)):
            other = tracks[1 - n].speaker if one.exchanged else None
            repairs[track.speaker] = {"audio_of": other, "offset_s": one.offset_s, "drift": one.drift}
    return repairs


def remaining(findings: Sequence[Finding], repaired: Container[str]) -> list[Finding]:
    """Return the findings that a repaired session must not have.

    Args:
        findings: The findings of the session after the repair.
        repaired: The speakers whose tracks are repaired.
    """
    return [
        finding
        for finding in findings
        if finding.kind in _DISPROVED_BY and (not finding.speaker or finding.speaker in repaired)
    ]


def with_suggestions(tracks: Sequence[TrackEvidence], findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings of a session, those that have a repair with its description."""
    repairs = wanted_repairs(tracks, findings)
    exchanged = any(repair["audio_of"] for repair in repairs.values())
    suggested = []
    for finding in findings:
        # The recordings can only be exchanged for both speakers.
        named = {finding.speaker: repairs[finding.speaker]} if finding.speaker in repairs else {}
        wanted = (repairs if exchanged else named) if finding.kind in REPAIRABLE else {}
        text = describe_repairs(finding.session, wanted, "wanted") if wanted else ""
        suggested.append(finding.model_copy(update={"repair": text}) if text else finding)
    return suggested


def describe_repairs(session: str, repairs: Mapping[str, RepairRecord], form: Literal["wanted", "done"]) -> str:
    """Describe the repairs of a session, as what is to be done or as what was done.

    Args:
        session: The session.
        repairs: The repairs by speaker; at least one.
        form: `wanted` ("move the words") or `done` ("the words moved").
    """
    wanted = form == "wanted"
    steps = []
    if any(repair["audio_of"] for repair in repairs.values()):
        steps.append(f"exchange the two recordings of {session}" if wanted else "recordings exchanged")
    for speaker, repair in repairs.items():
        name = f"{session} {speaker}" if wanted else speaker
        if repair["drift"]:
            how = f"{repair['drift']:+.2%}"
            steps.append(f"stretch the times of {name} by {how}" if wanted else f"times of {name} stretched by {how}")
        if repair["offset_s"]:
            how = f"{repair['offset_s']:+.2f} s"
            steps.append(f"move the words of {name} by {how}" if wanted else f"words of {name} moved by {how}")
    return ", ".join(steps)
