"""Tokens of an answer that are no text, and where they may stand: one definition, for training rows and for who speaks live.

Silence says that there is nothing to say. The others are off unless an id is given:

    hold           this chunk has no text, and he is still speaking
    start, stop    before the first and after the last token of what he says
    backchannel    in place of start where he only nods along

Knows nothing of sound, times or models.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import IntEnum

from sca.config import DuplexConfig
from sca.errors import ConfigError
from sca.tokenizer import TextTokenizer

__all__ = ["NO_CONTROLS", "Controls", "Grammar", "Kind", "State", "check_control_ids", "controls_of"]

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

    def opening(self, *, backchannel: bool) -> int | None:
        """What a segment begins with."""
        return self.backchannel if backchannel and self.backchannel is not None else self.start


NO_CONTROLS = Controls()
"""Silence alone."""


def controls_of(duplex: DuplexConfig) -> Controls:
    """Those of the settings."""
    return Controls(duplex.hold_id, duplex.start_id, duplex.stop_id, duplex.backchannel_id)


class Kind(IntEnum):
    """What a token of an answer is. OPENING is start or backchannel."""

    SILENCE = 0
    HOLD = 1
    OPENING = 2
    STOP = 3
    TEXT = 4


class State(IntEnum):
    """What the tokens so far say of the speaker.

    BEGUN: nothing yet; he may be in the middle of a segment, as where a row begins with the second part of one.
    HELD: he is, and none of its text has come yet.   LISTENS: he says nothing.
    OPENED: a segment was opened, its text comes next.   SPEAKS: some of its text has come.
    """

    BEGUN = 0
    HELD = 1
    LISTENS = 2
    OPENED = 3
    SPEAKS = 4


class Grammar:
    """Which answers there are. An answer is one token, silence or hold, or as many as a chunk has room for, silence after the rest.

    silence: the id.   not_text: ids that are no text.
    """

    def __init__(self, silence: int, controls: Controls = NO_CONTROLS) -> None:
        self.silence, self.controls = silence, controls
        self._kinds = {silence: Kind.SILENCE}
        for token, name in controls.names.items():
            self._kinds[token] = {"hold": Kind.HOLD, "stop": Kind.STOP}.get(name, Kind.OPENING)
        self.not_text = frozenset(self._kinds)

    def kind(self, token: int) -> Kind:
        """Of any id; what is no control token is text."""
        return self._kinds.get(token, Kind.TEXT)

    def stands_alone(self, token: int) -> bool:
        """Whether an answer that begins with it has no other token."""
        return self.kind(token) <= Kind.HOLD

    def after(self, state: State, kind: Kind, *, first: bool) -> State | None:
        """The state after a token, None where it may not stand. first: it is the first of its answer."""
        controls = self.controls
        match kind:
            case Kind.SILENCE:
                return self._after_silence(state) if first else state
            case Kind.HOLD if first and controls.hold is not None and state in (State.BEGUN, State.HELD, State.SPEAKS):
                return State.SPEAKS if state is State.SPEAKS else State.HELD
            case Kind.OPENING if controls.start is not None or controls.backchannel is not None:
                # Without a stop, the next segment's opening is what ends this one.
                may = state in (State.BEGUN, State.LISTENS) or (state is State.SPEAKS and controls.stop is None)
                return State.OPENED if may else None
            case Kind.STOP if controls.stop is not None and state is State.SPEAKS:
                return State.LISTENS
            case Kind.TEXT if state is not State.LISTENS or controls.start is None:
                return State.SPEAKS
        return None

    def _after_silence(self, state: State) -> State | None:
        """Of a whole answer. Where hold is used, silence is what hold is not: nothing is being said."""
        controls = self.controls
        if state in (State.HELD, State.OPENED):
            return None
        if controls.hold is None:
            return state
        if state is State.SPEAKS and controls.stop is not None:
            return None
        return State.LISTENS

    def follow(self, state: State, answer: Sequence[int]) -> State:
        """The state after a whole answer. Raises ValueError for one that may not stand there."""
        for k, token in enumerate(answer):
            after = self.after(state, self.kind(token), first=k == 0)
            padded = k > 0 and self.kind(answer[k - 1]) is Kind.SILENCE and token != self.silence
            if after is None or padded or (k > 0 and self.stands_alone(answer[0])):
                raise ValueError(f"{token} may not stand at place {k} of {list(answer)}: the speaker is {state.name}")
            state = after
        return state


def check_control_ids(duplex: DuplexConfig, tokenizer: TextTokenizer, *, silence_may_be_text: bool = False) -> None:
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
        if name != "silence_token_id" or not silence_may_be_text:
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
