"""DTLN noise suppression with onnxruntime: the model `dtln` of the catalogue, at 16 kHz.

Blocks of 512 samples every 128. The first network masks the magnitudes of the spectrum, the second one the samples of
the block; both carry the state of their recurrent layers. Source: breizhn/DTLN `real_time_processing_onnx.py`.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.data.media.enhance import Enhancer
from sca.errors import InputError, ScaError
from sca.onnx_session import open_session
from sca.textutil import first_line
from sca.units import HEARD_HZ

__all__ = ["Dtln"]

_BLOCK, _SHIFT = 512, 128
_DELAY = _BLOCK - _SHIFT
_STATE_SHAPE = (1, 2, 128, 2)


class Dtln(Enhancer):
    """The two networks in a folder.

    Raises:
        InputError: A file cannot be loaded.
    """

    rate_hz = HEARD_HZ

    def __init__(self, folder: Path) -> None:
        self._sessions = []
        for name in ("model_1.onnx", "model_2.onnx"):
            try:
                self._sessions.append(open_session(folder / name))
            except Exception as error:  # the exception classes of onnxruntime are private
                raise InputError(
                    f"{folder / name} cannot be loaded: {first_line(error)}",
                    hint="sca models get dtln fetches it again",
                ) from error

    @override
    def enhance(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        steps = -(-(len(block) + _DELAY) // _SHIFT)
        # The first block ends with the first samples, and the delay of the last block is filled with silence.
        padded = np.zeros(_DELAY + steps * _SHIFT, np.float32)
        padded[_DELAY : _DELAY + len(block)] = block
        out = np.zeros(len(padded), np.float32)
        states = [np.zeros(_STATE_SHAPE, np.float32) for _ in self._sessions]
        for start in range(0, steps * _SHIFT, _SHIFT):
            spectrum = np.fft.rfft(padded[start : start + _BLOCK])
            mask = self._step(0, np.abs(spectrum), states)
            masked = np.fft.irfft(spectrum * mask).astype(np.float32)
            out[start : start + _BLOCK] += self._step(1, masked, states)
        return out[_DELAY : _DELAY + len(block)]

    def _step(
        self, network: int, values: NDArray[np.floating], states: list[NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        """Run one network on the values of one block, and update its state."""
        session = self._sessions[network]
        first, state = (node.name for node in session.get_inputs())
        try:
            result, states[network] = session.run(
                None, {first: values.reshape(1, 1, -1).astype(np.float32), state: states[network]}
            )
        except Exception as error:  # the exception classes of onnxruntime are private
            raise ScaError(f"DTLN failed: {first_line(error)}") from error
        return np.asarray(result, np.float32).reshape(-1)
