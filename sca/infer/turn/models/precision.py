"""The number format in which smart-turn v3 runs on this processor.

x86 processors with VNNI compute int8 products without intermediate sums of 16 bits, which overflow. Others overflow
with the fast kernels of onnxruntime, and the exact ones are slower than float32. See docs/LOG.md for the measurements.
Source: https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html ("When and why do I need to try
U8U8?").
"""

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sca.audio.onnx_bytes import text_bytes
from sca.errors import ConfigError

__all__ = ["Precision", "choose_precision", "has_vnni", "number_format", "runs_in_torch"]

_OPERATOR = 4  # the field of a NodeProto
_QUANTISED = ("MatMulInteger", "QLinearMatMul", "DequantizeLinear")
"""Operators of an int8 model. Other names, such as those of weights, may contain them."""

_X86 = ("x86_64", "amd64", "i686")
_VNNI = {"avx512_vnni", "avx_vnni", "amx_int8"}

NumberFormat = Literal["int8", "float32"]


@dataclass(frozen=True, slots=True)
class Precision:
    """A number format.

    Attributes:
        dtype: The format of weights and products.
        reason: Why, for display.
    """

    dtype: NumberFormat
    reason: str


def number_format(content: bytes) -> NumberFormat:
    """Return the number format of the weights in an .onnx file."""
    return "int8" if any(text_bytes(_OPERATOR, name) in content for name in _QUANTISED) else "float32"


def has_vnni(machine: str | None = None, cpu_info: Path = Path("/proc/cpuinfo")) -> bool | None:
    """Return whether products of int8 are exact and fast; None if that is unknown.

    Args:
        machine: The architecture; None for that of this machine.
        cpu_info: Linux' description of the processors.
    """
    if (machine or platform.machine()).lower() not in _X86:
        return True  # the kernels for other architectures do not overflow
    try:
        lines = cpu_info.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), None)
    return None if flags is None else bool(_VNNI & set(flags))


def runs_in_torch(device: str, dtype: str) -> bool:
    """Return whether v3 runs in torch: on a GPU, or in 16 bits. Otherwise onnxruntime runs it, the fastest on a CPU.

    Args:
        device: The setting `turn.device`.
        dtype: The setting `turn.dtype`.
    """
    return device.startswith("cuda") or dtype in ("bfloat16", "float16")


def choose_precision(stored: NumberFormat, dtype: str, *, vnni: bool | None) -> Precision:
    """Return the number format for a file and a processor.

    Args:
        stored: The format of the file.
        dtype: The setting `turn.dtype`.
        vnni: See `has_vnni`.

    Raises:
        ConfigError: int8 is wanted, and the file has float32 weights.
    """
    if dtype == "int8" and stored == "float32":
        raise ConfigError("turn.dtype is int8, and the weights of the model are float32", hint="turn.dtype=auto")
    if stored == "float32":
        return Precision("float32", "the weights of the file")
    if dtype == "int8":
        return Precision("int8", "turn.dtype")
    if dtype == "float32":
        return Precision("float32", "turn.dtype, from int8 weights")
    if vnni is False:
        return Precision("float32", "the processor has no VNNI, from int8 weights")
    return Precision("int8", "the processor has VNNI" if vnni else "the weights of the file")
