"""Measured cross-talk between the tracks of a session."""

from dataclasses import dataclass

from sca.data.duplex.model.spans import Span

__all__ = ["Bleed", "CrosstalkResult"]


@dataclass(frozen=True, slots=True)
class Bleed:
    """What of speaker `of` is in another's track.

    tried: samples at 16 kHz in which he speaks alone, as far as windows fit.   spans: those in which the other's track has him too.
    only: the part of `spans` that holds nothing else, as loud as it is.
    level_db, delay_ms: medians over the windows in which he is; None where he is in none.
    """

    of: str
    tried: int
    spans: tuple[Span, ...]
    only: tuple[Span, ...]
    level_db: float | None
    delay_ms: float | None

    @property
    def samples(self) -> int:
        """Of all spans."""
        return sum(end - start for start, end in self.spans)

    @property
    def share(self) -> float:
        """Of what was tried."""
        return self.samples / self.tried if self.tried else 0.0


@dataclass(frozen=True, slots=True)
class CrosstalkResult:
    """bleed: one for each other speaker, as it was before anything was silenced.   gated: what was silenced."""

    bleed: tuple[Bleed, ...] = ()
    gated: tuple[Span, ...] = ()
