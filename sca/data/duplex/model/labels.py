"""The label of a segment in the conversation: turn, backchannel or interruption."""

from dataclasses import dataclass

__all__ = ["BACKCHANNEL", "INTERRUPTION", "TURN", "Label"]

TURN = "turn"
BACKCHANNEL = "backchannel"
INTERRUPTION = "interruption"


@dataclass(frozen=True, slots=True)
class Label:
    """kind; overlap: share of the segment during which the other speaks too; offset: samples from the end of what the other
    last began to this segment's start (the floor-transfer offset: negative when it began in his speech), None if he has not spoken.
    """

    kind: str
    overlap: float
    offset: int | None
