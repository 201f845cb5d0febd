"""The registry of recognizers: plugins, unknown names, objects of another kind."""

from importlib.metadata import EntryPoint

import pytest

import sca.plugins
from sca.config import Settings
from sca.errors import UsageError
from sca.infer.recognition.base import CommittedWord, Recognition
from sca.infer.recognition.registry import load_recognizer, recognizer_names


class Silent:
    name = "silent"

    def open(self) -> None:
        raise NotImplementedError


def load(settings: Settings) -> Silent:
    assert settings.recognition.step_ms > 0
    return Silent()


def load_other(settings: Settings) -> str:
    return settings.recognition.engine


@pytest.fixture
def plugins(monkeypatch):
    points = [
        EntryPoint("silent", f"{__name__}:load", "sca.recognizers"),
        EntryPoint("text", f"{__name__}:load_other", "sca.recognizers"),
        EntryPoint("data", f"{__name__}:plugins_data", "sca.recognizers"),
    ]
    monkeypatch.setattr(sca.plugins, "entry_points", lambda group: points if group == "sca.recognizers" else [])


plugins_data = 7


@pytest.mark.usefixtures("plugins")
def test_loads_a_plugin_by_name_or_setting():
    assert {"silent", "text"} <= set(recognizer_names())
    assert load_recognizer("silent", Settings()).name == "silent"
    chosen = Settings.model_validate({"recognition": {"engine": "silent"}})
    assert load_recognizer(settings=chosen).name == "silent"


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("silant", "recognizer silant does not exist"),
        ("text", "does not provide a recognizer: it returned a str"),
        ("data", "does not provide a recognizer: 7 is not a function"),
    ],
)
def test_names_what_is_wrong_with_a_plugin(name, message):
    with pytest.raises(UsageError, match=message):
        load_recognizer(name, Settings())


def test_the_text_of_a_result_is_its_words():
    words = (CommittedWord("Hello", 0, 10, 0.9), CommittedWord("there.", 10, 20, 0.8))
    assert Recognition(words, "and", 30).text == "Hello there."
