"""Settings and their sources: command line > `SCA_*` environment > TOML files > the defaults of the models.

A new subsystem adds a module with its model, such as `sca/config/sections/live.py`, and a field to `Settings`. Its TOML
section, environment variables, documentation and spelling check follow from that. No other module reads the
environment.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, PrivateAttr, SecretStr, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from sca.config.describe import expected, problems_of, raise_for, special_words, value_type
from sca.config.found_files import found_files
from sca.config.loaders import (
    OPTION_ORIGIN,
    Given,
    Key,
    Problem,
    from_environment,
    from_file,
    from_overrides,
    place_of,
    unknown,
)
from sca.config.sections.audio import AudioConfig
from sca.config.sections.base import Env, Flag
from sca.config.sections.chat import ChatConfig
from sca.config.sections.data.augment import AugmentConfig
from sca.config.sections.data.convert import ConvertConfig
from sca.config.sections.data.diarization import DiarizationConfig
from sca.config.sections.data.executor import ExecutorConfig
from sca.config.sections.data.synth import SynthConfig
from sca.config.sections.data.transcribe import QualityConfig, TranscribeConfig
from sca.config.sections.data.urls import UrlsConfig
from sca.config.sections.duplex import DuplexConfig
from sca.config.sections.live import LiveConfig
from sca.config.sections.llm import LlmConfig
from sca.config.sections.paths import PathsConfig
from sca.config.sections.qwen import QwenConfig
from sca.config.sections.recognition import RecognitionConfig
from sca.config.sections.serve import ServeConfig
from sca.config.sections.speech.csm import CsmConfig
from sca.config.sections.speech.server import SpeechConfig
from sca.config.sections.train.config import TrainConfig
from sca.config.sections.turn import TurnConfig
from sca.config.sections.vision import VisionConfig
from sca.config.sections.vllm import VllmConfig
from sca.config.sections.watch import WatchConfig
from sca.config.sections.word_times import CalibrateConfig, WordTimesConfig
from sca.errors import ConfigError, GridError, UsageError
from sca.units import Grid

__all__ = [
    "PLAIN_ENV",
    "RESERVED_ENV",
    "TURN_ENV",
    "WATCH_ENV",
    "Settings",
    "apply_preset",
    "known_keys",
    "load_settings",
    "parse_set",
]

Mark = TypeVar("Mark", Env, Flag)
Layer = tuple[dict[str, Given], list[Problem]]

CONFIG_ENV = "SCA_CONFIG"
RESERVED_ENV = (CONFIG_ENV,)
"""Variables that begin with SCA_ and are not settings. SCA_CONFIG names the TOML file when `--config` does not."""

TURN_ENV = {
    name: f"turn.{name.lower()}"
    for name in (
        "AUTH_KEY",
        "BATCH_BUCKETS",
        "CUDA_GRAPHS",
        "DTYPE",
        "MAX_SECS",
        "MICRO_BATCH_WINDOW_MS",
        "MODEL_ID",
        "THRESHOLD",
        "TORCH_COMPILE",
    )
}
"""Variables without a prefix, as other turn servers use them, and their settings. Read for `sca turn` only."""

WATCH_ENV = {
    name: f"watch.{name.lower()}"
    for name in (
        "CAPTURE_FPS",
        "ENABLE_TTS",
        "FRAMES_PER_INFERENCE",
        "FRAME_STRIDE",
        "INFERENCE_INTERVAL",
        "MJPEG_FPS",
        "STREAM_DELAY_EMA_ALPHA",
        "STREAM_DELAY_INIT",
        "TTS_MAX_NEW_TOKENS",
        "TTS_PAUSE_AFTER",
        "WINDOW_SIZE",
    )
} | {
    "MODEL_PATH": "vision.checkpoint",
    "REF_AUDIO_PATH": "vision.ref_audio",
    "TTS_FLOAT16": "vision.vocoder_float16",
    "TTS_MODEL_DIR": "vision.vocoder",
}
"""Variables without a prefix, as an earlier program for commentary uses them. Read for `sca watch` only."""

PLAIN_ENV: Mapping[Literal["turn", "watch"], Mapping[str, str]] = {"turn": TURN_ENV, "watch": WATCH_ENV}
"""The variables without a prefix, by the command that reads them."""


class Settings(BaseModel):
    """Every setting, by subsystem. `Settings()` holds the defaults; `load_settings` reads the sources."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    audio: AudioConfig = AudioConfig()
    qwen: QwenConfig = QwenConfig()
    vllm: VllmConfig = VllmConfig()
    duplex: DuplexConfig = DuplexConfig()
    augment: AugmentConfig = AugmentConfig()
    transcribe: TranscribeConfig = TranscribeConfig()
    quality: QualityConfig = QualityConfig()
    convert: ConvertConfig = ConvertConfig()
    diarization: DiarizationConfig = DiarizationConfig()
    live: LiveConfig = LiveConfig()
    recognition: RecognitionConfig = RecognitionConfig()
    llm: LlmConfig = LlmConfig()
    chat: ChatConfig = ChatConfig()
    synth: SynthConfig = SynthConfig()
    word_times: WordTimesConfig = WordTimesConfig()
    calibrate: CalibrateConfig = CalibrateConfig()
    executor: ExecutorConfig = ExecutorConfig()
    train: TrainConfig = TrainConfig()
    turn: TurnConfig = TurnConfig()
    speech: SpeechConfig = SpeechConfig()
    csm: CsmConfig = CsmConfig()
    watch: WatchConfig = WatchConfig()
    serve: ServeConfig = ServeConfig()
    vision: VisionConfig = VisionConfig()
    paths: PathsConfig = PathsConfig()
    urls: UrlsConfig = UrlsConfig()
    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def grid(self) -> Grid:
        """Frames and chunks, exact."""
        return self.audio.grid

    def origin(self, name: str) -> str:
        """Return the source of a setting.

        It is `default`, `file PATH`, `environment SCA_X`, `command line` (`--set` or `--preset`) or `command line
        --option`.
        """
        self.value(name)
        return self._origins.get(name, "default")

    def value(self, name: str) -> object:
        """Return a setting by its dotted name."""
        section, _, field = name.partition(".")
        if section not in Settings.model_fields or field not in type(getattr(self, section)).model_fields:
            problem = unknown("settings", name, (key.name for key in known_keys()))
            raise ConfigError(problem.text, hint=problem.hint)
        return getattr(getattr(self, section), field)


def _sections() -> Iterator[tuple[str, type[BaseModel]]]:
    for name, info in Settings.model_fields.items():
        assert isinstance(info.annotation, type)
        assert issubclass(info.annotation, BaseModel)
        yield name, info.annotation


def known_keys() -> Iterator[Key]:
    """Yield every setting, in the order of the models."""
    for section, model in _sections():
        for field, info in model.model_fields.items():
            env = _mark(info, Env)
            kind, choices, optional = value_type(info)
            yield Key(
                name=f"{section}.{field}",
                env=env.name if env else f"SCA_{section}_{field}".upper(),
                default=info.default,
                description=info.description or "",
                expected=expected(info),
                kind=kind if isinstance(kind, type) and kind in (bool, int, float) and not special_words(info) else str,
                choices=choices,
                optional=optional,
                flag=_mark(info, Flag),
            )


def _mark(info: FieldInfo, kind: type[Mark]) -> Mark | None:
    return next((mark for mark in info.metadata if isinstance(mark, kind)), None)


def load_settings(
    config_file: Path | None = None,
    overrides: Mapping[str, object] | None = None,
    env: Mapping[str, str] | None = None,
    plain_env: Mapping[str, str] | None = None,
    options: Mapping[str, object] | None = None,
) -> Settings:
    """Merge all sources.

    Args:
        config_file: The TOML file; SCA_CONFIG if not given. Without both, `sca.toml` of the user's configuration folder and
            then that of the working folder are read, if they exist.
        overrides: Values of `--set` and `--preset`, by dotted name. Text is converted like the environment's; None
            counts as not given.
        env: The environment; the process's own if not given.
        plain_env: Variables without our prefix and their settings, such as `TURN_ENV`; variables with the prefix win.
        options: Values of a command's own options, by dotted name; they win over `overrides`.

    Raises:
        GridError: The grid does not divide, and nothing else is wrong.
        ConfigError: At least one setting is invalid; the message lists all that are.
    """
    env = os.environ if env is None else env
    keys = {key.name: key for key in known_keys()}
    if config_file is None and env.get(CONFIG_ENV):
        config_file = Path(env[CONFIG_ENV])
    layers = [_user_folders(env)]
    files = found_files(env) if config_file is None else [config_file]
    layers += [
        *(from_file(file, keys) for file in files),
        _plain_environment(env, plain_env or {}),
        from_environment(env, keys, RESERVED_ENV),
        from_overrides(overrides or {}, keys),
        from_overrides(options or {}, keys, by_flag=True),
    ]
    given: dict[str, Given] = {}
    problems: list[Problem] = []
    for values, found in layers:
        given |= values
        problems += found
    sections = {name: _section(name, model, given, keys, problems) for name, model in _sections()}
    raise_for(problems)
    settings = Settings.model_validate(sections)
    settings._origins.update({name: value.origin for name, value in given.items()})
    return settings


def _user_folders(env: Mapping[str, str]) -> Layer:
    # The XDG base directory specification requires that a relative path is ignored.
    folder = Path(env.get("XDG_CACHE_HOME", ""))
    if not folder.is_absolute():
        return {}, []
    return {"paths.cache_dir": Given(folder / "sca", "environment XDG_CACHE_HOME", is_text=False)}, []


def _plain_environment(env: Mapping[str, str], names: Mapping[str, str]) -> Layer:
    given = {
        setting: Given(env[name], f"environment {name}", is_text=True)
        for name, setting in names.items()
        if env.get(name)
    }
    return given, []


def _section(
    name: str, model: type[BaseModel], given: Mapping[str, Given], keys: dict[str, Key], problems: list[Problem]
) -> BaseModel:
    """Build a section's model from the given values; add what is wrong to `problems` and return the defaults then."""
    values = {}
    origins = {key.name: given[key.name].origin for key in keys.values() if key.section == name and key.name in given}
    for full in origins:
        key, raw = keys[full], given[full]
        try:
            values[key.field] = _from_text(str(raw.value), key, model) if raw.is_text else raw.value
        except ValidationError as error:
            text = f"{place_of(raw.origin, full)} should be {key.expected}, got {raw.value!r}"
            problems.append(Problem(text, None, error, by_option=raw.origin.startswith(OPTION_ORIGIN)))
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems += problems_of(error, name, origins, keys)
    except GridError as error:
        where = ", ".join(f"{full} from {origin}" for full, origin in origins.items())
        problems.append(Problem(f"{error.message} ({where})", error.hint, error))
    return model()


def _from_text(text: str, key: Key, model: type[BaseModel]) -> object:
    """Convert text to a field's type; `none`, and empty text unless it is a secret, mean no value for an optional field."""
    field = model.model_fields[key.field]
    if key.optional and text.strip().lower() in (("none",) if value_type(field)[0] is SecretStr else ("", "none")):
        return None
    annotation: Any = field.annotation
    for before in (mark for mark in field.metadata if isinstance(mark, BeforeValidator)):
        annotation = Annotated[annotation, before]
    return TypeAdapter(annotation).validate_python(text)


def apply_preset(preset: str) -> dict[str, object]:
    """Return the settings of a preset such as `8x4`: input audio tokens × output text tokens per chunk."""
    found = re.fullmatch(r"([1-9]\d?)x([1-9]\d?)", preset)
    if not found:
        message = f"--preset should be AUDIOxTEXT, the input audio and output text tokens per chunk, got {preset!r}"
        raise UsageError(message, hint="such as 4x2 or 8x4")
    audio, text = int(found[1]), int(found[2])
    return {
        "audio.frames_per_chunk": audio,
        "duplex.text_tokens_per_chunk": text,
        "qwen.max_new_tokens": text,
    }


def parse_set(pairs: Sequence[str]) -> dict[str, str]:
    """Convert `--set key=value` options to overrides; a later one wins."""
    overrides = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"--set should be KEY=VALUE, got {pair!r}", hint="such as --set duplex.lead_chunks=0")
        overrides[name.strip()] = value
    return overrides
