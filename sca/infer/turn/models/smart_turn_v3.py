"""smart-turn v3 in onnxruntime: a Whisper-tiny encoder that returns the probability that a turn is over.

An instance is a session with one thread; parallelism is up to the caller. On a CPU a batch takes as long as its items
in sequence (44, 95 and 175 ms for 1, 2 and 4), so batches are not supported. The output named `logits` is a
probability.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sca.errors import InputError, MissingToolError
from sca.infer.turn.models.features import V3_BINS, V3_SAMPLES, v3_features
from sca.onnx_session import open_session

__all__ = ["SmartTurnV3", "number_format"]


_QUANTISED = (b"MatMulInteger", b"QLinearMatMul", b"DequantizeLinear")
"""Operators of an int8 model. Their names are plain text in an .onnx file."""


def number_format(content: bytes) -> str:
    """Return the number format of the weights in an .onnx file, int8 or float32."""
    return "int8" if any(operator in content for operator in _QUANTISED) else "float32"


class SmartTurnV3:
    """The model.

    Attributes:
        dtype: The number format of the weights, int8 or float32.

    Raises:
        MissingToolError: onnxruntime is not installed.
        InputError: The file is not a smart-turn v3 model.
    """

    name = "smart-turn-v3"
    device = "cpu"
    window_samples = V3_SAMPLES

    def __init__(self, path: Path, threads: int = 1) -> None:
        # Otherwise the int8 products saturate on x86 processors without VNNI, and an unfinished turn is "finished" at
        # 0.99. https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
        # ("When and why do I need to try U8U8?")
        config = {"session.x64quantprecision": "1"}
        try:
            self._session = open_session(path, threads=threads, config=config)
            inputs = [(node.name, node.shape[1:]) for node in self._session.get_inputs()]
        except ImportError as error:
            raise MissingToolError("smart-turn v3 needs onnxruntime", hint="pip install onnxruntime") from error
        except Exception as error:  # the exception classes of onnxruntime are private
            raise InputError(f"{path} is not a model that onnxruntime can load") from error
        self.dtype = number_format(path.read_bytes())
        if inputs != [("input_features", [V3_BINS, V3_SAMPLES // 160])]:
            raise InputError(f"{path} is not a smart-turn v3 model: its inputs are {inputs}")

    def __call__(self, x: NDArray[np.float32]) -> float:
        """Return the probability that the speaker has finished.

        Args:
            x: Float32 `(n,)` at 16 kHz. The last 8 s are used.
        """
        (output,) = self._session.run(None, {"input_features": v3_features(x)[None]})
        return float(output[0, 0])
