"""Options of a session for turn-taking, text and voice: the fields of the settings section `qwen` that a session may choose.

They have the names and the bounds of the settings, which are also their defaults. `EngineInfo.follows_generation` is
true for engines that follow them. Doors read them with `read_generation` (JSON) or `read_generation_texts` (query
parameters and the like).
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal

from pydantic import ValidationError

from sca.config import QwenConfig
from sca.errors import ConfigError

__all__ = ["GENERATION_PREFIX", "GenerationOptions", "read_generation", "read_generation_texts"]

GENERATION_PREFIX = "generation."
"""Query parameters and the like with this prefix are options."""


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """What a session may choose. None: the setting of the engine.

    Attributes:
        text_temperature: See `QwenConfig`, as for all fields.
        text_top_p: The probability mass to sample text from.
        text_top_k: The number of tokens to sample text from.
        text_repetition_penalty: The penalty of repeated text tokens.
        silence_bias: Added to the logit of silence.
        force_listen_s: Silence at the start, in seconds.
        yield_to_speech: Whether silence is forced while the user speaks.
        max_turn_s: The longest turn in seconds; 0 for no limit.
        turn_pause_s: How long the silence after it lasts at most, in seconds.
        tell: How the talker receives text.
        voice: The context of the talker.
    """

    text_temperature: float | None = None
    text_top_p: float | None = None
    text_top_k: int | None = None
    text_repetition_penalty: float | None = None
    silence_bias: float | None = None
    force_listen_s: float | None = None
    yield_to_speech: bool | None = None
    max_turn_s: float | None = None
    turn_pause_s: float | None = None
    tell: Literal["once", "spread"] | None = None
    voice: Literal["continuous", "per-segment"] | None = None

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of the options."""
        return tuple(field.name for field in fields(cls))

    @classmethod
    def of(cls, qwen: QwenConfig) -> "GenerationOptions":
        """Return the options that the settings have."""
        return cls(**{name: getattr(qwen, name) for name in cls.names()})

    @property
    def chosen(self) -> dict[str, object]:
        """The options that are set, by name."""
        return {name: value for name in self.names() if (value := getattr(self, name)) is not None}

    def over(self, qwen: QwenConfig) -> QwenConfig:
        """Return settings with the chosen options.

        Raises:
            ConfigError: An option is out of bounds.
        """
        return _checked(qwen.model_dump() | self.chosen)

    def updated(self, other: "GenerationOptions") -> "GenerationOptions":
        """Return the options with those chosen in another object."""
        return replace(self, **other.chosen)  # type: ignore[arg-type]


def read_generation(given: object) -> GenerationOptions:
    """Read the options in a JSON document.

    Args:
        given: An object with the names and values of options.

    Raises:
        ConfigError: It is not an object, an option does not exist, or a value has another type or is out of bounds.
    """
    if not isinstance(given, Mapping):
        raise ConfigError("generation must be an object of options")
    return _read(given, strict=True)


def read_generation_texts(given: Mapping[str, str]) -> GenerationOptions:
    """Read the options among parameters that are texts, such as those of a query.

    Args:
        given: All parameters. Options are those with the prefix `generation.`.

    Raises:
        ConfigError: An option does not exist, or a value cannot be read or is out of bounds.
    """
    chosen = {name: text for name, text in given.items() if name.startswith(GENERATION_PREFIX)}
    return _read({name.removeprefix(GENERATION_PREFIX): text for name, text in chosen.items()}, strict=False)


def _read(given: Mapping[str, object], *, strict: bool) -> GenerationOptions:
    names = GenerationOptions.names()
    unknown = [name for name in given if name not in names]
    if unknown:
        raise ConfigError(f"generation.{unknown[0][:80]} is not an option; the options are: {', '.join(names)}")
    checked = _checked(dict(given), strict=strict)
    return GenerationOptions(**{name: getattr(checked, name) for name in given})


def _checked(values: dict[str, object], *, strict: bool = True) -> QwenConfig:
    try:
        return QwenConfig.model_validate(values, strict=strict)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        message = first["msg"][:1].lower() + first["msg"][1:]
        raise ConfigError(f"generation.{'.'.join(map(str, first['loc']))}: {message}") from error
