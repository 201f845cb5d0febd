"""A model with the inputs, outputs and inner tensors of Kokoro, as a small ONNX file: a tone of known lengths."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FRAME = 600
EDGE = 9
"""Silent frames at both ends."""


def write_kokoro(path: Path) -> Path:
    """Write the model and return its path. A symbol has `id % 3 + 1` frames, and 9 at the edges; the sound is a tone."""
    nodes = [
        helper.make_node("Mod", ["tokens", "three"], ["rest"]),
        helper.make_node("Equal", ["tokens", "zero"], ["is_edge"]),
        helper.make_node("Add", ["rest", "one"], ["inside"]),
        helper.make_node("Where", ["is_edge", "edge", "inside"], ["whole"]),
        helper.make_node("Cast", ["whole"], ["raw"], to=TensorProto.FLOAT),
        helper.make_node("Clip", ["raw"], ["/encoder/Clip_output_0"]),
        helper.make_node("ReduceSum", ["/encoder/Clip_output_0"], ["frames"], keepdims=0),
        helper.make_node("Range", ["start", "frames", "step"], ["ramp"]),
        helper.make_node("Unsqueeze", ["ramp", "axes"], ["/encoder/MatMul_1_output_0"]),
        helper.make_node("Mul", ["frames", "two"], ["halves"]),
        helper.make_node("Range", ["start", "halves", "step"], ["half_ramp"]),
        helper.make_node("Sub", ["halves", "edge_halves"], ["last"]),
        helper.make_node("Less", ["half_ramp", "last"], ["before_last"]),
        helper.make_node("GreaterOrEqual", ["half_ramp", "edge_halves"], ["after_first"]),
        helper.make_node("And", ["before_last", "after_first"], ["is_loud"]),
        helper.make_node("Where", ["is_loud", "loud", "quiet"], ["steps"]),
        # The encoder of the real model uses all of its inputs.
        helper.make_node("ReduceMean", ["style"], ["style_mean"], keepdims=0),
        helper.make_node("Mul", ["style_mean", "speed"], ["factor"]),
        helper.make_node("Mul", ["factor", "start"], ["nothing"]),
        helper.make_node("Add", ["steps", "nothing"], ["levels"]),
        helper.make_node("Unsqueeze", ["levels", "axis"], ["/encoder/Reshape_1_output_0"]),
        helper.make_node("Unsqueeze", ["half_ramp", "axis"], ["/encoder/Reshape_output_0"]),
        # The decoder: as many samples as it gets frames of features, of pitch and of energy.
        helper.make_node("Shape", ["/encoder/MatMul_1_output_0"], ["shape"], start=2),
        helper.make_node("Shape", ["/encoder/Reshape_output_0"], ["pitch_shape"], start=1),
        helper.make_node("Shape", ["/encoder/Reshape_1_output_0"], ["energy_shape"], start=1),
        helper.make_node("Cast", ["shape"], ["shape_f"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["pitch_shape"], ["pitch_f"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["energy_shape"], ["energy_f"], to=TensorProto.FLOAT),
        helper.make_node("Sum", ["shape_f", "pitch_f", "energy_f"], ["parts"]),
        helper.make_node("ReduceSum", ["parts"], ["fifths"], keepdims=0),
        helper.make_node("Mul", ["fifths", "fifth"], ["count"]),
        helper.make_node("Range", ["start", "count", "step"], ["places"]),
        helper.make_node("ReduceMean", ["style"], ["pitch"], keepdims=0),
        helper.make_node("Mul", ["places", "pitch"], ["phase"]),
        helper.make_node("Sin", ["phase"], ["audio"]),
    ]
    constants = {
        "three": np.int64([3]),
        "zero": np.int64([0]),
        "one": np.int64([1]),
        "edge": np.int64([EDGE]),
        "edge_halves": np.float32(2 * EDGE),
        "two": np.float32(2),
        "axes": np.int64([0, 1]),
        "axis": np.int64([0]),
        "loud": np.float32(5),
        "quiet": np.float32(-9),
        "fifth": np.float32(FRAME / 5),
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
