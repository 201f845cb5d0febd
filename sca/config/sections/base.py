"""Base class, markers and bounds shared by the sections of the settings.

A field states everything about its setting once: type, bounds, default, description, and with `Env` and `Flag` its
names outside Python. The settings file, the documentation, the error messages and the options of the commands are made
from that. Validators look at values only, never at the disk or the network.
"""

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, SecretStr, field_validator

from sca.units import HEARD_HZ

__all__ = [
    "MAX_BYTES",
    "MAX_COUNT",
    "MAX_MS",
    "MAX_TOKEN_ID",
    "MIN_SECONDS",
    "Env",
    "Flag",
    "Section",
    "as_path",
    "parse_origins",
    "secret_text",
]

MIN_SECONDS = 1 / HEARD_HZ
"""Lower bound of a duration that must not become zero samples: one sample at 16 kHz."""
MAX_MS = 3_600_000
"""Upper bound of a duration in milliseconds: one hour."""
MAX_BYTES = 2**40
"""Upper bound of a size: 1 TiB."""
MAX_COUNT = 1_000_000
"""Upper bound of a count that has no natural one."""
MAX_TOKEN_ID = 2**31 - 1
"""Upper bound of a token id: rows store tokens as int32."""


@dataclass(frozen=True, slots=True)
class Env:
    """Environment variable of a field that is not named after its section and field (`SCA_<SECTION>_<FIELD>`)."""

    name: str


@dataclass(frozen=True, slots=True)
class Flag:
    """Command-line option of a field, on the commands that offer it.

    Attributes:
        name: The option, such as `--lead`.
        metavar: Placeholder of the value in help texts, such as `N`. Choices and true-or-false fields need none.
    """

    name: str
    metavar: str | None = None


def parse_origins(text: str) -> frozenset[str]:
    """Return a list of origins that is separated by commas, without trailing slashes."""
    return frozenset(origin.strip().rstrip("/") for origin in text.split(",") if origin.strip())


def as_path(value: object) -> object:
    """Convert text to a path and expand `~`; return anything else unchanged, for pydantic to check."""
    try:
        return Path(value).expanduser() if isinstance(value, str | Path) else value
    except RuntimeError as error:
        raise ValueError(f"names a home folder that cannot be found, got {str(value)!r}") from error


def secret_text(value: SecretStr | None) -> str | None:
    """Return the text of a secret; None if it is not set."""
    return None if value is None else value.get_secret_value()


class Section(BaseModel):
    """Base class of the sections: immutable, no unknown fields, no implicit conversion."""

    # `strict`: text is not a number. Text from the environment or --set is converted before it gets here.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())

    @field_validator("*", mode="after")
    @classmethod
    def _reject_blank_secret(cls, value: object) -> object:
        # A server whose key is blank would be open, and its owner believes that it is not.
        if isinstance(value, SecretStr) and not value.get_secret_value().strip():
            raise ValueError("is empty; give a value, or leave it out")
        return value
