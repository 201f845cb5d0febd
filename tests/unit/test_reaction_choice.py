"""Which reaction detector `auto` chooses, and what a change of it means."""

import pytest

from sca.data.reactions.choice import choose_detector
from sca.data.reactions.tagger import event_classes
from sca.models.catalog import by_name
from sca.models.store import folder_of


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SCA_CACHE_DIR", str(tmp_path))
    return tmp_path


def put_yamnet(cache):
    """Files of the right sizes: the choice does not read them."""
    model = by_name("yamnet")
    for file in model.files:
        path = folder_of(model, cache) / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as out:
            out.truncate(file.size)


def test_auto_without_a_model_is_none_and_names_the_command(cache):
    choice = choose_detector("auto")
    assert (choice.name, choice.identity) == ("none", choose_detector("none").identity)
    assert "sca models get yamnet" in choice.note
    assert "\n" not in choice.note


def test_auto_uses_the_model_that_is_there(cache):
    put_yamnet(cache)
    choice = choose_detector("auto")
    assert (choice.label, choice.note) == ("yamnet", "")
    assert choice.identity == choose_detector("yamnet").identity != choose_detector("none").identity


def test_auto_is_not_a_folder_of_that_name(cache, tmp_path, monkeypatch):
    put_yamnet(cache)
    (tmp_path / "yamnet").mkdir()
    monkeypatch.chdir(tmp_path)
    assert choose_detector("auto").identity.startswith("yamnet@sha256:")


@pytest.mark.parametrize("name", ["none", "energy", "owner/name"])
def test_other_names_stay(name):
    assert (choose_detector(name).name, choose_detector(name).note) == (name, "")


def test_table_of_a_tagger_replaces_single_values():
    general, own = ({entry.kind: entry for entry in event_classes(table)} for table in ("", "yamnet"))
    assert own["laughter"].classes == general["laughter"].classes
    assert own["laughter"].on < general["laughter"].on
    assert (own["cheer"].classes, own["music"]) == (frozenset(), general["music"])
    assert general["cheer"].classes < own["applause"].classes | {"Whoop"}
