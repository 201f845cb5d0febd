"""Read and divide an ONNX file, and write a small one, without the package onnx, which imports slowly.

Both are messages of Protocol Buffers. Source of the field numbers: onnx/onnx.proto3 of onnx 1.17, which never change.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Node", "divide", "model_bytes", "read_weights", "with_outputs"]

_FLOAT, _INT64 = 1, 7
_IR_VERSION, _OPSET = 8, 18
_VARINT, _BYTES = 0, 2
# ModelProto, GraphProto, TensorProto
_GRAPH, _INITIALIZER = 7, 5
_DIMS, _TYPE, _FLOATS, _NAME, _RAW = 1, 2, 4, 8, 9
_NODE, _GRAPH_NAME, _INPUT, _OUTPUT, _OPSETS = 1, 2, 11, 12, 8

Node = tuple[str, Sequence[str], Sequence[str], Mapping[str, int]]
"""Operator, inputs, outputs, and integer attributes."""


def read_weights(model: bytes) -> dict[str, NDArray[np.float32]]:
    """Return the float32 weights of an ONNX model by name.

    Args:
        model: The content of the file.
    """
    weights = {}
    for graph in _fields(model, _GRAPH):
        for tensor in _fields(graph, _INITIALIZER):
            if b"".join(_fields(tensor, _TYPE)) != bytes([_FLOAT]):
                continue
            dims = [_varint(raw, 0)[0] for raw in _fields(tensor, _DIMS)]
            data = b"".join(_fields(tensor, _RAW)) or b"".join(_fields(tensor, _FLOATS))
            name = b"".join(_fields(tensor, _NAME)).decode()
            weights[name] = np.frombuffer(data, "<f4").reshape(dims)
    return weights


def model_bytes(
    nodes: Sequence[Node],
    weights: Mapping[str, NDArray[np.float32] | NDArray[np.int64]],
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Sequence[str],
) -> bytes:
    """Return the content of an ONNX file.

    Args:
        nodes: The operators in order.
        weights: The constants by name, float32 or int64.
        inputs: The float32 inputs and their shapes; a name means any size.
        outputs: The names of the float32 outputs.
    """
    graph = b"".join(_message(1, _node(*node)) for node in nodes) + _text(2, "graph")
    graph += b"".join(_message(5, _tensor(name, weight)) for name, weight in weights.items())
    graph += b"".join(_message(11, _value(name, shape)) for name, shape in inputs.items())
    graph += b"".join(_message(12, _value(name, None)) for name in outputs)
    return _integer(1, _IR_VERSION) + _message(_GRAPH, graph) + _message(8, _text(1, "") + _integer(2, _OPSET))


def divide(model: bytes, at: str, noise: str, kept: Sequence[str]) -> tuple[bytes, bytes]:
    """Divide a model into the part before an operator and the part after it.

    All random operators are removed: their results become inputs, so that the result depends on the inputs alone.

    Args:
        model: The content of the file. Its operators are in the order in which they run, as ONNX requires.
        at: The output of the random operator that is the border.
        noise: The type of the random operators.
        kept: Outputs of the first part, besides what the second part needs.

    Returns:
        The first part: the inputs of the model and the noise. The second part: its inputs are the float32 tensors that
        the first part returns after `kept`, and the noise.

    Raises:
        ValueError: No operator `noise` has the output `at`.
    """
    (graph,) = _fields(model, _GRAPH)
    nodes = [_ReadNode(raw) for raw in _fields(graph, _NODE)]
    border = next((n for n, node in enumerate(nodes) if node.operator == noise and at in node.outputs), None)
    if border is None:
        raise ValueError(f"the model has no operator {noise} with the output {at}")
    weights = {b"".join(_fields(raw, _NAME)).decode(): raw for raw in _fields(graph, _INITIALIZER)}
    first, second = nodes[:border], nodes[border + 1 :]
    made = {name for node in second for name in node.outputs} | set(weights)
    wanted = {name for node in second for name in node.inputs if name and name not in made}
    constants = [node for node in first if node.operator == "Constant" and wanted & set(node.outputs)]
    wanted -= {name for node in constants for name in node.outputs}
    shared = sorted(wanted - {at})
    head = _part(model, graph, first, weights, noise, None, [*kept, *shared])
    tail = _part(model, graph, [*constants, *second], weights, noise, [*shared, at], None)
    return head, tail


def with_outputs(model: bytes, names: Sequence[str]) -> bytes:
    """Return a model that also returns some of its inner float32 tensors, after its other outputs.

    Args:
        model: The content of the file.
        names: The names of the tensors.
    """
    # Parts of one message may follow each other: readers of Protocol Buffers merge them, and append lists.
    return model + _message(_GRAPH, b"".join(_message(_OUTPUT, _value(name, None)) for name in names))


class _ReadNode:
    """A NodeProto: its bytes, and the names in it."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.inputs = [name.decode() for name in _fields(raw, 1)]
        self.outputs = [name.decode() for name in _fields(raw, 2)]
        self.operator = b"".join(_fields(raw, 4)).decode()


def _part(
    model: bytes,
    graph: bytes,
    nodes: Sequence[_ReadNode],
    weights: Mapping[str, bytes],
    noise: str,
    inputs: Sequence[str] | None,
    outputs: Sequence[str] | None,
) -> bytes:
    """Return a model of some operators. If inputs or outputs are None, those of the whole model are used."""
    used = {name for node in nodes for name in node.inputs}
    kept = b"".join(_message(_NODE, node.raw) for node in nodes if node.operator != noise) + _text(_GRAPH_NAME, "part")
    kept += b"".join(_message(_INITIALIZER, raw) for name, raw in weights.items() if name in used)
    drawn = [node.outputs[0] for node in nodes if node.operator == noise]
    if inputs is None:
        kept += b"".join(_message(_INPUT, raw) for raw in _fields(graph, _INPUT))
    kept += b"".join(_message(_INPUT, _value(name, None)) for name in [*(inputs or ()), *drawn])
    if outputs is None:
        kept += b"".join(_message(_OUTPUT, raw) for raw in _fields(graph, _OUTPUT))
    kept += b"".join(_message(_OUTPUT, _value(name, None)) for name in outputs or ())
    opsets = b"".join(_message(_OPSETS, raw) for raw in _fields(model, _OPSETS))
    return _integer(1, _IR_VERSION) + opsets + _message(_GRAPH, kept)


def _fields(message: bytes, wanted: int) -> Iterator[bytes]:
    """Yield the content of every field with the number `wanted`."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        if key & 7 == _VARINT:
            end = _varint(message, at)[1]
        elif key & 7 == _BYTES:
            size, at = _varint(message, at)
            end = at + size
        else:
            end = at + {1: 8, 5: 4}[key & 7]
        if key >> 3 == wanted:
            yield message[at:end]
        at = end


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Return the number at `at`, and where it ends."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _integer(field: int, value: int) -> bytes:
    return _number(field << 3 | _VARINT) + _number(value)


def _message(field: int, content: bytes) -> bytes:
    return _number(field << 3 | _BYTES) + _number(len(content)) + content


def _text(field: int, text: str) -> bytes:
    return _message(field, text.encode())


def _node(operator: str, inputs: Sequence[str], outputs: Sequence[str], attributes: Mapping[str, int]) -> bytes:
    attribute_type = 2  # AttributeProto.INT
    found = b"".join(_text(1, name) for name in inputs) + b"".join(_text(2, name) for name in outputs)
    found += _text(4, operator)
    for name, value in attributes.items():
        found += _message(5, _text(1, name) + _integer(3, value) + _integer(20, attribute_type))
    return found


def _tensor(name: str, weight: NDArray[np.float32] | NDArray[np.int64]) -> bytes:
    kind = _FLOAT if weight.dtype == np.float32 else _INT64
    dims = b"".join(_integer(_DIMS, size) for size in weight.shape)
    return dims + _integer(_TYPE, kind) + _text(_NAME, name) + _message(_RAW, weight.tobytes())


def _value(name: str, shape: Sequence[int | str] | None) -> bytes:
    tensor = _integer(1, _FLOAT)
    if shape is not None:
        dims = (_text(2, size) if isinstance(size, str) else _integer(1, size) for size in shape)
        tensor += _message(2, b"".join(_message(1, dim) for dim in dims))
    return _text(1, name) + _message(2, _message(1, tensor))
