"""The Silero VAD as matrix products: the same model with a quarter of the cost, for whole recordings.

In the model's file every frame is convolved on its own, over 4 positions, which no runtime computes fast. Here all
convolutions are products of matrices with one row per frame. The probabilities differ from those of the file by
rounding, less than 1e-4. The weights are read from the file; only the file with the known digest has this form.
"""

from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sca.audio.onnx_bytes import Node, model_bytes, read_weights
from sca.onnx_session import open_session

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

__all__ = ["WINDOW", "open_products", "windows_of"]

# silero_vad_v6.onnx of faster-whisper 1.2.1
_KNOWN = "4cbf549b8326f60f80f2536d9eefeb450a9abe83365a098031c89719f1be17d2"

WINDOW = 256
"""Samples of a window of the short-time Fourier transform."""

_HOP = 128
_POSITIONS = 4  # windows of a frame
_BINS = WINDOW // 2 + 1
_STATE = (1, 1, 128)
_LSTM = ("onnx::LSTM_209", "onnx::LSTM_210", "onnx::LSTM_211")


def open_products(model_file: Path) -> "InferenceSession | None":
    """Open the model, or return None if the file is another version.

    Its inputs are `windows`, float32 `(4 n, 256)` of `windows_of`, and the states `h` and `c`, float32 `(1, 1, 128)`.
    Its outputs are the probabilities `(n, 1)` and both states after the last frame.
    """
    content = model_file.read_bytes()
    if sha256(content).hexdigest() != _KNOWN:
        return None
    return open_session(_graph(read_weights(content)))


def windows_of(held: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the windows of frames, `(4 n, 256)`.

    Args:
        held: 64 samples of context, and the samples of n frames of 512.
    """
    count = len(held) // (_POSITIONS * _HOP)
    padded = np.zeros(len(held) + 64, np.float32)
    padded[: len(held)] = held
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::_HOP][: _POSITIONS * count].copy()
    # The last window of a frame ends 64 samples after it: the model's file mirrors the frame there.
    last = windows[_POSITIONS - 1 :: _POSITIONS]
    last[:, 192:] = last[:, 190:126:-1]
    return windows


def _graph(weights: dict[str, NDArray[np.float32]]) -> bytes:
    basis = weights["encoder.feature_extractor.forward_basis_buffer"][:, 0]
    layers = [(weights[f"encoder.conv_layers.{n}.weight"], weights[f"encoder.conv_layers.{n}.bias"]) for n in range(4)]
    constants: dict[str, NDArray[np.float32] | NDArray[np.int64]] = {
        "real_basis": basis[:_BINS].T.copy(),
        "imaginary_basis": basis[_BINS:].T.copy(),
        "frame_shape": np.array([-1, _POSITIONS * _BINS], np.int64),
        "sequence_shape": np.array([-1, *_STATE[1:]], np.int64),
        "flat_shape": np.array([-1, _STATE[2]], np.int64),
        "columns": np.array([1], np.int64),
        "from_0": np.array([0], np.int64),
        "from_1": np.array([_BINS], np.int64),
        "to_3": np.array([3 * _BINS], np.int64),
        "to_4": np.array([4 * _BINS], np.int64),
        # The first convolution makes positions 0 and 1 from 0 to 2, and 2 and 3 from 1 to 3.
        "early": _banded(layers[0][0], inputs=(0, 1, 2), outputs=(0, 1)),
        "late": _banded(layers[0][0], inputs=(1, 2, 3), outputs=(2, 3)),
        "first_bias": np.tile(layers[0][1], 2),
        # The next two have a stride of 2; of the last one, a single position is left.
        "second": _banded(layers[1][0], inputs=(0, 1, 2, 3), outputs=(0, 2)),
        "second_bias": np.tile(layers[1][1], 2),
        "third": _banded(layers[2][0], inputs=(0, 1), outputs=(0,)),
        "third_bias": layers[2][1],
        "fourth": _banded(layers[3][0], inputs=(0,), outputs=(0,)),
        "fourth_bias": layers[3][1],
        "decoder": weights["decoder.conv1d.weight"][0],
        "decoder_bias": weights["decoder.conv1d.bias"],
        **{name: weights[name] for name in _LSTM},
    }
    inputs = {"windows": ("rows", WINDOW), "h": _STATE, "c": _STATE}
    return model_bytes([*_encoder(), *_decoder()], constants, inputs, ["probabilities", "h_after", "c_after"])


def _banded(weight: NDArray[np.float32], inputs: tuple[int, ...], outputs: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the matrix of a convolution with 3 taps and one position of padding, for the given positions.

    Args:
        weight: `(channels out, channels in, 3)`.
        inputs: The positions in the rows of the matrix.
        outputs: The positions in its columns.
    """
    channels_out, channels_in, _ = weight.shape
    matrix = np.zeros((len(inputs), channels_in, len(outputs), channels_out), np.float32)
    for row, position in enumerate(inputs):
        for column, centre in enumerate(outputs):
            if abs(position - centre) <= 1:
                matrix[row, :, column] = weight[:, :, position - centre + 1].T
    return matrix.reshape(len(inputs) * channels_in, len(outputs) * channels_out)


def _encoder() -> list[Node]:
    """Return the magnitudes of the spectrum and the convolutions."""
    return [
        ("MatMul", ["windows", "real_basis"], ["real"], {}),
        ("MatMul", ["windows", "imaginary_basis"], ["imaginary"], {}),
        ("Mul", ["real", "real"], ["real_squared"], {}),
        ("Mul", ["imaginary", "imaginary"], ["imaginary_squared"], {}),
        ("Add", ["real_squared", "imaginary_squared"], ["power"], {}),
        ("Sqrt", ["power"], ["magnitudes"], {}),
        ("Reshape", ["magnitudes", "frame_shape"], ["frames"], {}),
        ("Slice", ["frames", "from_0", "to_3", "columns"], ["early_frames"], {}),
        ("Slice", ["frames", "from_1", "to_4", "columns"], ["late_frames"], {}),
        ("Gemm", ["early_frames", "early", "first_bias"], ["early_sums"], {}),
        ("Gemm", ["late_frames", "late", "first_bias"], ["late_sums"], {}),
        ("Concat", ["early_sums", "late_sums"], ["first_sums"], {"axis": 1}),
        ("Relu", ["first_sums"], ["first_layer"], {}),
        *_dense("first_layer", "second"),
        *_dense("second_layer", "third"),
        *_dense("third_layer", "fourth"),
        ("Reshape", ["fourth_layer", "sequence_shape"], ["sequence"], {}),
    ]


def _dense(source: str, name: str) -> list[Node]:
    return [
        ("Gemm", [source, name, f"{name}_bias"], [f"{name}_sums"], {}),
        ("Relu", [f"{name}_sums"], [f"{name}_layer"], {}),
    ]


def _decoder() -> list[Node]:
    """Return the LSTM and the output layer."""
    return [
        ("LSTM", ["sequence", *_LSTM, "", "h", "c"], ["states", "h_after", "c_after"], {"hidden_size": _STATE[2]}),
        ("Relu", ["states"], ["positive"], {}),
        ("Reshape", ["positive", "flat_shape"], ["flat"], {}),
        ("Gemm", ["flat", "decoder", "decoder_bias"], ["logits"], {}),
        ("Sigmoid", ["logits"], ["probabilities"], {}),
    ]
