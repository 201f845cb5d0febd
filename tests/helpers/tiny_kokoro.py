"""A model with the inputs, outputs and inner length tensor of Kokoro, as a small ONNX file: a tone of known lengths."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FRAME = 600


def write_kokoro(path: Path) -> Path:
    """Write the model and return its path. A symbol has `id % 3 + 1` frames, and 4 at the edges; the sound is a tone."""
    nodes = [
        helper.make_node("Mod", ["tokens", "three"], ["rest"]),
        helper.make_node("Equal", ["tokens", "zero"], ["is_edge"]),
        helper.make_node("Add", ["rest", "one"], ["inside"]),
        helper.make_node("Where", ["is_edge", "four", "inside"], ["whole"]),
        helper.make_node("Cast", ["whole"], ["raw"], to=TensorProto.FLOAT),
        helper.make_node("Clip", ["raw"], ["/encoder/Clip_output_0"]),
        helper.make_node("ReduceSum", ["/encoder/Clip_output_0"], ["frames"], keepdims=0),
        helper.make_node("Mul", ["frames", "size"], ["count"]),
        helper.make_node("Range", ["start", "count", "step"], ["places"]),
        helper.make_node("ReduceMean", ["style"], ["pitch"], keepdims=0),
        helper.make_node("Mul", ["places", "pitch"], ["phase"]),
        helper.make_node("Sin", ["phase"], ["audio"]),
    ]
    constants = {
        "three": np.int64([3]),
        "zero": np.int64([0]),
        "one": np.int64([1]),
        "four": np.int64([4]),
        "size": np.float32(FRAME),
        "start": np.float32(0),
        "step": np.float32(1),
    }
    graph = helper.make_graph(
        nodes,
        "kokoro",
        [
            helper.make_tensor_value_info("tokens", TensorProto.INT64, [1, "n"]),
            helper.make_tensor_value_info("style", TensorProto.FLOAT, [1, 256]),
            helper.make_tensor_value_info("speed", TensorProto.FLOAT, [1]),
        ],
        [helper.make_tensor_value_info("audio", TensorProto.FLOAT, ["samples"])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def write_voice(path: Path, pitch: float = 0.1) -> Path:
    """Write a voice whose styles all have the mean `pitch`, and return its path."""
    np.full((510, 256), pitch, "<f4").tofile(path)
    return path
