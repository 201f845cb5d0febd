"""Create the Qwen3-Omni engine that the settings describe."""

import logging
from pathlib import Path

from sca.config import Settings
from sca.config.trained_format import FORMAT_FILE, check_trained_format, read_trained_format
from sca.infer.engines.qwen_omni.loading.load import load_model
from sca.infer.engines.qwen_omni.slots.engine import SlotOmni
from sca.infer.engines.qwen_omni.streaming.engine import QwenOmni
from sca.infer.engines.qwen_omni.streaming.two_process import TwoProcessOmni

__all__ = ["load"]

log = logging.getLogger(__name__)


def load(settings: Settings, sessions: int = 1) -> QwenOmni:
    """Load the model of `settings.qwen` and create the engine for it.

    Args:
        settings: `qwen` selects the model and the kind of engine; `duplex` has the token ids and the lead.
        sessions: Most sessions at a time, for the number of slots if `qwen.slots` is not set.

    Returns:
        `TwoProcessOmni` with `qwen.talker_process`, `SlotOmni` with slots, otherwise `QwenOmni`.

    Raises:
        ScaError: See `load_model`.
        ConfigError: The settings do not fit the model, or differ from those that it was trained with.
    """
    _check_format(settings)
    qwen = settings.qwen
    loaded = load_model(qwen, settings.grid, settings.duplex.tokens_per_chunk, sessions)
    model, tokenizer = loaded.model, loaded.tokenizer
    if qwen.talker_process:
        return TwoProcessOmni(model, tokenizer, qwen, settings.duplex)
    if loaded.slots:
        engine = SlotOmni(model, tokenizer, qwen.model_copy(update={"slots": loaded.slots}), settings.duplex)
        engine.prepare(settings.grid)
        return engine
    return QwenOmni(model, tokenizer, qwen, settings.duplex)


def _check_format(settings: Settings) -> None:
    """Compare the settings with `duplex.json` of the adapter, or of the folder of the model."""
    qwen = settings.qwen
    folder = Path(qwen.model_id if qwen.adapter is None else qwen.adapter).expanduser()
    trained = read_trained_format(folder)
    if trained is not None:
        check_trained_format(folder, trained, settings)
    elif qwen.adapter is not None:
        log.warning(
            "the adapter in %s does not have %s: its grid, token ids and prompt are not compared with the settings",
            folder,
            FORMAT_FILE,
        )
