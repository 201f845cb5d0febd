"""The networks of smart-turn in torch, with the parameter names of the published weights.

Both map samples `(batch, samples)` at 16 kHz and lengths `(batch,)` to probabilities `(batch,)`. A row does not depend
on the others, nor on what lies beside its audio. Rows of length 0 fill a batch; their result is undefined.

Sources: `Wav2Vec2ForEndpointing` of pipecat-ai/smart-turn, as in `local_smart_turn_v2.py` of pipecat-ai 1.14
(BSD-2-Clause), and the graph of `smart-turn-v3.2-cpu.onnx` in the same package.
"""

from functools import cache
from typing import TYPE_CHECKING

from typing_extensions import override

from sca.infer.turn.models.device_input import log_mel, masked, mel_constants, normalized
from sca.infer.turn.models.features import V3_BINS, V3_SAMPLES

if TYPE_CHECKING:
    import torch
    from transformers import Wav2Vec2PreTrainedModel

__all__ = ["network_class", "v3_network_class"]

_MASKED_SCORE = -1e9
_HIDDEN = 256  # of the classifier and of the pooling


def _pool(hidden: "torch.Tensor", scores: "torch.Tensor", kept: "torch.Tensor | None") -> "torch.Tensor":
    """Return the mean of frames `(batch, frames, width)`, weighted by the softmax of scores `(batch, frames, 1)`."""
    import torch

    scores = scores.float()  # float16 cannot hold the score of a masked frame
    if kept is not None:
        scores = scores.masked_fill(~kept[..., None], _MASKED_SCORE)
    return (hidden * torch.softmax(scores, dim=1)).sum(dim=1).to(hidden.dtype)


def _heads(width: int) -> "tuple[torch.nn.Sequential, torch.nn.Sequential]":
    """Return the pooling and the classifier, which v2 and v3 share."""
    from torch import nn

    pool = nn.Sequential(nn.Linear(width, _HIDDEN), nn.Tanh(), nn.Linear(_HIDDEN, 1))
    return pool, nn.Sequential(
        nn.Linear(width, _HIDDEN),
        nn.LayerNorm(_HIDDEN),
        nn.GELU(),
        nn.Dropout(0.1),
        nn.Linear(_HIDDEN, 64),
        nn.GELU(),
        nn.Linear(64, 1),
    )


@cache
def v3_network_class() -> "type[torch.nn.Module]":
    """Return the class of the v3 network, which needs torch and transformers. The audio is at the end of its row.

    Its children, which have weights, may have 16 bits; its constants remain float32.
    """
    import torch
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    class SmartTurnV3Network(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            config = WhisperConfig(
                d_model=384,
                encoder_layers=4,
                encoder_attention_heads=6,
                encoder_ffn_dim=1536,
                num_mel_bins=V3_BINS,
                max_source_positions=V3_SAMPLES // 320,
            )
            self.encoder = WhisperEncoder(config)
            self.pool_attention, self.classifier = _heads(config.d_model)
            for name, constant in zip(("window", "filters"), mel_constants(), strict=True):
                self.register_buffer(name, constant, persistent=False)

        @override
        def forward(self, samples: "torch.Tensor", lengths: "torch.Tensor") -> "torch.Tensor":
            # The zeros before short audio are part of the input, so they count for mean and variance.
            features = log_mel(normalized(masked(samples, lengths, at_end=True)[0]), self.window, self.filters)
            hidden = self.encoder(features.to(self.encoder.dtype))[0]
            pooled = _pool(hidden, self.pool_attention(hidden), None)
            return torch.sigmoid(self.classifier(pooled).float())[:, 0]

    return SmartTurnV3Network


@cache
def network_class() -> "type[Wav2Vec2PreTrainedModel]":
    """Return the class of the v2 network, which needs torch and transformers. The audio is at the start of its row.

    Attributes `window_samples` (the length that published weights expect) and `normalizes` are set after loading. Rows
    may be shorter than the window, with the same result: one normalization of the encoder counts all frames of the
    window, and those that are missing are zero.
    """
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2Model, Wav2Vec2PreTrainedModel

    class LengthMasked(Wav2Vec2Model):  # type: ignore[misc]
        """A Wav2Vec2Model whose `attention_mask` is the lengths `(batch,)`."""

        def _get_feature_vector_attention_mask(
            self, feature_vector_length: int, attention_mask: "torch.Tensor", add_adapter: bool | None = None
        ) -> "torch.Tensor":
            count = self._get_feat_extract_output_lengths(attention_mask, add_adapter)
            # As in the method that this replaces: less audio than one frame attends to everything.
            count = torch.where(count > 0, count, feature_vector_length)
            return torch.arange(feature_vector_length, device=count.device) < count[:, None]

    class WindowNorm(torch.nn.GroupNorm):  # type: ignore[misc]
        """Normalizes every channel over a window of `window_frames`, of which the first are given and the rest zero."""

        window_frames = 0

        @override
        def forward(self, x: "torch.Tensor") -> "torch.Tensor":
            frames = x.shape[-1]
            if frames >= self.window_frames:
                return super().forward(x)
            wide = x.float()
            mean = wide.sum(dim=-1, keepdim=True) / self.window_frames
            rest = (self.window_frames - frames) * mean.square()
            variance = ((wide - mean).square().sum(dim=-1, keepdim=True) + rest) / self.window_frames
            scaled = (wide - mean) * torch.rsqrt(variance + self.eps)
            return (scaled * self.weight[:, None] + self.bias[:, None]).to(x.dtype)

    class Wav2Vec2ForEndpointing(Wav2Vec2PreTrainedModel):  # type: ignore[misc]
        def __init__(self, config: Wav2Vec2Config) -> None:
            super().__init__(config)
            self.wav2vec2 = LengthMasked(config)
            self.pool_attention, self.classifier = _heads(config.hidden_size)
            self.window_samples, self.normalizes = 0, True
            first = self.wav2vec2.feature_extractor.conv_layers[0]
            # With biases, the frames of missing samples would not be zero.
            self.cuts = isinstance(getattr(first, "layer_norm", None), torch.nn.GroupNorm) and not config.conv_bias
            if self.cuts:
                first.layer_norm = WindowNorm(config.conv_dim[0], config.conv_dim[0])
            self.post_init()

        def set_window(self, samples: int, *, normalizes: bool) -> None:
            self.window_samples, self.normalizes = samples, normalizes
            config = self.config
            self._frames = int(self.wav2vec2._get_feat_extract_output_lengths(samples))
            if self.cuts:
                norm = self.wav2vec2.feature_extractor.conv_layers[0].layer_norm
                norm.window_frames = (samples - config.conv_kernel[0]) // config.conv_stride[0] + 1

        def forward(self, samples: "torch.Tensor", lengths: "torch.Tensor") -> "torch.Tensor":
            # Rows of length 0 would have no frame to attend to.
            lengths = torch.where(lengths > 0, lengths, samples.shape[1])
            values, inside = masked(samples, lengths, at_end=False)
            values = normalized(values, inside) if self.normalizes else values
            hidden = self.wav2vec2(values.to(self.dtype), attention_mask=lengths)[0]
            # The mask at the frame rate of the encoder: that of the sample at which each frame starts.
            ratio = self.window_samples / self._frames
            starts = (torch.arange(hidden.shape[1], device=lengths.device) * ratio).long()
            pooled = _pool(hidden, self.pool_attention(hidden), starts < lengths[:, None])
            return torch.sigmoid(self.classifier(pooled).float())[:, 0]

    return Wav2Vec2ForEndpointing
