"""smart-turn v3 in float32 from its int8 file, and the number format by processor."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sca.errors import ConfigError
from sca.infer.turn.models.dequantize import float_model, v3_parameters
from sca.infer.turn.models.features import v3_features
from sca.infer.turn.models.precision import Precision, choose_precision, has_vnni
from sca.infer.turn.models.smart_turn_v3 import SmartTurnV3
from sca.infer.turn.models.weights import bundled_file
from sca.onnx_session import open_session
from tests.helpers.smart_turn import WAVEFORMS


@pytest.fixture(scope="module")
def content():
    return bundled_file().read_bytes()


@pytest.fixture(scope="module")
def converted(content):
    return onnx.load_from_string(float_model(content))


def test_float_model_is_valid_and_has_no_quantised_operator(content, converted):
    onnx.checker.check_model(converted, full_check=True)
    assert not {"QuantizeLinear", "DequantizeLinear"} & {node.op_type for node in converted.graph.node}
    before = [n.op_type for n in onnx.load_from_string(content).graph.node if not n.op_type.endswith("tizeLinear")]
    assert [node.op_type for node in converted.graph.node] == before
    assert {tensor.data_type for tensor in converted.graph.initializer} == {TensorProto.FLOAT, TensorProto.INT64}


def test_weights_equal_those_that_onnxruntime_dequantises(content, converted):
    """Every weight, bit by bit: scales per tensor, per row and per column, int8 and int32."""
    model = onnx.load_from_string(content)
    stored = {tensor.name for tensor in model.graph.initializer}
    nodes = [n for n in model.graph.node if n.op_type == "DequantizeLinear" and n.input[0] in stored]
    outputs = [helper.make_tensor_value_info(n.output[0], TensorProto.FLOAT, None) for n in nodes]
    graph = helper.make_graph(nodes, "weights", [], outputs, list(model.graph.initializer))
    alone = helper.make_model(graph, opset_imports=model.opset_import, ir_version=10).SerializeToString()
    session = open_session(alone)
    ours = {tensor.name: numpy_helper.to_array(tensor) for tensor in converted.graph.initializer}
    assert len(nodes) == 36
    for node, theirs in zip(nodes, session.run([n.output[0] for n in nodes], {}), strict=True):
        np.testing.assert_array_equal(ours[node.output[0]], theirs)


def test_every_weight_has_its_name_in_torch(content):
    names = v3_parameters(content)
    assert len(names) == 79
    assert names["encoder.layers.3.fc1.weight"].shape == (1536, 384)
    assert names["encoder.layers.0.self_attn.k_proj.weight"].shape == (384, 384)
    assert all(weight.dtype == np.float32 for weight in names.values())
    again = v3_parameters(float_model(content))
    assert all(np.array_equal(again[name], weight) for name, weight in names.items())


def test_exact_and_fast_int8_products_agree_where_both_are_exact(content):
    if not has_vnni():
        pytest.skip("the fast products of this processor overflow")
    fast, exact = (SmartTurnV3(bundled_file(), dtype="int8", vnni=vnni) for vnni in (True, False))
    assert [fast(x) for x in WAVEFORMS.values()] == [exact(x) for x in WAVEFORMS.values()]


def test_float32_differs_from_int8_near_the_middle_only():
    """Speech-like sounds that int8 judges clearly are judged equally. Silence is not one: int8 rounds it away."""
    full, half = (SmartTurnV3(bundled_file(), dtype=dtype) for dtype in ("float32", "int8"))
    assert (full.dtype, half.dtype) == ("float32", "int8")
    for name in ("tone", "falling", "rising", "cut", "long"):
        assert full(WAVEFORMS[name]) == pytest.approx(half(WAVEFORMS[name]), abs=0.02), name


def test_float32_file_is_used_as_it_is(tmp_path, content):
    path = tmp_path / "smart-turn-v3.2-gpu.onnx"
    path.write_bytes(float_model(content))
    assert float_model(path.read_bytes()) == path.read_bytes()
    model = SmartTurnV3(path)
    assert (model.dtype, model.precision) == ("float32", "the weights of the file")
    features = v3_features(WAVEFORMS["falling"])[None]
    (expected,) = open_session(path).run(None, {"input_features": features})
    assert model.twin()(WAVEFORMS["falling"]) == expected.item()
    with pytest.raises(ConfigError, match="weights of the model are float32"):
        SmartTurnV3(path, dtype="int8")


def test_rejects_a_model_that_dequantises_its_input():
    graph = helper.make_graph(
        [helper.make_node("DequantizeLinear", ["x", "scale"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.INT8, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        [numpy_helper.from_array(np.float32(0.5), "scale")],
    )
    with pytest.raises(ValueError, match="the input x of DequantizeLinear"):
        float_model(helper.make_model(graph).SerializeToString())


@pytest.mark.parametrize(
    ("machine", "flags", "expected"),
    [
        ("x86_64", "flags\t\t: fpu avx2 avx512f avx512_vnni", True),
        ("x86_64", "flags\t\t: fpu avx2 avx_vnni", True),
        ("AMD64", "flags\t\t: fpu avx2 fma", False),
        ("x86_64", "model name : unknown", None),
        ("aarch64", "Features : asimd", True),
    ],
)
def test_vnni_of_a_processor(tmp_path, machine, flags, expected):
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor : 0\n{flags}\n")
    assert has_vnni(machine, info) is expected


def test_vnni_is_unknown_without_a_description(tmp_path):
    assert has_vnni("x86_64", tmp_path / "none") is None


@pytest.mark.parametrize(
    ("stored", "dtype", "vnni", "expected"),
    [
        ("int8", "auto", True, Precision("int8", "the processor has VNNI")),
        ("int8", "auto", None, Precision("int8", "the weights of the file")),
        ("int8", "auto", False, Precision("float32", "the processor has no VNNI, from int8 weights")),
        ("int8", "int8", False, Precision("int8", "turn.dtype")),
        ("int8", "float32", True, Precision("float32", "turn.dtype, from int8 weights")),
        ("float32", "auto", True, Precision("float32", "the weights of the file")),
    ],
)
def test_choice_of_the_number_format(stored, dtype, vnni, expected):
    assert choose_precision(stored, dtype, vnni=vnni) == expected
