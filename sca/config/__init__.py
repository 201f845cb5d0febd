"""Settings: what there is to set, section by section, and where each value came from."""

from sca.config.audio import AudioConfig
from sca.config.augment import AugmentConfig
from sca.config.convert import ConvertConfig
from sca.config.duplex import DuplexConfig
from sca.config.live import LiveConfig
from sca.config.paths import PathsConfig
from sca.config.qwen import QwenConfig
from sca.config.serve import ServeConfig
from sca.config.settings import RESERVED_ENV, TURN_ENV, Settings, apply_preset, known_keys, load_settings, parse_set
from sca.config.sources import Key
from sca.config.turn import TurnConfig
from sca.config.vllm import VllmConfig

__all__ = [
    "RESERVED_ENV",
    "TURN_ENV",
    "AudioConfig",
    "AugmentConfig",
    "ConvertConfig",
    "DuplexConfig",
    "Key",
    "LiveConfig",
    "PathsConfig",
    "QwenConfig",
    "ServeConfig",
    "Settings",
    "TurnConfig",
    "VllmConfig",
    "apply_preset",
    "known_keys",
    "load_settings",
    "parse_set",
]
