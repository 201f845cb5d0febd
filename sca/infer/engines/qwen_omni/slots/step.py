"""A chunk of every slot in one call: hear, think, speak, with nothing that a host has to look at before the end.

What differs between sessions (who takes part, how long each cache is, a token still to be thought) are numbers in one tensor, made
on the host, which knows them. Who has nothing to say is computed all the same, and what that would change does not count.

    features  float32 (b, bins, mel frames)      what is heard
    numbers   int64 (b, 9)                       `Numbers`, a column each
    dice      float32 (b, frames, codebooks)     what sounds are drawn with
    →         float32 (b, samples + tokens + 1)  the wave, the tokens, and how many of them count
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from sca.infer.engines.qwen_omni.slots.audio_encoder import hear
from sca.infer.engines.qwen_omni.slots.decoder import Decoder, SlotCache
from sca.infer.engines.qwen_omni.slots.talker import SlotTalker
from sca.infer.engines.qwen_omni.slots.vocoder import SlotVocoder
from sca.infer.engines.qwen_omni.streaming.token_mask import Rules

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ChunkStep", "Numbers", "Shape"]


@dataclass(frozen=True, slots=True)
class Shape:
    """What is the same in every chunk.

    frames: of sound.   tokens: a chunk has room for.   most: text tokens at most.   layer: which hidden states the talker is told.
    carry: the last token of a chunk is thought with the next chunk.
    """

    frames: int
    tokens: int
    most: int
    layer: int
    carry: bool
    temperature: float
    top_k: int


@dataclass(slots=True)
class Numbers:
    """A slot before a chunk.

    active: takes part.   carried: the token still to be thought, or -1.   length, position: of the thinker's cache.
    said_length, said_position: of the talker's.   frames: the vocoder has made.   vocoder: its position.   state: of the grammar.
    """

    active: int = 0
    carried: int = -1
    length: int = 0
    position: int = 0
    said_length: int = 0
    said_position: int = 0
    frames: int = 0
    vocoder: int = 0
    state: int = 0

    @classmethod
    def count(cls) -> int:
        """How many there are."""
        return len(fields(cls))

    def row(self) -> list[int]:
        """In order."""
        return [getattr(self, one.name) for one in fields(self)]


class ChunkStep:
    """A model over slots. rules: what it may choose.   room, said_room: cells of the caches."""

    def __init__(self, model: Any, rules: Rules, shape: Shape, slots: int, room: int, said_room: int) -> None:
        import torch

        self.model, self.shape, self.rules = model, shape, rules
        thinker = model.thinker
        weight = thinker.get_input_embeddings().weight
        self.cache = SlotCache(thinker.config.text_config, slots, room, weight)
        self._think = Decoder(thinker.model.language_model, self.cache)
        self.talker = SlotTalker(model.talker, slots, said_room, shape.temperature, shape.top_k)
        self.vocoder = SlotVocoder(model.code2wav, slots)
        marks = [model.config.tts_pad_token_id, model.config.tts_bos_token_id]
        embedded = thinker.get_input_embeddings()(torch.tensor([marks], device=weight.device))
        self.pad, self.bos = model.talker.text_projection(embedded).chunk(2, 1)

    @property
    def state(self) -> list[Tensor]:
        """What a chunk changes beside the cells it writes: who tries a chunk puts this back."""
        return [self.talker.hidden, *self.vocoder.state]

    @property
    def held_bytes(self) -> int:
        """Bytes of keys, values and what else is remembered, all slots."""
        state = sum(int(one.numel()) * int(one.element_size()) for one in self.state)
        return self.cache.held_bytes + self.talker.cache.held_bytes + state

    def take_prompt(self, slot: int, prompt: Tensor) -> None:
        """Begin a slot with the tokens `(1, n)`, which are at positions 0 to n."""
        self._prefill(self._think, slot, self.model.thinker.get_input_embeddings()(prompt))

    def take_opening(self, slot: int, opening: Tensor) -> None:
        """Begin a slot's voice with `(1, n, dim)`."""
        self.talker.hidden[slot] = self._prefill(self.talker.decoder, slot, opening)[0, -1:]

    @staticmethod
    def _prefill(decoder: Decoder, slot: int, embeds: Tensor) -> Tensor:
        import torch

        places = torch.arange(embeds.shape[1], device=embeds.device)[None]
        return decoder(embeds, places, places, embeds.shape[1], first_slot=slot)[0]

    def __call__(self, inputs: list[Tensor], span: int, said_span: int) -> tuple[Tensor, Tensor]:
        """See the module; also what the talker was told, `(b, tokens, dim)`. span, said_span: cells that are looked at."""
        import torch

        features, numbers, dice = inputs

        columns = dict(zip((one.name for one in fields(Numbers)), numbers.split(1, 1), strict=True))
        active = columns["active"] > 0
        tokens, count, told = self._thought(hear(self.model.thinker.model.audio_tower, features), columns, span)
        codes = self._spoken(tokens, count, told, columns, dice, said_span)
        wave = self.vocoder.push(codes, active, columns["frames"], columns["vocoder"])
        return torch.cat([wave.float(), tokens.float(), count.float()], 1), told

    def _thought(self, audio: Tensor, columns: dict[str, Tensor], span: int) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens `(b, tokens)`, how many count `(b, 1)`, and what the talker is told of them `(b, tokens, dim)`."""
        import torch

        shape, rules, thinker = self.shape, self.rules, self.model.thinker
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
        silence = torch.full_like(length, rules.grammar.silence)
        over = torch.zeros_like(active)
        tokens: list[Tensor] = []
        told: list[Tensor] = []
        for i in range(shape.tokens):
            token = silence
            if i < shape.most:
                logits = thinker.lm_head(last[:, -1])
                token = logits.masked_fill(rules.barred(state, i), float("-inf")).argmax(-1, keepdim=True)
                token = torch.where(over, silence, token)
                over = over | rules.is_whole_answer(token)
                state = rules.after(state, i, token)
            tokens.append(token)
            alone = rules.is_whole_answer(tokens[0])
            embeds = table(token)
            if shape.carry and i + 1 == shape.tokens:
                told.append(embeds)
                break
            counts = active if i == 0 else active & ~alone
            last, hidden, length, position = self._forward(embeds, counts, length, position, span)
            told.append(hidden)
        count = torch.where(alone, 1, shape.tokens)
        return torch.cat(tokens, 1), count, torch.cat(told, 1)

    def _forward(
        self, embeds: Tensor, counts: Tensor, length: Tensor, position: Tensor, span: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The thinker's forward of rows of which some count `(b, n)`; what it gives, and length and position after it."""
        import torch

        before = counts.cumsum(1) - counts.long()
        places = torch.where(counts, length + before, self.cache.trash)
        last, hidden = self._think(embeds, places, position + before, span, self.shape.layer)
        taken = counts.sum(1, keepdim=True)
        return last, hidden, length + taken, position + taken

    def _spoken(
        self, tokens: Tensor, count: Tensor, told: Tensor, columns: dict[str, Tensor], dice: Tensor, span: int
    ) -> Tensor:
        """The codes of the chunk, `(b, 16, frames)`; each token is told to its share of the frames."""
        import torch

        shape = self.shape
        active = columns["active"] > 0
        projected = self.model.talker.text_projection(told)
        projected = torch.where(self.rules.is_text(tokens)[..., None], projected, self.pad)
        codes = []
        for j in range(shape.frames):
            which = (j * count // shape.frames)[..., None].expand(-1, 1, projected.shape[-1])
            places = torch.where(active, columns["said_length"] + j, self.talker.cache.trash)
            positions = columns["said_position"] + j
            codes.append(self.talker.frame(projected.gather(1, which), dice[:, j], active, places, positions, span))
        return torch.stack(codes, -1)
