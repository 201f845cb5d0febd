"""Reading the weights of an ONNX file and writing a small ONNX model, without the package onnx, which imports slowly.

Both are messages of Protocol Buffers. Source of the field numbers: onnx/onnx.proto3 of onnx 1.17, which never change.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Node", "model_bytes", "read_weights"]

_FLOAT, _INT64 = 1, 7
_IR_VERSION, _OPSET = 8, 18
_VARINT, _BYTES = 0, 2
# ModelProto, GraphProto, TensorProto
_GRAPH, _INITIALIZER = 7, 5
_DIMS, _TYPE, _FLOATS, _NAME, _RAW = 1, 2, 4, 8, 9

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
        inputs: The float32 inputs and their shapes; a name stands for any size.
        outputs: The names of the float32 outputs.
    """
    graph = b"".join(_message(1, _node(*node)) for node in nodes) + _text(2, "graph")
    graph += b"".join(_message(5, _tensor(name, weight)) for name, weight in weights.items())
    graph += b"".join(_message(11, _value(name, shape)) for name, shape in inputs.items())
    graph += b"".join(_message(12, _value(name, None)) for name in outputs)
    return _integer(1, _IR_VERSION) + _message(_GRAPH, graph) + _message(8, _text(1, "") + _integer(2, _OPSET))


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
