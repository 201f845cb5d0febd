"""`duplex.json`: written from a data set, and compared with the settings of the live engine."""

import json

import pytest

from sca.config import Settings
from sca.config.trained_format import check_trained_format, read_trained_format, write_trained_format
from sca.errors import ConfigError, InputError
from sca.infer.engines.qwen_omni import factory

DUPLEX = {
    "text_tokens_per_chunk": 2,
    "silence_token_id": 151_646,
    "hold_id": None,
    "start_id": None,
    "stop_id": 151_648,
    "backchannel_id": None,
    "lead_chunks": 1,
    "system_prompt": "Be brief.",
}


@pytest.fixture
def adapter(tmp_path):
    """An adapter that was trained on a data set with these settings."""
    rows = {
        "schema_version": 5,
        "audio": {"frame_hz": 12.5, "frames_per_chunk": 4},
        "duplex": {**DUPLEX, "codes": "none"},
    }
    (tmp_path / "settings.json").write_text(json.dumps(rows), encoding="utf-8")
    (tmp_path / "adapter").mkdir()
    write_trained_format(tmp_path / "adapter", tmp_path)
    return tmp_path / "adapter"


def settings_of(**sections):
    duplex = DUPLEX | sections.pop("duplex", {})
    return Settings.model_validate({"duplex": duplex, **sections})


def test_same_settings_are_accepted(adapter):
    trained = read_trained_format(adapter)
    assert trained.model_dump(exclude={"schema_name", "frame_hz", "frames_per_chunk", "conditioning"}) == DUPLEX
    check_trained_format(adapter, trained, settings_of())


@pytest.mark.parametrize(
    ("sections", "match"),
    [
        ({"audio": {"frames_per_chunk": 8}}, r"audio\.frames_per_chunk 4 \(now 8\)"),
        ({"duplex": {"silence_token_id": 151_647}}, r"duplex\.silence_token_id 151646 \(now 151647\)"),
        ({"duplex": {"stop_id": None}}, r"duplex\.stop_id 151648 \(now not set\)"),
        (
            {"duplex": {"text_tokens_per_chunk": 3, "lead_chunks": 2}},
            r"chunk 2 \(now 3\), duplex\.lead_chunks 1 \(now 2\)",
        ),
        ({"qwen": {"conditioning": "hidden:2"}}, r'qwen\.conditioning "embed" \(now "hidden:2"\)'),
        ({"duplex": {"system_prompt": "x" * 99}}, r'duplex\.system_prompt "Be brief\." \(now "x+…"\)'),
    ],
)
def test_other_settings_are_refused_with_both_values(adapter, sections, match):
    with pytest.raises(ConfigError, match=match) as refused:
        factory.load(settings_of(**{**sections, "qwen": {"adapter": str(adapter), **sections.get("qwen", {})}}))
    assert ("qwen.any_prompt=true" in refused.value.hint) == ("system_prompt" in match)


def test_another_prompt_can_be_accepted(adapter):
    settings = settings_of(duplex={"system_prompt": "Another."}, qwen={"any_prompt": True})
    check_trained_format(adapter, read_trained_format(adapter), settings)
    other = settings_of(duplex={"lead_chunks": 0}, qwen={"any_prompt": True})
    with pytest.raises(ConfigError, match="lead_chunks"):
        check_trained_format(adapter, read_trained_format(adapter), other)


def test_adapter_without_the_file_has_a_notice(tmp_path, caplog, monkeypatch):
    def stop(*_):
        raise InputError("the model is read now")

    monkeypatch.setattr(factory, "load_model", stop)
    with pytest.raises(InputError, match="the model is read now"):
        factory.load(settings_of(qwen={"adapter": str(tmp_path)}))
    assert "does not have duplex.json" in caplog.text


def test_broken_files_are_named(adapter, tmp_path):
    (adapter / "duplex.json").write_text('{"schema": "sca.duplex_format/1", "frame_hz": 12.5}', encoding="utf-8")
    with pytest.raises(InputError, match=r"duplex\.json is not valid: frames_per_chunk: Field required"):
        read_trained_format(adapter)
    (tmp_path / "settings.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match=r"settings\.json cannot be used"):
        write_trained_format(adapter, tmp_path)
