"""The result of one session, and the files of its parts."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sca.data.duplex.model.counters import ProofCounters

__all__ = ["SessionPaths", "SessionResult"]


@dataclass(frozen=True, slots=True)
class SessionPaths:
    """Where a session's parts are in a data set's folder."""

    root: Path
    session_id: str

    @property
    def storage(self) -> Path:
        """Both rates of all its tracks."""
        return self.root / "storage" / f"{self.session_id}.arrow"

    @property
    def rows(self) -> Path:
        """Its training rows."""
        return self.root / ".sca" / "rows" / f"{self.session_id}.arrow"

    @property
    def record(self) -> Path:
        """How it ended; written last."""
        return self.root / ".sca" / "sessions" / f"{self.session_id}.json"

    @property
    def scratch(self) -> Path:
        """What is being made."""
        return self.root / ".sca" / "scratch" / self.session_id


@dataclass(slots=True)
class SessionResult:
    """How a session ended. status: kept, dropped or failed (then `reason` says why). Lengths in samples at 16 kHz.

    transfers: its floor-transfer offsets (kind, samples), of a conversation of two.   augmented_from: the session it retimes.
    skipped: what was left out of it.   notices: what was odd, and used all the same.   split: known once all sessions are.
    """

    session_id: str
    key: str
    status: str
    reason: str | None = None
    skipped: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    samples: int = 0
    tracks: int = 0
    rows: int = 0
    row_digests: list[str] = field(default_factory=list)
    storage_digests: list[str] = field(default_factory=list)
    tally: ProofCounters = field(default_factory=ProofCounters)
    stat: list[list[Any]] = field(default_factory=list)
    speakers: list[str] = field(default_factory=list)
    split: str = "train"
    transfers: list[tuple[str, int]] = field(default_factory=list)
    augmented_from: str | None = None

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready copy; counters with integer keys become lists of pairs."""
        plain = asdict(self)
        plain["tally"] = {
            "counts": dict(sorted(self.tally.counts.items())),
            "errors": sorted(self.tally.errors.items()),
            "used": sorted(self.tally.used.items()),
        }
        return plain

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> "SessionResult":
        """Undo `to_json`."""
        tally = ProofCounters()
        tally.counts.update(plain["tally"]["counts"])
        tally.errors.update({int(k): v for k, v in plain["tally"]["errors"]})
        tally.used.update({int(k): v for k, v in plain["tally"]["used"]})
        return cls(**{**plain, "tally": tally})
