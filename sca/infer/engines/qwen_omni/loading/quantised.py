"""Quantised checkpoints: the packages that they need, and the size of their weights as stored."""

from __future__ import annotations

import json
import math
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sca.distribution import install_packages
from sca.errors import MissingToolError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

__all__ = ["check_quantisation", "quantisation_of", "stored_bytes"]

# Import name → name on a package index, as the quantizers of transformers 5.22 require them. FP8 needs no package on a
# CPU, where it is expanded, and otherwise kernels from the hub.
_PACKAGES = {
    "awq": {"gptqmodel": "gptqmodel"},
    "gptq": {"optimum": "optimum", "gptqmodel": "gptqmodel"},
    "bitsandbytes": {"bitsandbytes": "bitsandbytes"},
    "compressed-tensors": {"compressed_tensors": "compressed-tensors"},
}
_FP8_ON_GPU = {"kernels": "kernels"}
_BITS = {"F64": 64, "I64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16}


def quantisation_of(config: PretrainedConfig) -> str | None:
    """Return the method by which the weights of a checkpoint are quantised, or None."""
    found: Any = getattr(config, "quantization_config", None)
    if found is None:
        return None
    return str(found.get("quant_method") if isinstance(found, dict) else found.quant_method)


def check_quantisation(model_id: str, method: str, *, cuda: bool) -> None:
    """Check that the packages of a method are installed.

    Args:
        model_id: The model, for the message.
        method: The method, see `quantisation_of`.
        cuda: Whether the model is placed on a GPU.

    Raises:
        MissingToolError: A package is not installed.
    """
    needed = _FP8_ON_GPU if method == "fp8" and cuda else _PACKAGES.get(method, {})
    missing = [package for name, package in needed.items() if find_spec(name) is None]
    if missing:
        raise MissingToolError(
            f"the weights of {model_id} are quantised with {method}, which requires {' and '.join(missing)}",
            hint=install_packages(*missing),
        )


def stored_bytes(model_id: str, revision: str | None) -> dict[str, int] | None:
    """Return the size of the stored weights of each part, without the vision tower, from the headers of their files.

    Args:
        model_id: A folder, or a hub id.
        revision: The revision on the hub.

    Returns:
        The bytes of `thinker`, `talker` and `code2wav`; None if the files are not on this machine, or cannot be read.
    """
    from sca.infer.engines.choice import weight_files

    sizes: Counter[str] = Counter()
    try:
        for file in weight_files(model_id, revision):
            for name, (dtype, shape) in _header(file).items():
                if ".visual." not in name:
                    sizes[name.partition(".")[0]] += math.prod(shape) * _BITS.get(dtype, 8) // 8
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return dict(sizes) or None


def _header(file: Path) -> dict[str, tuple[str, list[int]]]:
    """Return dtype and shape of the tensors in a file (https://github.com/huggingface/safetensors#format)."""
    with file.open("rb") as stream:
        header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    return {name: (one["dtype"], one["shape"]) for name, one in header.items() if name != "__metadata__"}
