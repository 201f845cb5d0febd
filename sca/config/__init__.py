"""Settings: the models of the sections, and loading them from the command line, the environment and a file."""

from sca.config.loaders import Key
from sca.config.sections.audio import AudioConfig
from sca.config.sections.base import secret_text
from sca.config.sections.chat import ChatConfig
from sca.config.sections.data.augment import AugmentConfig
from sca.config.sections.data.convert import ConvertConfig
from sca.config.sections.data.diarization import DiarizationConfig
from sca.config.sections.data.executor import ExecutorConfig
from sca.config.sections.data.synth import SynthConfig
from sca.config.sections.data.transcribe import QualityConfig
from sca.config.sections.duplex import DuplexConfig
from sca.config.sections.live import LiveConfig
from sca.config.sections.llm import LlmConfig
from sca.config.sections.paths import PathsConfig
from sca.config.sections.qwen import QwenConfig
from sca.config.sections.serve import ServeConfig
from sca.config.sections.speech.csm import CsmConfig
from sca.config.sections.speech.server import SpeechConfig
from sca.config.sections.turn import TurnConfig
from sca.config.sections.vision import VisionConfig
from sca.config.sections.vllm import VllmConfig
from sca.config.sections.watch import WatchConfig
from sca.config.sections.word_times import CalibrateConfig, WordTimesConfig
from sca.config.settings import (
    PLAIN_ENV,
    RESERVED_ENV,
    TURN_ENV,
    WATCH_ENV,
    Settings,
    apply_preset,
    known_keys,
    load_settings,
    parse_set,
)

__all__ = [
    "PLAIN_ENV",
    "RESERVED_ENV",
    "TURN_ENV",
    "WATCH_ENV",
    "AudioConfig",
    "AugmentConfig",
    "CalibrateConfig",
    "ChatConfig",
    "ConvertConfig",
    "CsmConfig",
    "DiarizationConfig",
    "DuplexConfig",
    "ExecutorConfig",
    "Key",
    "LiveConfig",
    "LlmConfig",
    "PathsConfig",
    "QualityConfig",
    "QwenConfig",
    "ServeConfig",
    "Settings",
    "SpeechConfig",
    "SynthConfig",
    "TurnConfig",
    "VisionConfig",
    "VllmConfig",
    "WatchConfig",
    "WordTimesConfig",
    "apply_preset",
    "known_keys",
    "load_settings",
    "parse_set",
    "secret_text",
]
