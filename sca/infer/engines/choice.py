"""The engine of a session that names none: what the settings ask for, or the best one that this machine can run.

`sca live --mic` and `sca serve` use it, and `sca doctor` prints it. Nothing is loaded here: packages and models are
looked up. An engine that the settings ask for is returned without a look at the machine, so that loading it reports
what is missing, and no other engine takes its place.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from sca.distribution import install_extra
from sca.models.gpus import Gpu, nvidia_gpus

if TYPE_CHECKING:
    from sca.config import Settings

__all__ = [
    "EngineChoice",
    "EngineOption",
    "asked_engine",
    "choose_engine",
    "engine_options",
    "simple_engine",
    "weight_files",
]

SIMPLE = "parrot"
"""The engine that needs no model."""

_ASKING = (
    ("vllm.base_url", "vllm-omni"),
    ("qwen.model_id", "qwen-omni"),
    ("qwen.adapter", "qwen-omni"),
    ("llm.base_url", "cascade"),
    ("llm.model", "cascade"),
)
"""Settings that make sense for one engine only, and that engine. The first one that is given counts."""


@dataclass(frozen=True, slots=True)
class EngineOption:
    """Whether this machine can run an engine.

    Attributes:
        name: The engine.
        problem: What is missing; None if it can run.
        fix: What to install or to fetch; None if that does not help.
        place: The GPUs that it would use; None if it needs none.
    """

    name: str
    problem: str | None = None
    fix: str | None = None
    place: str | None = None


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """An engine, and why it was chosen.

    Attributes:
        name: The engine.
        reason: Why.
        better: Better engines that this machine cannot run, the best first.
    """

    name: str
    reason: str
    better: tuple[EngineOption, ...] = ()

    @property
    def advice(self) -> str | None:
        """What to install for a better engine; the one that needs least comes first. None if nothing helps."""
        fixable = [option for option in reversed(self.better) if option.fix]
        return "; ".join(f"for {option.name}: {option.fix}" for option in fixable) or None

    @property
    def found(self) -> str:
        """The choice without the advice."""
        missing = "".join(f"; not {option.name}: {option.problem}" for option in self.better)
        return f"{self.name}, {self.reason}{missing}"

    @property
    def line(self) -> str:
        """The choice and the advice in one line."""
        return f"engine {self.found}" + ("" if self.advice is None else f" ({self.advice})")


def asked_engine(settings: "Settings") -> EngineChoice | None:
    """Return the engine that the settings ask for, by its name or by a setting of its own; None if they do not."""
    if settings.live.engine is not None:
        return EngineChoice(settings.live.engine, f"named by the {settings.origin('live.engine')}")
    for setting, engine in _ASKING:
        if _is_given(settings, setting):
            return EngineChoice(engine, f"because {setting} is set by the {settings.origin(setting)}")
    return None


def simple_engine(settings: "Settings") -> str:
    """Return the engine that the settings ask for, else the parrot.

    For sessions between files and evaluations: their results must not depend on what is installed.
    """
    asked = asked_engine(settings)
    return SIMPLE if asked is None else asked.name


def choose_engine(
    settings: "Settings", options: "Callable[[Settings], Sequence[EngineOption]] | None" = None
) -> EngineChoice:
    """Return the engine of a live session.

    Args:
        settings: The settings.
        options: Returns the engines to choose from, the best first, the last of which can always run; by default
            `engine_options`. It is called if the settings ask for no engine.
    """
    asked = asked_engine(settings)
    if asked is not None:
        return asked
    found = (engine_options if options is None else options)(settings)
    first = next(place for place, option in enumerate(found) if option.problem is None)
    place = "" if found[first].place is None else f", {found[first].place}"
    return EngineChoice(found[first].name, f"the best that can run here{place}", tuple(found[:first]))


def engine_options(settings: "Settings") -> list[EngineOption]:
    """Return the engines that need no server, the best first, and whether this machine can run them."""
    return [_qwen_option(settings, nvidia_gpus()), _cascade_option(settings), EngineOption(SIMPLE)]


def _is_given(settings: "Settings", setting: str) -> bool:
    """Return whether a setting was given. A file may list all settings with their defaults; those were not."""
    section, _, field = setting.partition(".")
    default = type(getattr(settings, section)).model_fields[field].default
    origin = settings.origin(setting)
    return settings.value(setting) != default or not origin.startswith(("default", "file"))


def _qwen_option(settings: "Settings", gpus: Sequence[Gpu]) -> EngineOption:
    name, model = "qwen-omni", settings.qwen.model_id
    if not gpus:
        return EngineOption(name, "no NVIDIA GPU")
    missing = [package for package in ("torch", "accelerate") if find_spec(package) is None]
    if missing:
        return EngineOption(name, f"no {' and '.join(missing)}", install_extra("live"))
    weights = weight_files(model, settings.qwen.model_revision)
    if not weights:
        return EngineOption(name, f"no weights of {model}", f"hf download {model}")
    needed_mib = sum(path.stat().st_size for path in weights) >> 20
    by_size = sorted(gpus, key=lambda gpu: -gpu.memory_mib)
    usable_mib = [gpu.memory_mib for gpu in by_size[:2]]
    if needed_mib <= usable_mib[0]:
        return EngineOption(name, place=f"on one GPU ({by_size[0].name})")
    if needed_mib > sum(usable_mib):
        has = f"the GPU {usable_mib[0]} MiB" if len(gpus) == 1 else f"the two largest GPUs {sum(usable_mib)} MiB"
        return EngineOption(name, f"its weights have {needed_mib} MiB, and {has}")
    return EngineOption(name, place="the thinker on one GPU, talker and vocoder on another")


def weight_files(model: str, revision: str | None) -> list[Path]:
    """Return the files of the weights in a folder or in the cache of the hub; none if they are not complete."""
    folder = Path(model).expanduser()
    index = _file(folder, model, revision, "model.safetensors.index.json")
    if index is None:
        single = _file(folder, model, revision, "model.safetensors")
        return [] if single is None else [single]
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, AttributeError):
        return []
    files = [index.with_name(name) for name in names]
    return files if all(path.is_file() for path in files) else []


def _file(folder: Path, model: str, revision: str | None, name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    if folder.is_dir():
        return folder / name if (folder / name).is_file() else None
    try:
        found = try_to_load_from_cache(model, name, revision=revision)
    except HFValidationError:  # a path that does not exist
        return None
    return Path(found) if isinstance(found, str) else None


def _cascade_option(settings: "Settings") -> EngineOption:
    from sca.infer.conversation.local import part_statuses

    lacking = [status for status in part_statuses(settings) if status.problem is not None]
    if not lacking:
        return EngineOption("cascade")
    problem = ", ".join(f"no {status.part}" for status in lacking)
    fixes = dict.fromkeys(status.fix for status in lacking if status.fix)
    return EngineOption("cascade", problem, ", ".join(fixes) or None)
