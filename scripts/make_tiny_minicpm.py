"""Make a tiny random MiniCPM-V of the classes of transformers, with tokenizer and image processor, for tests.

    python scripts/make_tiny_minicpm.py FOLDER

The folder has the files of a released checkpoint: a vision tower of 3 layers with its mergers, a language model with linear
and full attention, 256 bytes as tokens. Its answers are noise that depends on the pictures.
"""

import argparse
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast
from transformers.models.minicpmv4_6.configuration_minicpmv4_6 import MiniCPMV4_6Config
from transformers.models.minicpmv4_6.image_processing_pil_minicpmv4_6 import MiniCPMV4_6ImageProcessorPil
from transformers.models.minicpmv4_6.modeling_minicpmv4_6 import MiniCPMV4_6ForConditionalGeneration

_END = "<|im_end|>"
_SPECIAL = {
    "image_token": "<|image_pad|>",
    "video_token": "<|video_pad|>",
    "image_start_token": "<image>",
    "image_end_token": "</image>",
    "slice_start_token": "<slice>",
    "slice_end_token": "</slice>",
    "image_id_start_token": "<image_id>",
    "image_id_end_token": "</image_id>",
}
_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer() -> PreTrainedTokenizerFast:
    """Build the tokenizer: 256 bytes and the special tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    model = Tokenizer(BPE(vocab={letter: number for number, letter in enumerate(alphabet)}, merges=[]))
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    model.decoder = decoders.ByteLevel()
    names = ["<|im_start|>", _END, *_SPECIAL.values()]
    model.add_special_tokens([AddedToken(name, special=True) for name in names])
    made = PreTrainedTokenizerFast(
        tokenizer_object=model, eos_token=_END, pad_token=_END, extra_special_tokens=dict(_SPECIAL)
    )
    made.chat_template = _TEMPLATE
    return made


def build(words: PreTrainedTokenizerFast, seed: int = 0) -> MiniCPMV4_6ForConditionalGeneration:
    """Build the model in evaluation mode, float32 on the CPU. The seed determines the weights."""
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "image_size": 112,
        "patch_size": 14,
    }
    text = {
        "model_type": "qwen3_5_text",
        "vocab_size": len(words),
        "hidden_size": 48,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 24,
        "linear_key_head_dim": 12,
        "linear_value_head_dim": 12,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 2,
        "layer_types": ["linear_attention", "full_attention"],
        "eos_token_id": words.eos_token_id,
        "pad_token_id": words.pad_token_id,
    }
    config = MiniCPMV4_6Config(
        text_config=text,
        vision_config=vision,
        insert_layer_id=0,
        image_size=112,
        image_token_id=words.convert_tokens_to_ids(_SPECIAL["image_token"]),
        video_token_id=words.convert_tokens_to_ids(_SPECIAL["video_token"]),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MiniCPMV4_6ForConditionalGeneration(config).eval()
        with torch.no_grad():
            for values in model.parameters():
                if values.dim() >= 2:
                    values.mul_(5)  # otherwise all logits are nearly equal
            model.lm_head.weight[words.convert_tokens_to_ids("Ġ")].mul_(4)  # words have spaces between them
    return model


def save(folder: Path, seed: int = 0) -> Path:
    """Create `folder` with config, weights, tokenizer and image processor, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    words = tokenizer()
    words.save_pretrained(folder)
    MiniCPMV4_6ImageProcessorPil(scale_resolution=112).save_pretrained(folder)
    build(words, seed).save_pretrained(folder)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description="Make a tiny random MiniCPM-V.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    folder = save(given.folder, given.seed)
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{folder}: {size / 1e6:.1f} MB in {len(list(folder.iterdir()))} files")


if __name__ == "__main__":
    main()
