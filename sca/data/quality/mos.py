"""How good a recording sounds to listeners, predicted by DNSMOS: the mean opinion scores of ITU-T P.835 and P.808.

Models and procedure are those of the DNS Challenge (`DNSMOS/dnsmos_local.py` in microsoft/DNS-Challenge, as packaged in
speechmos 0.0.1.1): windows of 9.01 s at 16 kHz every second; polynomials that fit the outputs of the P.835 model to
scores; the mean over the windows. C. Reddy et al., "DNSMOS P.835" (ICASSP 2022, arXiv:2110.01763). Of a recording with
more windows than `MOST_WINDOWS`, that many are taken, evenly spread: with all of them an hour would take an hour of
processor time. Shorter recordings have the scores of the published script.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sca.audio.coded.reading import AS_DEFAULT, Reading
from sca.audio.decode import BlockReader, probe
from sca.audio.mel import mel_filters
from sca.audio.resample import StreamResampler
from sca.errors import InputError
from sca.models import resolve
from sca.onnx_session import open_session
from sca.textutil import first_line
from sca.units import HEARD_HZ

__all__ = ["MOST_WINDOWS", "Mos", "MosModel", "load_mos", "score_recording"]

MOST_WINDOWS = 20
_WINDOW = 144_160  # 9.01 s
_FFT, _HOP, _BANDS = 321, 160, 120
_READ_S = 30
_MODEL = "pkg:dnsmos"
# From the highest power, as np.polyval takes them; those of recordings that are not personalized.
_SIG = (-0.08397278, 1.22083953, 0.0052439)
_BAK = (-0.13166888, 1.60915514, -0.39604546)
_OVRL = (-0.06766283, 1.11546468, 0.04602535)


class Mos(NamedTuple):
    """Mean opinion scores from 1 (bad) to 5 (excellent).

    Attributes:
        ovrl: The overall quality (P.835).
        sig: The quality of the speech.
        bak: How little the background disturbs.
        p808: The overall quality (P.808), by the other model.
    """

    ovrl: float
    sig: float
    bak: float
    p808: float

    @classmethod
    def of(cls, document: object) -> "Mos | None":
        """Return the scores in a ledger; None if there are none."""
        if not isinstance(document, dict) or set(document) != set(cls._fields):
            return None
        return cls(**document)


class MosModel:
    """The two models. Threads may share them."""

    def __init__(self, folder: Path) -> None:
        """Load the models.

        Raises:
            InputError: A file is not such a model.
        """
        try:
            self._p835 = open_session(folder / "sig_bak_ovr.onnx")
            self._p808 = open_session(folder / "model_v8.onnx")
        except Exception as error:  # the exception classes of onnxruntime are private
            raise InputError(
                f"the models in {folder} cannot be loaded: {first_line(error)}", hint="sca models get dnsmos"
            ) from error

    def score(self, windows: Iterable[NDArray[np.float32]]) -> Mos:
        """Return the mean scores of windows, float32 `(144160,)` each.

        Raises:
            ValueError: There is no window.
        """
        scores = [self._score(window) for window in windows]
        if not scores:
            raise ValueError("no window")
        return Mos(*(round(float(value), 3) for value in np.mean(scores, axis=0)))

    def _score(self, window: NDArray[np.float32]) -> tuple[float, float, float, float]:
        sig, bak, ovrl = self._p835.run(None, {"input_1": window[None]})[0][0].astype(np.float64)
        p808 = float(self._p808.run(None, {"input_1": _mel(window)[None]})[0][0, 0])
        return float(np.polyval(_OVRL, ovrl)), float(np.polyval(_SIG, sig)), float(np.polyval(_BAK, bak)), p808


@cache
def load_mos() -> MosModel:
    """Load DNSMOS once per process.

    Raises:
        MissingToolError: It is not on this machine: `sca models get dnsmos`.
        InputError: A file is not such a model.
    """
    folder = resolve(_MODEL)
    assert folder is not None  # for every name of the catalogue
    return MosModel(folder)


def score_recording(path: Path, model: MosModel, reading: Reading = AS_DEFAULT) -> Mos:
    """Return the scores of a recording.

    Args:
        path: The recording.
        model: The models.
        reading: The track to read, and the damage to accept.

    Raises:
        InputError: It cannot be decoded, or has no sound.
    """
    samples = sum(map(len, _blocks(path, reading)))  # headers may be wrong about the length
    if not samples:
        raise InputError(f"{path} has no sound")
    if samples < _WINDOW:
        whole = np.concatenate(list(_blocks(path, reading)))
        while len(whole) < _WINDOW:
            whole = np.concatenate([whole, whole])
        return model.score(_windows(iter([whole]), _starts(len(whole))))
    return model.score(_windows(_blocks(path, reading), _starts(samples)))


def _blocks(path: Path, reading: Reading) -> Iterator[NDArray[np.float32]]:
    """Yield the samples of a recording at 16 kHz."""
    rate_hz = probe(path, reading=reading).rate_hz
    resampler = StreamResampler(rate_hz, HEARD_HZ)
    for block in BlockReader(path, _READ_S * rate_hz, reading=reading):
        yield np.clip(resampler.push(block), -1, 1)
    yield np.clip(resampler.flush(), -1, 1)


def _starts(samples: int) -> list[int]:
    """Return where windows begin: at every second, or at `MOST_WINDOWS` of these."""
    count = max(1, int(samples // HEARD_HZ - _WINDOW / HEARD_HZ) + 1)
    chosen = np.unique(np.linspace(0, count - 1, min(count, MOST_WINDOWS)).round().astype(int))
    return [int(second) * HEARD_HZ for second in chosen]


def _windows(blocks: Iterator[NDArray[np.float32]], starts: Iterable[int]) -> Iterator[NDArray[np.float32]]:
    """Yield the windows that begin at samples, ascending; holds no more than a window and a block."""
    held, first = np.zeros(0, np.float32), 0
    for start in starts:
        while first + len(held) < start + _WINDOW:
            block = next(blocks, None)
            if block is None:
                return
            kept = held[max(0, start - first) :]
            first, held = first + len(held) - len(kept), np.concatenate([kept, block])
        yield held[start - first :][:_WINDOW]


@cache
def _hann_and_filters() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a periodic Hann window `(321,)` and Slaney's filters `(161, 120)`."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_FFT) / _FFT)
    return hann, mel_filters(_BANDS, np.asarray(np.fft.rfftfreq(_FFT, 1 / HEARD_HZ), np.float64))


def _mel(window: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the input of the P.808 model, float32 `(900, 120)`: decibels below the largest value as (dB + 40) / 40.

    It is `librosa.feature.melspectrogram` and `librosa.power_to_db(ref=np.max)` of all but the last 10 ms.
    """
    hann, filters = _hann_and_filters()
    padded = np.pad(window[:-_HOP].astype(np.float64), _FFT // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::_HOP]
    power = np.square(np.abs(np.fft.rfft(frames * hann))) @ filters
    decibels = 10 * np.log10(np.maximum(power, 1e-10)) - 10 * np.log10(max(float(power.max()), 1e-10))
    result: NDArray[np.float32] = ((np.maximum(decibels, -80) + 40) / 40).astype(np.float32)
    return result
