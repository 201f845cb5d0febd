"""Dividing an ONNX file, and taking parts of it."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sca.audio.onnx_bytes import divide, part_between, read_weights
from sca.onnx_session import open_session


@pytest.fixture(scope="module")
def model():
    """y = (x * 2 + noise) * 3, with the length ceil(x) inside, and a constant that both parts use."""
    nodes = [
        helper.make_node("Constant", [], ["one"], value=numpy_helper.from_array(np.float32([1]))),
        helper.make_node("Mul", ["x", "two"], ["doubled"]),
        helper.make_node("Ceil", ["x"], ["lengths"]),
        helper.make_node("Mul", ["doubled", "one"], ["means"]),
        helper.make_node("RandomNormalLike", ["means"], ["drawn"]),
        helper.make_node("Add", ["means", "drawn"], ["noisy"]),
        helper.make_node("Mul", ["noisy", "three"], ["scaled"]),
        helper.make_node("Mul", ["scaled", "one"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
        [numpy_helper.from_array(np.float32([value]), name) for name, value in (("two", 2), ("three", 3))],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


X = np.float32([0.5, 1.5])


def test_the_parts_give_the_result_of_the_whole(model):
    head, tail = divide(model, "drawn", "RandomNormalLike", ["lengths"])
    first, second = open_session(head), open_session(tail)
    assert [value.name for value in first.get_inputs()] == ["x"]
    lengths, *shared = first.run(None, {"x": X})
    np.testing.assert_array_equal(lengths, np.ceil(X))
    names = [value.name for value in first.get_outputs()][1:]
    noise = np.float32([10, 20])
    (y,) = second.run(None, dict(zip(names, shared, strict=True)) | {"drawn": noise})
    np.testing.assert_allclose(y, (X * 2 + noise) * 3)
    assert "RandomNormalLike" not in {
        node.op_type for part in (head, tail) for node in onnx.load_from_string(part).graph.node
    }


def test_each_part_has_only_its_weights(model):
    head, tail = divide(model, "drawn", "RandomNormalLike", ["lengths"])
    assert (set(read_weights(head)), set(read_weights(tail))) == ({"two"}, {"three"})


def test_a_model_without_the_border_is_refused(model):
    with pytest.raises(ValueError, match="no operator RandomNormalLike with the output other"):
        divide(model, "other", "RandomNormalLike", [])


def test_a_part_computes_tensors_from_others(model):
    head = open_session(part_between(model, [], ["lengths", "means"]))
    assert [value.name for value in head.get_inputs()] == ["x"]
    lengths, means = head.run(None, {"x": X})
    np.testing.assert_array_equal(lengths, np.ceil(X))
    content = part_between(model, ["noisy"], ["y"])
    assert set(read_weights(content)) == {"three"}
    tail = open_session(content)
    assert [value.name for value in tail.get_inputs()] == ["noisy"]
    np.testing.assert_allclose(tail.run(None, {"noisy": means})[0], X * 2 * 3)


def test_a_part_of_a_tensor_that_is_not_there_is_refused(model):
    with pytest.raises(ValueError, match="no tensor other"):
        part_between(model, ["other"], ["y"])
