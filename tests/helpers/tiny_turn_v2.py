"""smart-turn v2 with tiny random weights."""

import torch
from transformers import Wav2Vec2Config

from sca.infer.turn.models.networks import network_class


def tiny_v2():
    """Return a network whose answers to different sounds differ."""
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=37,
        conv_dim=(16,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
    )
    network = network_class()(config)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if name.startswith(("classifier", "pool_attention")) and weight.ndim > 1:
                weight.normal_(std=0.2)
    return network
