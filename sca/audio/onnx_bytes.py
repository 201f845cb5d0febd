"""Read and divide an ONNX file, and write a small one, without the package onnx, which imports slowly.

Both are messages of Protocol Buffers. Source of the field numbers: onnx/onnx.proto3 of onnx 1.17, which never change.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Node",
    "ReadNode",
    "divide",
    "fields",
    "message_bytes",
    "model_bytes",
    "other_fields",
    "part_between",
    "read_array",
    "read_weights",
    "tensor_bytes",
    "text_bytes",
]

_FLOAT, _INT64 = 1, 7
_TYPES = {_FLOAT: "<f4", 2: "u1", 3: "i1", 6: "<i4", _INT64: "<i8"}
_IR_VERSION, _OPSET = 8, 18
_VARINT, _BYTES = 0, 2
# ModelProto, GraphProto, TensorProto
_GRAPH, _INITIALIZER = 7, 5
_DIMS, _TYPE, _FLOATS, _INT32S, _INT64S, _NAME, _RAW = 1, 2, 4, 5, 7, 8, 9
_VALUE_NAME = 1
_NODE, _GRAPH_NAME, _INPUT, _OUTPUT, _OPSETS = 1, 2, 11, 12, 8

Node = tuple[str, Sequence[str], Sequence[str], Mapping[str, int]]
"""Operator, inputs, outputs, and integer attributes."""


def read_weights(model: bytes) -> dict[str, NDArray[np.float32]]:
    """Return the float32 weights of an ONNX model by name.

    Args:
        model: The content of the file.
    """
    return {name: weight for name, weight in _arrays(model) if weight.dtype == np.float32}


def _arrays(model: bytes) -> Iterator[tuple[str, NDArray[Any]]]:
    for graph in fields(model, _GRAPH):
        for tensor in fields(graph, _INITIALIZER):
            if varint(b"".join(fields(tensor, _TYPE)), 0)[0] == _FLOAT:
                yield read_array(tensor)


def read_array(tensor: bytes) -> tuple[str, NDArray[Any]]:
    """Return the name and the values of a TensorProto.

    Raises:
        ValueError: Its number format is none of float32, int64, int32, int8 and uint8.
    """
    name = b"".join(fields(tensor, _NAME)).decode()
    kind = varint(b"".join(fields(tensor, _TYPE)), 0)[0]
    dims = [varint(raw, 0)[0] for raw in fields(tensor, _DIMS)]
    if kind not in _TYPES:
        raise ValueError(f"the tensor {name} has the number format {kind}, which is not supported")
    data = b"".join(fields(tensor, _RAW)) or (b"".join(fields(tensor, _FLOATS)) if kind == _FLOAT else b"")
    if not data and kind != _FLOAT:
        return name, _packed(b"".join(fields(tensor, _INT64S if kind == _INT64 else _INT32S)), _TYPES[kind], dims)
    return name, np.frombuffer(data, _TYPES[kind]).reshape(dims)


def _packed(data: bytes, dtype: str, dims: Sequence[int]) -> NDArray[Any]:
    """Return integers of variable length. Negative ones are stored as their complement in 64 bits."""
    values, at = [], 0
    while at < len(data):
        value, at = varint(data, at)
        values.append(value)
    return np.array(values, np.uint64).astype(np.int64).astype(dtype).reshape(dims)


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
    graph = b"".join(message_bytes(1, _node(*node)) for node in nodes) + text_bytes(2, "graph")
    graph += b"".join(message_bytes(5, tensor_bytes(name, weight)) for name, weight in weights.items())
    graph += b"".join(message_bytes(11, _value(name, shape)) for name, shape in inputs.items())
    graph += b"".join(message_bytes(12, _value(name, None)) for name in outputs)
    return (
        _integer(1, _IR_VERSION)
        + message_bytes(_GRAPH, graph)
        + message_bytes(8, text_bytes(1, "") + _integer(2, _OPSET))
    )


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
    (graph,) = fields(model, _GRAPH)
    nodes = [ReadNode(raw) for raw in fields(graph, _NODE)]
    border = next((n for n, node in enumerate(nodes) if node.operator == noise and at in node.outputs), None)
    if border is None:
        raise ValueError(f"the model has no operator {noise} with the output {at}")
    weights = {b"".join(fields(raw, _NAME)).decode(): raw for raw in fields(graph, _INITIALIZER)}
    first, second = nodes[:border], nodes[border + 1 :]
    made = {name for node in second for name in node.outputs} | set(weights)
    wanted = {name for node in second for name in node.inputs if name and name not in made}
    constants = [node for node in first if node.operator == "Constant" and wanted & set(node.outputs)]
    wanted -= {name for node in constants for name in node.outputs}
    shared = sorted(wanted - {at})
    head = _part(model, graph, first, weights, noise, None, [*kept, *shared])
    tail = _part(model, graph, [*constants, *second], weights, noise, [*shared, at], None)
    return head, tail


def part_between(model: bytes, given: Sequence[str], wanted: Sequence[str]) -> bytes:
    """Return the part of a model that computes some float32 tensors.

    Args:
        model: The content of the file. Its operators are in the order in which they run, as ONNX requires.
        given: Float32 tensors inside it that become inputs of the part, after those inputs of the model that it needs.
        wanted: The outputs of the part.

    Raises:
        ValueError: The model has no such tensor.
    """
    (graph,) = fields(model, _GRAPH)
    nodes = [ReadNode(raw) for raw in fields(graph, _NODE)]
    made = {name for node in nodes for name in node.outputs}
    if missing := [name for name in (*given, *wanted) if name not in made]:
        raise ValueError(f"the model has no tensor {missing[0]}")
    needed, kept = set(wanted), []
    for node in reversed(nodes):
        if not needed.isdisjoint(set(node.outputs).difference(given)):
            needed.update(node.inputs)
            kept.append(node)
    parts = [message_bytes(_NODE, node.raw) for node in reversed(kept)] + [text_bytes(_GRAPH_NAME, "part")]
    for field in (_INITIALIZER, _INPUT):
        name_field = _NAME if field == _INITIALIZER else _VALUE_NAME
        named = ((b"".join(fields(raw, name_field)).decode(), raw) for raw in fields(graph, field))
        parts += [message_bytes(field, raw) for name, raw in named if name in needed]
    parts += [message_bytes(_INPUT, _value(name, None)) for name in given]
    parts += [message_bytes(_OUTPUT, _value(name, None)) for name in wanted]
    return _whole(model, b"".join(parts))


class ReadNode:
    """A NodeProto: its bytes, and the names in it."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.inputs = [name.decode() for name in fields(raw, 1)]
        self.outputs = [name.decode() for name in fields(raw, 2)]
        self.operator = b"".join(fields(raw, 4)).decode()


def _part(
    model: bytes,
    graph: bytes,
    nodes: Sequence[ReadNode],
    weights: Mapping[str, bytes],
    noise: str,
    inputs: Sequence[str] | None,
    outputs: Sequence[str] | None,
) -> bytes:
    """Return a model of some operators. If inputs or outputs are None, those of the whole model are used."""
    used = {name for node in nodes for name in node.inputs}
    kept = b"".join(message_bytes(_NODE, node.raw) for node in nodes if node.operator != noise) + text_bytes(
        _GRAPH_NAME, "part"
    )
    kept += b"".join(message_bytes(_INITIALIZER, raw) for name, raw in weights.items() if name in used)
    drawn = [node.outputs[0] for node in nodes if node.operator == noise]
    if inputs is None:
        kept += b"".join(message_bytes(_INPUT, raw) for raw in fields(graph, _INPUT))
    kept += b"".join(message_bytes(_INPUT, _value(name, None)) for name in [*(inputs or ()), *drawn])
    if outputs is None:
        kept += b"".join(message_bytes(_OUTPUT, raw) for raw in fields(graph, _OUTPUT))
    kept += b"".join(message_bytes(_OUTPUT, _value(name, None)) for name in outputs or ())
    return _whole(model, kept)


def _whole(model: bytes, graph: bytes) -> bytes:
    """Return a file with a graph, for the operators of `model`."""
    opsets = b"".join(message_bytes(_OPSETS, raw) for raw in fields(model, _OPSETS))
    return _integer(1, _IR_VERSION) + opsets + message_bytes(_GRAPH, graph)


def fields(message: bytes, wanted: int) -> Iterator[bytes]:
    """Yield the content of every field with the number `wanted`."""
    at = 0
    while at < len(message):
        key, start, at = _field(message, at)
        if key >> 3 == wanted:
            yield message[start:at]


def _field(message: bytes, at: int) -> tuple[int, int, int]:
    """Return the key of the field at `at`, and where its content starts and ends."""
    key, at = varint(message, at)
    if key & 7 == _VARINT:
        return key, at, varint(message, at)[1]
    if key & 7 == _BYTES:
        size, at = varint(message, at)
        return key, at, at + size
    return key, at, at + {1: 8, 5: 4}[key & 7]


def other_fields(message: bytes, dropped: int) -> bytes:
    """Return a message without the fields with the number `dropped`."""
    kept, at = [], 0
    while at < len(message):
        start = at
        key, _, at = _field(message, at)
        if key >> 3 != dropped:
            kept.append(message[start:at])
    return b"".join(kept)


def varint(message: bytes, at: int) -> tuple[int, int]:
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


def message_bytes(field: int, content: bytes) -> bytes:
    """Return a field that contains a message or a text."""
    return _number(field << 3 | _BYTES) + _number(len(content)) + content


def text_bytes(field: int, text: str) -> bytes:
    """Return a field that contains a text."""
    return message_bytes(field, text.encode())


def _node(operator: str, inputs: Sequence[str], outputs: Sequence[str], attributes: Mapping[str, int]) -> bytes:
    attribute_type = 2  # AttributeProto.INT
    found = b"".join(text_bytes(1, name) for name in inputs) + b"".join(text_bytes(2, name) for name in outputs)
    found += text_bytes(4, operator)
    for name, value in attributes.items():
        found += message_bytes(5, text_bytes(1, name) + _integer(3, value) + _integer(20, attribute_type))
    return found


def tensor_bytes(name: str, weight: NDArray[np.float32] | NDArray[np.int64]) -> bytes:
    """Return a TensorProto."""
    kind = _FLOAT if weight.dtype == np.float32 else _INT64
    dims = b"".join(_integer(_DIMS, size) for size in weight.shape)
    return dims + _integer(_TYPE, kind) + text_bytes(_NAME, name) + message_bytes(_RAW, weight.tobytes())


def _value(name: str, shape: Sequence[int | str] | None) -> bytes:
    tensor = _integer(1, _FLOAT)
    if shape is not None:
        dims = (text_bytes(2, size) if isinstance(size, str) else _integer(1, size) for size in shape)
        tensor += message_bytes(2, b"".join(message_bytes(1, dim) for dim in dims))
    return text_bytes(1, name) + message_bytes(2, message_bytes(1, tensor))
