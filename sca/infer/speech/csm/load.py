"""Load CSM and its tokenizer. All checks that do not need the weights run before the weights are read."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sca.config import CsmConfig
from sca.distribution import install_extra
from sca.errors import ConfigError, InputError, MissingToolError, UpstreamError
from sca.models.quiet import quiet_loading
from sca.textutil import first_line

if TYPE_CHECKING:
    import torch
    from torch.nn import Module

__all__ = ["check", "load_csm"]

_KIND = "csm"


def check(csm: CsmConfig) -> None:
    """Check what can be checked without the weights.

    Args:
        csm: The settings of the model.

    Raises:
        MissingToolError: The extra speech is not installed, or the model of the hub is not on this machine.
        InputError: The folder does not contain this kind of model.
    """
    for name in ("torch", "transformers"):
        if find_spec(name) is None:
            raise MissingToolError(f"the engine csm needs {name}, which is not installed", hint=install_extra("speech"))
    folder = Path(csm.model_id).expanduser()
    if folder.is_dir():
        _check_folder(folder)
    elif not _is_cached(csm):
        raise MissingToolError(
            f"the model {csm.model_id} is not on this machine",
            hint=f"hf download {csm.model_id} fetches it, after its licence is accepted on the hub; csm.model_id can be a folder",
        )


def _is_cached(csm: CsmConfig) -> bool:
    from huggingface_hub import try_to_load_from_cache

    try:
        return isinstance(try_to_load_from_cache(csm.model_id, "config.json", revision=csm.revision), str)
    except ValueError:  # not the form of a hub id
        return False


def _check_folder(folder: Path) -> None:
    path = folder / "config.json"
    try:
        kind = json.loads(path.read_text(encoding="utf-8")).get("model_type")
    except FileNotFoundError as error:
        raise InputError(f"{folder} does not contain a model: config.json is missing") from error
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{path} cannot be read: {first_line(error)}") from error
    if kind != _KIND:
        raise InputError(f"{folder} contains a model of type {kind}, not {_KIND}")


def load_csm(csm: CsmConfig) -> tuple[Module, Any]:
    """Load the model and its tokenizer.

    Args:
        csm: The settings of the model.

    Returns:
        The `CsmForConditionalGeneration` in evaluation mode, with a float32 codec, and the tokenizer.

    Raises:
        MissingToolError: See `check`.
        InputError: The folder lacks a file, or contains another kind of model.
        UpstreamError: The hub does not provide the model.
        ConfigError: The device does not exist.
    """
    check(csm)
    device = _device(csm.device)
    tokenizer = _loaded("AutoTokenizer", csm)
    model = _loaded("CsmForConditionalGeneration", csm, dtype=_dtype(csm.dtype, device)).to(device).eval()
    model.codec_model.float()
    return model, tokenizer


def _device(name: str) -> torch.device:
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and found <= (device.index or 0):
        raise ConfigError(f"csm.device is {name}, and this machine has {found} NVIDIA GPUs", hint="use auto or cpu")
    return device


def _dtype(name: str, device: torch.device) -> torch.dtype:
    import torch

    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return torch.bfloat16 if name == "bfloat16" else torch.float32


def _loaded(kind: str, csm: CsmConfig, **more: Any) -> Any:
    """Call `from_pretrained` of a class of transformers, and map its exceptions."""
    import transformers

    folder = Path(csm.model_id).expanduser()
    local = folder.is_dir()
    try:
        with quiet_loading():
            return getattr(transformers, kind).from_pretrained(
                str(folder) if local else csm.model_id,
                revision=None if local else csm.revision,
                local_files_only=local,
                trust_remote_code=False,
                **more,
            )
    except OSError as error:
        if local:
            raise InputError(f"the model in {folder} cannot be loaded: {first_line(error)}") from error
        raise UpstreamError(f"cannot get the model {csm.model_id}: {first_line(error)}") from error
    except Exception as error:  # those of safetensors, torch and transformers have no common base class
        raise InputError(f"the model {csm.model_id} cannot be loaded: {first_line(error)}") from error
