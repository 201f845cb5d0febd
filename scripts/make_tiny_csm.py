#!/usr/bin/env python3
"""Make a tiny random CSM that loads like the released one: same classes, codebooks, rates and special ids, 6.6 M weights.

    python scripts/make_tiny_csm.py FOLDER [--seed 0]

Its speech is noise, and it does not end before the limit. Tests use it to prove equalities (streamed = at once = the
library's `generate`). The tokenizer has one token per byte, and begin and end marks around a text, as the released one.
Requires torch (the extra `speech`), but no network.
"""

import argparse
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import BPE
from transformers import CsmConfig, CsmForConditionalGeneration, PreTrainedTokenizerFast

BOOKS, CODES = 32, 2048
_BEGIN, _END, _AUDIO, _AUDIO_END = "<|begin_of_text|>", "<|end_of_text|>", "<|AUDIO|>", "<|audio_eos|>"


def _codec() -> dict[str, object]:
    return {
        "model_type": "mimi",
        "hidden_size": 32,
        "num_filters": 4,
        "num_hidden_layers": 2,
        "intermediate_size": 64,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "codebook_dim": 16,
        "vector_quantization_hidden_dimension": 16,
        "codebook_size": CODES,
        "num_quantizers": BOOKS,
        "sliding_window": 25,
        "upsample_groups": 32,
        # With the released 0.01 the transformer hardly changes its input, and an error in the cache would not be
        # visible.
        "layer_scale_initial_scale": 0.5,
    }


def _depth() -> dict[str, object]:
    return {
        "num_codebooks": BOOKS,
        "backbone_hidden_size": 64,
        "vocab_size": CODES + 3,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": BOOKS + 1,
    }


def tokenizer() -> PreTrainedTokenizerFast:
    """Build the tokenizer: 256 bytes and four special tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    model = Tokenizer(BPE(vocab={letter: number for number, letter in enumerate(alphabet)}, merges=[]))
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    model.decoder = decoders.ByteLevel()
    model.add_special_tokens([AddedToken(name, special=True) for name in (_BEGIN, _END, _AUDIO, _AUDIO_END)])
    ids = [(name, model.token_to_id(name)) for name in (_BEGIN, _END)]
    model.post_processor = processors.TemplateProcessing(f"{_BEGIN} $A {_END}", special_tokens=ids)
    return PreTrainedTokenizerFast(tokenizer_object=model, bos_token=_BEGIN, eos_token=_END, pad_token=_END)


def build(seed: int = 0, positions: int = 2048) -> CsmForConditionalGeneration:
    """Build the model in evaluation mode, float32 on the CPU.

    The seed determines the weights; the global generator is not used.
    """
    config = CsmConfig(
        num_codebooks=BOOKS,
        vocab_size=CODES + 3,
        text_vocab_size=260,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=positions,
        bos_token_id=256,
        pad_token_id=257,
        audio_token_id=258,
        audio_eos_token_id=259,
        codebook_pad_token_id=CODES + 2,
        codebook_eos_token_id=0,
        depth_decoder_config=_depth(),
        codec_config=_codec(),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CsmForConditionalGeneration(config).eval()
        with torch.no_grad():
            for name, values in (*model.codec_model.named_buffers(), *model.codec_model.named_parameters()):
                if "embed_sum" in name:
                    values.normal_(std=0.3)
                if "cluster_usage" in name or "initialized" in name:
                    values.fill_(1)
            for name, values in model.named_parameters():
                if values.dim() >= 2 and "codec" not in name:
                    values.mul_(4)  # otherwise all logits are nearly equal
    return model


def save(folder: Path, seed: int = 0, positions: int = 2048) -> Path:
    """Create `folder` with config, weights and tokenizer, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    build(seed, positions).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description="Make a tiny random CSM that loads like the released one.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    folder = save(given.folder, given.seed)
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{folder}: {size / 1e6:.1f} MB in {len(list(folder.iterdir()))} files")


if __name__ == "__main__":
    main()
