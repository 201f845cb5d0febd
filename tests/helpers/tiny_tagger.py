"""Tiny AudioSet taggers in the file layouts of the real ones. Laughter is noise above 7 kHz.

The ONNX file takes CED's input (mel in decibels, bins or frames first) or a waveform. The score of laughter is one half
where half the window is as loud as `noise`, so an event starts and ends where the noise does.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HZ = 16000
LABELS = ("Speech", "Laughter", "Applause", "Music")
LOW = -20.0  # logit of an absent class


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    """Return white noise between 7.2 and 8 kHz with an RMS of 0.1 of full scale."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(int(seconds * HZ)))
    spectrum[: int(len(spectrum) * 0.9)] = 0
    found = np.fft.irfft(spectrum, int(seconds * HZ))
    return (0.1 * found / np.sqrt(np.mean(found**2))).astype(np.float32)


def write(
    path: Path,
    shape: tuple = ("batch", 64, "time"),
    *,
    labels: tuple = LABELS,
    metadata: dict[str, str] | None = None,
    logits: bool = False,
    names: bool = True,
) -> Path:
    """Write a tagger.

    Args:
        path: The ONNX file.
        shape: Shape of its input.
        labels: Names of its classes.
        metadata: Metadata of the ONNX file.
        logits: Return logits instead of probabilities.
        names: Write AudioSet's class_labels_indices.csv beside the model.

    Returns:
        `path`.
    """
    from sca.data.reactions.mel import ced_mel

    if len(shape) == 2:
        full, power = 0.01, [("Mul", ["in", "in"], "power")]
        axes, bands = [1], np.ones(1)
    else:
        full = float(np.mean(10 ** (ced_mel(noise(2))[:, 61:] / 10)))
        power = [("Mul", ["in", "tenth"], "scaled"), ("Exp", ["scaled"], "power")]
        axes = [2 if shape[1] == 64 else 1]
        bands = np.where(np.arange(64) >= 61, 1 / 3, 0)
    weights = np.zeros((len(bands), len(labels)), np.float32)
    bias = np.full(len(labels), LOW, np.float32)
    weights[:, labels.index("Laughter")] = bands * 8 / full
    bias[labels.index("Laughter")] = -4.0
    constants = {
        "tenth": np.float32(np.log(10) / 10),
        "axes": np.array(axes, np.int64),
        "weights": weights,
        "bias": bias,
    }
    steps = [
        *power,
        ("ReduceMean", ["power", "axes"], "mean"),
        ("MatMul", ["mean", "weights"], "product"),
        ("Add", ["product", "bias"], "logits"),
        ("Sigmoid", ["logits"], "prob"),
    ]
    nodes = [
        helper.make_node(kind, inputs, [output], **({"keepdims": int(len(shape) == 2)} if kind == "ReduceMean" else {}))
        for kind, inputs, output in (steps[:-1] if logits else steps)
    ]
    graph = helper.make_graph(
        nodes,
        "tagger",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info("logits" if logits else "prob", TensorProto.FLOAT, [shape[0], len(labels)])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, metadata or {})
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    if names:
        rows = [f'{i},/m/{i},"{label}"' for i, label in enumerate(labels)]
        path.with_name("class_labels_indices.csv").write_text("\n".join(["index,mid,display_name", *rows, ""]))
    return path
