"""Settings: precedence of the sources, origins of values, error messages, and the generated documents."""

import os
import pickle
import tomllib
from enum import StrEnum
from fractions import Fraction
from pathlib import Path

import pytest
from pydantic import ValidationError

from sca.config import (
    AudioConfig,
    DuplexConfig,
    PathsConfig,
    QwenConfig,
    Settings,
    apply_preset,
    known_keys,
    load_settings,
    parse_set,
)
from sca.config.describe import default_toml, documentation_table
from sca.errors import ConfigError, GridError, UsageError
from sca.units import Grid

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_FILE = ROOT / "config" / "default.toml"


@pytest.fixture
def toml(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "sca.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def load_error(config_file=None, overrides=None, env=None) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_settings(config_file, overrides, env or {})
    assert caught.value.exit_code == 3
    return caught.value


# --- precedence ---


def test_defaults():
    settings = load_settings(env={})
    assert settings.model_dump() == Settings().model_dump()
    assert {settings.origin(key.name) for key in known_keys()} == {"default"}
    assert settings.grid == Grid()


def test_each_source_wins_over_the_one_below(toml):
    path = toml("[duplex]\nlead_chunks = 2\nmax_segments = 3\nmax_lag_chunks = 4\n")
    env = {"SCA_DUPLEX_MAX_SEGMENTS": "5", "SCA_DUPLEX_MAX_LAG_CHUNKS": "6"}
    settings = load_settings(path, {"duplex.max_lag_chunks": 7}, env)
    duplex = settings.duplex
    assert (duplex.text_tokens_per_chunk, duplex.lead_chunks, duplex.max_segments, duplex.max_lag_chunks) == (
        2,
        2,
        5,
        7,
    )
    assert settings.origin("duplex.text_tokens_per_chunk") == "default"
    assert settings.origin("duplex.lead_chunks") == f"file {path}"
    assert settings.origin("duplex.max_segments") == "environment SCA_DUPLEX_MAX_SEGMENTS"
    assert settings.origin("duplex.max_lag_chunks") == "command line"


def test_overridden_invalid_value_is_ignored():
    assert load_settings(overrides={"audio.frame_hz": 12.5}, env={"SCA_FRAME_HZ": "fast"}).audio.frame_hz == 12.5


def test_process_environment_is_read_only_without_env(monkeypatch):
    monkeypatch.setitem(os.environ, "SCA_DUPLEX_LEAD_CHUNKS", "0")
    assert load_settings().duplex.lead_chunks == 0
    assert load_settings(env={}).duplex.lead_chunks == 1


def test_environment_may_name_the_file(toml, tmp_path):
    path = toml("[duplex]\nlead_chunks = 2\n")
    other = tmp_path / "other.toml"
    other.write_text("[duplex]\nlead_chunks = 0\n")
    assert load_settings(env={"SCA_CONFIG": str(path)}).duplex.lead_chunks == 2
    assert load_settings(other, env={"SCA_CONFIG": str(path)}).duplex.lead_chunks == 0
    assert load_settings(env={"SCA_CONFIG": ""}).duplex.lead_chunks == 1


def test_files_are_found_without_an_option(toml, tmp_path, monkeypatch):
    home, work = tmp_path / "home", tmp_path / "work"
    for folder in (home / ".config" / "sca", tmp_path / "xdg" / "sca", work):
        folder.mkdir(parents=True)
    (home / ".config/sca/sca.toml").write_text('[duplex]\nlead_chunks = 2\nwindow = "session"\n')
    (tmp_path / "xdg/sca/sca.toml").write_text("[duplex]\nlead_chunks = 4\n")
    monkeypatch.chdir(work)
    env = {"HOME": str(home)}
    assert load_settings(env=env).duplex.lead_chunks == 2
    assert load_settings(env=env | {"XDG_CONFIG_HOME": str(tmp_path / "xdg")}).duplex.lead_chunks == 4
    assert load_settings(env=env | {"XDG_CONFIG_HOME": "relative"}).duplex.lead_chunks == 2
    (work / "sca.toml").write_text("[duplex]\nlead_chunks = 3\n")
    settings = load_settings(env=env)
    assert (settings.duplex.lead_chunks, settings.duplex.window) == (3, "session")
    assert settings.origin("duplex.lead_chunks") == "file sca.toml"
    named = toml("[turn]\nthreshold = 0.4\n")
    assert load_settings(named, env=env).duplex == load_settings(env={"SCA_CONFIG": str(named)}).duplex
    (work / "sca.toml").write_text("[duplex]\nlead = 3\n")
    assert str(load_error(env=env)) == "file sca.toml: duplex.lead is not a setting"


# --- conversion of values ---


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("SCA_FRAME_HZ", "6.25", "audio.frame_hz", None),
        ("SCA_FRAMES_PER_CHUNK", "8", "audio.frames_per_chunk", 8),
        ("SCA_QWEN_MODEL_ID", "/models/qwen", "qwen.model_id", "/models/qwen"),
        ("SCA_QWEN_DEVICE_MAP", "cuda:1", "qwen.device_map", "cuda:1"),
        ("SCA_QWEN_TORCH_DTYPE", "float16", "qwen.torch_dtype", "float16"),
        ("SCA_QWEN_ATTN_IMPL", "eager", "qwen.attn_implementation", "eager"),
        ("SCA_QWEN_MAX_NEW_TOKENS", "4", "qwen.max_new_tokens", 4),
        ("SCA_QWEN_REVISION", "abc123", "qwen.revision", "abc123"),
        ("SCA_DUPLEX_TEXT_TOKENS_PER_CHUNK", "3", "duplex.text_tokens_per_chunk", 3),
        ("SCA_DUPLEX_AUDIO_PLACEHOLDER", "-1", "duplex.audio_placeholder", -1),
        ("SCA_DUPLEX_MAX_PULL_CHUNKS", "0", "duplex.max_pull_chunks", 0),
        ("SCA_DUPLEX_MAX_PULL_CHUNKS", "None", "duplex.max_pull_chunks", None),
        ("SCA_DUPLEX_WINDOW", "session", "duplex.window", "session"),
        ("SCA_DUPLEX_ON_LAG", "drop-unit", "duplex.on_lag", "drop-unit"),
        ("SCA_CACHE_DIR", "/var/cache/sca", "paths.cache_dir", Path("/var/cache/sca")),
    ],
)
def test_reads_environment_variables(variable, text, name, value):
    if variable == "SCA_FRAME_HZ":  # no other rate makes a grid with this encoder, which shows that it was read
        assert isinstance(load_error(env={variable: text}), GridError)
        return
    settings = load_settings(env={variable: text})
    assert settings.value(name) == value
    assert settings.origin(name) == f"environment {variable}"


def test_empty_variable_counts_as_not_set():
    settings = load_settings(env={"SCA_DUPLEX_LEAD_CHUNKS": "", "SCA_QWEN_REVISION": ""})
    assert (settings.duplex.lead_chunks, settings.origin("duplex.lead_chunks")) == (1, "default")


def test_ignores_variables_without_our_prefix():
    load_settings(env={"SCALE": "1", "XSCA_FRAME_HZ": "x", "sca_frame_hz": "x", "PATH": "/bin"})


class Lag(StrEnum):
    """An enum, as a command's option may pass it."""

    DROP = "drop-unit"


def test_overrides_are_text_or_typed_and_none_is_not_given():
    overrides = {
        "duplex.lead_chunks": "0",
        "duplex.max_segments": 4,
        "duplex.unit_gap_s": 1,
        "duplex.on_lag": Lag.DROP,
        "duplex.system_prompt": "",
        "qwen.revision": "none",
        "duplex.max_tokens": None,
        "paths.cache_dir": "~/here",
    }
    settings = load_settings(overrides=overrides, env={"SCA_DUPLEX_MAX_TOKENS": "9", "SCA_QWEN_REVISION": "main"})
    duplex = settings.duplex
    assert (duplex.lead_chunks, duplex.max_segments, duplex.unit_gap_s, duplex.on_lag) == (0, 4, 1.0, "drop-unit")
    assert (duplex.system_prompt, settings.qwen.revision, duplex.max_tokens) == ("", None, 9)
    assert settings.origin("qwen.revision") == "command line"
    assert settings.paths.cache_dir == Path.home() / "here"


def test_value_of_unknown_setting_fails():
    with pytest.raises(ConfigError) as caught:
        Settings().origin("duplex.lead_chunk")
    assert caught.value.hint == "did you mean duplex.lead_chunks?"


# --- errors ---


def test_unknown_key_in_a_file(toml):
    path = toml("[duplex]\nlead_chunk = 2\n")
    error = load_error(path)
    assert str(error) == f"file {path}: duplex.lead_chunk is not a setting"
    assert error.hint == "did you mean duplex.lead_chunks?"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[duplx]\nlead_chunks = 2\n", "[duplx] is not a setting", "did you mean [duplex]?"),
        ("[zzzzzz]\nx = 2\n", "[zzzzzz] is not a setting", "`sca config show` lists every setting"),
        ("lead_chunks = 2\n", "lead_chunks is not a setting", "did you mean duplex.lead_chunks?"),
        ("duplex = 2\n", "duplex is a section, not a setting", "write [duplex] above its settings"),
        ("[duplex.window]\nmin = 2\n", "duplex.window should be text, got {'min': 2}", None),
        ("[duplex]\nwindow = 30\n", "duplex.window should be text, got 30", None),
        ("[audio]\nframe_hz = '12.5'\n", "audio.frame_hz should be a number from 0.01 to 1000, got '12.5'", None),
        ("[duplex]\nlead_chunks = 1.0\n", "duplex.lead_chunks should be a whole number from 0 to 1000, got 1.0", None),
        (
            "[duplex]\nlead_chunks = true\n",
            "duplex.lead_chunks should be a whole number from 0 to 1000, got True",
            None,
        ),
        ("[duplex]\nunit_gap_s = nan\n", "duplex.unit_gap_s should be a number from 0 to 86400, got nan", None),
        ("[duplex]\nmax_pull_chunks = 'none'\n", "should be a whole number from 0 to 1000, or none, got 'none'", None),
        ("[duplex]\naudio_placeholder = 5\n", "should be a whole number from -2147483647 to below 0, got 5", None),
        ("[duplex]\non_lag = 'drop'\n", "should be one of keep, drop-unit, got 'drop'", None),
        ("[qwen]\nmodel_id = ''\n", "qwen.model_id should be text, not empty, got ''", None),
        ("[paths]\ncache_dir = 5\n", "paths.cache_dir should be a path or none, got 5", None),
        ("[paths]\ncache_dir = '~no-such-user/x'\n", "names a home folder that cannot be found", None),
        ("[duplex]\nalign_language = 'English'\n", "text that matches ^[a-z]{2,3}$, or none, got 'English'", None),
    ],
)
def test_invalid_file_contents(toml, text, message, hint):
    path = toml(text)
    error = load_error(path)
    assert str(error).startswith(f"file {path}: ")
    assert message in str(error)
    assert "\n" not in str(error)
    assert error.hint == hint


@pytest.mark.parametrize(
    ("text", "where"),
    [("[duplex]\nlead_chunks 2\n", "line 2"), ("[duplex]\n\n\nlead_chunks = \n", "line 4"), ("[duplex", "line ")],
)
def test_syntax_error_names_file_and_line(toml, text, where):
    path = toml(text)
    assert str(load_error(path)).startswith(f"file {path}, {where}")


def test_unreadable_files(tmp_path):
    assert "missing.toml does not exist" in str(load_error(tmp_path / "missing.toml"))
    assert "cannot be read" in str(load_error(tmp_path))
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"[duplex]\nsystem_prompt = 'caf\xe9'\n")
    assert "is not UTF-8 text" in str(load_error(latin))


@pytest.mark.parametrize(
    ("variable", "near"),
    [
        ("SCA_FRAMES_HZ", "SCA_FRAME_HZ"),
        ("SCA_QWEN_ATTN_IMPLEMENTATION", "SCA_QWEN_ATTN_IMPL"),
        ("SCA_CONFG", "SCA_CONFIG"),
        ("SCA_CACHEDIR", "SCA_CACHE_DIR"),
        ("SCA_DUPLEX_LEED_CHUNKS", "SCA_DUPLEX_LEAD_CHUNKS"),
    ],
)
def test_unknown_variable_names_the_nearest(variable, near):
    error = load_error(env={variable: "1"})
    assert str(error) == f"environment: {variable} is not a setting"
    assert error.hint == f"did you mean {near}?"


def test_variables_of_other_programs_are_named_once(caplog):
    for _ in range(2):
        assert load_settings(env={"SCA_API_TOKEN": "secret", "SCA_SCAN_PATH": "/"}) == load_settings(env={})
    assert [record.getMessage().split()[0] for record in caplog.records] == ["SCA_API_TOKEN", "SCA_SCAN_PATH"]
    assert "secret" not in caplog.text


def test_options_name_themselves_in_errors():
    with pytest.raises(UsageError) as caught:
        load_settings(options={"duplex.lead_chunks": -1}, env={})
    assert str(caught.value) == "--lead should be a whole number from 0 to 1000, got -1"
    with pytest.raises(UsageError) as caught:
        load_settings(options={"duplex.lead_chunks": -1, "duplex.on_lag": "x"}, env={})
    assert caught.value.lines[0] == "2 options are invalid:"
    with pytest.raises(ConfigError, match="2 settings are invalid"):
        load_settings(options={"duplex.lead_chunks": -1}, overrides={"duplex.on_lag": "x"}, env={})


def test_options_win_over_overrides():
    settings = load_settings(overrides={"duplex.lead_chunks": 2}, options={"duplex.lead_chunks": 3}, env={})
    assert settings.duplex.lead_chunks == 3
    assert settings.origin("duplex.lead_chunks") == "command line --lead"


@pytest.mark.parametrize(
    ("patience", "ask_after_s", "words"),
    [
        ("0.20002:0.4,1:0.2", 0.2, "at least one sample (1/16000 s) apart"),
        ("0.6:0.5,0.60001:0.4", 0.2, "at least one sample (1/16000 s) apart"),
        ("0.6:0.45", 0.59999, "after turn.ask_after_s, which is 0.59999"),
        ("1e5:0.4", 0.2, "should be SECONDS:THRESHOLD"),
        ("100000:0.4", 0.2, "ascending seconds up to 86400"),
        (f"{'9' * 400}:0.4", 0.2, "ascending seconds up to 86400"),
    ],
)
def test_patience_is_checked_in_samples(patience, ask_after_s, words):
    error = load_error(overrides={"turn.patience": patience, "turn.ask_after_s": ask_after_s})
    assert "turn.patience" in str(error)
    assert words in str(error)


def test_default_patience_is_checked_too():
    assert "turn.patience should" in str(load_error(overrides={"turn.ask_after_s": 0.59999}))


def test_toml_number_beyond_the_limits_of_python(toml):
    path = toml(f"[duplex]\nlead_chunks = {'9' * 5000}\n")
    assert "not valid TOML" in str(load_error(path))


def test_lists_all_problems(toml):
    path = toml("[duplex]\nlead_chunks = -1\nwindow = '60-20'\nspeed = 2\n")
    env = {"SCA_FRAME_HZ": "fast", "SCA_DUPLEX_NOISE": "1"}
    error = load_error(path, {"duplex.max_tokens": "many", "lead_chunks": 1}, env)
    head, *lines = str(error).splitlines()
    assert head == "7 settings are invalid:"
    for part in ("duplex.speed", "SCA_DUPLEX_NOISE", "lead_chunks is not", "'fast'", "'many'", "got -1", "'60-20'"):
        assert any(part in line for line in lines), part


def test_loading_checks_the_grid(toml):
    error = load_error(toml("[audio]\nframe_hz = 13\n"), env={"SCA_FRAMES_PER_CHUNK": "4"})
    assert isinstance(error, GridError)
    assert "4923.08 samples at 16000 Hz" in str(error)
    assert "audio.frames_per_chunk from environment SCA_FRAMES_PER_CHUNK" in str(error)
    assert error.hint is not None
    with pytest.raises(GridError):
        AudioConfig(frames_per_chunk=13)


# --- the models ---


def test_models_are_immutable_and_reject_unknown_fields():
    for model in (AudioConfig, QwenConfig, DuplexConfig, PathsConfig, Settings):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(model(), next(iter(model.model_fields)), 1)
        with pytest.raises(ValidationError, match="Extra inputs"):
            model(nonsense=1)


def test_grid_is_exact():
    assert Settings().grid.frame_hz == Fraction(25, 2)
    assert AudioConfig(frames_per_chunk=8).grid == Grid(frames_per_chunk=8)


def test_default_pull_depends_on_the_lead():
    assert [DuplexConfig(lead_chunks=lead).pull_chunks for lead in (0, 1, 2)] == [2, 1, 1]
    assert DuplexConfig(lead_chunks=0, max_pull_chunks=0).pull_chunks == 0


@pytest.mark.parametrize(("text", "bounds"), [("20-60", (20.0, 60.0)), ("0.64-1.5", (0.64, 1.5)), ("session", None)])
def test_windows(text, bounds):
    assert DuplexConfig(window=text).window_s == bounds


@pytest.mark.parametrize(
    "text", ["", "20", "60-20", "20-20", "0-10", "-5-10", "20 - 60", "20-60s", "a-b", "٢-٣", "1e1-20"]
)
def test_rejects_invalid_windows(text):
    with pytest.raises(ValidationError, match="should be session, or MIN-MAX in seconds"):
        DuplexConfig(window=text)


def test_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_settings(env={}).paths.resolved_cache_dir == tmp_path / ".cache" / "sca"
    xdg = {"XDG_CACHE_HOME": "/xdg"}
    assert load_settings(env=xdg).paths.resolved_cache_dir == Path("/xdg/sca")
    assert load_settings(env=xdg).origin("paths.cache_dir") == "environment XDG_CACHE_HOME"
    assert load_settings(env=xdg | {"SCA_CACHE_DIR": "/mine"}).paths.resolved_cache_dir == Path("/mine")
    assert load_settings(env={"XDG_CACHE_HOME": "relative"}).origin("paths.cache_dir") == "default"


def test_pickling_keeps_origins():
    settings = load_settings(env={"SCA_DUPLEX_LEAD_CHUNKS": "0"})
    copy = pickle.loads(pickle.dumps(settings))
    assert copy == settings
    assert copy.origin("duplex.lead_chunks") == "environment SCA_DUPLEX_LEAD_CHUNKS"
    assert Settings.model_validate_json(settings.model_dump_json()).duplex == settings.duplex


# --- presets and --set ---


def test_preset_of_the_wider_grid():
    settings = load_settings(overrides=apply_preset("8x4"), env={})
    assert (settings.audio.frames_per_chunk, settings.duplex.text_tokens_per_chunk) == (8, 4)
    assert settings.qwen.max_new_tokens == 4
    assert float(settings.grid.chunk_s) == 0.64
    assert load_settings(overrides=apply_preset("4x2"), env={}).model_dump() == Settings().model_dump()


@pytest.mark.parametrize("preset", ["", "8", "8x", "x4", "0x2", "8x0", "8-4", "8X4 ", "eight", "8x4x2"])
def test_rejects_invalid_presets(preset):
    with pytest.raises(UsageError, match="AUDIOxTEXT") as caught:
        apply_preset(preset)
    assert caught.value.hint == "such as 4x2 or 8x4"


def test_set_options():
    assert parse_set(["a.b=1", "c.d=x=y", " e.f =", "a.b=2"]) == {"a.b": "2", "c.d": "x=y", "e.f": ""}
    for wrong in ("a.b", "=1", ""):
        with pytest.raises(UsageError, match="KEY=VALUE"):
            parse_set([wrong])


# --- names and generated documents ---


def test_names_are_unique_and_described():
    keys = list(known_keys())
    assert len({key.name for key in keys}) == len({key.env for key in keys}) == len(keys)
    assert all(key.description.endswith(".") for key in keys)
    assert {key.name: key.env for key in keys if key.section == "audio"} == {
        "audio.frame_hz": "SCA_FRAME_HZ",
        "audio.frames_per_chunk": "SCA_FRAMES_PER_CHUNK",
        "audio.accept_damage_s": "SCA_AUDIO_ACCEPT_DAMAGE_S",
        "audio.track": "SCA_AUDIO_TRACK",
        "audio.language": "SCA_AUDIO_LANGUAGE",
    }


def test_default_file_holds_the_defaults():
    settings = load_settings(DEFAULT_FILE, env={})
    assert settings.model_dump() == Settings().model_dump()
    written = {
        f"{section}.{field}" for section, table in tomllib.loads(DEFAULT_FILE.read_text()).items() for field in table
    }
    assert written == {key.name for key in known_keys() if key.default is not None}


def test_default_file_documents_every_setting():
    text = DEFAULT_FILE.read_text(encoding="utf-8")
    assert text == default_toml(known_keys()), "run scripts/make_settings_docs.py"
    lines = text.splitlines()
    for key in known_keys():
        assert f"# {key.field} =" in lines or any(line.startswith(f"{key.field} = ") for line in lines)
        assert any(line.startswith("# ") and line.endswith(f" {key.env}") for line in lines)


def test_guide_documents_every_setting():
    guide = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert documentation_table(known_keys()) in guide, "run scripts/make_settings_docs.py"
    for key in known_keys():
        row = next(line for line in guide.splitlines() if line.startswith(f"| `{key.name}` | `{key.env}` | "))
        assert key.description in row
        assert key.expected.replace("|", r"\|") in row
        assert key.flag is None or f"`{key.flag.name}`" in row


def test_guide_abbreviates_the_default_of_a_long_text():
    rows = {line.split("`")[1]: line for line in documentation_table(known_keys()).splitlines() if "| `" in line}
    assert "| (a sentence) |" in rows["duplex.system_prompt"]
    assert "| `0.5` |" in rows["duplex.unit_gap_s"]
    assert rows["qwen.revision"].split(" | ")[3] == ""


SECRETS = (
    "serve.auth_key",
    "serve.twilio_auth_token",
    "turn.auth_key",
    "llm.api_key",
    "vllm.api_key",
    "speech.api_key",
)


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("blank", ["", "  "])
def test_blank_secret_is_refused(name, blank, tmp_path):
    """A server with a blank key would be open."""
    section, field = name.split(".")
    file = tmp_path / "sca.toml"
    file.write_text(f'[{section}]\n{field} = "{blank}"\n')
    for source in ({"config_file": file}, {"overrides": {name: blank}}):
        with pytest.raises(ConfigError, match=f"{name} is empty"):
            load_settings(**source)
    with pytest.raises((ConfigError, UsageError), match="is empty"):
        load_settings(options={name: blank})


def test_empty_variable_of_a_secret_counts_as_not_set():
    assert load_settings(env={"SCA_AUTH_KEY": ""}).serve.auth_key is None


@pytest.mark.parametrize(
    ("host", "media_host", "addresses"),
    [
        ("127.0.0.1", "", ("127.0.0.1",)),
        ("localhost", "", ("127.0.0.1",)),
        ("0.0.0.0", "", None),
        ("127.0.0.1", "0.0.0.0", None),
        ("0.0.0.0", "192.0.2.7", ("192.0.2.7",)),
    ],
)
def test_addresses_of_calls(host, media_host, addresses):
    settings = load_settings(overrides={"serve.host": host, "serve.media_host": media_host}, env={})
    assert settings.serve.media_addresses == addresses


@pytest.mark.parametrize("urls", ["http://a.example", "turn:a.example", "stun:", "stun:a.example:x"])
def test_urls_of_stun_servers_are_checked(urls):
    with pytest.raises(ConfigError, match="URL of a STUN server"):
        load_settings(overrides={"serve.ice_servers": urls}, env={})


def test_several_stun_servers():
    settings = load_settings(overrides={"serve.ice_servers": "stun:a.example, stun:b.example:3479"}, env={})
    assert settings.serve.ice_server_urls == ("stun:a.example", "stun:b.example:3479")
