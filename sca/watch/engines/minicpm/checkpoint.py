"""A checkpoint before its weights are read: its files, kind, quantization and number format.

Only headers of safetensors files are read here, and nothing of the checkpoint is executed.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sca.config import VisionConfig
from sca.errors import ConfigError, InputError, MissingToolError
from sca.textutil import first_line

__all__ = ["Checkpoint", "complete_quantization", "open_checkpoint", "unquantized_modules", "weights_dtype"]

NATIVE = ("minicpmv4_6", "minicpmv4_7")
"""The kinds of MiniCPM that transformers has classes for."""
_INDEX, _WHOLE = "model.safetensors.index.json", "model.safetensors"
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json")

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint with all of its files.

    Attributes:
        folder: The folder.
        config: The content of `config.json`.
        shapes: The shapes of its tensors by name.
    """

    folder: Path
    config: Mapping[str, object] = field(repr=False)
    shapes: Shapes = field(repr=False)

    @property
    def is_native(self) -> bool:
        """Whether transformers has its classes."""
        return self.config.get("model_type") in NATIVE

    @property
    def is_awq(self) -> bool:
        """Whether its language model is quantized with AWQ."""
        return _quantization(self.config).get("quant_method") == "awq"


def open_checkpoint(vision: VisionConfig) -> Checkpoint:
    """Find the checkpoint and check its files.

    Args:
        vision: The section `vision`.

    Raises:
        MissingToolError: The checkpoint of the hub is not on this machine.
        InputError: A file is missing or damaged, or it is another kind of model.
        ConfigError: Its code may not be run.
    """
    folder = _folder(vision)
    config = _json(folder / "config.json", folder)
    kind, has_code = config.get("model_type"), isinstance(config.get("auto_map"), dict)
    if kind not in NATIVE and not (kind == "minicpmo" and has_code):
        raise InputError(f"{folder} contains a model of type {kind}, not a MiniCPM-V or MiniCPM-o", hint=_kinds())
    if kind not in NATIVE and not vision.trust_remote_code:
        raise ConfigError(
            f"{folder} needs its own Python code, which is not run without permission",
            hint="read its *.py files; --trust-remote-code runs them",
        )
    _check_files(folder, config, has_code=kind not in NATIVE)
    return Checkpoint(folder, config, _shapes(folder))


def _kinds() -> str:
    return f"kinds: {', '.join(NATIVE)}, and minicpmo with its own code"


def _folder(vision: VisionConfig) -> Path:
    folder = Path(vision.checkpoint).expanduser()
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(vision.checkpoint, revision=vision.revision, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError) as error:  # not a hub id, or not in the cache
        raise MissingToolError(
            f"the model {vision.checkpoint} is not on this machine",
            hint=f"hf download {vision.checkpoint} fetches it; vision.checkpoint can be a folder",
        ) from error


def _json(path: Path, folder: Path) -> dict[str, object]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"the checkpoint {folder} is not complete: {path.name} is missing") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {first_line(error)}") from error
    if not isinstance(document, dict):
        raise InputError(f"{path} does not contain a JSON object")
    return document


def _check_files(folder: Path, config: Mapping[str, object], *, has_code: bool) -> None:
    needed = ["preprocessor_config.json", *_TOKENIZER, *(_code_files(config) if has_code else ())]
    index = folder / _INDEX
    needed += sorted(set(_weight_map(index, folder).values())) if index.is_file() else [_WHOLE]
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        names = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise InputError(
            f"the checkpoint {folder} is not complete: {names} {'is' if len(missing) == 1 else 'are'} missing",
            hint="hf download MODEL --local-dir FOLDER fetches what is missing",
        )


def _code_files(config: Mapping[str, object]) -> list[str]:
    entries = config.get("auto_map")
    assert isinstance(entries, dict)
    return sorted({f"{str(value).split('--')[-1].split('.')[0]}.py" for value in entries.values()})


def _weight_map(index: Path, folder: Path) -> dict[str, str]:
    found = _json(index, folder).get("weight_map")
    if not isinstance(found, dict):
        raise InputError(f"{index} has no weight_map")
    return {str(name): str(file) for name, file in found.items()}


def _shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Read the shapes of all tensors from the headers of the files."""
    from safetensors import SafetensorError, safe_open

    index = folder / _INDEX
    files = sorted(set(_weight_map(index, folder).values())) if index.is_file() else [_WHOLE]
    shapes: dict[str, tuple[int, ...]] = {}
    for name in files:
        try:
            with safe_open(str(folder / name), framework="np") as file:
                shapes |= {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise InputError(f"{folder / name} is damaged: {first_line(error)}") from error
    return shapes


# Quantization


def _quantization(config: Mapping[str, object]) -> Mapping[str, object]:
    found = config.get("quantization_config")
    return found if isinstance(found, dict) else {}


def unquantized_modules(shapes: Shapes) -> list[str]:
    """Return the modules with matrices that are not quantized: the shortest paths that contain nothing quantized.

    Args:
        shapes: The shapes of the tensors by name. A quantized matrix is named `….qweight`.
    """
    quantized = {name.removesuffix(".qweight") for name in shapes if name.endswith(".qweight")}
    parents = {path for name in quantized for path in _paths(name)}
    plain = [
        name.removesuffix(".weight") for name, shape in shapes.items() if name.endswith(".weight") and len(shape) >= 2
    ]
    found = {next(path for path in _paths(name) if path not in parents) for name in plain if name not in quantized}
    return sorted(found)


def _paths(name: str) -> list[str]:
    """Return `a`, `a.b` and `a.b.c` for `a.b.c`."""
    parts = name.split(".")
    return [".".join(parts[: count + 1]) for count in range(len(parts))]


def complete_quantization(config: Mapping[str, object], shapes: Shapes) -> dict[str, object]:
    """Return the section `quantization_config` with the modules that are not quantized.

    AWQ checkpoints with `modules_to_not_convert: null` leave the choice to the loader, which would convert the vision tower:
    its 4304 inputs are not divisible into groups of 128.

    Args:
        config: The content of `config.json`, which is not changed.
        shapes: The shapes of the tensors by name.
    """
    section = dict(_quantization(config))
    if section.get("quant_method") == "awq" and section.get("modules_to_not_convert") is None:
        section["modules_to_not_convert"] = unquantized_modules(shapes)
    return section


def weights_dtype(
    checkpoint: Checkpoint, wanted: Literal["auto", "float32", "bfloat16", "float16"], device: str
) -> Literal["float32", "bfloat16", "float16"]:
    """Return the number format of the weights that are not quantized.

    Args:
        checkpoint: The checkpoint.
        wanted: The setting. `auto` is float16 for AWQ (for its kernels), else bfloat16 on a GPU and float32 on a CPU.
        device: The device, such as `cuda:0`.

    Raises:
        ConfigError: AWQ does not run in the format, or on a CPU.
    """
    if not checkpoint.is_awq:
        return wanted if wanted != "auto" else "bfloat16" if device.startswith("cuda") else "float32"
    if wanted not in ("auto", "float16"):
        raise ConfigError(f"{checkpoint.folder} is quantized with AWQ, which runs in float16, not {wanted}")
    if not device.startswith("cuda"):
        raise ConfigError(
            f"{checkpoint.folder} is quantized with AWQ, which needs an NVIDIA GPU", hint="use bf16 weights"
        )
    return "float16"


def check_voice_files(folder: Path, names: Sequence[str], what: str, fetch: str) -> None:
    """Check that a folder has files.

    Args:
        folder: The folder.
        names: The names of the files.
        what: What they are, for the message.
        fetch: The command that fetches them.

    Raises:
        MissingToolError: A file is missing.
    """
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise MissingToolError(f"{what} in {folder} is not complete: {', '.join(missing)}", hint=fetch)
