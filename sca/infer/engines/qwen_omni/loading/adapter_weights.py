"""The weights of a LoRA adapter, by the names that they have in the model.

Trainers save adapters under the names of their version of transformers. Version 5 moved the layers of the thinker to
`thinker.model.language_model`, and stacked the experts of a layer: `mlp.experts.3.gate_proj` became a part of the tensor
`mlp.experts.gate_up_proj`. Names are converted with the table of transformers; what belongs to one expert is returned
apart, because peft has no place for it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["AdapterWeights", "ExpertPair", "sort_weights", "target_parameters"]

_LORA = re.compile(r"^(?P<module>.+?)\.(?P<rest>lora_[^.]+(?:\.(?:default|weight|bias))*|token_adapter\..+)$")
_WRAPPED = re.compile(r"\.(modules_to_save|original_module|base_layer)(\.default)?(?=\.)")
_EXPERT = re.compile(r"^(?P<experts>.+\.experts)\.(?P<index>\d+)\.(?P<part>gate|up|down)_proj$")
_PREFIX = "base_model.model."


@dataclass(frozen=True, slots=True)
class ExpertPair:
    """The change of one matrix of one expert: `scale · b @ a`.

    Attributes:
        name: The name in the adapter.
        parameter: The name of the stacked parameter, `(experts, out, in)`.
        expert: The expert.
        part: `gate`, `up` or `down`.
        a: `(r, in)`.
        b: `(out, r)`.
        scale: The factor.
    """

    name: str
    parameter: str
    expert: int
    part: str
    a: Tensor
    b: Tensor
    scale: float

    def add(self, weights: Tensor) -> None:
        """Add the change to the stacked parameter."""
        target = weights[self.expert]
        if self.part != "down":
            target = target.chunk(2, 0)[self.part == "up"]
        change = self.b.to(target.device).float() @ self.a.to(target.device).float()
        target += (self.scale * change).to(target.dtype)


@dataclass(slots=True)
class AdapterWeights:
    """The weights of an adapter.

    Attributes:
        peft: Weights that peft adds, by their names in the model with the prefix of peft.
        modules: The modules of `peft`.
        alphas: The alpha of modules that differ from the adapter in it.
        ranks: The rank of modules that differ from the adapter in it.
        experts: Changes of single experts.
        replaced: Weights that replace those of the model, such as those of `modules_to_save`.
        left_out: Weights of modules that the trainer added to the model, by the name of the module.
        unplaced: Names of weights that have no place in the model.
    """

    peft: dict[str, Tensor] = field(default_factory=dict)
    modules: set[str] = field(default_factory=set)
    alphas: dict[str, float] = field(default_factory=dict)
    ranks: dict[str, int] = field(default_factory=dict)
    experts: list[ExpertPair] = field(default_factory=list)
    replaced: dict[str, Tensor] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    unplaced: list[str] = field(default_factory=list)


def sort_weights(model: Module, config: Any, weights: Mapping[str, Tensor]) -> AdapterWeights:
    """Find the place of every weight of an adapter.

    Args:
        model: The model.
        config: The `LoraConfig` of the adapter.
        weights: The weights in its file.
    """
    sorted_ = AdapterWeights()
    rename = _renamer(model, weights)
    modules, parameters = dict(model.named_modules()), dict(model.named_parameters())
    halves: dict[str, dict[str, Tensor]] = {}
    for name, weight in weights.items():
        plain = name.removeprefix(_PREFIX)
        if ".visual." in plain and model.thinker.model.visual is None:  # the engine does not load the vision tower
            sorted_.left_out.setdefault("visual", []).append(name)
            continue
        found = _LORA.match(plain)
        if found is None:
            target = rename(_WRAPPED.sub("", plain))
            if target in parameters and parameters[target].shape == weight.shape:
                if ".base_layer." not in plain or not _is_same(parameters[target], weight):
                    sorted_.replaced[target] = weight
            else:
                _note_missing(sorted_, config, name, plain)
            continue
        old, rest = found["module"], found["rest"].replace(".default", "")
        if _EXPERT.match(old) and rest in ("lora_A.weight", "lora_B.weight"):
            halves.setdefault(old, {})[rest[5]] = weight
            continue
        module = rename(old)
        if module.removesuffix(".base_layer") not in modules:
            sorted_.unplaced.append(name)
            continue
        sorted_.peft[f"{_PREFIX}{module}.{rest}"] = weight
        sorted_.modules.add(module)
        _note_scale(sorted_, config, old, module, weight if rest.startswith("lora_A") else None)
    for old, pair in halves.items():
        _place_expert(sorted_, config, parameters, rename, old, pair)
    return sorted_


def _renamer(model: Module, weights: Mapping[str, Tensor]) -> Callable[[str], str]:
    """Return the conversion of names in the adapter to names in the whole model."""
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightRenaming, rename_source_key

    whole = any(name.removeprefix(_PREFIX).startswith(("thinker.", "talker.", "code2wav.")) for name in weights)
    renamings = [one for one in get_model_conversion_mapping(model) if isinstance(one, WeightRenaming)]

    def rename(name: str) -> str:
        renamed: str = rename_source_key(name if whole else f"thinker.{name}", renamings, [])[0]
        return renamed

    return rename


def _is_same(parameter: Tensor, weight: Tensor) -> bool:
    """Return whether a weight is that of the model: peft also saves `lm_head` and embeddings below their LoRA."""
    return bool((parameter == weight.to(parameter.device, parameter.dtype)).all())


def _note_missing(sorted_: AdapterWeights, config: Any, name: str, plain: str) -> None:
    """Note a weight without a place: it is left out if the trainer added its module, which the adapter then names."""
    added = next((one for one in config.modules_to_save or () if f".{one}." in f".{plain}"), None)
    if added is None or added in ("lm_head", "embed_tokens"):
        sorted_.unplaced.append(name)
    else:
        sorted_.left_out.setdefault(added, []).append(name)


def _rank_and_alpha(config: Any, name: str) -> tuple[int, float]:
    from peft.utils.other import get_pattern_key

    ranks, alphas = config.rank_pattern or {}, config.alpha_pattern or {}
    return (
        ranks.get(get_pattern_key(list(ranks), name), config.r),
        alphas.get(get_pattern_key(list(alphas), name), config.lora_alpha),
    )


def _note_scale(sorted_: AdapterWeights, config: Any, old: str, module: str, a: Tensor | None) -> None:
    """Note the rank and the alpha of a module. The patterns have its old name."""
    if a is None or old.rpartition(".")[2] in ("experts", "base_layer"):  # peft stacks the ranks of experts
        return
    rank, alpha = _rank_and_alpha(config, old)
    if rank != config.r:
        sorted_.ranks[re.escape(module)] = rank
    if alpha != config.lora_alpha:
        sorted_.alphas[re.escape(module)] = alpha


def _place_expert(
    sorted_: AdapterWeights,
    config: Any,
    parameters: Mapping[str, Tensor],
    rename: Callable[[str], str],
    old: str,
    pair: dict[str, Tensor],
) -> None:
    found = _EXPERT.match(rename(old))
    assert found is not None, "renaming leaves the names of experts as they are"
    parameter = f"{found['experts']}.{'down_proj' if found['part'] == 'down' else 'gate_up_proj'}"
    stacked = parameters.get(parameter)
    expert = int(found["index"])
    if stacked is None or expert >= len(stacked) or set(pair) != {"A", "B"} or not _fits(stacked, found["part"], pair):
        sorted_.unplaced += [f"{_PREFIX}{old}.lora_{half}.weight" for half in pair]
        return
    rank, alpha = len(pair["A"]), _rank_and_alpha(config, old)[1]
    scale = alpha / (math.sqrt(rank) if config.use_rslora else rank)
    sorted_.experts.append(ExpertPair(old, parameter, expert, found["part"], pair["A"], pair["B"], scale))


def _fits(stacked: Tensor, part: str, pair: dict[str, Tensor]) -> bool:
    outputs, inputs = stacked.shape[1] // (1 if part == "down" else 2), stacked.shape[2]
    a, b = pair["A"], pair["B"]
    return (b.shape[0], a.shape[1]) == (outputs, inputs) and a.shape[0] == b.shape[1]


def target_parameters(model: Module, config: Any, modules: set[str]) -> Iterator[str]:
    """Yield the full names of the stacked parameters that an adapter changes.

    Args:
        model: The model.
        config: The `LoraConfig` of the adapter.
        modules: The modules of its weights.
    """
    wanted = tuple(config.target_parameters or ())
    holders = {module.removesuffix(".base_layer") for module in modules}
    for name, _ in model.named_parameters():
        if name.rpartition(".")[0] in holders and any(f".{name}".endswith(f".{one}") for one in wanted):
            yield name
