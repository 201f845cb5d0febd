"""The parts of a thinker that can be trained, by the full names of their modules and parameters.

Full names, because peft makes leaf names of a regular expression for this family of models, and then adapts the audio
tower too (0.20 to 0.21.2).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sca.errors import ConfigError
from sca.textutil import did_you_mean

if TYPE_CHECKING:
    from torch.nn import Module

__all__ = ["EMBEDDINGS", "HEAD", "PARTS", "Found", "chosen_parts", "find_parts"]

EMBEDDINGS = "model.language_model.embed_tokens"
HEAD = "lm_head"
_LAYER = r"model\.language_model\.layers\.\d+\."
_MODULES: Mapping[str, str] = {
    "attention": _LAYER + r"self_attn\.[qkvo]_proj",
    "lm_head": HEAD,
    "embeddings": re.escape(EMBEDDINGS),
    "audio_tower": r"model\.audio_tower\.(layers\.\d+\.(self_attn\.(q|k|v|out)_proj|fc[12])|conv_out|proj[12])",
}
"""The modules of a part that LoRA adapts."""
_PARAMETERS: Mapping[str, str] = {
    "experts": _LAYER + r"mlp\.experts\.(gate_up|down)_proj",
    "router": _LAYER + r"mlp\.gate\.weight",
}
"""The parameters of a part that LoRA adapts: these are not the weights of linear modules."""
_WEIGHTS: Mapping[str, str] = {
    "attention": _LAYER + r"self_attn\..+",
    "lm_head": HEAD + r"\.weight",
    "embeddings": re.escape(EMBEDDINGS) + r"\.weight",
    "audio_tower": r"model\.audio_tower\..+",
    "experts": _PARAMETERS["experts"],
    "router": _PARAMETERS["router"],
    "norms": r"model\.language_model\.((layers\.\d+\.\w+_layernorm|norm)\.weight)",
}
"""The weights of a part that is trained in full."""
PARTS = tuple(_WEIGHTS)
_DEFAULT = {"lora": ("attention",), "full": ("attention", "experts", "norms", "lm_head")}


@dataclass(frozen=True, slots=True)
class Found:
    """What is trained, by full names in the thinker.

    Attributes:
        modules: Modules that LoRA adapts.
        parameters: Parameters that LoRA adapts, or that are trained in full.
    """

    modules: tuple[str, ...]
    parameters: tuple[str, ...]


def chosen_parts(method: str, targets: str) -> tuple[str, ...]:
    """Return the names of the parts.

    Args:
        method: `lora` or `full`.
        targets: `train.targets`: `auto`, or names with commas between them.

    Raises:
        ConfigError: A part does not exist, or LoRA cannot adapt it.
    """
    names = _DEFAULT[method] if targets == "auto" else tuple(dict.fromkeys(targets.split(",")))
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise ConfigError(
            f"train.targets has {unknown[0]}, which is not a part of a thinker",
            hint=f"{did_you_mean(unknown[0], PARTS)}parts: {', '.join(PARTS)}; or auto",
        )
    if method == "lora" and "norms" in names:
        raise ConfigError(
            "train.targets has norms, which a LoRA adapter cannot change",
            hint="leave norms out, or set train.method to full",
        )
    return names


def find_parts(thinker: Module, method: str, names: tuple[str, ...]) -> Found:
    """Find the parts in a thinker.

    Args:
        thinker: The thinker; on the meta device too.
        method: `lora` or `full`.
        names: Names of parts, see `PARTS`.

    Raises:
        ConfigError: The thinker does not have one of them.
    """
    modules, parameters = (
        [name for name, _ in thinker.named_modules()],
        [name for name, _ in thinker.named_parameters()],
    )
    of_modules, of_parameters = (_MODULES, _PARAMETERS) if method == "lora" else ({}, _WEIGHTS)
    found: tuple[list[str], list[str]] = ([], [])
    for name in names:
        matching = (
            [one for one in modules if name in of_modules and re.fullmatch(of_modules[name], one)],
            [one for one in parameters if name in of_parameters and re.fullmatch(of_parameters[name], one)],
        )
        if not any(matching):
            raise ConfigError(f"train.targets has {name}, which this model does not have")
        found[0].extend(matching[0])
        found[1].extend(matching[1])
    return Found(tuple(found[0]), tuple(found[1]))
