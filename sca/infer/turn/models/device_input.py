"""The input of smart-turn models, computed on the device of the network from samples and lengths alone.

The host copies samples and nothing else: masks, normalization and spectra are made where the network runs. They follow
`sca.infer.turn.models.features`, in float32 instead of float64. Rows have one of two forms: the samples at the start of
the window (v2), or at its end (v3). What lies beside them is undefined, and is replaced by zeros here.
"""

from typing import TYPE_CHECKING

from sca.audio.mel import mel_filters
from sca.infer.turn.models.features import V3_BINS

if TYPE_CHECKING:
    import torch

__all__ = ["log_mel", "masked", "mel_constants", "normalized"]

_WINDOW_SAMPLES, _HOP_SAMPLES = 400, 160
_VARIANCE_EPS = 1e-7
_POWER_FLOOR, _DYNAMIC_RANGE = 1e-10, 8.0


def masked(samples: "torch.Tensor", lengths: "torch.Tensor", *, at_end: bool) -> "tuple[torch.Tensor, torch.Tensor]":
    """Return samples with zeros beside the audio, and the mask of the audio.

    Args:
        samples: Float32 `(batch, samples)`.
        lengths: Int64 `(batch,)`.
        at_end: Whether the audio is at the end of its row.

    Returns:
        Float32 and bool, `(batch, samples)`.
    """
    import torch

    positions = torch.arange(samples.shape[1], device=samples.device)
    inside = positions >= samples.shape[1] - lengths[:, None] if at_end else positions < lengths[:, None]
    return torch.where(inside, samples, 0.0), inside


def normalized(samples: "torch.Tensor", inside: "torch.Tensor | None" = None) -> "torch.Tensor":
    """Normalize each row to zero mean and unit variance. Silence stays silence.

    Args:
        samples: Float32 `(batch, samples)`, zeros outside of `inside`.
        inside: The samples that count, and that are normalized; None for all. The others stay zero.
    """
    import torch

    if inside is None:
        centred = samples - samples.mean(dim=1, keepdim=True)
        return centred * torch.rsqrt(centred.square().mean(dim=1, keepdim=True) + _VARIANCE_EPS)
    count = inside.sum(dim=1, keepdim=True).clamp(min=1)
    centred = torch.where(inside, samples - samples.sum(dim=1, keepdim=True) / count, 0.0)
    return centred * torch.rsqrt(centred.square().sum(dim=1, keepdim=True) / count + _VARIANCE_EPS)


def log_mel(samples: "torch.Tensor", window: "torch.Tensor", filters: "torch.Tensor") -> "torch.Tensor":
    """Return the log-mel spectrograms of `sca.audio.mel.log_mel`: float32 `(batch, 80, samples / 160)`.

    Args:
        samples: Float32 `(batch, samples)`.
        window: The first of `mel_constants`.
        filters: The second.
    """
    import torch

    # Whisper drops the last frame.
    spectrum = torch.stft(samples, _WINDOW_SAMPLES, _HOP_SAMPLES, window=window, return_complex=True)[..., :-1]
    power = torch.view_as_real(spectrum).square().sum(dim=-1)
    mel = torch.log10(torch.clamp(filters @ power, min=_POWER_FLOOR))
    loudest = mel.amax(dim=(1, 2), keepdim=True)
    return (torch.maximum(mel, loudest - _DYNAMIC_RANGE) + 4) / 4


def mel_constants() -> "tuple[torch.Tensor, torch.Tensor]":
    """Return the window `(400,)` and the filters `(80, 201)` of `log_mel`, float32."""
    import torch

    return torch.hann_window(_WINDOW_SAMPLES), torch.from_numpy(mel_filters(V3_BINS).T.copy()).float()
