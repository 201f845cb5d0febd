"""A speaker model with random weights as an ONNX file: one layer over frames of 80 features, averaged over time."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def write_speaker(path: Path, *, size: int = 192, bins: int = 80, metadata: dict[str, str] | None = None) -> Path:
    """Write the model and return its path. `metadata` is stored in the file."""
    weights = np.random.default_rng(7).normal(size=(bins, size)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["feats", "w"], ["a"]),
            helper.make_node("Tanh", ["a"], ["b"]),
            helper.make_node("ReduceMean", ["b"], ["embs"], axes=[1], keepdims=0),
        ],
        "speaker",
        [helper.make_tensor_value_info("feats", TensorProto.FLOAT, ["B", "T", bins])],
        [helper.make_tensor_value_info("embs", TensorProto.FLOAT, ["B", size])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, str(path))
    return path
