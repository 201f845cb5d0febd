"""Commits of hub repositories: which one is loaded, and what an earlier version has downloaded."""

import re

import pytest
from faster_whisper.utils import _MODELS

from sca.config.sections.duplex import DuplexConfig
from sca.config.sections.qwen import DEFAULT_MODEL, QwenConfig
from sca.data.duplex.align.registry import _DEFAULT_MODELS
from sca.data.speakers.ecapa import HUB_ID
from sca.models import models
from sca.models.pinned import revision_of
from sca.models.whisper import hub_revision
from sca.resources import hub_commits

MIMI = "kyutai/mimi"


def downloaded(cache, commit, *, is_main):
    repository = cache / "models--kyutai--mimi"
    (repository / "snapshots" / commit).mkdir(parents=True)
    (repository / "snapshots" / commit / "config.json").write_text("{}")
    if is_main:
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text(commit)


def test_default_models_have_commits():
    names = {DEFAULT_MODEL, HUB_ID, _DEFAULT_MODELS["ctc"], DuplexConfig().codes_model, *_MODELS.values()}
    assert names <= set(hub_commits())
    assert all(re.fullmatch("[0-9a-f]{40}", commit) for commit in hub_commits().values())


def test_commits_are_those_of_the_catalogue():
    for model in models().values():
        if model.hub is not None and model.hub.repository in hub_commits():
            assert hub_commits()[model.hub.repository] == model.hub.revision


@pytest.mark.parametrize("name", ["small", "Systran/faster-whisper-small"])
def test_size_has_the_commit_of_its_repository(tmp_path, name):
    assert hub_revision(name, str(tmp_path)) == "536b0662742c02347bc0e980a01041f333bce120"
    assert hub_revision("someone/whisper", str(tmp_path)) is hub_revision(str(tmp_path)) is None


def test_given_revision_has_precedence(tmp_path):
    assert revision_of(MIMI, "main", cache_dir=tmp_path) == "main"
    assert QwenConfig(revision="main").model_revision == "main"
    assert QwenConfig(model_id="a/b").model_revision is None


def test_download_of_an_earlier_version_is_used(tmp_path):
    pinned = hub_commits()[MIMI]
    assert revision_of(MIMI, cache_dir=tmp_path) == pinned
    downloaded(tmp_path, "a" * 40, is_main=True)
    assert revision_of(MIMI, cache_dir=tmp_path) == "a" * 40
    downloaded(tmp_path, pinned, is_main=False)
    assert revision_of(MIMI, cache_dir=tmp_path) == pinned
