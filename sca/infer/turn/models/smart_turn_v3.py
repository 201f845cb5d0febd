"""smart-turn v3 in onnxruntime: a Whisper-tiny encoder that returns the probability that a turn is over.

Inference takes one thread; parallelism is up to the caller. On a CPU a batch takes as long as its items in sequence
(44, 95 and 175 ms for 1, 2 and 4), so batches are not supported here. The output named `logits` is a probability.
"""

import copy
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sca.distribution import install_packages
from sca.errors import InputError, MissingToolError
from sca.infer.turn.models.dequantize import float_model
from sca.infer.turn.models.features import V3_BINS, V3_SAMPLES, v3_features
from sca.infer.turn.models.precision import choose_precision, has_vnni, number_format
from sca.onnx_session import open_session

__all__ = ["SmartTurnV3"]


class SmartTurnV3:
    """The model.

    Attributes:
        dtype: The number format of weights and products, int8 or float32.
        precision: Why it has that format.
        threads: How many threads one call uses.
        providers: The execution providers of onnxruntime.

    Raises:
        MissingToolError: onnxruntime is not installed.
        InputError: The file is not a smart-turn v3 model.
        ConfigError: The file has no int8 weights, which `dtype` wants.
    """

    name = "smart-turn-v3"
    device = "cpu"
    window_samples = V3_SAMPLES

    def __init__(self, path: Path, threads: int = 1, *, dtype: str = "auto", vnni: bool | None = None) -> None:
        """Load the model.

        Args:
            path: The .onnx file.
            threads: Threads inside one operator.
            dtype: The number format: int8, float32, or auto, which depends on the processor.
            vnni: Whether the processor has VNNI; None to look.
        """
        content = path.read_bytes()
        vnni = has_vnni() if vnni is None else vnni
        chosen = choose_precision(number_format(content), dtype, vnni=vnni)
        self.dtype: str = chosen.dtype
        self.precision = chosen.reason
        self._session = _open(path, content, self.dtype, threads, vnni)
        self.threads = threads
        self.providers: list[str] = self._session.get_providers()

    def twin(self) -> Self:
        """Return a model for another thread, with the same weights in memory. Sessions of onnxruntime allow that."""
        return copy.copy(self)

    def __call__(self, x: NDArray[np.float32]) -> float:
        """Return the probability that the speaker has finished.

        Args:
            x: Float32 `(n,)` at 16 kHz. The last 8 s are used.
        """
        (output,) = self._session.run(None, {"input_features": v3_features(x)[None]})
        return float(output[0, 0])


def _open(path: Path, content: bytes, dtype: str, threads: int, vnni: bool | None) -> Any:
    # Without VNNI the fast int8 products saturate on x86, and an unfinished turn is "finished" at 0.99. With VNNI the
    # exact ones give the same bits, and take 1.8 times as long.
    config = {} if vnni else {"session.x64quantprecision": "1"}
    try:
        session = open_session(float_model(content) if dtype == "float32" else content, threads=threads, config=config)
        inputs = [(node.name, node.shape[1:]) for node in session.get_inputs()]
    except ImportError as error:
        raise MissingToolError("smart-turn v3 needs onnxruntime", hint=install_packages("onnxruntime")) from error
    except Exception as error:  # the exception classes of onnxruntime are private
        raise InputError(f"{path} is not a model that onnxruntime can load") from error
    if inputs != [("input_features", [V3_BINS, V3_SAMPLES // 160])]:
        raise InputError(f"{path} is not a smart-turn v3 model: its inputs are {inputs}")
    return session
