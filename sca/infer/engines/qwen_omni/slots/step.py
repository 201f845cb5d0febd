"""One chunk of every slot in two stages without host synchronisation: the thinker with its encoder, the talker with its vocoder.

The differences between sessions (whether a slot is active, the length of each cache, a pending token) are numbers in
one tensor per stage that the host prepares. Inactive slots are computed too, but their state does not change. The talker
advances a slot only if its voice runs in this chunk (`VoiceGate`), which the answer of the thinker decides on the device.

    thinker   features  float32 (b, bins, mel frames)    the input
              numbers   int64 (b, 6)                     `ThinkerState`, one column each
              options   float32 (b, 5 + most)            options of the text (`TEXT_OPTIONS`), and its random numbers
              recent    int64 (b, 128)                   the last text tokens, for the repetition penalty
              → answer  int64 (b, tokens + 1)            the tokens, and the number of valid tokens
              → hidden  (b, tokens, dim)                 the hidden states that condition the talker
    talker    numbers   int64 (b, 9)                     `TalkerState`, one column each
              noise     float32 (b, frames, codebooks)   random numbers for the sampling
              answer, hidden                             of the thinker
              → wave    float32 (b, samples)             meaningless where the voice does not run

With `Shape.segments` the talker may end a segment (`VoicePhase`): the rest of its wave is silence, and the wave has one
number more, the frames of sound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from sca.infer.engines.qwen_omni.slots.audio_encoder import AudioEncoder
from sca.infer.engines.qwen_omni.slots.decoder import Decoder, SlotCache
from sca.infer.engines.qwen_omni.slots.talker import SlotTalker
from sca.infer.engines.qwen_omni.slots.vocoder import SlotVocoder
from sca.infer.engines.qwen_omni.streaming.code2wav import look_ahead
from sca.infer.engines.qwen_omni.streaming.devices import device_of
from sca.infer.engines.qwen_omni.streaming.sampling import TEXT_OPTIONS, choose_text
from sca.infer.engines.qwen_omni.streaming.token_mask import TokenMask

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.nn import Module

__all__ = ["ChunkStep", "Shape", "TalkerState", "ThinkerState"]


@dataclass(frozen=True, slots=True)
class Shape:
    """The constants of a step.

    Attributes:
        frames: Audio frames per chunk.
        tokens: Text tokens that fit into a chunk.
        most: Maximum number of generated text tokens.
        unused: A token that answers never have.
        layer: The layer of hidden states that condition the talker.
        carry: Whether the last token of a chunk is processed with the next chunk.
        temperature: The sampling temperature of the talker.
        top_k: Number of most likely codes to sample from.
        segments: Whether a talker may end.
    """

    frames: int
    tokens: int
    most: int
    unused: int
    layer: int
    carry: bool
    temperature: float
    top_k: int
    segments: bool = False


class _Columns:
    """Numbers of a slot, in columns of a tensor."""

    __slots__ = ()

    @classmethod
    def names(cls) -> list[str]:
        """Return the names of the columns."""
        return [one.name for one in fields(cls)]  # type: ignore[arg-type]

    @classmethod
    def split(cls, numbers: Tensor) -> dict[str, Tensor]:
        """Return the columns of `(b, columns)` by name, each `(b, 1)`."""
        return dict(zip(cls.names(), numbers.split(1, 1), strict=True))

    def row(self) -> list[int]:
        """Return the values in column order."""
        return [getattr(self, name) for name in self.names()]


@dataclass(slots=True)
class ThinkerState(_Columns):
    """The state of a slot before a chunk, for the thinker.

    Attributes:
        active: 1 if the slot takes part.
        carried: The token that is still to be processed, or -1.
        length: Length of the cache.
        position: Position of the next token.
        state: State of the grammar.
        listen: 1 if the answer must be silent.
    """

    active: int = 0
    carried: int = -1
    length: int = 0
    position: int = 0
    state: int = 0
    listen: int = 0


@dataclass(slots=True)
class TalkerState(_Columns):
    """The state of a slot before a chunk, for the talker and the vocoder.

    Attributes:
        active: 1 if the slot takes part.
        running: 1 if the voice runs for any answer (`VoiceGate.running`).
        length: Length of the cache.
        position: Position of the next frame.
        frames: Number of frames that the vocoder has decoded.
        vocoder: Position of the next vocoder frame.
        once: 1 if each token conditions one frame, 0 if the frames are divided among the tokens.
        told_end: 1 if tts_eos conditions the first frame.
        end_from: Frame from which on the talker may end.
    """

    active: int = 0
    running: int = 0
    length: int = 0
    position: int = 0
    frames: int = 0
    vocoder: int = 0
    once: int = 0
    told_end: int = 0
    end_from: int = 0


class ChunkStep:
    """The two stages of a model over slots.

    Attributes:
        encode: The audio encoder.
    """

    def __init__(self, model: Module, mask: TokenMask, shape: Shape, slots: int, room: int, said_room: int) -> None:
        """Create the caches.

        Args:
            model: The model.
            mask: The allowed tokens.
            shape: The constants of a step.
            slots: Number of slots.
            room: Cells of the thinker cache.
            said_room: Cells of the talker cache.
        """
        import torch

        self.model, self.shape, self.mask = model, shape, mask
        thinker = model.thinker
        weight = thinker.get_input_embeddings().weight
        self.encode = AudioEncoder(thinker.model.audio_tower)
        self.cache = SlotCache(thinker.config.text_config, slots, room, weight)
        self._think = Decoder(thinker.model.language_model, self.cache)
        self.talker = SlotTalker(model.talker, slots, said_room, shape.temperature, shape.top_k)
        self.vocoder = SlotVocoder(model.code2wav, slots)
        names = ("tts_pad_token_id", "tts_bos_token_id", "tts_eos_token_id")
        marks = [getattr(model.config, name) for name in names]
        embedded = thinker.get_input_embeddings()(torch.tensor([marks], device=weight.device))
        voice = device_of(model.talker.text_projection)
        self.pad, self.bos, self._eos = model.talker.text_projection(embedded.to(voice)).chunk(3, 1)
        self._said_mask, self._look_ahead = mask.on(voice), look_ahead(model.code2wav)

    @property
    def devices(self) -> tuple[torch.device, torch.device]:
        """The devices of the inputs of thinker and talker."""
        return self.model.thinker.get_input_embeddings().weight.device, self.pad.device

    def link(self) -> tuple[Tensor, Tensor]:
        """Create the tensors of all slots in which the talker finds answer and hidden states of the thinker."""
        import torch

        weight = self.model.thinker.get_input_embeddings().weight
        slots, tokens, device = len(self.talker.hidden), self.shape.tokens, self.pad.device
        answer = torch.zeros(slots, tokens + 1, dtype=torch.long, device=device)
        return answer, torch.zeros(slots, tokens, weight.shape[1], dtype=weight.dtype, device=device)

    @property
    def _voice_state(self) -> list[Tensor]:
        """The tensors of talker and vocoder besides the cache."""
        return [self.talker.hidden, *self.vocoder.state]

    @property
    def held_bytes(self) -> int:
        """Size of keys, values and other state of all slots, in bytes."""
        state = sum(int(one.numel()) * int(one.element_size()) for one in self._voice_state)
        return self.cache.held_bytes + self.talker.cache.held_bytes + state

    def take_prompt(self, slot: int, prompt: Tensor) -> None:
        """Run the prompt `(1, n)` of a slot at positions 0 to n."""
        self._prefill(self._think, slot, self.model.thinker.get_input_embeddings()(prompt))

    def take_opening(self, slot: int, opening: Tensor) -> None:
        """Run the opening `(1, n, dim)` of the talker of a slot."""
        self.talker.hidden[slot] = self._prefill(self.talker.decoder, slot, opening)[0, -1:]

    def clear_voice(self, slot: int) -> None:
        """Zero the talker and the vocoder of a slot: a masked cell counts 0 times, but 0 times NaN is NaN."""
        for one in (*self.talker.cache.keys, *self.talker.cache.values, *self._voice_state):
            one[slot].zero_()

    @staticmethod
    def _prefill(decoder: Decoder, slot: int, embeds: Tensor) -> Tensor:
        import torch

        places = torch.arange(embeds.shape[1], device=embeds.device)[None]
        return decoder(embeds, places, places, embeds.shape[1], first_slot=slot)[0]

    def think(self, inputs: Sequence[Tensor], span: int) -> tuple[Tensor, Tensor]:
        """Run the stage of the thinker.

        Args:
            inputs: Features, numbers, options and recent tokens; see the module.
            span: Cells of the cache that attention covers.

        Returns:
            The answer and the hidden states; see the module.
        """
        import torch

        features, numbers, options, recent = inputs
        columns = ThinkerState.split(numbers)
        tokens, count, hidden = self._think_chunk(self.encode(features), columns, options, recent, span)
        return torch.cat([tokens, count], 1), hidden

    def speak(self, inputs: Sequence[Tensor], span: int) -> tuple[Tensor]:
        """Run the stage of the talker.

        Args:
            inputs: Numbers and noise, and the answer and the hidden states of the thinker; see the module.
            span: Cells of the cache that attention covers.

        Returns:
            The wave.
        """
        numbers, noise, answer, hidden = inputs
        columns = TalkerState.split(numbers)
        tokens, count = answer.split(self.shape.tokens, 1)
        wanted = (columns["running"] > 0) | (tokens != self.mask.grammar.silence).any(1, keepdim=True)
        speaks = (columns["active"] > 0) & wanted
        codes, spoken = self._speak_chunk(tokens, count, hidden, speaks, columns, noise, span)
        wave = self.vocoder.push(codes, speaks, columns["frames"], columns["vocoder"]).float()
        return (wave if spoken is None else self._ended(wave, spoken),)

    def _ended(self, wave: Tensor, spoken: Tensor) -> Tensor:
        """Return a wave that is silent after `spoken` `(b, 1)` frames, with this number as its last sample."""
        import torch

        samples = wave.shape[1]
        end = self._look_ahead + spoken * (samples // self.shape.frames)
        over = (spoken < self.shape.frames) & (torch.arange(samples, device=wave.device) >= end)
        return torch.cat([wave.masked_fill(over, 0), spoken.to(wave.dtype)], 1)

    def _think_chunk(
        self, audio: Tensor, columns: dict[str, Tensor], options: Tensor, recent: Tensor, span: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the tokens `(b, tokens)`, the number of valid ones `(b, 1)`, and their hidden states `(b, tokens, dim)`."""
        import torch

        shape, mask, thinker = self.shape, self.mask, self.model.thinker
        table = thinker.get_input_embeddings()
        active, length, position = columns["active"] > 0, columns["length"], columns["position"]
        state = columns["state"]
        audio = audio.to(table.weight.dtype)
        counts = active.expand(-1, audio.shape[1])
        if shape.carry:
            carried = columns["carried"]
            audio = torch.cat([table(carried.clamp(min=0)), audio], 1)
            counts = torch.cat([active & (carried >= 0), counts], 1)
        last, _, length, position = self._forward(audio, counts, length, position, span)
        silence = torch.full_like(length, mask.grammar.silence)
        options, noise = options[:, :TEXT_OPTIONS], options[:, TEXT_OPTIONS:]
        over = torch.zeros_like(active)
        tokens: list[Tensor] = []
        states: list[Tensor] = []
        for i in range(shape.tokens):
            token = silence
            if i < shape.most:
                logits = thinker.lm_head(last[:, -1])
                barred, biased = mask.barred(state, i, columns["listen"]), None if i else mask.grammar.silence
                token = choose_text(logits, barred, options, recent, noise[:, i : i + 1], biased)
                token = torch.where(over, silence, token)
                recent = torch.cat([recent, torch.where(mask.is_text(token), token, shape.unused)], 1)
                over = over | mask.is_whole_answer(token)
                state = mask.after(state, i, token)
            tokens.append(token)
            alone = mask.is_whole_answer(tokens[0])
            embeds = table(token)
            if shape.carry and i + 1 == shape.tokens:
                states.append(embeds)
                break
            counts = active if i == 0 else active & ~alone
            last, hidden, length, position = self._forward(embeds, counts, length, position, span)
            states.append(hidden)
        count = torch.where(alone, 1, shape.tokens)
        return torch.cat(tokens, 1), count, torch.cat(states, 1)

    def _forward(
        self, embeds: Tensor, counts: Tensor, length: Tensor, position: Tensor, span: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Run the thinker over rows, of which `counts` `(b, n)` are valid; return the output, the new length and position."""
        import torch

        before = counts.cumsum(1) - counts.long()
        places = torch.where(counts, length + before, self.cache.trash)
        last, hidden = self._think(embeds, places, position + before, span, self.shape.layer)
        taken = counts.sum(1, keepdim=True)
        return last, hidden, length + taken, position + taken

    def _speak_chunk(
        self,
        tokens: Tensor,
        count: Tensor,
        hidden: Tensor,
        speaks: Tensor,
        columns: dict[str, Tensor],
        noise: Tensor,
        span: int,
    ) -> tuple[Tensor, Tensor | None]:
        """Generate the codes of the chunk, `(b, 16, frames)`, and with `Shape.segments` the number of frames `(b, 1)`.

        See `Voice.speak` for the frames of a token.
        """
        import torch

        shape = self.shape
        projected = self.model.talker.text_projection(hidden)
        projected = torch.where(self._said_mask.is_text(tokens)[..., None], projected, self.pad)
        once = columns["once"] > 0
        codes = []
        spoken = torch.zeros_like(count) if shape.segments else None
        for j in range(shape.frames):
            i = torch.where(once, min(j, shape.tokens - 1), j * count // shape.frames)
            which = i[..., None].expand(-1, 1, projected.shape[-1])
            text = torch.where((once & (j >= count))[..., None], self.pad, projected.gather(1, which))
            if shape.segments and j == 0:
                text = torch.where(columns["told_end"][..., None] > 0, self._eos, text)
            places, positions = columns["length"] + j, columns["position"] + j
            may_end = columns["end_from"] <= j if shape.segments else None
            frame, speaks = self.talker.frame(text, noise[:, j], speaks, places, positions, span, may_end)
            codes.append(frame)
            spoken = spoken + speaks if spoken is not None else None
        return torch.stack(codes, -1), spoken
