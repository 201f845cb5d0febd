"""Settings say the same from wherever they come, and nothing that is typed ends in anything but a `ConfigError`."""

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from sca.config import Settings, known_keys, load_settings
from sca.config.describe import toml_value
from sca.errors import ConfigError

KEYS = {key.name: key for key in known_keys()}
# No control characters: an environment has no NUL, and "none" or an empty text means "no value" to an optional setting.
text = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1).filter(lambda t: t.strip().lower() != "none")
seconds = st.floats(0.001, 1e6)
VALUES = {
    "audio.frames_per_chunk": st.integers(1, 12),
    "qwen.revision": text.filter(str.strip),
    "qwen.torch_dtype": st.sampled_from(["auto", "float32", "bfloat16", "float16"]),
    "qwen.max_new_tokens": st.integers(1, 10**6),
    "duplex.silence_token_id": st.integers(0, 10**9),
    "duplex.audio_placeholder": st.integers(-(10**9), -1),
    "duplex.lead_chunks": st.integers(0, 100),
    "duplex.max_pull_chunks": st.integers(0, 100),
    "duplex.unit_gap_s": seconds,
    "duplex.min_silence_s": seconds,
    "duplex.system_prompt": text,
    "duplex.on_lag": st.sampled_from(["keep", "drop-unit"]),
}
given_values = st.fixed_dictionaries({}, optional=VALUES)


@given(given_values)
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
def test_any_text_is_a_value_or_a_complaint_that_names_it(name, value):
    found = outcome({name: value})
    assert name in str(found) if isinstance(found, ConfigError) else found.origin(name) == "command line"


anything = st.one_of(st.none(), st.text(), st.integers(), st.floats(), st.booleans(), st.lists(st.text()))


@given(st.dictionaries(st.one_of(st.text(), st.sampled_from(sorted(KEYS))), anything))
def test_any_overrides_are_settings_or_a_complaint(overrides):
    assert isinstance(outcome(overrides), Settings | ConfigError)
