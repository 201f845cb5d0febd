"""A tiny random Qwen3-Omni that loads like the released one: same classes, same vocabulary, same grid, 24 M weights.

Its output is meaningless until it is trained. `sca demo --train` trains it, tests use it to prove equalities (cached =
whole, streamed = offline). Its weights are scaled up until the output depends on the input: with the initial scale, a
layer of this width hardly changes its input.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sca.models.quiet import quiet_loading
from sca.tokenizer import BUILTIN_QWEN, load_tokenizer

if TYPE_CHECKING:
    from transformers import Qwen3OmniMoeConfig, Qwen3OmniMoeForConditionalGeneration

__all__ = [
    "CODEC_IDS",
    "GAIN",
    "HIDDEN",
    "INITIAL_STD",
    "SPEAKERS",
    "THINKER_IDS",
    "build",
    "save",
    "tiny_config",
    "tiny_thinker",
]

INITIAL_STD = 0.02  # transformers' initializer_range
GAIN = 5.0  # factor on INITIAL_STD that makes the spread of a layer's output similar to that of its input
HIDDEN = 64
# Ids of the released checkpoint. The class default of audio_token_id is 151646, which is the silence token.
THINKER_IDS = {
    "audio_token_id": 151675,
    "image_token_id": 151655,
    "video_token_id": 151656,
    "audio_start_token_id": 151669,
    "vision_start_token_id": 151652,
}
CODEC_IDS = {
    "codec_bos_id": 2149,
    "codec_eos_token_id": 2150,
    "codec_pad_id": 2148,
    "codec_nothink_id": 2155,
    "codec_think_bos_id": 2156,
    "codec_think_eos_id": 2157,
}
SPEAKERS = {"chelsie": 2301, "ethan": 2302, "aiden": 2303}


def tiny_config(*, books: int = 16, vocoder_width: int = 64) -> Qwen3OmniMoeConfig:
    """Return the released model's configuration with small sizes. Ids, rates and the vocoder's window are the released ones.

    Args:
        books: Codebooks, that is codes per frame. The time of a chunk depends mostly on this number.
        vocoder_width: Channels of the first convolution of the vocoder, a multiple of 16.
    """
    from transformers import Qwen3OmniMoeConfig

    return Qwen3OmniMoeConfig(
        thinker_config=tiny_thinker(),
        talker_config=_talker(books),
        code2wav_config=_code2wav(books, vocoder_width),
        enable_audio_output=True,
    )


def build(seed: int = 0, *, books: int = 16, vocoder_width: int = 64) -> Qwen3OmniMoeForConditionalGeneration:
    """Build the model in evaluation mode, float32 on the CPU. The global generator is not used.

    Args:
        seed: Determines the weights.
        books: Codebooks, see `tiny_config`.
        vocoder_width: Channels of the vocoder, see `tiny_config`.
    """
    import torch
    from transformers import Qwen3OmniMoeForConditionalGeneration

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = (
            Qwen3OmniMoeForConditionalGeneration(tiny_config(books=books, vocoder_width=vocoder_width)).eval().float()
        )
        # transformers 5.22 does not initialise the talker's experts if the class is not loaded from files.
        for name, weight in model.talker.named_parameters():
            if ".experts." in name:
                torch.nn.init.normal_(weight, std=INITIAL_STD)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() >= 2:
                weight.mul_(GAIN)
    return model


def save(folder: Path, seed: int = 0, *, books: int = 16, vocoder_width: int = 64) -> Path:
    """Create a folder with the model, its tokenizer and its feature extractor.

    Args:
        folder: The folder.
        seed: Determines the weights.
        books: Codebooks, see `tiny_config`.
        vocoder_width: Channels of the vocoder, see `tiny_config`.

    Returns:
        The folder.
    """
    from transformers import PreTrainedTokenizerFast, WhisperFeatureExtractor

    folder.mkdir(parents=True, exist_ok=True)
    with quiet_loading():
        build(seed, books=books, vocoder_width=vocoder_width).save_pretrained(folder)
    load_tokenizer(BUILTIN_QWEN).save(folder / "tokenizer.json")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"),
        eos_token="<|im_end|>",  # noqa: S106
        pad_token="<|endoftext|>",  # noqa: S106
    )
    tokenizer.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=128).save_pretrained(folder)
    return folder


def tiny_thinker(*, hidden: int = HIDDEN, layers: int = 4) -> dict[str, Any]:
    """Return the keyword arguments of a small `Qwen3OmniMoeThinkerConfig`."""
    audio = {
        "num_mel_bins": 128,
        "d_model": 32,
        "encoder_layers": 2,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 64,
        "downsample_hidden_size": 8,
        "output_dim": hidden,
        "n_window": 50,
        "n_window_infer": 800,
        "conv_chunksize": 500,
        "max_source_positions": 1500,
    }
    vision = {
        "depth": 1,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_heads": 2,
        "out_hidden_size": hidden,
        "deepstack_visual_indexes": [0],
        "num_position_embeddings": 16,
        "patch_size": 16,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    }
    text = _moe(vocab_size=152_064, hidden_size=hidden, num_hidden_layers=layers)
    return {
        **THINKER_IDS,
        "audio_end_token_id": 151670,
        "vision_end_token_id": 151653,
        "position_id_per_seconds": 13,
        "audio_config": audio,
        "vision_config": vision,
        "text_config": text,
    }


def _talker(books: int) -> dict[str, Any]:
    text = _moe(vocab_size=3072, hidden_size=48, num_hidden_layers=2)
    predictor = {
        "vocab_size": 2048,
        "hidden_size": 48,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "num_code_groups": books,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
    }
    return {
        **THINKER_IDS,
        **CODEC_IDS,
        "accept_hidden_layer": 2,
        "num_code_groups": books,
        "thinker_hidden_size": HIDDEN,
        "spatial_merge_size": 2,
        "position_id_per_seconds": 13,
        "speaker_id": SPEAKERS,
        "text_config": {**text, "shared_expert_intermediate_size": 32},
        "code_predictor_config": predictor,
    }


def _code2wav(books: int, width: int) -> dict[str, Any]:
    return {
        "codebook_size": 2048,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "num_quantizers": books,
        "sliding_window": 72,
        "decoder_dim": width,
        "upsample_rates": [8, 5, 4, 3],
        "upsampling_ratios": [2, 2],
        "max_position_embeddings": 8000,
        # With the released 0.01 the transformer hardly changes its input, and an error in the cache would not be
        # visible.
        "layer_scale_initial_scale": 0.5,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4},
    }


def _moe(*, vocab_size: int, hidden_size: int, num_hidden_layers: int) -> dict[str, Any]:
    return {
        "vocab_size": vocab_size,
        "hidden_size": hidden_size,
        "intermediate_size": 64,
        "num_hidden_layers": num_hidden_layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "moe_intermediate_size": 32,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "norm_topk_prob": True,
        "max_position_embeddings": 65_536,
        # The sections are halves of a head's dimensions and sum to 16 / 2.
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e6,
            "mrope_section": [4, 2, 2],
            "interleaved": True,
        },
    }
