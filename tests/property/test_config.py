"""Settings: every source reads a value the same, and any invalid input ends in a `ConfigError` that names the setting."""

import math
import tempfile
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from sca.cli.main import app
from sca.config import Settings, known_keys, load_settings
from sca.config.describe import toml_value
from sca.data.duplex.rows.params import window_plan
from sca.data.duplex.verify.context import proof_context
from sca.data.shows.convert import rules_of
from sca.errors import ConfigError
from sca.infer.clock import TICKS_PER_MS
from sca.infer.session.pacing import Playout
from sca.infer.turn.policy import ThresholdSchedule
from sca.tokenizer import load_tokenizer
from sca.units import HEARD_HZ, seconds_to_samples

KEYS = {key.name: key for key in known_keys()}
# No control characters: an environment has no NUL, and "none" or an empty text means "no value" to an optional setting.
text = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1).filter(lambda t: t.strip().lower() != "none")


def bounds_of(key):
    """The lowest and the highest value of a numeric setting; an excluded bound is moved inwards by the smallest step."""
    marks = Settings.model_fields[key.section].annotation.model_fields[key.field].metadata
    found = {name: getattr(mark, name) for mark in marks for name in ("ge", "gt", "le", "lt") if hasattr(mark, name)}
    step_up, step_down = (lambda n: n + 1, lambda n: n - 1) if key.kind is int else (up, down)
    low = found["ge"] if "ge" in found else step_up(found["gt"])
    high = found["le"] if "le" in found else step_down(found["lt"])
    return key.kind(low), key.kind(high)


def up(number):
    return math.nextafter(number, math.inf)


def down(number):
    return math.nextafter(number, -math.inf)


BOUNDS = {name: bounds_of(key) for name, key in KEYS.items() if key.kind in (int, float)}


def inside(name):
    low, high = BOUNDS[name]
    return st.integers(low, high) if KEYS[name].kind is int else st.floats(low, high)


def outside(name):
    low, high = BOUNDS[name]
    if KEYS[name].kind is int:
        return st.one_of(st.integers(max_value=low - 1), st.integers(min_value=high + 1))
    return st.one_of(st.floats(max_value=down(low)), st.floats(min_value=up(high)), st.just(math.nan))


VALUES = {
    "audio.frames_per_chunk": st.integers(1, 12),
    "qwen.revision": text.filter(str.strip),
    "qwen.torch_dtype": st.sampled_from(["auto", "float32", "bfloat16", "float16"]),
    "duplex.system_prompt": text,
    "duplex.on_lag": st.sampled_from(["keep", "drop-unit"]),
} | {
    name: inside(name)
    for name in (
        "qwen.max_new_tokens",
        "duplex.silence_token_id",
        "duplex.audio_placeholder",
        "duplex.lead_chunks",
        "duplex.max_pull_chunks",
        "duplex.unit_gap_s",
        "duplex.min_silence_s",
    )
}


@given(st.fixed_dictionaries({}, optional=VALUES))
def test_every_source_reads_a_value_the_same(values):
    typed = load_settings(overrides=values, env={})
    from_text = load_settings(overrides={name: str(value) for name, value in values.items()}, env={})
    from_env = load_settings(env={KEYS[name].env: str(value) for name, value in values.items()})
    document = "".join(f"{KEYS[n].section}.{KEYS[n].field} = {toml_value(v)}\n" for n, v in values.items())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sca.toml"
        path.write_text(document, encoding="utf-8")
        from_file = load_settings(path, env={})
    for other in (from_text, from_env, from_file):
        assert other.model_dump() == typed.model_dump()
    assert {name: typed.value(name) for name in values} == values


def outcome(overrides: dict) -> Settings | ConfigError:
    try:
        return load_settings(overrides=overrides, env={})
    except ConfigError as error:
        return error


@given(st.sampled_from(sorted(KEYS)), st.text())
def test_any_text_is_a_value_or_an_error_that_names_it(name, value):
    found = outcome({name: value})
    assert name in str(found) if isinstance(found, ConfigError) else found.origin(name) == "command line"


anything = st.one_of(st.none(), st.text(), st.integers(), st.floats(), st.booleans(), st.lists(st.text()))


@given(st.dictionaries(st.one_of(st.text(), st.sampled_from(sorted(KEYS))), anything))
def test_any_overrides_are_settings_or_an_error(overrides):
    assert isinstance(outcome(overrides), Settings | ConfigError)


@given(st.data())
def test_numbers_outside_the_bounds_are_refused(data):
    name = data.draw(st.sampled_from(sorted(BOUNDS)))
    value = data.draw(outside(name))
    for given_value in (value, str(value)):
        found = outcome({name: given_value})
        assert isinstance(found, ConfigError)
        assert f"{name} should be {KEYS[name].expected}, got " in str(found)


@pytest.mark.parametrize("name", sorted(BOUNDS))
def test_extreme_numbers_exit_with_3_and_name_the_setting(name):
    refused = f"command line: {name} should be {KEYS[name].expected}, got "
    for value in ("-1e308", "inf", "-inf", "nan", "9" * 400):
        with pytest.raises(ConfigError) as error:
            load_settings(overrides={name: value}, env={})
        assert (error.value.exit_code, str(error.value)[: len(refused)]) == (3, refused), value
    done = CliRunner().invoke(app, ["config", "show", "--set", f"{name}=1e308"])
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr.startswith(f"sca: {refused}"), done.stderr


TOKENIZER = load_tokenizer("builtin:qwen")
WINDOWS = ["session", "0.0001-0.0002", "0.0001-86400", "86399.9-86400", "20-60"]
PATIENCE = ["", "0.6:0.45", "0.0001:1,86400:0", "86399.9999:0,86400:0", "0.2001:0.4,0.2002:0.3"]
EXTREMES = {name: st.sampled_from(bounds) for name, bounds in BOUNDS.items()} | {
    "audio.frames_per_chunk": st.integers(1, 12),  # with others the grid is refused, and nothing is tested
    "audio.frame_hz": st.just(12.5),
    "duplex.window": st.sampled_from(WINDOWS),
    "turn.patience": st.sampled_from(PATIENCE),
}


@given(st.fixed_dictionaries({}, optional=EXTREMES))
def test_extreme_allowed_values_can_be_converted(overrides):
    settings = outcome(overrides)
    if isinstance(settings, ConfigError):
        return
    live, turn, convert = settings.live, settings.turn, settings.convert
    try:
        plan = window_plan(settings, TOKENIZER)
    except ConfigError:  # max_tokens or the window leaves no room for a chunk
        pass
    else:
        assert 1 <= plan.min_chunks <= plan.max_chunks
        assert proof_context(settings, TOKENIZER).gap >= 0
        assert plan.min_silence >= 1
    schedule = ThresholdSchedule.from_config(turn)
    assert schedule.queries[0][0] >= 1
    assert len(schedule.queries) == 1 + sum(silence_s > turn.ask_after_s for silence_s, _ in turn.curve)
    assert turn.max_secs is None or seconds_to_samples(turn.max_secs, HEARD_HZ) >= 1
    assert rules_of(convert).max_duration >= 1
    assert seconds_to_samples(live.max_turn_s, HEARD_HZ) >= 1
    delays = (live.playout_delay_ms, max(live.playout_delay_ms, live.playout_delay_max_ms))
    Playout(*(delay_ms * TICKS_PER_MS for delay_ms in delays))


@given(st.sampled_from(BOUNDS["audio.frame_hz"]), st.sampled_from(BOUNDS["audio.frames_per_chunk"]))
def test_extreme_grids_are_refused_or_exact(frame_hz, frames):
    found = outcome({"audio.frame_hz": frame_hz, "audio.frames_per_chunk": frames})
    if isinstance(found, Settings):
        assert found.grid.chunk_s == Fraction(frames) / Fraction(repr(frame_hz))
