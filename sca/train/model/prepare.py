"""Make a thinker trainable: the adapter or the thawed weights, checked by name."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sca.config import Settings
from sca.control_tokens import control_tokens_of
from sca.errors import ConfigError
from sca.tokenizer import TextTokenizer
from sca.train.model.parts import EMBEDDINGS, HEAD, Found, chosen_parts, find_parts
from sca.train.model.start import continue_adapter
from sca.train.model.trained import TrainedModel
from sca.train.model.whole import WholeModel

if TYPE_CHECKING:
    from torch import dtype
    from torch.nn import Module
    from transformers import PretrainedConfig

__all__ = ["check_trainable", "make_trainable"]

_LISTED = 3
_OF_ADAPTER = ("train.targets", "train.token_rows", "train.rank", "train.alpha", "train.dropout")
"""Names that a message lists."""
_ADDED = re.compile(r"\.(lora_\w+|token_adapter|base_layer)(?=\.|$)")
"""What peft adds to the name of a module or parameter."""


def make_trainable(
    thinker: Module,
    tokenizer: TextTokenizer,
    config: PretrainedConfig,
    settings: Settings,
    cache: Path,
    autocast: dtype | None = None,
) -> TrainedModel:
    """Freeze a thinker but for what the settings train, and add the adapter.

    Args:
        thinker: The thinker.
        tokenizer: Its tokenizer.
        config: The configuration of the whole checkpoint.
        settings: `train` says what is trained; `duplex` has the ids of silence and the control tokens.
        cache: Folder of the run for weights that are written once.
        autocast: Number format in which float32 weights compute; None for their own.

    Returns:
        The model.

    Raises:
        InputError: The adapter to start from does not fit the model.
        ConfigError: The settings do not fit the model, or other weights than the requested ones became trainable.
    """
    train = settings.train
    thinker.requires_grad_(False)
    found = find_parts(thinker, train.method, chosen_parts(train.method, train.targets))
    if train.adapter is not None:
        _check_start(settings)
        learner, wanted = continue_adapter(thinker, Path(train.adapter).expanduser())
    elif train.method == "full":
        for name in found.parameters:
            thinker.get_parameter(name).requires_grad_(True)
        learner, wanted = thinker, found.parameters
    else:
        rows = _token_rows(settings, found) if train.token_rows else {}
        learner = _with_adapter(thinker, found, rows, settings)
        wanted = (*found.modules, *found.parameters, *rows)
    check_trainable((name for name, weight in learner.named_parameters() if weight.requires_grad), wanted)
    whole = WholeModel(settings.qwen, config, cache) if train.method == "full" else None
    return TrainedModel(thinker, learner, tokenizer, config, whole, autocast)


def check_trainable(names: Iterable[str], wanted: Collection[str]) -> None:
    """Check that all requested modules and parameters became trainable, and no others.

    peft matches names by their ends and by patterns of its own, and does so without a message.

    Args:
        names: Names of the parameters that are trained.
        wanted: Full names of the requested modules and parameters.

    Raises:
        ConfigError: They differ.
    """
    left, others = set(wanted), []
    holders = {name.rpartition(".")[0]: name for name in wanted}
    for name in names:
        plain = _ADDED.split(name.removeprefix("base_model.model."))[0]
        # peft names the adapter of a stacked parameter after its module.
        target = plain if plain in wanted else holders.get(plain)
        if target is None:
            others.append(name)
        elif plain in wanted:
            left.discard(plain)
        else:
            left -= {one for one in left if one.rpartition(".")[0] == plain}
    if others or left:
        problem, listed = ("would be trained too", others) if others else ("would not be trained", sorted(left))
        raise ConfigError(
            f"{len(listed)} {'weights' if others else 'parts'} of the model {problem}: "
            f"{', '.join(listed[:_LISTED])}{', …' if len(listed) > _LISTED else ''}",
            hint="peft places the adapter in another way than sca expects; install the versions of the extra train",
        )


def _check_start(settings: Settings) -> None:
    """Refuse settings of an adapter that begins with those of another one."""
    if settings.train.method == "full":
        raise ConfigError(
            "train.adapter starts from an adapter, and train.method is full", hint="set train.method to lora"
        )
    given = [name for name in _OF_ADAPTER if settings.origin(name) != "default"]
    if given:
        raise ConfigError(
            f"{', '.join(given)} cannot be set together with train.adapter, which has its own",
            hint=f"leave {'it' if len(given) == 1 else 'them'} out",
        )


def _token_rows(settings: Settings, found: Found) -> dict[str, list[int]]:
    """Return the rows of silence and of the control tokens, by the modules that have no adapter of their own."""
    duplex = settings.duplex
    rows = sorted({duplex.silence_token_id, *control_tokens_of(duplex).names})
    return {module: rows for module in (EMBEDDINGS, HEAD) if module not in found.modules}


def _with_adapter(thinker: Module, found: Found, rows: dict[str, list[int]], settings: Settings) -> Module:
    from peft import LoraConfig, get_peft_model

    train = settings.train
    if train.dropout and found.parameters:
        raise ConfigError(
            "train.dropout cannot be used for experts and router: peft adds their adapters to the weights themselves",
            hint="set train.dropout to 0, or leave experts and router out of train.targets",
        )
    alpha: Any = train.alpha  # peft divides it by the rank, and wants a whole number without need
    config = LoraConfig(
        r=train.rank,
        lora_alpha=alpha,
        lora_dropout=train.dropout,
        target_modules=list(found.modules),
        target_parameters=list(found.parameters) or None,
        trainable_token_indices=rows or None,
        base_model_name_or_path=settings.qwen.model_id,
        revision=settings.qwen.model_revision,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on saving the frozen lm_head beside its adapter, which `save` does not do
        learner: Any = thinker
        adapted: Module = get_peft_model(learner, config)
    return adapted
