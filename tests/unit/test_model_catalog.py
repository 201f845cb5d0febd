"""The catalogue of models, references to them, and their state on this machine."""

import pytest
from pydantic import ValidationError

from sca.data.media.enhancers import load_enhancer
from sca.data.runs.model_identity import model_identity
from sca.data.speakers.registry import load_speaker, speaker_identity
from sca.errors import MissingToolError, UsageError
from sca.models import find, identity, models, resolve
from sca.models.catalog import parse
from sca.models.packages import failure
from sca.models.store import damaged_files, folder_of, is_present

SHA = "0" * 64
TEXT = f"""
[tiny]
job = "asr"
title = "A test"
licence = "MIT"
origin = "a test"
archives = [{{ index = "python", name = "tiny-one", version = "1.0", bytes = 9, sha256 = "{SHA}" }}]
files = [{{ path = "model.bin", bytes = 3, sha256 = "{SHA}", from = ["tiny-one:a/model.bin"] }}]
"""


def test_every_model_is_complete():
    for model in models().values():
        names = {archive.name for archive in model.archives}
        assert {source.split(":")[0] for file in model.files for source in file.sources} == names, model.name
        assert len({file.path for file in model.files}) == len(model.files), model.name
        assert all(model.members(archive) for archive in model.archives), model.name
    assert len({model.digest for model in models().values()}) == len(models())


def test_reference_with_and_without_prefix():
    assert find("pkg:yamnet") is find("yamnet") is models()["yamnet"]
    for other in ("none", "energy", "large-v3-turbo", "owner/yamnet", "./yamnet", ""):
        assert find(other) is None
        assert resolve(other) is None
        assert identity(other) is None
    with pytest.raises(UsageError, match="no model 'nope' in the catalogue") as caught:
        find("pkg:nope")
    assert "whisper-base" in caught.value.hint


def test_path_wins_over_a_name_without_prefix(tmp_path, monkeypatch):
    (tmp_path / "yamnet").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find("yamnet") is None
    assert find("pkg:yamnet") is models()["yamnet"]


def test_missing_model_names_the_command(tmp_path):
    with pytest.raises(MissingToolError, match="the model whisper-base is not on this machine") as caught:
        resolve("pkg:whisper-base", tmp_path)
    assert caught.value.hint.startswith("sca models get whisper-base ")
    assert caught.value.exit_code == 4


def test_missing_models_are_named_wherever_they_are_used(tmp_path):
    for load, name in ((load_enhancer, "dtln"), (load_enhancer, "pkg:dtln"), (load_speaker, "dvector")):
        with pytest.raises(MissingToolError, match=f"the model {name.removeprefix('pkg:')} is not on this machine"):
            load(name, tmp_path)
    with pytest.raises(UsageError, match="--enhance is none, deepfilter, dtln, got 'dvector'"):
        load_enhancer("dvector", tmp_path)


def test_default_folder_is_that_of_the_settings(tmp_path, monkeypatch):
    model = models()["dtln"]
    monkeypatch.setenv("SCA_CACHE_DIR", str(tmp_path))
    folder = folder_of(model, tmp_path)
    folder.mkdir(parents=True)
    for file in model.files:
        with (folder / file.path).open("wb") as out:
            out.truncate(file.size)
    assert resolve("dtln") == folder
    (folder / model.files[0].path).write_bytes(b"short")
    with pytest.raises(MissingToolError):
        resolve("dtln")


def test_identity_is_name_and_hash_of_the_files():
    model = models()["whisper-base"]
    assert identity("pkg:whisper-base") == f"whisper-base@sha256:{model.digest}" == model_identity("whisper-base")
    assert speaker_identity("pkg:dvector") == ("", identity("dvector"))
    changed = model.model_copy(update={"files": model.files[1:]})
    assert changed.digest != model.digest
    assert model.model_copy(update={"files": model.files[::-1], "title": "x"}).digest == model.digest


def test_identity_of_speaker_models(tmp_path):
    (tmp_path / "voice.onnx").write_bytes(b"weights")
    assert speaker_identity("ecapa") == ("", "ecapa")
    assert speaker_identity(f"ecapa:{tmp_path}") == ("ecapa", model_identity(str(tmp_path)))
    assert speaker_identity(str(tmp_path / "voice.onnx")) == ("", model_identity(str(tmp_path / "voice.onnx")))


def test_damaged_and_missing_files_are_named(tmp_path):
    model = parse(TEXT)["tiny"]
    assert not is_present(model, tmp_path)
    assert damaged_files(model, tmp_path) == ["model.bin: No such file or directory"]
    (tmp_path / "model.bin").write_bytes(b"abc")
    assert is_present(model, tmp_path)
    assert damaged_files(model, tmp_path) == ["model.bin: the SHA-256 is ba7816bf8f01…, not 000000000000…"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('path = "model.bin"', 'path = "../model.bin"'),
        ('path = "model.bin"', 'path = "/model.bin"'),
        ('path = "model.bin"', 'path = "a/../../model.bin"'),
        ("tiny-one:a/model.bin", "tiny-one:../model.bin"),
        ("tiny-one:a/model.bin", "other:a/model.bin"),
        ("tiny-one:a/model.bin", "tiny-one"),
        (f'sha256 = "{SHA}", from', 'sha256 = "ABC", from'),
        ('name = "tiny-one"', 'name = "--index-url=x"'),
        ('version = "1.0"', 'version = "1.0; x"'),
        ('job = "asr"', 'job = "asr"\nunknown = 1'),
    ],
)
def test_refuses_entries_that_are_wrong(old, new):
    assert old in TEXT
    with pytest.raises(ValidationError):
        parse(TEXT.replace(old, new, 1))


@pytest.mark.parametrize(
    ("tool", "status", "log", "kind", "message"),
    [
        (
            "pip",
            1,
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            "OutputError",
            "the disk is full",
        ),
        (
            "uv",
            2,
            "error: Failed\n  cause: failed to write to file `x`: No space left on device (os error 28)",
            "OutputError",
            "the disk is full",
        ),
        ("npm", 1, "npm error code ENOSPC\nnpm error syscall write", "OutputError", "the disk is full"),
        ("uv", -25, "", "OutputError", "larger than a limit"),
        (
            "pip",
            1,
            "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.",
            "InputError",
            "its SHA-256 differs",
        ),
        ("uv", 2, "error: Failed\n  cause: Hash mismatch for `tiny-one==1.0`", "InputError", "its SHA-256 differs"),
        ("npm", 1, "npm error code ENOTFOUND\nnpm error network", "UpstreamError", "does not answer"),
        ("pip", 3, "", "UpstreamError", "pip ended with status 3"),
        (
            "pip",
            1,
            "WARNING: x\nERROR: a\nERROR: No matching distribution found for tiny-one==1.0\n",
            "UpstreamError",
            "tiny-one==1.0: No matching distribution",
        ),
    ],
)
def test_failures_of_the_tools_are_one_line(tmp_path, tool, status, log, kind, message):
    archive = parse(TEXT)["tiny"].archives[0]
    error = failure(archive, tool, status, log, tmp_path / "work")
    assert type(error).__name__ == kind
    assert message in error.message
    assert "\n" not in error.message
