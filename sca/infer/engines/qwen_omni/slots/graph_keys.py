"""The shapes in which the stages of a chunk run: how many slots, and how many cells of their caches attention covers.

A CUDA graph has fixed shapes, so there is one for each key. The keys follow from the settings alone, so all graphs are
captured before the first conversation. Fewer spans are fewer graphs, but attention then reads more cells than a
conversation has. In bfloat16 at the released size, a chunk reads 288 KiB per cell of the thinker (3 passes of 96 KiB)
and 80 KiB per cell of the talker (4 frames of 20 KiB).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sca.textutil import counted

__all__ = ["GraphKey", "KeyPlan", "Stage"]

Stage = Literal["thinker", "talker"]

_SPANS: dict[Stage, tuple[int, int]] = {"thinker": (1024, 2), "talker": (4096, 4)}
"""The smallest span of a graph, and the factor from one span to the next. A talker of 4096 cells reads 0.34 GB per slot."""
_EAGER = (256, 2)
"""The same without graphs, where a span costs nothing."""


@dataclass(frozen=True, slots=True)
class GraphKey:
    """The shapes of a stage.

    Attributes:
        stage: The stage.
        slots: Number of slots, the first ones.
        cells: Number of cells that attention covers.
    """

    stage: Stage
    slots: int
    cells: int

    def __str__(self) -> str:
        return f"{self.stage}, {counted(self.slots, 'slot')}, {self.cells} cells"


class KeyPlan:
    """All keys of an engine.

    Attributes:
        batches: The numbers of slots, ascending.
        spans: The spans of each stage, ascending.
    """

    def __init__(self, slots: int, rooms: dict[Stage, int], *, graphs: bool, every_slot: bool) -> None:
        """Enumerate the keys.

        Args:
            slots: Number of slots of the engine.
            rooms: Cells of the cache of each stage.
            graphs: Whether graphs are captured.
            every_slot: Whether a step always has all slots. Otherwise their number is a power of two, to save work.
        """
        powers = {min(1 << k, slots) for k in range(slots.bit_length() + 1)}
        self.batches = (slots,) if every_slot else tuple(sorted(powers))
        self.spans = {stage: _spans(room, *(_SPANS[stage] if graphs else _EAGER)) for stage, room in rooms.items()}

    def __iter__(self) -> Iterator[GraphKey]:
        """Yield all keys, largest first, so that smaller graphs find the memory of larger ones."""
        for stage, spans in self.spans.items():
            for slots in reversed(self.batches):
                for cells in reversed(spans):
                    yield GraphKey(stage, slots, cells)

    def key(self, stage: Stage, highest: int, cells: int) -> GraphKey:
        """Return the smallest key that suffices.

        Args:
            stage: The stage.
            highest: The highest slot of the step.
            cells: Number of cells that are needed.
        """
        slots = next(one for one in self.batches if one > highest)
        return GraphKey(stage, slots, next(one for one in self.spans[stage] if one >= cells))


def _spans(room: int, least: int, factor: int) -> tuple[int, ...]:
    """Return the spans up to the whole room."""
    spans = []
    while least < room:
        spans.append(least)
        least *= factor
    return (*spans, room)
