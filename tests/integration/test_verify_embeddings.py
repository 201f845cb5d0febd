"""`sca verify` computes speaker embeddings again with the model that made them, and compares them with each other without."""

import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from sca.cli.main import app
from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.verify.dataset import verify
from sca.data.export.run import export
from sca.errors import MissingToolError, UsageError
from tests.helpers import corpus
from tests.helpers.duplex_files import break_storage
from tests.helpers.duplex_mutations import OTHER_SESSION, SESSION, change_json, change_track, copy, rewrite_report
from tests.helpers.tiny_speaker import write_speaker


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return a data set with embeddings, and its model."""
    root = tmp_path_factory.mktemp("embeddings")
    voice = write_speaker(root / "voice.onnx")
    source = corpus.pair(corpus.demo(root / "corpus"), OTHER_SESSION, audio=20.0)
    build_duplex(source, root / "data", corpus.settings(speaker_model=str(voice)))
    return root / "data", str(voice)


@pytest.fixture
def data(built, tmp_path):
    """A copy to change, without the record of the build."""
    return shutil.copytree(built[0], tmp_path / "data", ignore=shutil.ignore_patterns(".sca"))


@pytest.fixture
def voice(built):
    return built[1]


def line(verification):
    return next(check for check in verification.checks if check.name == "speaker embeddings")


def invent(record):
    record["speaker_embedding"] = [1.0] + [0.0] * 191


def turn(record):
    """Turn the vector by 4 degrees."""
    values = np.asarray(record["speaker_embedding"])
    other = np.random.default_rng(0).normal(size=len(values))
    other -= values * (values @ other)
    angle = np.radians(4)
    turned = values * np.cos(angle) + other / np.linalg.norm(other) * np.sin(angle)
    record["speaker_embedding"] = (turned / np.linalg.norm(turned)).astype(np.float32).tolist()


def remove(record):
    record["speaker_embedding"] = None


def swap(records, cells):
    values = [record["speaker_embedding"] for record in records]
    for record, other in zip(records, reversed(values), strict=True):
        record["speaker_embedding"] = other


MUTATIONS = [
    ("an invented embedding", change_track(invent), "its speaker embedding is not that of its audio (cosine "),
    ("a turned embedding", change_track(turn), "its speaker embedding is not that of its audio (cosine 0.998)"),
    ("a removed embedding", change_track(remove), "has no speaker embedding, the model gives one"),
    (
        "exchanged embeddings",
        lambda data: break_storage(data, swap),
        "its speaker embedding is not that of its audio (cosine ",
    ),
]


@pytest.mark.parametrize(("change", "message"), [pytest.param(*one[1:], id=one[0]) for one in MUTATIONS])
def test_finds_mutation_with_the_model_only(data, voice, change, message):
    change(data)
    rewrite_report(data)
    assert verify(data).problems == [], "it cannot be known without the model"
    found = verify(data, speaker=voice)
    assert any(one.startswith(f"{SESSION} G0001: {message}") for one in found.problems), found.problems
    assert not line(found).holds


def test_good_data_with_and_without_the_model(data, voice):
    alone, again = verify(data), verify(data, speaker=voice)
    assert alone.problems == again.problems == []
    assert "compared with each other; --speaker voice.onnx" in line(alone).found
    assert line(again).found == "2 of 4 tracks, computed again with voice.onnx"


def test_uses_the_model_of_the_build_if_it_is_at_hand(built, tmp_path, monkeypatch):
    data = shutil.copytree(built[0], tmp_path / "data")
    monkeypatch.chdir(tmp_path)  # the path does not depend on the working folder
    assert "computed again" in line(verify(data)).found
    remembered = data / ".sca" / "speaker_model.json"
    (tmp_path / "voice.onnx").write_bytes(b"another")
    remembered.write_text(json.dumps({"model": str(tmp_path / "voice.onnx")}))
    assert "compared with each other" in line(verify(data)).found, "a model with another digest is not used"
    remembered.write_text("{}")
    shutil.copy(built[1], tmp_path / "voice.onnx")
    assert "computed again" in line(verify(data)).found, "the name in settings.json is a file here"
    change_track(invent)(data)
    rewrite_report(data)
    assert any("not that of its audio" in one for one in verify(data).problems)


def test_names_a_model_that_is_not_the_recorded_one(data, tmp_path):
    other = write_speaker(tmp_path / "other.onnx", metadata={"framework": "3d-speaker"})
    (problem,) = verify(data, speaker=str(other)).problems
    assert problem.startswith("settings.json: its speaker model is voice.onnx (sha256:")
    assert f"{other} is sha256:" in problem


def test_data_set_of_an_earlier_version_has_no_digest(data, voice):
    def forget(document):
        del document["speaker_digest"]

    change_json("settings.json", forget)(data)
    change_json("report.json", lambda document: forget(document["made_with"]))(data)
    assert verify(data).problems == []
    assert line(verify(data, speaker=voice)).found.endswith("computed again with voice.onnx")
    change_track(invent)(data)
    assert any("not that of its audio" in one for one in verify(data, speaker=voice).problems)


def test_an_earlier_data_set_is_continued_without_work(built, tmp_path):
    root = shutil.copytree(built[0], tmp_path / "data")
    change_json("settings.json", lambda document: document.pop("speaker_digest"))(root)
    settings = corpus.settings(speaker_model=built[1])
    assert build_duplex(built[0].parent / "corpus", root, settings).details.built == 0
    assert (root / "settings.json").read_bytes() == (built[0] / "settings.json").read_bytes()
    assert (root / "report.json").read_bytes() == (built[0] / "report.json").read_bytes()


def test_data_without_embeddings_has_no_digest(tmp_path):
    build_duplex(corpus.pair(tmp_path / "corpus"), tmp_path / "data", corpus.settings())
    assert "speaker_digest" not in json.loads((tmp_path / "data" / "settings.json").read_text())
    assert not (tmp_path / "data" / ".sca" / "speaker_model.json").exists()
    with pytest.raises(UsageError, match="has no speaker embeddings"):
        verify(tmp_path / "data", speaker="ecapa")


def test_without_the_model_equal_sound_has_equal_embeddings(data):
    name = f"storage/{SESSION}.arrow"
    copy(name, "storage/Z.arrow")(data)
    change_json("storage/state.json", lambda d: d["_data_files"].append({"filename": "Z.arrow"}))(data)
    change_track(invent)(data)
    assert any("but not its speaker embedding" in one for one in verify(data).problems)


@pytest.mark.parametrize("audio_format", ["flac", "pcm16"])
def test_retimed_tracks_have_the_embedding_of_their_source(tmp_path, voice, audio_format):
    settings = corpus.settings(speaker_model=voice, audio_format=audio_format)
    settings = settings.model_copy(update={"augment": settings.augment.model_copy(update={"copies": 1})})
    build_duplex(corpus.demo(tmp_path / "corpus"), tmp_path / "data", settings)
    found = verify(tmp_path / "data")
    assert found.problems == []
    assert "4 of 4 tracks, computed again" in line(found).found
    change_track(invent)(tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / ".sca")
    (problem,) = [one for one in verify(tmp_path / "data").problems if "retimed from" in one]
    assert problem.startswith(f"{SESSION}+1 G0001: its speaker embedding is not that of {SESSION},")


def test_export_with_audio_is_computed_again(data, voice, tmp_path):
    change_track(invent)(data)
    rewrite_report(data)
    export(data, tmp_path / "parquet", "parquet", shard_bytes=10**9)
    export(data, tmp_path / "webdataset", "webdataset", shard_bytes=10**9)
    assert any("not that of its audio" in one for one in verify(tmp_path / "parquet", speaker=voice).problems)
    tar = verify(tmp_path / "webdataset", speaker=voice)
    assert tar.problems == []
    assert line(tar).found == "2 of 4 tracks, compared with each other"


def test_command(data, voice):
    change_track(invent)(data)
    rewrite_report(data)
    assert CliRunner().invoke(app, ["verify", str(data), "--quiet"]).exit_code == 0
    result = CliRunner().invoke(app, ["verify", str(data), "--quiet", "--speaker", voice])
    assert result.exit_code == 5
    assert "its speaker embedding is not that of its audio" in result.output


def test_model_that_does_not_exist(data, tmp_path):
    with pytest.raises(MissingToolError, match="does not exist"):
        verify(data, speaker=str(tmp_path / "none.onnx"))
    with pytest.raises(UsageError, match="none is not a speaker model"):
        verify(data, speaker="none")
