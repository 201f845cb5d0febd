"""smart-turn v3 in onnxruntime: a Whisper-tiny encoder that says how likely a turn is over.

One instance is one session on one thread; how many work side by side is the pool's business. On a CPU a batch takes as long as
its items one after the other (44, 95, 175 ms for 1, 2, 4), so there is none. The output is named `logits` and is a probability.
"""

from pathlib import Path
from typing import Any

import numpy as np

from sca.errors import InputError, MissingToolError
from sca.infer.turn.models.features import V3_BINS, V3_SAMPLES, v3_features
from sca.onnx_session import open_session

__all__ = ["SmartTurnV3"]


class SmartTurnV3:
    """The model. Call it with float32 `(n,)` at 16 kHz; the last 8 s count.

    Raises `MissingToolError` without onnxruntime, `InputError` for a file that is no such model.
    """

    name = "smart-turn-v3"
    device = "cpu"
    dtype = "int8"
    window_samples = V3_SAMPLES

    def __init__(self, path: Path, threads: int = 1) -> None:
        # Without it the int8 products saturate on x86 processors that lack VNNI, and a turn cut short is "finished" at 0.99.
        # https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html ("When and why do I need to try U8U8?")
        config = {"session.x64quantprecision": "1"}
        try:
            self._session: Any = open_session(path, threads=threads, config=config)
            inputs = [(one.name, one.shape[1:]) for one in self._session.get_inputs()]
        except ImportError as error:
            raise MissingToolError("smart-turn v3 needs onnxruntime", hint="pip install onnxruntime") from error
        except Exception as error:  # onnxruntime's own classes are private; whatever it is, the file is no model
            raise InputError(f"not a model that onnxruntime can load: {path}") from error
        if inputs != [("input_features", [V3_BINS, V3_SAMPLES // 160])]:
            raise InputError(f"not a smart-turn v3 model: {path} takes {inputs}")

    def __call__(self, x: np.ndarray) -> float:
        """The probability that the speaker has finished."""
        (output,) = self._session.run(None, {"input_features": v3_features(x)[None]})
        return float(output[0, 0])
