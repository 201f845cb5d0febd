"""What a model takes, told from its configuration alone: bytes to hold it, and the least that a chunk must read and compute."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sca.infer.engines.qwen_omni.streaming.code2wav import CONTEXT_FRAMES
from sca.units import Grid

__all__ = ["ChunkWork", "cache_values", "chunk_work", "parameters", "skeleton"]


@dataclass(frozen=True, slots=True)
class ChunkWork:
    """The least a chunk takes. weights: parameters read, each forward anew.   flops: multiplications and additions."""

    weights: int
    flops: int


def skeleton(config: Any) -> Any:
    """The model without weights: every parameter has its shape and no memory."""
    import torch
    from transformers import Qwen3OmniMoeForConditionalGeneration

    with torch.device("meta"):
        return Qwen3OmniMoeForConditionalGeneration(config)


def parameters(module: Any) -> int:
    """How many numbers its weights are."""
    return sum(weight.numel() for weight in module.parameters())


def cache_values(config: Any, context_tokens: int, talker_frames: int) -> int:
    """Numbers of keys and values that one full conversation holds."""
    thinker, talker = config.thinker_config.text_config, config.talker_config.text_config
    return sum(
        2
        * min(tokens, text.max_position_embeddings)
        * text.num_hidden_layers
        * text.num_key_value_heads
        * text.head_dim
        for text, tokens in ((thinker, context_tokens), (talker, talker_frames))
    )


def chunk_work(model: Any, grid: Grid, text_tokens: int) -> ChunkWork:
    """What a chunk with `text_tokens` of text takes at least; attention and small change are left out. model: a `skeleton`."""
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


def _forward(modules: Sequence[Any], tokens: int) -> tuple[int, int]:
    """Weights read and operations of one forward of `tokens`. Of the experts only as many as one token chooses are read."""
    read = per_token = 0
    for module in modules:
        for name, weight in module.named_parameters():
            if "embed" in name:  # rows are looked up
                continue
            if ".experts." in name:
                one = weight.numel() // weight.shape[0]
                read += one * module.config.num_experts_per_tok
                per_token += one * module.config.num_experts_per_tok
            else:
                read += weight.numel()
                per_token += weight.numel()
    return read, 2 * per_token * tokens


def _vocoder(code2wav: Any, frames: int) -> tuple[int, int]:
    """Weights and operations of a push: convolutions over the new frames and those before that they hear."""
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
