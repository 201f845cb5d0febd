"""Estimate from the configuration alone the size of a model, and the minimum work of a chunk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sca.infer.engines.qwen_omni.streaming.code2wav import CONTEXT_FRAMES
from sca.units import Grid

if TYPE_CHECKING:
    from torch.nn import Module
    from transformers import PretrainedConfig

__all__ = ["ChunkWork", "cache_values", "chunk_work", "parameters", "skeleton", "vocoder_cache_values"]


@dataclass(frozen=True, slots=True)
class ChunkWork:
    """Lower bound of the work of a chunk.

    Attributes:
        weights: Parameters read, counted once per forward.
        flops: Multiplications and additions.
    """

    weights: int
    flops: int


def skeleton(config: PretrainedConfig) -> Module:
    """Create the model on the meta device: every parameter has a shape and uses no memory."""
    import torch
    from transformers import Qwen3OmniMoeForConditionalGeneration

    with torch.device("meta"):
        return Qwen3OmniMoeForConditionalGeneration(config)


def parameters(module: Module) -> int:
    """Return the number of parameters."""
    return sum(weight.numel() for weight in module.parameters())


def cache_values(config: PretrainedConfig, context_tokens: int, talker_frames: int) -> tuple[int, int]:
    """Return the number of cached key and value elements of one conversation at full length, of thinker and talker.

    Args:
        config: The configuration of the model.
        context_tokens: Maximum number of tokens in the cache of the thinker.
        talker_frames: Maximum number of frames in the cache of the talker.
    """
    thinker, talker = config.thinker_config.text_config, config.talker_config.text_config
    return _cached(thinker, context_tokens), _cached(talker, talker_frames)


def _cached(text: PretrainedConfig, tokens: int) -> int:
    cells = 2 * min(tokens, text.max_position_embeddings) * text.num_hidden_layers
    return int(cells * text.num_key_value_heads * text.head_dim)


def vocoder_cache_values(config: PretrainedConfig) -> int:
    """Return the number of cached key and value elements of the vocoder of one conversation."""
    vocoder = config.code2wav_config
    head = getattr(vocoder, "head_dim", None) or vocoder.hidden_size // vocoder.num_attention_heads
    return int(2 * vocoder.sliding_window * vocoder.num_hidden_layers * vocoder.num_key_value_heads * head)


def chunk_work(model: Module, grid: Grid, text_tokens: int) -> ChunkWork:
    """Estimate the minimum work of a chunk, without attention and small operations.

    Args:
        model: A `skeleton`.
        grid: The grid.
        text_tokens: Text tokens of the chunk.
    """
    thinker, talker, frames = model.thinker, model.talker, grid.frames_per_chunk
    predictor, books = talker.code_predictor, talker.config.num_code_groups - 1
    vocoder_weights, vocoder_flops = _vocoder(model.code2wav, frames)
    parts = [
        *(_forward((thinker.model.language_model, thinker.lm_head), n) for n in (frames, *[1] * text_tokens)),
        _forward((thinker.model.audio_tower,), frames),
        *[_forward((talker.model, talker.codec_head), 1)] * frames,
        *[_forward((predictor.model, predictor.lm_head[0]), 1)] * (frames * books),
    ]
    return ChunkWork(sum(read for read, _ in parts) + vocoder_weights, sum(flops for _, flops in parts) + vocoder_flops)


def _forward(modules: Sequence[Module], tokens: int) -> tuple[int, int]:
    """Return the weights read and the operations of one forward of `tokens`, with the experts that one token selects."""
    read = per_token = 0
    for module in modules:
        for name, weight in module.named_parameters():
            if "embed" in name:  # only single rows are read
                continue
            if ".experts." in name:
                one = weight.numel() // weight.shape[0]
                read += one * module.config.num_experts_per_tok
                per_token += one * module.config.num_experts_per_tok
            else:
                read += weight.numel()
                per_token += weight.numel()
    return read, 2 * per_token * tokens


def _vocoder(code2wav: Module, frames: int) -> tuple[int, int]:
    """Return the weights and operations of a push: convolutions run over the new frames and their receptive field."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    states = torch.empty(1, code2wav.config.hidden_size, CONTEXT_FRAMES + frames, device="meta")
    with torch.inference_mode(), FlopCounterMode(display=False) as counted:
        for blocks in (*code2wav.upsample, code2wav.decoder):
            for block in blocks:
                states = block(states)
    transformer, flops = _forward((code2wav.pre_transformer,), frames)
    convolutions = parameters(code2wav.upsample) + parameters(code2wav.decoder)
    return transformer + convolutions, flops + counted.get_total_flops()
