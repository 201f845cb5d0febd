"""What a user chooses about the reading of recordings: the audio track, and how much damage is accepted."""

from dataclasses import dataclass

__all__ = ["ACCEPT_ANY_DAMAGE_S", "ACCEPT_DAMAGE_S", "ANY_DAMAGE", "AS_DEFAULT", "Reading"]

ACCEPT_DAMAGE_S = 1.0
"""Seconds of an hour that may be undecodable by default."""
ACCEPT_ANY_DAMAGE_S = 3600.0
"""The limit that accepts all damage."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How recordings are read.

    Attributes:
        accept_damage_s: Seconds of an hour that may be undecodable; they become silence.
        track: The audio track to read, from 1; None reads the one that is flagged as default, else the first.
        language: The language of the track to read, such as `de` or `deu`, in files with several tracks.
    """

    accept_damage_s: float = ACCEPT_DAMAGE_S
    track: int | None = None
    language: str | None = None

    def choice(self) -> dict[str, int | str]:
        """Return what decides the samples, for the identity of results: empty if nothing was chosen."""
        chosen = {"track": self.track, "audio_language": self.language}
        return {name: value for name, value in chosen.items() if value is not None}


AS_DEFAULT = Reading()
"""The default track, and a second of damage per hour."""
ANY_DAMAGE = Reading(ACCEPT_ANY_DAMAGE_S)
"""The default track, for those who leave it to others how much damage is accepted."""
