"""A d-vector model as an ONNX file: the mean spectrum of a piece, relative to the mean of its bands.

It tells voices of very different spectra apart, and has the input and output of the real model.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def write_dvector(path: Path) -> Path:
    """Write the model and return its path."""
    bands = np.eye(40, dtype=np.float32) - np.float32(1 / 40)  # subtracts the mean of the bands
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["mel_window"], ["mean"], axes=[1], keepdims=0),
            helper.make_node("MatMul", ["mean", "bands"], ["relative"]),
            helper.make_node("Sub", ["relative", "usual"], ["embedding"]),
        ],
        "dvector",
        [helper.make_tensor_value_info("mel_window", TensorProto.FLOAT, ["batch", 80, 40])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 40])],
        [numpy_helper.from_array(bands, "bands"), numpy_helper.from_array(USUAL, "usual")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(path))
    return path


USUAL = (np.linspace(1.5, -1.5, 40)).astype(np.float32)
"""Speech has more power at low frequencies. Without that, embeddings of all voices would be similar."""
