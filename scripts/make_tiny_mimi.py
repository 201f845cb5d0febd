#!/usr/bin/env python3
"""Make a tiny random Mimi that loads like the released one: same class, rates, codebooks and causality, 0.5 M weights.

    python scripts/make_tiny_mimi.py FOLDER [--seed 0]

Its codes are meaningless. Tests use it to prove equalities (in pieces = at once). Its codebooks are filled with
random values, because the class initialises them with zeros, and every frame would get the same codes. Requires torch
(the extra `live`), but no network.
"""

import argparse
from pathlib import Path

import torch
from transformers import MimiConfig, MimiModel


def build(seed: int = 0) -> MimiModel:
    """Build the model in evaluation mode, float32 on the CPU.

    The seed determines the weights; the global generator is not used.
    """
    config = MimiConfig(
        hidden_size=32,
        num_filters=4,
        num_hidden_layers=2,
        intermediate_size=64,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
        codebook_dim=16,
        vector_quantization_hidden_dimension=16,
        sliding_window=25,
        upsample_groups=32,
        # With the released 0.01 the transformer hardly changes its input, and an error in the cache would not be
        # visible.
        layer_scale_initial_scale=0.5,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MimiModel(config).eval()
        with torch.no_grad():
            for name, values in (*model.named_buffers(), *model.named_parameters()):
                if "embed_sum" in name:
                    values.normal_(std=0.3)
                if "cluster_usage" in name or "initialized" in name:
                    values.fill_(1)
    return model


def save(folder: Path, seed: int = 0) -> Path:
    """Create `folder` with the config and weights, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    build(seed).save_pretrained(folder)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description="Make a tiny random Mimi that loads like the released one.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    folder = save(given.folder, given.seed)
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{folder}: {size / 1e6:.1f} MB in {len(list(folder.iterdir()))} files")


if __name__ == "__main__":
    main()
