"""A profile: prompts, density, names on the screen, and how written text is spoken.

A profile has no patterns of its own, because it may come from a client of the server, and a pattern can take hours.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from sca.config.sections.watch import MAX_INSTRUCTION_CHARS
from sca.watch.engines.base import Density

__all__ = ["NAME_PATTERN", "Profile"]

NAME_PATTERN = r"[a-z0-9][a-z0-9_-]{0,63}"
"""What the name of a profile looks like."""

_MAX_NAMES = 500
_Word = Annotated[str, Field(min_length=1, max_length=100)]


class Profile(BaseModel):
    """A profile.

    Attributes:
        title: One line for users.
        system: The system prompt.
        instruction: What to do if the user gives no instruction.
        density: The longest answer; None takes it from the pictures and the last answer.
        names: What is written on the screen, such as `ARS`, and what it means, such as `Arsenal`.
        spoken: Words, and how they are spoken.
        scores: Whether `2–1` is a score, spoken "2 to 1".
        clock: What `67:42` is: minutes and seconds of a match, a time of day, or neither.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    title: str = Field("", max_length=200)
    system: str = Field("", max_length=8000)
    instruction: str = Field("", max_length=MAX_INSTRUCTION_CHARS)
    density: Density | None = None
    names: dict[_Word, _Word] = Field({}, max_length=_MAX_NAMES)
    spoken: dict[_Word, _Word] = Field({}, max_length=_MAX_NAMES)
    scores: bool = False
    clock: Literal["match", "day"] | None = None
