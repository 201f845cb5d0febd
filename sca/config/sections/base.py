"""What the settings of every subsystem are made of: a small frozen model a section, in a module of its own.

A field's environment variable is `SCA_<SECTION>_<FIELD>` unless it says otherwise with `Env`; its description is what
`sca config default` and the docs print. Validators look at values only, never at the disk or the network.
"""

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

__all__ = ["Env", "Section", "as_path"]


@dataclass(frozen=True, slots=True)
class Env:
    """Marks a field whose environment variable is not named after its section and itself."""

    name: str


def as_path(value: object) -> object:
    """Text as a path, `~` resolved; anything else as it is, for pydantic to judge."""
    try:
        return Path(value).expanduser() if isinstance(value, str | Path) else value
    except RuntimeError as error:
        raise ValueError(f"names a home folder that cannot be found, got {str(value)!r}") from error


class Section(BaseModel):
    """What every section is: fixed once made, and strict about names and types."""

    # `strict`: text is no number. What comes as text, from the environment or --set, is converted before it gets here.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())
