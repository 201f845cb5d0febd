"""The label of a unit in its conversation: turn, backchannel or interruption."""

from dataclasses import dataclass

__all__ = ["BACKCHANNEL", "INTERRUPTION", "TURN", "Label"]

TURN = "turn"
BACKCHANNEL = "backchannel"
INTERRUPTION = "interruption"


@dataclass(frozen=True, slots=True)
class Label:
    """The role of a unit relative to the other speaker.

    Attributes:
        kind: `turn`, `backchannel` or `interruption`.
        overlap: Share of the unit during which the other speaker speaks too.
        offset: Floor-transfer offset in samples at 16 kHz: from the end of the unit that the other speaker last began
            to the start of this one. Negative if this unit begins during that speech; None if the other speaker has not
            spoken yet.
    """

    kind: str
    overlap: float
    offset: int | None
