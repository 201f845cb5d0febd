"""Command-line options that are built from the fields of the settings.

A command names the settings it offers and takes the resolved `Settings`:

    @settings_options("duplex.lead_chunks", "duplex.window")
    def build(source: Annotated[Path, typer.Argument()], *, settings: "Settings", force: Force = False) -> None: ...

    app.command("build", cls=SettingsCommand)(build)

A server that reloads its settings also takes `reload_settings`, a function that returns what the same sources give now. A
command with a parameter `settings_error` runs with the defaults if the settings are invalid, and gets the error.
In place of its parameter `settings` the command then has the options of those fields (`Flag` in
`sca.config.sections.base`), with the fields' types, defaults and descriptions, and --config and --set. A parameter of a
dataclass type becomes one option per field of that dataclass.

The settings are pydantic models, and importing pydantic takes longer than `sca --help` may. The options are therefore
built when a command runs or prints its help, which is what `SettingsCommand` is for.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typing_extensions import override

from sca.cli.shared.command import Command
from sca.cli.shared.completion import complete_from
from sca.cli.shared.options import ConfigFile, Preset, SetValues
from sca.errors import ConfigError

if TYPE_CHECKING:
    from sca.config import Key, Settings

__all__ = ["SettingsCommand", "context_settings", "is_given", "settings_options"]

_SPEC = "settings_command_spec"
_RELOAD = "reload_settings"
_ERROR = "settings_error"
_SOURCES = {"config": ConfigFile, "set_values": SetValues, "preset": Preset}

Parameter = inspect.Parameter


@dataclass(frozen=True, slots=True)
class _Spec:
    """A command before its options are built.

    Attributes:
        function: The command, with a parameter `settings`.
        names: The dotted names of the settings it offers as options.
        sources: config and set_values, and preset if it offers that.
        plain_env: The command of `PLAIN_ENV` that has its variables; None without any.
    """

    function: Callable[..., None]
    names: tuple[str, ...]
    sources: tuple[str, ...]
    plain_env: Literal["turn", "watch"] | None


def settings_options(
    *names: str, preset: bool = False, plain_env: Literal["turn", "watch"] | None = None
) -> Callable[[Callable[..., None]], Callable[[], None]]:
    """Give a command the options of settings; to be registered with `cls=SettingsCommand`.

    Args:
        names: Dotted names of settings with a field that is marked with `Flag`.
        preset: Whether the command has --preset.
        plain_env: The command of `PLAIN_ENV`: its variables, such as AUTH_KEY, count without the prefix SCA_TURN_.
    """
    sources = ("config", "set_values", *(["preset"] if preset else []))

    def decorate(function: Callable[..., None]) -> Callable[[], None]:
        def deferred() -> None:
            raise AssertionError(f"{function.__name__} is not registered with cls=SettingsCommand")

        deferred.__name__, deferred.__doc__ = function.__name__, function.__doc__
        setattr(deferred, _SPEC, _Spec(function, names, sources, plain_env))
        return deferred

    return decorate


class SettingsCommand(Command):
    """A command that builds its options on first use, from the fields of the settings."""

    @override
    def get_params(self, ctx: Any) -> Any:
        spec: _Spec | None = getattr(self.callback, _SPEC, None)
        if spec is not None:
            app = typer.Typer(add_completion=False)
            app.command()(_with_signature(spec))
            complete = typer.main.get_command(app)
            self.params, self.callback = complete.params, complete.callback
        return super().get_params(ctx)


def _with_signature(spec: _Spec) -> Callable[..., None]:
    """Return a function with the complete parameters, which resolves the settings and calls the command."""
    from sca.config import Settings, known_keys

    keys = {key.name: key for key in known_keys()}
    options = {name.replace(".", "__"): keys[name] for name in spec.names}
    parameters = inspect.signature(spec.function).parameters

    def command(context: typer.Context, **values: Any) -> None:
        given = {key.name: values[name] for name, key in options.items() if is_given(context, name)}
        load = partial(_resolve, spec.plain_env, dict(values), given)
        values |= {"context": context, _RELOAD: load, _ERROR: None}
        try:
            values["settings"] = load()
        except ConfigError as error:
            if _ERROR not in parameters:
                raise
            values |= {"settings": Settings(), _ERROR: error}
        spec.function(**{name: _argument(parameter, values) for name, parameter in parameters.items()})

    complete = [Parameter("context", Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    for parameter in parameters.values():
        if parameter.name == "settings":
            complete += [_option(name, key) for name, key in options.items()]
            complete += [_keyword(name, _SOURCES[name], None) for name in spec.sources]
        elif _is_group(parameter):
            fields = inspect.signature(parameter.annotation).parameters.values()
            complete += [_keyword(field.name, field.annotation, field.default) for field in fields]
        elif parameter.name not in ("context", _RELOAD, _ERROR):
            complete.append(_keyword(parameter.name, parameter.annotation, parameter.default))
    command.__signature__ = inspect.Signature(complete)  # type: ignore[attr-defined]
    command.__annotations__ = {}  # Typer resolves these too, and the signature has all it needs
    return command


def context_settings(context: typer.Context) -> "Settings":
    """Return the settings of a parsed command line, as the command gets them when it runs.

    Raises:
        ConfigError: A setting is invalid.
        UsageError: An option of a setting, `--set` or `--preset` is.
    """
    from sca.config import known_keys

    names = {key.name.replace(".", "__"): key.name for key in known_keys()}
    given = {names[name]: context.params[name] for name in context.params if name in names and is_given(context, name)}
    return _resolve(None, context.params, given)


def _is_group(parameter: Parameter) -> bool:
    return is_dataclass(parameter.annotation)


def _keyword(name: str, annotation: object, default: object) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _option(name: str, key: "Key") -> Parameter:
    """Describe the option of one setting as Typer reads it from a signature.

    The bounds are left to the settings: a value outside of them is a settings error, wherever it comes from.
    """
    assert key.flag is not None, f"{key.name} has no Flag"
    is_flag = key.kind is bool
    option = typer.Option(
        key.flag.name,
        metavar=None if is_flag else key.flag.metavar or "|".join(key.choices),
        help=key.description,
        autocompletion=complete_from(key.choices) if key.choices else None,
        show_default=key.default is not None and not is_flag,
    )
    return _keyword(name, Annotated[key.kind | None, option], key.default)


def is_given(context: typer.Context, name: str) -> bool:
    """Return whether a parameter was given on the command line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _argument(parameter: Parameter, values: dict[str, Any]) -> object:
    """Return the value of one of the command's parameters; a group of options becomes its dataclass."""
    if _is_group(parameter):
        fields = inspect.signature(parameter.annotation).parameters
        return parameter.annotation(**{name: values[name] for name in fields})
    return values[parameter.name]


def _resolve(
    plain_env: Literal["turn", "watch"] | None, values: dict[str, Any], given: dict[str, object]
) -> "Settings":
    """Load the settings. An option wins over --set, and --set over --preset."""
    from sca.config import PLAIN_ENV, apply_preset, load_settings, parse_set

    preset, pairs = values.get("preset"), values.get("set_values")
    overrides = {} if preset is None else apply_preset(preset)
    return load_settings(
        values["config"],
        overrides | parse_set(pairs or []),
        plain_env=PLAIN_ENV[plain_env] if plain_env else None,
        options=given,
    )
