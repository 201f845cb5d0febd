"""A second build of a data set writes nothing again that is as the first one left it."""

import pytest

from sca.data.duplex.build import finish
from sca.data.duplex.build.dataset import build_duplex
from tests.helpers import corpus

FILES = ("report.json", "report.html", "README.md", "dataset_dict.json", "train/data-00000-of-00001.arrow")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return corpus.short_demo(tmp_path_factory.mktemp("source") / "corpus")


@pytest.fixture
def build(source, tmp_path, monkeypatch):
    written = []
    write = finish.write_derived_files
    monkeypatch.setattr(finish, "write_derived_files", lambda *parts: (written.append(1), write(*parts)))

    def run():
        details = build_duplex(source, tmp_path / "data", corpus.settings(), jobs=1).details
        return details.report, len(written)

    return run


def test_second_build_writes_nothing_derived(build, tmp_path):
    first, _ = build()
    before = {name: (tmp_path / "data" / name).stat() for name in FILES}
    again, writes = build()
    assert (again, writes) == (first, 1)
    assert {name: (tmp_path / "data" / name).stat() for name in FILES} == before


def test_changed_or_deleted_file_is_made_again(build, tmp_path):
    report, writes = build()
    for name in FILES:
        path = tmp_path / "data" / name
        content = path.read_bytes()
        path.write_bytes(b"x" * len(content))
        writes += 1
        assert build() == (report, writes), name
        assert path.read_bytes() == content, name
        path.unlink()
        writes += 1
        assert build() == (report, writes), name
        assert path.read_bytes() == content, name


def test_interrupted_end_of_a_build_is_done_again(build, tmp_path, monkeypatch):
    first, _ = build()
    (tmp_path / "data" / "README.md").unlink()

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(finish, "write_dict", interrupt)
        with pytest.raises(KeyboardInterrupt):
            build()
    assert build() == (first, 3)
    assert build() == (first, 3)
