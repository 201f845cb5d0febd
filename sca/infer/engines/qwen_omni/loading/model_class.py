"""The class of the model without its vision tower, which the engine never uses: 1.1 GB that are neither read nor placed."""

from __future__ import annotations

from typing import Any

__all__ = ["speaking_model"]

_VISION = r"^thinker\.(model\.)?visual\."


def speaking_model() -> Any:
    """Return the class of the model. Its name is that of the library, which finds the names of stored weights by it."""
    from transformers import Qwen3OmniMoeForConditionalGeneration as Whole

    def create(self: Any, config: Any) -> None:
        Whole.__init__(self, config)
        self.thinker.model.visual = None
        self._keys_to_ignore_on_load_unexpected.add(_VISION)

    return type(Whole.__name__, (Whole,), {"__init__": create, "__module__": Whole.__module__})
