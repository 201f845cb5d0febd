"""Check that the audio tower of the loaded model encodes every chunk as a separate item.

In some versions of transformers (5.1 to 5.8 with sdpa and eager) the tower ignores the limits of the items of a batch:
chunks that are encoded together attend to each other, so a training batch contains the future. The kernel decides, so the
check runs on the very model, number format and kernel in use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sca.errors import ConfigError
from sca.infer.engines.qwen_omni.streaming.thinker import ThinkerStream

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["check_audio_tower", "chunk_differences"]

_MEL_FRAMES = 32
_ALONE = {"float64": 1e-9, "float32": 1e-4, "float16": 1e-2, "bfloat16": 6e-2}
"""Largest difference, relative to the largest value, of a chunk alone and beside another: sums in another order. Measured in
float32: 2e-7 in a right tower, 1e-2 in a wrong one."""
_BESIDE = 1e-3
"""Largest relative difference of a chunk beside two others. The shapes are equal, so a right tower gives 0 in any format."""


def check_audio_tower(model: Module, kernel: str) -> None:
    """Check that two chunks have the same encoding alone and together.

    Args:
        model: The model.
        kernel: The attention kernel, for the message.

    Raises:
        ConfigError: The chunks influence each other.
    """
    import transformers

    alone, beside = chunk_differences(model)
    dtype = str(model.thinker.get_input_embeddings().weight.dtype).removeprefix("torch.")
    if alone <= _ALONE.get(dtype, 1e-4) and beside <= _BESIDE:
        return
    raise ConfigError(
        f"the audio tower of transformers {transformers.__version__} with the attention kernel {kernel} in {dtype} does not "
        f"separate chunks: beside another chunk an encoding differs by {alone:.1g}, and by {beside:.1g} when that one changes",
        hint="install transformers 5.21 or newer, or set qwen.attn_implementation to sdpa",
    )


def chunk_differences(model: Module) -> tuple[float, float]:
    """Return by how much the encoding of a chunk differs, relative to its largest value.

    Args:
        model: The model.

    Returns:
        The difference alone and beside another chunk, and the difference beside two others. NaN counts as infinite.
    """
    import torch

    stream = ThinkerStream(model.thinker)
    bins = model.config.thinker_config.audio_config.num_mel_bins
    noise = torch.randn(3, bins, _MEL_FRAMES, generator=torch.Generator().manual_seed(0))
    first, quiet, loud = noise[0], noise[1] * 0.1 - 1, noise[2] * 2

    def encoded(*chunks: Tensor) -> Tensor:
        tokens = stream.listen(torch.stack(chunks))[0].float()
        return tokens[: len(tokens) // len(chunks)]

    with torch.inference_mode():
        alone, one, other = encoded(first), encoded(first, quiet), encoded(first, loud)
        scale = alone.abs().max()
        differences = torch.stack([(alone - one).abs().max(), (one - other).abs().max()]) / scale
    beside, changed = differences.nan_to_num(float("inf"), float("inf")).tolist()
    return beside, changed
