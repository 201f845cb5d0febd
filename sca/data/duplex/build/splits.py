"""The validation split: whole groups of sessions that share no speaker with the other sessions."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b

__all__ = ["speaker_groups", "validation_sessions"]


def speaker_groups(speakers: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Group sessions that are connected by speakers, directly or through other sessions.

    Args:
        speakers: The speakers of each session.

    Returns:
        The groups, and the sessions of each group, in the order of the session ids.
    """
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for present in speakers.values():
        for speaker in present:
            parent.setdefault(speaker, speaker)
            parent[root(speaker)] = root(present[0])
    groups: dict[str, list[str]] = {}
    for session in sorted(speakers):
        # A session without speakers is connected to no other.
        key = f"speaker {root(speakers[session][0])}" if speakers[session] else f"session {session}"
        groups.setdefault(key, []).append(session)
    return list(groups.values())


def validation_sessions(speakers: Mapping[str, Sequence[str]], samples: Mapping[str, int], share: float) -> set[str]:
    """Return the sessions of the validation split.

    Groups are taken in an order that depends only on their names, as long as they fit into the share. If none fits, the
    shortest group is taken.

    Args:
        speakers: The speakers of each session.
        samples: The length of each session.
        share: The share of all samples to take at most.

    Returns:
        The sessions; none if the share is 0, or if all sessions are one group.
    """
    groups = speaker_groups(speakers)
    if share <= 0 or len(groups) < 2:
        return set()
    sizes = {group[0]: sum(samples[session] for session in group) for group in groups}
    most = share * sum(sizes.values())
    taken: list[str] = []
    filled = 0
    for group in sorted(groups, key=lambda group: blake2b(group[0].encode()).digest()):
        if filled + sizes[group[0]] <= most:
            filled += sizes[group[0]]
            taken += group
    if not taken:
        taken = min(groups, key=lambda group: (sizes[group[0]], group[0]))
    return set(taken)
