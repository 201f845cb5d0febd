"""Create the Qwen3-Omni engine that the settings describe."""

from sca.config import Settings
from sca.infer.engines.qwen_omni.loading.load import load_model
from sca.infer.engines.qwen_omni.slots.engine import SlotOmni
from sca.infer.engines.qwen_omni.streaming.engine import QwenOmni
from sca.infer.engines.qwen_omni.streaming.two_process import TwoProcessOmni

__all__ = ["load"]


def load(settings: Settings) -> QwenOmni:
    """Load the model of `settings.qwen` and create the engine for it.

    Args:
        settings: `qwen` selects the model and the kind of engine; `duplex` has the token ids and the lead.

    Returns:
        `TwoProcessOmni` with `qwen.talker_process`, `SlotOmni` with `qwen.slots`, otherwise `QwenOmni`.

    Raises:
        ScaError: See `load_model`.
        ConfigError: The settings do not fit the model.
    """
    model, tokenizer = load_model(settings.qwen, settings.grid, settings.duplex.tokens_per_chunk)
    if settings.qwen.talker_process:
        return TwoProcessOmni(model, tokenizer, settings.qwen, settings.duplex)
    if settings.qwen.slots:
        return SlotOmni(model, tokenizer, settings.qwen, settings.duplex)
    return QwenOmni(model, tokenizer, settings.qwen, settings.duplex)
