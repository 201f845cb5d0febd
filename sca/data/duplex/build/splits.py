"""Which sessions are kept apart for validation: whole groups of sessions that share no speaker with the rest. Pure."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b

__all__ = ["speaker_groups", "validation_sessions"]


def speaker_groups(speakers: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """The sessions that are tied by a speaker, directly or over others; each group and the groups in session order.

    speakers: by session.
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
        # A session without speakers is tied to nobody.
        key = f"speaker {root(speakers[session][0])}" if speakers[session] else f"session {session}"
        groups.setdefault(key, []).append(session)
    return list(groups.values())


def validation_sessions(speakers: Mapping[str, Sequence[str]], samples: Mapping[str, int], share: float) -> set[str]:
    """The sessions of the groups that make up at most `share` of all samples, but one group where `share` is above 0.

    samples: length by session. Groups come in an order drawn from their names, so nothing depends on chance or on how many
    sessions there are. Nothing where all sessions are one group: there is no way to keep a speaker apart.
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
