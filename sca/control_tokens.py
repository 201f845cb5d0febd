"""The tokens of an answer that are not text, and the grammar of answers. Training rows and live sessions follow the same rules.

An answer is what the model outputs for one chunk. Silence means that the speaker does not speak. The other control
tokens are optional, each is enabled by an id in the settings:

    hold           the chunk has no text, but the speaker is still speaking
    start, stop    before the first and after the last token of a segment
    backchannel    replaces start before a backchannel
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import IntEnum

from sca.config import DuplexConfig
from sca.errors import ConfigError
from sca.tokenizer import TextTokenizer

__all__ = [
    "NO_CONTROLS",
    "ControlTokens",
    "Grammar",
    "SpeakerState",
    "TokenKind",
    "check_control_ids",
    "control_tokens_of",
]

# Tokens with a meaning for the model: placeholders of audio and images, and tokens that end an answer.
_RESERVED = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|audio_start|>", "<|audio_end|>", "<|audio_pad|>"),
    *("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
    *("<tts_pad>", "<tts_text_bos>", "<tts_text_eod>", "<tts_text_bos_single>"),
)


@dataclass(frozen=True, slots=True)
class ControlTokens:
    """The ids of the optional control tokens; None for those that are not used."""

    hold: int | None = None
    start: int | None = None
    stop: int | None = None
    backchannel: int | None = None

    @property
    def names(self) -> dict[int, str]:
        """Names of the used tokens by id."""
        ids = {field.name: getattr(self, field.name) for field in fields(self)}
        return {token: name for name, token in ids.items() if token is not None}

    def opening(self, *, backchannel: bool) -> int | None:
        """Return the token before the text of a segment, None if segments have none."""
        return self.backchannel if backchannel and self.backchannel is not None else self.start


NO_CONTROLS = ControlTokens()
"""Silence is the only control token."""


def control_tokens_of(duplex: DuplexConfig) -> ControlTokens:
    """Return the control tokens of the settings."""
    return ControlTokens(duplex.hold_id, duplex.start_id, duplex.stop_id, duplex.backchannel_id)


class TokenKind(IntEnum):
    """The kind of a token of an answer. OPENING is start or backchannel."""

    SILENCE = 0
    HOLD = 1
    OPENING = 2
    STOP = 3
    TEXT = 4


class SpeakerState(IntEnum):
    """The state of the speaker, given the tokens so far.

    - INITIAL: no token yet. The speaker can be in the middle of a segment, for example in a row that begins inside one.
    - HOLDING: inside a segment of which no text has been output yet.
    - LISTENING: not speaking.
    - OPENED: a segment was opened, its text comes next.
    - SPEAKING: inside a segment of which text has been output.
    """

    INITIAL = 0
    HOLDING = 1
    LISTENING = 2
    OPENED = 3
    SPEAKING = 4


class Grammar:
    """The rules for answers.

    An answer is either one token, silence or hold, or a full chunk of tokens, padded with silence.

    Attributes:
        silence: Id of the silence token.
        controls: The control tokens.
        not_text: Ids of silence and of the control tokens.
    """

    def __init__(self, silence: int, controls: ControlTokens = NO_CONTROLS) -> None:
        self.silence, self.controls = silence, controls
        self._kinds = {silence: TokenKind.SILENCE}
        for token, name in controls.names.items():
            self._kinds[token] = {"hold": TokenKind.HOLD, "stop": TokenKind.STOP}.get(name, TokenKind.OPENING)
        self.not_text = frozenset(self._kinds)

    def kind(self, token: int) -> TokenKind:
        """Return the kind of a token. Every id that is not a control token is text."""
        return self._kinds.get(token, TokenKind.TEXT)

    def is_whole_answer(self, token: int) -> bool:
        """Return whether an answer that begins with this token has no other token."""
        return self.kind(token) <= TokenKind.HOLD

    def after(self, state: SpeakerState, kind: TokenKind, *, first: bool) -> SpeakerState | None:
        """Return the state after a token.

        Args:
            state: State before the token.
            kind: Kind of the token.
            first: Whether it is the first token of its answer.

        Returns:
            The state; None if the token is not allowed there.
        """
        controls = self.controls
        match kind:
            case TokenKind.SILENCE:
                return self._after_silence(state) if first else state
            case TokenKind.HOLD if first and controls.hold is not None:
                if state in (SpeakerState.INITIAL, SpeakerState.HOLDING):
                    return SpeakerState.HOLDING
                return SpeakerState.SPEAKING if state is SpeakerState.SPEAKING else None
            case TokenKind.OPENING if controls.start is not None or controls.backchannel is not None:
                # Without a stop token, the opening of the next segment ends this one.
                next_segment = state is SpeakerState.SPEAKING and controls.stop is None
                allowed = state in (SpeakerState.INITIAL, SpeakerState.LISTENING) or next_segment
                return SpeakerState.OPENED if allowed else None
            case TokenKind.STOP if controls.stop is not None and state is SpeakerState.SPEAKING:
                return SpeakerState.LISTENING
            case TokenKind.TEXT if state is not SpeakerState.LISTENING or controls.start is None:
                return SpeakerState.SPEAKING
        return None

    def _after_silence(self, state: SpeakerState) -> SpeakerState | None:
        """Return the state after an answer of silence.

        With hold enabled, silence means that the speaker does not speak.
        """
        controls = self.controls
        if state in (SpeakerState.HOLDING, SpeakerState.OPENED):
            return None
        if controls.hold is None:
            return state
        if state is SpeakerState.SPEAKING and controls.stop is not None:
            return None
        return SpeakerState.LISTENING

    def quiet(self, state: SpeakerState, *, first: bool) -> TokenKind:
        """Return the kind of token with which the speaker becomes silent, as far as the rules permit.

        A stop token where it ends the turn, else silence, else hold. After a start token text must follow.

        Args:
            state: State before the token.
            first: Whether it is the first token of its answer.
        """
        stop = [TokenKind.STOP] if state is SpeakerState.SPEAKING else []
        kinds = [*stop, TokenKind.SILENCE, TokenKind.HOLD, TokenKind.TEXT]
        return next(kind for kind in kinds if self.after(state, kind, first=first) is not None)

    def follow(self, state: SpeakerState, answer: Sequence[int]) -> SpeakerState:
        """Return the state after a whole answer.

        Raises:
            ValueError: The answer is not allowed in this state.
        """
        for k, token in enumerate(answer):
            after = self.after(state, self.kind(token), first=k == 0)
            text_after_padding = k > 0 and self.kind(answer[k - 1]) is TokenKind.SILENCE and token != self.silence
            if after is None or text_after_padding or (k > 0 and self.is_whole_answer(answer[0])):
                raise ValueError(
                    f"token {token} is not allowed at place {k} of {list(answer)}: the speaker is {state.name}"
                )
            state = after
        return state


def check_control_ids(duplex: DuplexConfig, tokenizer: TextTokenizer, *, silence_may_be_text: bool = False) -> None:
    """Check that silence and the control tokens are different tokens that no text contains.

    Args:
        duplex: The settings.
        tokenizer: The tokenizer of the model.
        silence_may_be_text: Whether the silence token can be any token.

    Raises:
        ConfigError: An id is used twice, or is not a usable token.
    """
    seen: dict[int, str] = {}
    for name in ("silence_token_id", "hold_id", "start_id", "stop_id", "backchannel_id"):
        token: int | None = getattr(duplex, name)
        if token is None:
            continue
        if token in seen:
            raise ConfigError(
                f"duplex.{name} and duplex.{seen[token]} are both {token}", hint="give each token a different id"
            )
        seen[token] = name
    for token, name in seen.items():
        if name != "silence_token_id" or not silence_may_be_text:
            _check(name, token, tokenizer)


def _check(name: str, token: int, tokenizer: TextTokenizer) -> None:
    hint = (
        "151646 (<|object_ref_start|>) is suitable for the Qwen tokenizers"
        if name == "silence_token_id"
        else "151647 to 151651 (<|object_ref_end|> … <|quad_end|>) are unused in the Qwen tokenizers"
    )
    if not 0 <= token < tokenizer.vocab_size:
        raise ConfigError(
            f"duplex.{name} is {token}, but {tokenizer.name} has the ids 0 to {tokenizer.vocab_size - 1}", hint=hint
        )
    if token not in tokenizer.special_ids:
        raise ConfigError(
            f"duplex.{name} is {token}, which {tokenizer.name} uses for the text {tokenizer.decode([token])!r}",
            hint=f"choose a special token that no text contains; {hint}",
        )
    reserved = next((text for text in _RESERVED if tokenizer.token_to_id(text) == token), None)
    if reserved is not None:
        raise ConfigError(f"duplex.{name} is {token}, {reserved}, which has another meaning for the model", hint=hint)
