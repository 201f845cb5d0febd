"""A separation model as an ONNX file: one voice is below a frequency, the other one above it.

The low voice is a moving average of the mixture, the high voice the rest of it, so their sum is the mixture.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

TAPS = 33


def write_separator(path: Path, *, voices: int = 2) -> Path:
    """Write the model and return its path. Other numbers of `voices` make a model that is refused."""
    average = np.full((1, 1, TAPS), 1 / TAPS, np.float32)
    nodes = [
        helper.make_node("Unsqueeze", ["mix", "one"], ["row"]),
        helper.make_node("Conv", ["row", "average"], ["low"], pads=[TAPS // 2, TAPS // 2]),
        helper.make_node("Sub", ["row", "low"], ["high"]),
        helper.make_node("Concat", ["high", "low"] if voices == 2 else ["high"], ["voices"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "separator",
        [helper.make_tensor_value_info("mix", TensorProto.FLOAT, [1, "n"])],
        [helper.make_tensor_value_info("voices", TensorProto.FLOAT, [1, voices, "n"])],
        [numpy_helper.from_array(average, "average"), numpy_helper.from_array(np.array([1], np.int64), "one")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(path))
    return path
