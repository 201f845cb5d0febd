"""What the tests of the Qwen3-Omni engine share: the tokenizer, loaded once per process, and the contract in short."""

import contextlib
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest

from sca.infer.frames import AudioOutput, Frame
from sca.tokenizer import BUILTIN_QWEN, TextTokenizer, load_tokenizer
from tests.helpers.engine_contract import GRID, EngineContract, demo_speech


@cache
def qwen_tokenizer() -> TextTokenizer:
    """Return `builtin:qwen`. Loading it takes half a second, and nothing modifies it."""
    return load_tokenizer(BUILTIN_QWEN)


@contextlib.contextmanager
def broken_vocoder(model: Any) -> Iterator[None]:
    """Give the vocoder weights of NaN, also in another process: they are in shared memory."""
    import torch

    weight = model.code2wav.pre_transformer.norm.weight
    right = weight.detach().clone()
    with torch.no_grad():
        weight.fill_(float("nan"))
        yield
        weight.copy_(right)


def sound_of(frames: Sequence[Frame]) -> tuple[np.ndarray, int]:
    """Return the audio of a step, and its count of samples without a number."""
    (one,) = (frame for frame in frames if isinstance(frame, AudioOutput))
    return np.frombuffer(one.audio_bytes, "<i2"), one.non_finite


class OmniContract(EngineContract):
    """The contract with few chunks: a step takes 0.1 s, and the engine speaks from the first chunk on.

    Give it a model of four codebooks: a step with the 16 of the released model takes twice as long.
    """

    alike = 4

    @pytest.fixture
    def speech(self):
        return demo_speech(seconds=2)[: self.alike * GRID.heard_samples]

    @pytest.fixture
    def other_speech(self):
        return demo_speech(speaker=2, seconds=2)[: self.alike * GRID.heard_samples]
