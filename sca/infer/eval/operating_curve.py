"""Operating curves: one setting is swept, and for each value the take-over rate is set against false barge-ins.

A false barge-in is speech of the engine that begins in a pause of the user (tasks of the kind pause), or a turn that
it takes in a task of the kind backchannel. Take-over and latency are those of the kinds turn and interruption.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TypedDict

from pydantic import ValidationError

from sca.config import Settings, known_keys
from sca.errors import ConfigError, UsageError
from sca.infer.engine import Engine
from sca.infer.eval.full_duplex_bench import BenchItem, BenchItemResult, run_items, task_of
from sca.infer.eval.turn_metrics import TurnMetrics
from sca.infer.generation import GenerationOptions

__all__ = ["CurveReport", "OperatingPoint", "Sweep", "measure_curve", "operating_point", "parse_sweep"]

_MAX_VALUES = 100


@dataclass(frozen=True, slots=True)
class Sweep:
    """The values of a setting that are compared.

    Attributes:
        name: The dotted name of the setting.
        values: The values.
    """

    name: str
    values: tuple[float | int | bool | str, ...]

    @property
    def generation_option(self) -> str | None:
        """The name of the setting as an option of a session; None if it is none."""
        section, _, field = self.name.partition(".")
        return field if section == "qwen" and field in GenerationOptions.names() else None

    def applied(self, settings: Settings, value: object) -> Settings:
        """Return settings with one of the values.

        Raises:
            ConfigError: The value is not valid.
        """
        section, _, field = self.name.partition(".")
        before = getattr(settings, section)
        try:
            after = type(before).model_validate(before.model_dump() | {field: value})
        except ValidationError as error:
            text = error.errors(include_url=False, include_input=False)[0]["msg"]
            raise ConfigError(f"{self.name} cannot be {value}: {text[:1].lower()}{text[1:]}") from error
        return settings.model_copy(update={section: after})


class OperatingPoint(TypedDict):
    """The rates of one value; None if no item has the metric."""

    value: float | int | bool | str
    take_over_rate: float | None
    false_barge_in_rate: float | None
    response_latency_s: float | None
    items: int
    failed: int


class CurveReport(TypedDict):
    """An operating curve in JSON."""

    engine: str
    setting: str
    points: list[OperatingPoint]


def parse_sweep(text: str) -> Sweep:
    """Parse `section.name=first:last:step` or `section.name=a,b,c`.

    Raises:
        UsageError: It is neither, the setting does not exist, or there are too many values.
    """
    name, separator, given = text.partition("=")
    kinds = {key.name: key.kind for key in known_keys()}
    if not separator or not given:
        raise UsageError(
            f"--sweep {text} has no values", hint="such as qwen.silence_bias=-2:2:0.5 or live.lead_ms=0,160"
        )
    if name not in kinds:
        raise UsageError(f"--sweep {text}: {name} is not a setting", hint="sca config lists them")
    texts = list(_range(text, *given.split(":"))) if given.count(":") == 2 else given.split(",")
    if len(texts) > _MAX_VALUES:
        raise UsageError(f"--sweep {text} has {len(texts)} values, and at most {_MAX_VALUES} are possible")
    values = tuple(_converted(text, one.strip(), kinds[name]) for one in texts)
    if len(set(values)) < len(values):
        raise UsageError(f"--sweep {text} has a value twice")
    return Sweep(name, values)


def _range(text: str, first: str, last: str, step: str) -> Iterator[str]:
    """Yield the values of a range, the last one included, as exact decimal numbers."""
    try:
        value, end, by = Decimal(first), Decimal(last), Decimal(step)
        steps = int((end - value) / by)
    except (ArithmeticError, InvalidOperation, ValueError) as error:
        raise UsageError(f"--sweep {text} is not a range first:last:step of numbers") from error
    if steps < 0 or steps >= _MAX_VALUES:
        raise UsageError(f"--sweep {text} has {max(0, steps + 1)} values", hint=f"give 1 to {_MAX_VALUES}")
    yield from (f"{(value + i * by).normalize():f}" for i in range(steps + 1))


def _converted(text: str, value: str, kind: type) -> float | int | bool | str:
    choices = {"true": True, "false": False}
    try:
        converted: float | int | bool | str = choices[value.lower()] if kind is bool else kind(value)
    except (KeyError, ValueError) as error:
        raise UsageError(f"--sweep {text}: {value} is not a value of {kind.__name__}") from error
    return converted


def operating_point(value: float | int | bool | str, results: Sequence[BenchItemResult]) -> OperatingPoint:
    """Return the rates over the results of one value."""
    good = [(task_of(result.item.task), result.metrics) for result in results if result.metrics is not None]
    wanted = [metrics for kind, metrics in good if kind in ("turn", "interruption")]
    latencies = [metrics.response_s for metrics in wanted if metrics.response_s is not None]
    false = [_is_false(metrics) for kind, metrics in good if kind in ("pause", "backchannel")]
    return {
        "value": value,
        "take_over_rate": _rate([metrics.took_over for metrics in wanted]),
        "false_barge_in_rate": _rate(false),
        "response_latency_s": round(sum(latencies) / len(latencies), 4) if latencies else None,
        "items": len(good),
        "failed": len(results) - len(good),
    }


def _is_false(metrics: TurnMetrics) -> bool:
    return metrics.took_over if metrics.spoke_in_pause is None else metrics.spoke_in_pause


def _rate(found: Sequence[bool]) -> float | None:
    return round(sum(found) / len(found), 4) if found else None


def measure_curve(
    items: Sequence[BenchItem],
    sweep: Sweep,
    settings: Settings,
    load: Callable[[Settings], Engine],
    output: Path,
    *,
    force: bool = False,
    on_item: Callable[[BenchItemResult, float], None] | None = None,
) -> tuple[list[BenchItemResult], CurveReport]:
    """Run all items for each value of a setting.

    The engine is loaded once for an option of a session that it follows, and otherwise for each value.

    Args:
        items: The items.
        sweep: The setting and its values.
        settings: All other settings.
        load: Loads the engine.
        output: The folder of the recordings, one folder for each value.
        force: Run items again that have an output made by the same settings.
        on_item: Called with each result and the duration of its input in seconds.

    Returns:
        All results, and the curve.

    Raises:
        ConfigError: A value is not valid.
        ScaError: The engine cannot be loaded.
    """
    variants = [sweep.applied(settings, value) for value in sweep.values]
    results: list[BenchItemResult] = []
    points: list[OperatingPoint] = []
    engine, option = load(variants[0]), sweep.generation_option
    per_session = option is not None and engine.info.follows_generation
    for i, (value, variant) in enumerate(zip(sweep.values, variants, strict=True)):
        if i and not per_session:
            engine = load(variant)
        folder = output / f"{sweep.name}={value}"
        placed = [replace(item, results=folder / item.task / item.name) for item in items]
        options = GenerationOptions.of(variant.qwen) if per_session else None
        found, _ = run_items(placed, engine, variant, force=force, on_item=on_item, generation=options)
        results += found
        points.append(operating_point(value, found))
    return results, {"engine": engine.info.name, "setting": sweep.name, "points": points}
