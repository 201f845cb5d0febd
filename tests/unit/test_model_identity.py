"""The identity of a model."""

import pytest

from sca.data.runs.model_identity import model_identity


def test_name_of_a_hub_model_is_its_identity():
    assert model_identity("large-v3-turbo") == "large-v3-turbo"
    assert model_identity("owner/model") == "owner/model"


def test_identity_depends_on_content_not_on_location(tmp_path):
    for name in ("here", "there"):
        (tmp_path / name / "part").mkdir(parents=True)
        (tmp_path / name / "part" / "weights.bin").write_bytes(b"12")
        (tmp_path / name / "config.json").write_bytes(b"{}")
    here = model_identity(str(tmp_path / "here"))
    assert here == model_identity(str(tmp_path / "there"))
    (tmp_path / "there" / ".cache").mkdir()
    (tmp_path / "there" / ".cache" / "lock").write_bytes(b"x")
    assert here == model_identity(str(tmp_path / "there"))  # hidden files that downloads leave are not part of it
    (tmp_path / "there" / "config.json").rename(tmp_path / "there" / "other.json")
    assert here != model_identity(str(tmp_path / "there"))


@pytest.mark.parametrize("at", [0, 3 << 20, (100 << 20) - 1])
def test_large_files_are_identified_by_samples(tmp_path, at):
    path = tmp_path / "model.bin"
    with path.open("wb") as file:
        file.truncate(100 << 20)
    before = model_identity(str(path))
    with path.open("r+b") as file:  # more than the distance between two samples
        file.seek(max(0, at - (8 << 20)))
        file.write(b"\x01" * (8 << 20))
    assert model_identity(str(path)) != before
    with path.open("r+b") as file:
        file.truncate((100 << 20) + 1)
    assert model_identity(str(path)) != before
