"""Tokens of a row that are no text: they say what the speaker is doing. All but silence are off unless an id is given.

hold: this chunk has no text, and he is still speaking.   start, stop: before the first and after the last token of what he says.
backchannel: in place of start where he only nods along.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

from sca.config import DuplexConfig
from sca.data.duplex.labels import BACKCHANNEL
from sca.errors import ConfigError
from sca.tokenizer import TextTokenizer
from sca.units import Grid

__all__ = ["NO_CONTROLS", "Control", "Controls", "check_control_ids", "controls_of", "decode_controls"]

# Tokens the model gives a meaning of its own: sound and pictures are put in their place, or the answer ends there.
_TAKEN = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|audio_start|>", "<|audio_end|>", "<|audio_pad|>"),
    *("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
    *("<tts_pad>", "<tts_text_bos>", "<tts_text_eod>", "<tts_text_bos_single>"),
)


@dataclass(frozen=True, slots=True)
class Controls:
    """The ids of the optional control tokens; None is one that is not used."""

    hold: int | None = None
    start: int | None = None
    stop: int | None = None
    backchannel: int | None = None

    @property
    def names(self) -> dict[int, str]:
        """What each id means."""
        ids = {field.name: getattr(self, field.name) for field in fields(self)}
        return {token: name for name, token in ids.items() if token is not None}

    def opening(self, kind: str) -> int | None:
        """What a segment of this kind begins with."""
        return self.backchannel if kind == BACKCHANNEL and self.backchannel is not None else self.start


NO_CONTROLS = Controls()
"""Silence alone."""


class Control(NamedTuple):
    """A control token of a row: hold, start, stop or backchannel, and its place: chunk of the row, place in the chunk."""

    name: str
    chunk: int
    k: int


def decode_controls(ids: Sequence[int], names: Mapping[int, str], placeholder: int, grid: Grid) -> Iterator[Control]:
    """The control tokens in `input_ids`, in order.   names: by id."""
    if not names:
        return
    heard, last = 0, -1
    for at, token in enumerate(ids):
        if token == placeholder:
            heard, last = heard + 1, at
        elif heard and token in names:
            yield Control(names[token], heard // grid.frames_per_chunk - 1, at - last - 1)


def controls_of(duplex: DuplexConfig) -> Controls:
    """Those of the settings."""
    return Controls(duplex.hold_id, duplex.start_id, duplex.stop_id, duplex.backchannel_id)


def check_control_ids(duplex: DuplexConfig, tokenizer: TextTokenizer) -> None:
    """Silence and control tokens must be tokens that no text contains, all of them different. Raises `ConfigError`."""
    seen: dict[int, str] = {}
    for name in ("silence_token_id", "hold_id", "start_id", "stop_id", "backchannel_id"):
        token: int | None = getattr(duplex, name)
        if token is None:
            continue
        if token in seen:
            raise ConfigError(
                f"duplex.{name} and duplex.{seen[token]} are both {token}",
                hint="give each its own id: they could not be told apart",
            )
        seen[token] = name
    for token, name in seen.items():
        _check(name, token, tokenizer)


def _check(name: str, token: int, tokenizer: TextTokenizer) -> None:
    hint = (
        "151646 (<|object_ref_start|>) is the one of the Qwen tokenizers"
        if name == "silence_token_id"
        else "151647 to 151651 (<|object_ref_end|> … <|quad_end|>) are free in the Qwen tokenizers"
    )
    if not 0 <= token < tokenizer.vocab_size:
        raise ConfigError(
            f"duplex.{name} is {token}, but {tokenizer.name} has the ids 0 to {tokenizer.vocab_size - 1}", hint=hint
        )
    if token not in tokenizer.special_ids:
        raise ConfigError(
            f"duplex.{name} is {token}, which {tokenizer.name} writes for the text {tokenizer.decode([token])!r}",
            hint=f"choose a special token that no text contains; {hint}",
        )
    taken = next((text for text in _TAKEN if tokenizer.token_to_id(text) == token), None)
    if taken is not None:
        raise ConfigError(f"duplex.{name} is {token}, {taken}, which the model has another use for", hint=hint)
