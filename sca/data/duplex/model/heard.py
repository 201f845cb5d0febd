"""What a row hears: one other speaker of its session, or all others mixed."""

from collections.abc import Sequence
from itertools import chain

from sca.data.duplex.model.spans import Span
from sca.errors import InputError
from sca.spans import merge_spans

__all__ = ["heard_groups", "heard_speakers", "joint_speech", "listener_name"]


def heard_groups(speaker: str, speakers: Sequence[str], *, mixes: bool) -> list[tuple[str, ...]]:
    """Return who is heard in the rows of a speaker: one group of speakers per view.

    Args:
        speaker: The speaker of the rows.
        speakers: All speakers of the session, in order.
        mixes: Whether all others are heard together, or one after the other.
    """
    others = tuple(name for name in speakers if name != speaker)
    if mixes:
        return [others] if others else []
    return [(name,) for name in others]


def listener_name(heard: Sequence[str]) -> str:
    """Return the column `listener` of a row: the names of the speakers that are heard, joined by `+`."""
    return "+".join(heard)


def heard_speakers(listener: str, speaker: str, speakers: Sequence[str]) -> tuple[str, ...]:
    """Return the speakers that a row hears. The inverse of `listener_name`, also for names that contain `+`.

    A mix names all others of the session, so its name is longer than that of each of them and cannot be one of them.

    Args:
        listener: The column `listener` of the row.
        speaker: The speaker of the row.
        speakers: All speakers of the session, in order.

    Raises:
        InputError: The session does not have them.
    """
    if speaker not in speakers:
        raise InputError(f"the session has no track of {speaker}", hint="sca verify lists what is broken")
    for mixes in (True, False):
        for heard in heard_groups(speaker, speakers, mixes=mixes):
            if listener_name(heard) == listener:
                return heard
    raise InputError(f"the session of {speaker} has no track of {listener}", hint="sca verify lists what is broken")


def joint_speech(speech: Sequence[Sequence[Span]]) -> Sequence[Span]:
    """Return where at least one of several speakers speaks.

    Args:
        speech: The speech of each speaker, in order and disjoint.
    """
    return speech[0] if len(speech) == 1 else merge_spans(chain.from_iterable(speech))
