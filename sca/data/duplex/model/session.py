"""The result of building one session, and the files it consists of."""

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from sca.data.duplex.model.counters import ProofCounters
from sca.data.duplex.model.evidence import TrackEvidence
from sca.data.duplex.model.left_out import LeftOutRow
from sca.data.duplex.model.records import RepairRecord
from sca.data.duplex.model.text_rate import TextRateCounters

__all__ = ["SessionPaths", "SessionResult"]


@dataclass(frozen=True, slots=True)
class SessionPaths:
    """The files of one session in the folder of a data set."""

    root: Path
    session_id: str

    @property
    def storage(self) -> Path:
        """Table of its tracks: audio at both rates, words and provenance."""
        return self.root / "storage" / f"{self.session_id}.arrow"

    @property
    def rows(self) -> Path:
        """Table of its training rows."""
        return self.root / ".sca" / "rows" / f"{self.session_id}.arrow"

    @property
    def record(self) -> Path:
        """JSON record of its result. Written last, so a session with a record is complete."""
        return self.root / ".sca" / "sessions" / f"{self.session_id}.json"

    @property
    def scratch(self) -> Path:
        """Folder for unfinished output."""
        return self.root / ".sca" / "scratch" / self.session_id


@dataclass(slots=True)
class SessionResult:
    """The result of building one session.

    Attributes:
        session_id: Id of the session.
        key: Digest of everything that decides the bytes of the session.
        status: `kept`, `dropped` or `failed`.
        reason: Why the session was dropped or failed.
        skipped: Parts of the session that were left out, with the reasons.
        notices: Irregularities that did not prevent the use of the data.
        samples: Length in samples at 16 kHz.
        tracks: Number of tracks.
        rows: Number of rows.
        row_digests: Digest of each row.
        storage_digests: Digest of each track.
        counters: Counts over the rows and tracks.
        stat: Path, size and modification time of each input, and the models used. If unchanged, the inputs are not read
            again.
        speakers: Speaker ids in order.
        split: Split of its rows. Decided when all sessions of the data set are known.
        transfers: Floor-transfer offsets as (kind, samples), of sessions with two speakers.
        augmented_from: The session that this one is a retimed copy of.
        evidence: Measurements of the tracks; None if they were not measured.
        text_rate: Counts of the tokens that are late for every number of tokens per chunk.
        repairs: Repairs that were made, by speaker.
        repair_state: With `--repair apply`: `none` if nothing was to be repaired, `made`, or `refused` if the session is as
            given because the repair did not help. Empty without.
        drops: Ids of rows to leave out, of the list that the session was built with.
        left_out: The rows of it that were left out.
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
    counters: ProofCounters = field(default_factory=ProofCounters)
    stat: list[list[str | int]] = field(default_factory=list)
    speakers: list[str] = field(default_factory=list)
    split: str = "train"
    transfers: list[tuple[str, int]] = field(default_factory=list)
    augmented_from: str | None = None
    evidence: list[TrackEvidence] | None = None
    text_rate: TextRateCounters = field(default_factory=TextRateCounters)
    repairs: dict[str, RepairRecord] = field(default_factory=dict)
    repair_state: str = ""
    drops: list[str] = field(default_factory=list)
    left_out: list[LeftOutRow] = field(default_factory=list)

    @property
    def content_key(self) -> str:
        """The key, different for a session that is repaired or lacks rows."""
        parts = [
            self.key,
            *([json.dumps(self.repairs)] if self.repairs else []),
            *(row.row_id for row in self.left_out),
        ]
        return " ".join(parts)

    def to_json(self) -> dict[str, object]:
        """Convert to JSON-ready values."""
        values: dict[str, object] = {one.name: getattr(self, one.name) for one in fields(self)}
        values["counters"] = self.counters.to_json()
        if self.evidence is not None:
            values["evidence"] = [track.model_dump() for track in self.evidence]
        values["text_rate"] = self.text_rate.to_json()
        values["left_out"] = [row.model_dump() for row in self.left_out]
        # "tally" is the name of the counters in the files of all versions.
        return {"tally" if name == "counters" else name: value for name, value in values.items()}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "SessionResult":
        """Convert back from `to_json`.

        Raises:
            KeyError, TypeError, ValueError: The document is not one that `to_json` wrote.
        """
        values = dict(document)
        counters = ProofCounters.from_json(values.pop("tally"))
        if values.get("evidence") is not None:
            values["evidence"] = [TrackEvidence.model_validate(track) for track in values["evidence"]]
        values["left_out"] = [LeftOutRow.model_validate(row) for row in values.get("left_out", [])]
        # Earlier versions did not measure it.
        rate = values.pop("text_rate", None)
        return cls(
            **values, counters=counters, text_rate=TextRateCounters.from_json(rate) if rate else TextRateCounters()
        )
