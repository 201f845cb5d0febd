"""Measured cross-talk: how much of one speaker is audible in the track of another."""

from dataclasses import dataclass

from sca.data.duplex.model.spans import Span

__all__ = ["Bleed", "CrosstalkResult"]


@dataclass(frozen=True, slots=True)
class Bleed:
    """Cross-talk of one speaker into one other track.

    Attributes:
        of: Id of the speaker that is audible in the other track.
        tried: Samples at 16 kHz that were examined: windows in which only this speaker speaks.
        spans: Where the other track contains this speaker.
        only: The part of `spans` that contains nothing else, judged by its level.
        level_db: Median level over the windows with bleed; None without bleed.
        delay_ms: Median delay over the windows with bleed; None without bleed.
    """

    of: str
    tried: int
    spans: tuple[Span, ...]
    only: tuple[Span, ...]
    level_db: float | None
    delay_ms: float | None

    @property
    def samples(self) -> int:
        """Total length of `spans` in samples at 16 kHz."""
        return sum(end - start for start, end in self.spans)

    @property
    def share(self) -> float:
        """Share of the examined samples that contain bleed."""
        return self.samples / self.tried if self.tried else 0.0


@dataclass(frozen=True, slots=True)
class CrosstalkResult:
    """Cross-talk in one track.

    Attributes:
        bleed: One measurement per other speaker, taken before anything was silenced.
        gated: Spans that were silenced.
    """

    bleed: tuple[Bleed, ...] = ()
    gated: tuple[Span, ...] = ()
