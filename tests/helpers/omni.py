"""What the tests of the Qwen3-Omni engine share: the tokenizer, loaded once per process, and the contract in short."""

from functools import cache

import pytest

from sca.tokenizer import BUILTIN_QWEN, TextTokenizer, load_tokenizer
from tests.helpers.engine_contract import GRID, EngineContract, demo_speech


@cache
def qwen_tokenizer() -> TextTokenizer:
    """Return `builtin:qwen`. Loading it takes half a second, and nothing modifies it."""
    return load_tokenizer(BUILTIN_QWEN)


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
