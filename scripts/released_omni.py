"""The configuration of the released Qwen3-Omni-30B-A3B, 35.3 billion parameters, for measurements without its weights."""

from transformers import Qwen3OmniMoeConfig

from sca.train.tiny import CODEC_IDS, SPEAKERS, THINKER_IDS


def released_config(layers: int | None = None):
    """Return the configuration with the released sizes; other values are the defaults of the class.

    Args:
        layers: The maximum number of layers in each stack, for machines with less memory. Widths, heads, experts and
            codebooks are
            not changed. None: all layers.
    """
    config = _complete_config()
    if layers is None:
        return config
    thinker, talker = config.thinker_config, config.talker_config
    for stack in (thinker.text_config, talker.text_config, talker.code_predictor_config, config.code2wav_config):
        stack.num_hidden_layers = min(layers, stack.num_hidden_layers)
        if stack.__dict__.get("layer_types"):  # a property in one of the classes
            stack.layer_types = stack.layer_types[:layers]
    thinker.audio_config.encoder_layers = min(layers, thinker.audio_config.encoder_layers)
    vision = thinker.vision_config
    vision.depth = min(layers, vision.depth)
    vision.deepstack_visual_indexes = [at for at in vision.deepstack_visual_indexes if at < layers]
    talker.accept_hidden_layer = min(talker.accept_hidden_layer, thinker.text_config.num_hidden_layers)
    return config


def _complete_config():
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [24, 20, 20], "interleaved": True}
    text = {
        "vocab_size": 152_064,
        "hidden_size": 2048,
        "intermediate_size": 768,
        "num_hidden_layers": 48,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
        "head_dim": 128,
        "moe_intermediate_size": 768,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "norm_topk_prob": True,
        "max_position_embeddings": 65_536,
        "rope_parameters": rope,
    }
    talker = {
        "vocab_size": 3072,
        "hidden_size": 1024,
        "num_hidden_layers": 20,
        "num_attention_heads": 16,
        "num_key_value_heads": 2,
        "head_dim": 128,
        "moe_intermediate_size": 384,
        "shared_expert_intermediate_size": 768,
        "num_experts": 128,
        "num_experts_per_tok": 6,
        "norm_topk_prob": True,
        "max_position_embeddings": 65_536,
        "rope_parameters": rope,
    }
    predictor = {
        "vocab_size": 2048,
        "num_code_groups": 16,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
    }
    return Qwen3OmniMoeConfig(
        thinker_config={
            **THINKER_IDS,
            "position_id_per_seconds": 13,
            "audio_config": {"output_dim": 2048, "n_window": 50, "n_window_infer": 800},
            "vision_config": {"out_hidden_size": 2048},
            "text_config": text,
        },
        talker_config={
            **THINKER_IDS,
            **CODEC_IDS,
            "speaker_id": SPEAKERS,
            "spatial_merge_size": 2,
            "accept_hidden_layer": 24,
            "num_code_groups": 16,
            "thinker_hidden_size": 2048,
            "text_config": talker,
            "code_predictor_config": predictor,
        },
        code2wav_config={"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}},
        enable_audio_output=True,
    )
