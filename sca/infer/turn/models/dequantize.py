"""The float32 model of an int8 one, for smart-turn v3: quantised weights become float32, and activations are not rounded.

An int8 file in the format QDQ has `DequantizeLinear` after every quantised weight, and a pair of `QuantizeLinear` and
`DequantizeLinear` at every rounded activation. Source of the formula, `(x - zero point) × scale` along `axis`:
onnx/docs/Operators.md of onnx 1.17. Rounded weights stay rounded: only the file of the authors for a GPU has others.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sca.audio.onnx_bytes import (
    ReadNode,
    fields,
    message_bytes,
    other_fields,
    read_array,
    tensor_bytes,
    text_bytes,
    varint,
)

__all__ = ["float_model", "v3_parameters"]

# Field numbers of ModelProto, GraphProto, NodeProto and AttributeProto in onnx/onnx.proto3
_GRAPH, _NODE, _INITIALIZER = 7, 1, 5
_INPUTS, _ATTRIBUTES = 1, 5
_NAME, _INTEGER = 1, 3
_QUANTISE, _DEQUANTISE = "QuantizeLinear", "DequantizeLinear"


def float_model(model: bytes) -> bytes:
    """Return the float32 model of an int8 model. A model without int8 weights is returned unchanged.

    Args:
        model: The content of an .onnx file.

    Raises:
        ValueError: The model is not in the format QDQ.
    """
    (graph,) = fields(model, _GRAPH)
    nodes = [ReadNode(raw) for raw in fields(graph, _NODE)]
    if not any(node.operator == _DEQUANTISE for node in nodes):
        return model
    stored = dict(read_array(raw) for raw in fields(graph, _INITIALIZER))
    weights, same = _resolve(nodes, stored)
    kept = [node for node in nodes if node.operator not in (_QUANTISE, _DEQUANTISE)]
    used = {same.get(name, name) for node in kept for name in node.inputs}
    content = other_fields(other_fields(graph, _NODE), _INITIALIZER)
    content += b"".join(message_bytes(_NODE, _renamed(node, same)) for node in kept)
    tensors = {**stored, **weights}
    content += b"".join(
        message_bytes(_INITIALIZER, tensor_bytes(name, tensors[name])) for name in tensors if name in used
    )
    return other_fields(model, _GRAPH) + message_bytes(_GRAPH, content)


def _resolve(
    nodes: Sequence[ReadNode], stored: Mapping[str, NDArray[Any]]
) -> tuple[dict[str, NDArray[np.float32]], dict[str, str]]:
    """Return the dequantised weights, and for each output of a removed operator the name that replaces it.

    Raises:
        ValueError: An operator dequantises what was never quantised.
    """
    weights: dict[str, NDArray[np.float32]] = {}
    source: dict[str, str] = {}  # of a quantised activation
    same: dict[str, str] = {}
    for node in nodes:
        if node.operator == _QUANTISE:
            source[node.outputs[0]] = same.get(node.inputs[0], node.inputs[0])
        elif node.operator == _DEQUANTISE and node.inputs[0] in stored:
            weights[node.outputs[0]] = _dequantise([stored[name] for name in node.inputs], _axis(node))
        elif node.operator == _DEQUANTISE:
            if node.inputs[0] not in source:
                raise ValueError(f"the input {node.inputs[0]} of DequantizeLinear is not quantised in this model")
            same[node.outputs[0]] = source[node.inputs[0]]
    return weights, same


def _axis(node: ReadNode) -> int:
    for attribute in fields(node.raw, _ATTRIBUTES):
        if b"".join(fields(attribute, _NAME)) == b"axis":
            (value,) = fields(attribute, _INTEGER)
            return varint(value, 0)[0]
    return 1


def _dequantise(inputs: Sequence[NDArray[Any]], axis: int) -> NDArray[np.float32]:
    values, scale, *zero = inputs
    offset = zero[0].astype(np.int64) if zero else np.zeros((), np.int64)
    if scale.ndim:  # one per slice
        shape = [-1 if n == axis else 1 for n in range(values.ndim)]
        scale, offset = scale.reshape(shape), offset.reshape(shape)
    return np.asarray((values.astype(np.int64) - offset).astype(np.float32) * scale, np.float32)


def _renamed(node: ReadNode, same: Mapping[str, str]) -> bytes:
    inputs = b"".join(text_bytes(_INPUTS, same.get(name, name)) for name in node.inputs)
    return inputs + other_fields(node.raw, _INPUTS)


def v3_parameters(model: bytes) -> dict[str, NDArray[np.float32]]:
    """Return the weights of smart-turn v3 under their names in torch, such as `encoder.layers.0.fc1.weight`.

    The exporter of torch transposes the weight of a `Linear` after 3-dimensional input, and drops its name. The name
    follows from the bias that is added to the product. The projection of keys has no bias; its input is that of the
    queries.

    Args:
        model: The content of an .onnx file, int8 or float32.

    Raises:
        ValueError: The model is not in the format QDQ, or a weight has no name.
    """
    (graph,) = fields(float_model(model), _GRAPH)
    nodes = [ReadNode(raw) for raw in fields(graph, _NODE)]
    tensors = dict(read_array(raw) for raw in fields(graph, _INITIALIZER))
    found = {_short(name): tensor for name, tensor in tensors.items() if name.startswith("inner.")}
    products = {node.outputs[0]: node for node in nodes if node.operator == "MatMul" and node.inputs[1] in tensors}
    queries: dict[str, str] = {}
    for node in nodes:
        bias = next((name for name in node.inputs if name in tensors and name.endswith(".bias")), None)
        product = next((products.pop(name) for name in node.inputs if name in products), None)
        if node.operator == "Add" and bias is not None and product is not None:
            name = _short(bias).removesuffix("bias")
            found[f"{name}weight"] = tensors[product.inputs[1]].T
            queries[product.inputs[0]] = re.sub(r"\.\w+\.$", "", name)
        elif product is not None:  # the keys, as a rule; found below
            products[product.outputs[0]] = product
    for product in products.values():
        if product.inputs[0] not in queries:
            raise ValueError(f"the weight {product.inputs[1]} has no name")
        found[f"{queries[product.inputs[0]]}.k_proj.weight"] = tensors[product.inputs[1]].T
    return found


def _short(name: str) -> str:
    return name.removeprefix("inner.").removesuffix("_DequantizeLinear_Output")
