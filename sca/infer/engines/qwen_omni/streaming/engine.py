"""The Qwen3-Omni engine: for each chunk of input it generates a silence token or up to two text tokens, and a chunk of audio.

A step: log-mel → audio tokens → thinker → one silence token, or text tokens one by one → one talker frame per 80 ms,
conditioned on the hidden state of its token → vocoder. Without text the talker is conditioned on the padding token, and
in silence talker and vocoder do not run (`VoiceGate`).
Tokens are interleaved as in the training rows: the prompt, then per chunk the audio tokens and one silence token or the
text tokens. Control tokens, if configured, have the same places as in the rows (`sca.control_tokens`); the talker does
not receive them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sca.audio.mel import log_mel
from sca.audio.pcm import INT16_MAX, pcm16_bytes
from sca.config import DuplexConfig, QwenConfig
from sca.control_tokens import Grammar, SpeakerState, check_control_ids, control_tokens_of
from sca.errors import ConfigError
from sca.infer.engine import EngineInfo, EngineSession, SessionConfig, StepGuard
from sca.infer.engines.qwen_omni.streaming.context_window import ContextWarnings, ContextWindow
from sca.infer.engines.qwen_omni.streaming.devices import device_of
from sca.infer.engines.qwen_omni.streaming.sampling import TextState, choose_text
from sca.infer.engines.qwen_omni.streaming.thinker import ThinkerStream, conditioning_layer
from sca.infer.engines.qwen_omni.streaming.token_mask import TokenMask
from sca.infer.engines.qwen_omni.streaming.turn_control import SpeechDetector, TurnControl, TurnLimits
from sca.infer.engines.qwen_omni.streaming.voice import Voice, VoiceSettings
from sca.infer.frames import AudioInput, AudioOutput, ErrorFrame, Frame, ThoughtPacket, TurnEnd
from sca.textutil import counted
from sca.tokenizer import TextTokenizer, system_turn
from sca.units import SPOKEN_HZ, Grid

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["QwenOmni", "QwenSession"]

log = logging.getLogger(__name__)

# Silent chunks after which a turn ends without a stop token. One silent chunk is common within a turn.
_TURN_ENDS_AFTER = 2


class QwenOmni:
    """A loaded model that opens sessions. The sessions share only its weights.

    Attributes:
        info: The name and the device of the engine.
        grammar: The grammar of answers: silence, text and control tokens.
        unused_token: A token that answers never have.
        layer: The layer of hidden states that condition the talker; 0 for the embeddings.
    """

    def __init__(self, model: Module, tokenizer: TextTokenizer, qwen: QwenConfig, duplex: DuplexConfig) -> None:
        import torch

        self.model, self.tokenizer, self.qwen = model, tokenizer, qwen
        self.silence = duplex.silence_token_id
        self.device = device_of(model.thinker.get_input_embeddings())
        self.info = EngineInfo(
            "qwen-omni",
            f"Qwen3-Omni, {qwen.model_id} on {self.device}",
            device=str(self.device),
            parts=(("model", qwen.model_id), ("voice", qwen.speaker)),
            follows_generation=True,
        )
        thinker = model.config.thinker_config
        vocab = thinker.text_config.vocab_size
        controls = control_tokens_of(duplex)
        named = {self.silence: "silence_token_id"} | {token: f"{name}_id" for token, name in controls.names.items()}
        # 151675 in the released model; the class default is 151646, the silence token.
        marks = {thinker.audio_token_id, thinker.image_token_id, thinker.video_token_id}
        for token, name in named.items():
            if not 0 <= token < min(vocab, tokenizer.vocab_size):
                raise ConfigError(
                    f"duplex.{name} is {token}, which is not a token of {tokenizer.name}",
                    hint="151646 is the silence token of the Qwen tokenizers, 151647 to 151651 are free",
                )
            if token in marks:
                raise ConfigError(
                    f"duplex.{name} is {token}, which is a placeholder of the model (its audio_token_id is "
                    f"{thinker.audio_token_id})",
                    hint="correct audio_token_id in its config.json, or set the token that it was trained with",
                )
        check_control_ids(duplex, tokenizer, silence_may_be_text=True)
        if self.silence not in tokenizer.special_ids:
            log.warning("duplex.silence_token_id %s is a token of ordinary text, which is never spoken", self.silence)
        speakers = model.config.talker_config.speaker_id
        if qwen.speaker.lower() not in speakers:
            raise ConfigError(
                f"the model does not have a speaker {qwen.speaker}",
                hint=f"qwen.speaker is one of {', '.join(sorted(speakers))}",
            )
        self.speaker_id = int(speakers[qwen.speaker.lower()])
        # Placeholders are not text, and the embedding table has more rows than the tokenizer has tokens.
        allowed = torch.zeros(vocab, dtype=torch.bool)
        allowed[: min(vocab, tokenizer.vocab_size)] = True
        never = [token for token in marks | set(tokenizer.special_ids) if 0 <= token < vocab]
        allowed[never] = False
        allowed[list(named)] = True
        self.unused_token = min(set(never) - set(named))
        self.forbidden = (~allowed).to(device_of(model.thinker.lm_head))  # the device of the logits
        self.grammar = Grammar(self.silence, controls)
        self.mask = TokenMask(self.grammar, self.forbidden)
        self.tokens_per_chunk, self.lead_chunks = duplex.tokens_per_chunk, duplex.lead_chunks
        self.layer = conditioning_layer(qwen.conditioning, model)

    def open(self, session_config: SessionConfig) -> EngineSession:
        """Begin a conversation.

        Args:
            session_config: The grid and the prompt of the session.

        Raises:
            ConfigError: The prompt leaves no room for chunks in the context.
        """
        return QwenSession(self, session_config)

    def voice(self, grid: Grid, marks: Tensor, options: QwenConfig) -> Any:
        """Create the voice of a session.

        Args:
            grid: The grid of the session.
            marks: See `Voice`.
            options: The settings of the session.
        """
        return Voice(self.model, marks, self.voice_settings(grid, options))

    def voice_settings(self, grid: Grid, options: QwenConfig) -> VoiceSettings:
        """Return the settings of the voice of a session."""
        return VoiceSettings(
            grid=grid,
            speaker_id=self.speaker_id,
            not_text=self.grammar.not_text,
            silence=self.silence,
            lead_chunks=self.lead_chunks,
            temperature=options.talker_temperature,
            top_k=options.talker_top_k,
            seed=options.seed,
            budget=options.talker_context_frames,
            tells_once=options.tell == "once",
            per_segment=options.voice == "per-segment",
        )


class QwenSession:
    """A session with its own caches, which is stepped alone.

    Attributes:
        non_finite: Number of input samples that were NaN or infinite and were replaced by 0.
        turn_ended: Whether the turn ended with the last chunk.
        voice: The voice: a `Voice`, or a `RemoteVoice` in another process.
    """

    voice: Any = None

    def __init__(self, engine: QwenOmni, config: SessionConfig) -> None:
        self._engine, self._grid = engine, config.grid
        self._options = config.generation.over(engine.qwen)
        self._limits = TurnLimits.of(self._options, config.grid)
        self._guard = StepGuard(config.grid.heard_samples)
        self._prompt = system_turn(engine.tokenizer, config.prompt)
        self._chunk_tokens = config.grid.frames_per_chunk + engine.tokens_per_chunk
        self._check_room()
        self._begin()

    def _check_room(self) -> None:
        engine = self._engine
        positions = engine.model.config.thinker_config.text_config.max_position_embeddings
        window = ContextWindow(engine.qwen.context_tokens, positions)
        if not window.fits(len(self._prompt), 2 * self._chunk_tokens):
            ours = ContextWindow(positions, positions).fits(len(self._prompt), 2 * self._chunk_tokens)
            limit = f"qwen.context_tokens is {window.budget}" if ours else f"the model's context ends at {positions}"
            raise ConfigError(
                f"the prompt has {len(self._prompt)} tokens, but {limit}: the input does not fit",
                hint="shorten duplex.system_prompt" + (", or raise qwen.context_tokens" if ours else ""),
            )

    def _begin(self) -> None:
        import torch

        self.non_finite = 0
        self._turn_id, self._broken_turn = 0, -1
        self._in_turn, self._silent_chunks, self.turn_ended = False, 0, False
        self._control = TurnControl(self._limits)
        self._detector = SpeechDetector() if self._limits.needs_speech else None
        self._choice = TextState(self._options, self._engine.unused_token)
        self._pending: list[int] = []
        self._warnings = ContextWarnings(self._chunk_tokens, float(self._grid.chunk_s))
        self._state = SpeakerState.INITIAL
        with torch.inference_mode():
            self._begin_thinking()
            self._begin_voice()

    def _begin_thinking(self) -> None:
        self._thinker = ThinkerStream(self._engine.model.thinker, self._prompt, self._engine.qwen.context_tokens)

    def _begin_voice(self) -> None:
        config = self._engine.model.config
        marks = self._thinker.embed([config.tts_pad_token_id, config.tts_bos_token_id, config.tts_eos_token_id])
        self._release_voice()
        self.voice = self._engine.voice(self._grid, marks, self._options)

    def _release_voice(self) -> None:
        close = getattr(self.voice, "close", None)
        if close is not None:  # the voice runs in another process
            close()
        self.voice = None

    @property
    def window(self) -> ContextWindow:
        """The counts of the cache of the thinker."""
        return self._thinker.window

    @property
    def held_bytes(self) -> int:
        """Size of the keys and values of thinker, talker and vocoder, in bytes."""
        return self._thinker.held_bytes + int(self.voice.held_bytes)

    def step(self, heard: AudioInput) -> Sequence[Frame]:
        """Process one chunk; see `EngineSession.step`."""
        import torch

        with torch.inference_mode():
            tokens, hidden = self.think(heard)
            wave = self.voice.speak(tokens, hidden, turn_ended=self.turn_ended)
        return self.frames(heard, tokens, hidden, wave)

    def think(self, heard: AudioInput) -> tuple[list[int], Tensor]:
        """Generate the tokens of a chunk.

        Args:
            heard: The chunk of input.

        Returns:
            The tokens, and their hidden states for the talker `(1, n, dim)`.

        Raises:
            ValueError: The chunk has another shape or dtype; see `step`.
        """
        import torch

        features = torch.from_numpy(self.features(heard))
        listen = self.must_listen(heard)
        self._thinker.open_chunk(self._chunk_tokens)
        return self._think(self._thinker.listen(features[None]), listen)

    def must_listen(self, heard: AudioInput) -> bool:
        """Return whether the session must be silent in this chunk. Call it once for each chunk, after `features`."""
        return self._control.must_listen(self._detector is not None and self._detector.speaks(heard.samples))

    def features(self, heard: AudioInput) -> np.ndarray:
        """Check a chunk and return its features, `(bins, frames)`. Raises like `step`."""
        self._guard.check(heard)
        features: np.ndarray = self._features(heard)[0]
        return features

    def frames(self, heard: AudioInput, tokens: list[int], hidden: Tensor, wave: np.ndarray) -> list[Frame]:
        """Return the output frames of a chunk.

        Args:
            heard: The chunk of input.
            tokens: The tokens of the chunk.
            hidden: Their hidden states, `(1, n, dim)`.
            wave: The audio, float32 at 24 kHz.
        """
        end = heard.timestamp + len(heard.samples)
        grammar = self._engine.grammar
        spoken = [token for token in tokens if token not in grammar.not_text]
        self._choice.note(spoken)
        text = self._text(spoken)
        frames: list[Frame] = [ThoughtPacket(hidden, text, tuple(tokens), heard.chunk_index)]
        finite = np.isfinite(wave)
        broken = int(finite.size - np.count_nonzero(finite))
        pcm = pcm16_bytes(np.where(finite, wave, np.float32(0)) if broken else wave, INT16_MAX)
        frames.append(AudioOutput(pcm, SPOKEN_HZ, text, heard.chunk_index, self._turn_id, broken))
        if broken:
            frames += self._broken_voice(broken, end)
        quiet = all(token == grammar.silence for token in tokens)
        self._silent_chunks = self._silent_chunks + 1 if quiet else 0
        self._in_turn = self._in_turn or bool(spoken)
        self.turn_ended = self._in_turn and self._turn_is_over()
        if self.turn_ended:
            frames.append(TurnEnd(self._turn_id, end))
            self._turn_id += 1
            self._in_turn = False
        self._control.note(self._in_turn)
        frames += [ErrorFrame(self._turn_id, end, warning, fatal=False) for warning in self._warnings.due(self.window)]
        return frames

    def _broken_voice(self, samples: int, end: int) -> Iterator[ErrorFrame]:
        """Restart a voice whose audio has NaN or infinite samples, and report it once per turn."""
        self._restart_voice()
        if self._broken_turn != self._turn_id:
            self._broken_turn = self._turn_id
            yield ErrorFrame(
                self._turn_id,
                end,
                f"the talker or the vocoder computed {counted(samples, 'sample')} without a number: they are played as silence, "
                "and the voice begins again",
                fatal=False,
            )

    def _restart_voice(self) -> None:
        """Begin the voice again: NaN in a cache would stay there for as long as the cache reaches back."""
        import torch

        with torch.inference_mode():
            self._begin_voice()

    def _turn_is_over(self) -> bool:
        """Return whether the turn has ended.

        With a stop token only that decides, `lead_chunks` after it, as in the training rows.
        """
        if self._engine.grammar.controls.stop is None:
            return self._silent_chunks >= _TURN_ENDS_AFTER
        return self._state is SpeakerState.LISTENING and self._silent_chunks >= self._engine.lead_chunks

    def _features(self, heard: AudioInput) -> np.ndarray:
        """Return the log-mel of the input, or compute it. Samples that are not finite count as 0."""
        bad = int(np.count_nonzero(~np.isfinite(heard.samples)))
        self.non_finite += bad
        features = heard.features
        if bad or features.shape[-1] == 0 or not np.isfinite(features).all():
            features = log_mel(np.nan_to_num(heard.samples, nan=0.0, posinf=0.0, neginf=0.0))[None]
        if features.dtype != np.float32 or features.shape != (1, features.shape[1], self._grid.mel_frames):
            raise ValueError(
                f"expected float32 features (1, bins, {self._grid.mel_frames}), got {features.dtype} {features.shape}"
            )
        return np.ascontiguousarray(features)

    def _think(self, audio: Tensor, listen: bool) -> tuple[list[int], Tensor]:
        """Generate the tokens of a chunk and their hidden states `(1, n, dim)`.

        As in the training rows: one silence or hold token, or as many tokens as fit into a chunk, with silence after
        the text.
        """
        import torch

        engine, capacity = self._engine, self._engine.tokens_per_chunk
        mask, device = engine.mask, engine.mask.device
        state, must_listen = torch.tensor([[self._state]], device=device), torch.tensor([[int(listen)]], device=device)
        options, recent, noise = self._choice.tensors(engine.qwen.max_new_tokens, device)
        logits, _ = self._thinker.push(audio)
        tokens: list[int] = []
        states = []
        while not tokens or (not engine.grammar.is_whole_answer(tokens[0]) and len(tokens) < capacity):
            more = [engine.silence] * (capacity - len(tokens))
            if len(tokens) < engine.qwen.max_new_tokens and engine.silence not in tokens:
                place = len(tokens)
                barred = mask.barred(state, place, must_listen)
                silence = None if place else engine.silence
                token = choose_text(logits[:, -1], barred, options, recent, noise[:, place : place + 1], silence)
                state = mask.after(state, place, token)
                recent = torch.cat([recent, token.where(mask.is_text(token), engine.unused_token)], 1)
                more = [int(token)]
            tokens += more
            logits, hidden = self._thinker.push(self._thinker.embed(more), hidden_layer=engine.layer)
            states.append(hidden)
        self._state = engine.grammar.follow(self._state, tokens)
        return tokens, torch.cat(states, 1)

    def _text(self, tokens: list[int]) -> str:
        """Decode tokens. Bytes of an incomplete character are kept until the rest of it arrives."""
        self._pending += tokens
        text = self._engine.tokenizer.decode(self._pending)
        if text.endswith("\ufffd") and len(self._pending) < 8:
            return ""
        self._pending = []
        return text

    def interrupt(self, turn_id: int) -> None:
        """Stop the current answer; see `EngineSession.interrupt`."""
        import torch

        self._turn_id = max(self._turn_id, turn_id)
        self._in_turn, self._silent_chunks, self.turn_ended = False, 0, False
        self._control.interrupt()
        self._pending = []
        with torch.inference_mode():
            self._begin_voice()

    def reset(self) -> None:
        """Begin a new conversation; see `EngineSession.reset`."""
        self._guard.reset()
        self._begin()

    def close(self) -> None:
        """Release the session; see `EngineSession.close`."""
        self._guard.close()
        # Releases the caches.
        self._thinker = None  # type: ignore[assignment]
        self._release_voice()
