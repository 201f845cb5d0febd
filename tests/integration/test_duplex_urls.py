"""Rows from an S3 server and from a hub: equal rows and batches, cut connections, credentials, and uploads."""

import json
import os
import signal
import socket
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import numpy as np
import pytest
import soundfile as sf
from huggingface_hub import DatasetCard
from torch.utils.data import DataLoader

import sca
from sca.browse.data_set import open_data_set
from sca.browse.index import open_index
from sca.browse.row import row_view
from sca.data.datasets.hub import push
from sca.data.duplex.inspect.html import view_data
from sca.data.duplex.load.collate import DuplexCollator
from sca.data.duplex.verify.dataset import verify
from sca.data.runs.ledger import lock_dir
from sca.errors import InputError, UpstreamError
from sca.tokenizer import load_tokenizer
from sca.urls import requests
from tests.helpers import corpus
from tests.helpers.command import sca as command
from tests.helpers.cutting_proxy import cutting_proxy
from tests.helpers.duplex_sources import FORMATS, assert_equal, build_sources
from tests.helpers.fake_hub import fake_hub
from tests.helpers.s3_server import s3_server
from tests.helpers.timeouts import TIMEOUT_S


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return build_sources(tmp_path_factory.mktemp("urls"))


@pytest.fixture(scope="module")
def local_batches(root):
    """Return the batches of both ranks from the data set on disk."""
    return [batches(root / "arrow", rank) for rank in range(2)]


@pytest.fixture(scope="module")
def s3(root):
    with s3_server() as server:
        for kind in FORMATS:
            server.upload(root / kind, kind)
        yield server


@pytest.fixture
def hub(monkeypatch):
    """Start a hub, and let this process use the network for it."""
    with fake_hub() as started:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", started.url)
        template = f"{started.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)  # large files come by git-lfs
        monkeypatch.setenv("HF_TOKEN", "hf_test")
        yield started


@pytest.fixture
def without_pauses(monkeypatch):
    monkeypatch.setattr(requests, "_PAUSES_S", (0, 0))


def options(hub):
    return {"endpoint": hub.url, "token": False, "skip_instance_cache": True}


def hub_files(root):
    return {
        str(file.relative_to(root)): file.read_bytes()
        for file in root.rglob("*")
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(root).parts)
    }


def batches(path, rank, storage_options=None):
    """Return the batches of one of two ranks, whose loader has two workers."""
    collate = DuplexCollator(load_tokenizer("builtin:qwen"), silence_weight=0.4, listener_text=True)
    rows = sca.DuplexRows(path, seed=5, rank=rank, world=2, workers=2, batch_size=2, storage_options=storage_options)
    rows.set_epoch(1)
    with warnings.catch_warnings():  # Python 3.12 and newer warn of forks of processes with threads
        warnings.simplefilter("ignore", DeprecationWarning)
        return list(DataLoader(rows, batch_size=2, num_workers=2, collate_fn=collate))


def assert_equal_batches(found, expected):
    assert found
    for batch, whole in zip(found, expected, strict=True):
        assert batch.keys() == whole.keys()
        assert batch["segment_info"] == whole["segment_info"]
        for name, values in whole.items():
            if hasattr(values, "equal"):
                assert batch[name].equal(values), name
        assert all(a.equal(b) for a, b in zip(batch["target_audio"], whole["target_audio"], strict=True))


# --- S3 ---


@pytest.mark.parametrize("split", ["train", "validation"])
@pytest.mark.parametrize("kind", FORMATS)
def test_rows_from_s3_are_equal(root, s3, kind, split):
    expected = sca.load(root / "arrow", split)
    found = sca.load(f"s3://{kind}", split, storage_options=s3.options())
    assert found.lengths == expected.lengths
    assert [row.row_id for row in found[1:3]] == [row.row_id for row in expected[1:3]]
    for a, b in zip(found, expected, strict=True):
        assert_equal(a, b)


@pytest.mark.parametrize("kind", FORMATS)
def test_browsing_from_s3_shows_the_rows_of_the_disk(root, s3, kind, tmp_path):
    there, here = open_data_set(f"s3://{kind}", s3.options()), open_data_set(root / "arrow")
    assert open_index(there, tmp_path).equals(open_index(here, tmp_path))
    found, expected = (view_data(row_view(data, "train", 2, [2])) for data in (there, here))
    for view in (found, expected):
        assert view["speakers"].pop()["peaks"]  # the speech of a WebDataset is at 24 kHz only
    assert found == expected


@pytest.mark.parametrize("kind", FORMATS)
def test_batches_from_s3_are_equal(s3, local_batches, kind):
    for rank, expected in enumerate(local_batches):
        assert_equal_batches(batches(f"s3://{kind}", rank, s3.options()), expected)


@pytest.mark.parametrize("kind", FORMATS)
def test_stream_from_s3_resumes_with_the_next_row(root, s3, kind):
    def stream():
        return sca.DuplexRows(f"s3://{kind}", seed=3, storage_options=s3.options())

    whole = [row.row_id for row in stream()]
    interrupted = stream()
    before = [row.row_id for row, _ in zip(interrupted, range(3), strict=False)]
    resumed = stream()
    resumed.load_state_dict(json.loads(json.dumps(interrupted.state_dict(rows_used=3))))
    assert before + [row.row_id for row in resumed] == whole


@pytest.mark.parametrize("kind", FORMATS)
def test_cut_connections_are_tried_again(root, s3, without_pauses, kind):
    expected = sca.load(root / "arrow")
    with cutting_proxy(s3.url) as proxy:
        found = sca.load(f"s3://{kind}", storage_options=s3.options(proxy.url))
        proxy.cuts = 3
        for a, b in zip(found, expected, strict=True):
            assert_equal(a, b)
        assert proxy.cut == 3


def test_connections_that_stay_cut_are_one_line(s3, without_pauses):
    with cutting_proxy(s3.url) as proxy:
        data = sca.load("s3://webdataset", storage_options=s3.options(proxy.url))
        proxy.cuts = 1000
        with pytest.raises(UpstreamError, match=r"s3://webdataset/train-000000\.tar cannot be read: ") as raised:
            data[0]
    assert "\n" not in str(raised.value)
    assert raised.value.hint == "check the connection and try again"


def test_wrong_keys_are_one_line(s3):
    with s3.refusing_keys(), pytest.raises(UpstreamError, match=r"s3://arrow/settings\.json cannot be read") as raised:
        sca.load("s3://arrow", storage_options=s3.options())
    assert "AWS_ACCESS_KEY_ID" in raised.value.hint
    with pytest.raises(UpstreamError, match="profile") as raised:
        sca.load("s3://arrow", storage_options={"profile": "nobody", "skip_instance_cache": True})
    assert "AWS_ACCESS_KEY_ID" in raised.value.hint


@pytest.mark.parametrize("url", ["s3://no-bucket/data", "s3://arrow/data"])
def test_missing_buckets_and_folders_are_one_line(s3, url):
    for function in (sca.load, sca.easy_load):
        with pytest.raises(InputError, match=f"{url} is not a "):
            function(url, storage_options=s3.options())


def test_easy_load_opens_urls(root, s3):
    for kind in FORMATS:
        for name in ("duplex", "duplex_with_embeddings", "raw"):
            found = sca.easy_load(f"s3://{kind}", name, storage_options=s3.options())
            expected = sca.easy_load(root / "arrow", name)
            assert len(found) == len(expected)
            if name == "raw":
                np.testing.assert_array_equal(found[0]["heard"]["array"], expected[0]["heard"]["array"])
                assert found[0]["input_ids"] == expected[0]["input_ids"]
            else:
                assert found[0].input_sequence == expected[0].input_sequence
                np.testing.assert_array_equal(
                    found[0].target_audios[0].audio.waveform, expected[0].target_audios[0].audio.waveform
                )


# --- the hub ---


@pytest.mark.parametrize("kind", FORMATS)
def test_reads_rows_from_a_hub(root, hub, kind):
    expected = sca.load(root / "arrow")
    hub.files.update(hub_files(root / kind))
    found = sca.load("hf://datasets/me/data", storage_options=options(hub))
    assert_equal(found[0], expected[0])
    if kind == "webdataset":  # one range of bytes, and not the tar file
        sizes = [size for name, size in hub.read if name.endswith(".tar")]
        assert sizes == [json.loads(hub.files["rows.jsonl"].splitlines()[0])["size"]]
    if kind == "parquet":  # the end of every file, and the two tracks of the session
        files = [name for name in hub.files if name.startswith("storage/")]
        assert len([name for name, _ in hub.read if name.startswith("storage/")]) == len(files) + 2
    assert found.lengths == expected.lengths
    for a, b in zip(found, expected, strict=True):
        assert_equal(a, b)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_pushed_data_set_returns_with_equal_batches(root, hub, local_batches, kind, tmp_path):
    push(root / kind, "me/data", private=False)
    browsed = open_index(open_data_set("hf://datasets/me/data", options(hub)), tmp_path)
    assert browsed.equals(open_index(open_data_set(root / kind), tmp_path))
    for rank, expected in enumerate(local_batches):
        assert_equal_batches(batches("hf://datasets/me/data", rank, options(hub)), expected)


def test_an_id_of_the_hub_is_a_data_set(root, hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hub.files.update(hub_files(root / "parquet"))
    found = sca.easy_load("me/data", "duplex", storage_options=options(hub))
    assert found[0].input_sequence == sca.load(root / "arrow")[0].input_ids.tolist()
    (tmp_path / "me").mkdir()  # now the text is a path of a folder that does not exist
    with pytest.raises(InputError, match="me/data is not a finished data set of sca"):
        sca.easy_load("me/data", "duplex")


def test_reports_an_empty_hub_repository(hub):
    with pytest.raises(InputError, match="is not a duplex data set") as raised:
        sca.load("hf://datasets/me/data", storage_options=options(hub))
    assert raised.value.hint == "check the name; what is private needs your credentials"


def test_a_push_replaces_the_files_of_another_form(root, hub, tmp_path):
    """A repository with the files of two forms would be read as the wrong one."""
    for kind in ("arrow", "webdataset", "parquet", "arrow"):
        push(root / kind, "me/data", private=False)
        expected = {name: content for name, content in hub_files(root / kind).items() if name != "ledger.jsonl"}
        assert hub.files == expected
    for name, content in hub.files.items():
        (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "copy" / name).write_bytes(content)
    assert verify(tmp_path / "copy").holds


def test_a_push_keeps_the_licence_that_was_added_on_the_hub(root, hub):
    push(root / "arrow", "me/data", private=False)
    card = hub.files["README.md"].decode()
    assert "| split train |" in card
    assert "| split validation |" in card
    hub.files["README.md"] = card.replace("---\n", "---\nlicense: cc-by-4.0\nlanguage:\n- en\n", 1).encode()
    push(root / "parquet", "me/data", private=False)
    there, here = (
        DatasetCard(text) for text in (hub.files["README.md"].decode(), (root / "parquet/README.md").read_text())
    )
    assert there.data.to_dict() == here.data.to_dict() | {"license": "cc-by-4.0", "language": ["en"]}
    assert there.text == here.text


def sca_export(root, hub, output):
    command = [sys.executable, "-m", "sca", "export", root / "arrow", "--to", "parquet", "--output", output]
    command += ["--push-to-hub", "me/data", "--private", "--json"]
    env = os.environ | {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_test", "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


def test_a_killed_upload_continues_with_the_missing_files(root, tmp_path):
    with fake_hub() as hub:
        hub.large_bytes, hub.most_sent = 2_000, 1
        with sca_export(root, hub, tmp_path / "parquet") as killed:
            was_held = hub.held.wait(TIMEOUT_S)
            killed.send_signal(signal.SIGKILL)
            out, err = killed.communicate()
        assert was_held, err
        assert hub.files == {}  # nobody sees a part of the data set
        first = list(hub.sent)
        hub.most_sent = None
        with sca_export(root, hub, tmp_path / "parquet") as done:
            out, err = done.communicate(timeout=TIMEOUT_S)
    assert done.returncode == 0, err
    assert json.loads(out)["hub"] == f"{hub.url}/datasets/me/data"
    assert len(first) == 1
    assert len(hub.sent) == len(set(hub.sent)) > 2
    assert hub.files == hub_files(tmp_path / "parquet")


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub calls httpx so
@pytest.mark.parametrize("chunked", [False, True])
def test_half_a_file_is_not_the_file(root, hub, chunked):
    """A kill between two packets of a file leaves its first half at the hub; the next upload sends all of it."""
    hub.large_bytes = 2_000
    file = next((root / "parquet" / "storage").iterdir())
    content = file.read_bytes()
    oid, half = sha256(content).hexdigest(), content[: len(content) // 2]
    size = "transfer-encoding: chunked" if chunked else f"content-length: {len(content)}"
    host = hub.url.removeprefix("http://")
    with socket.create_connection(tuple(host.split(":"))) as client:
        client.sendall(f"PUT /objects/{oid} HTTP/1.1\r\nhost: {host}\r\n{size}\r\n\r\n".encode())
        client.sendall(b"%x\r\n%b\r\n" % (len(half), half) if chunked else half)
    assert hub.rejected.wait(TIMEOUT_S)
    assert hub.objects == {}
    push(root / "parquet", "me/data", private=False)
    assert oid in hub.sent
    assert hub.files[f"storage/{file.name}"] == content


def test_a_folder_that_a_run_writes_to_is_not_uploaded(root, hub):
    with lock_dir(root / "arrow"), pytest.raises(InputError, match="another run is writing to"):
        push(root / "arrow", "me/data", private=False)
    assert hub.files == {}


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub calls httpx so
def test_the_folder_is_held_during_an_upload(root, hub):
    """A run that writes to it meanwhile would mix the files of two states in one commit."""
    hub.large_bytes, hub.most_sent = 2_000, 0
    with ThreadPoolExecutor(1) as pool:
        upload = pool.submit(push, root / "parquet", "me/data", private=False)
        assert hub.held.wait(TIMEOUT_S)
        with pytest.raises(InputError, match="another run is writing to"), lock_dir(root / "parquet"):
            pass
        hub.most_sent = None
        hub.ended.set()
        upload.exception(TIMEOUT_S)  # the held file had no answer, so the upload may fail
    with lock_dir(root / "parquet"):
        pass


def test_the_push_of_a_build_can_fail_alone(tmp_path):
    corpus.pair(tmp_path / "corpus", audio=12.0)
    with fake_hub() as hub:
        hub.status = 403
        command = [sys.executable, "-m", "sca", "build-duplex", tmp_path / "corpus", "--output", tmp_path / "data"]
        env = os.environ | {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_test", "HF_HUB_OFFLINE": "0"}
        command = [*map(str, command), "--push-to-hub", "me/data"]
        refused = subprocess.run(command, capture_output=True, text=True, env=env, timeout=TIMEOUT_S)
        hub.status = 200
        done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=TIMEOUT_S)
    assert refused.returncode == 6, refused.stderr
    assert "the hub rejected me/data" in refused.stderr
    assert "1 session, " in refused.stdout
    assert done.returncode == 0, done.stderr
    assert "0 built now" in done.stdout
    assert f"uploaded to {hub.url}/datasets/me/data" in done.stdout
    assert hub.files == {
        name: content for name, content in hub_files(tmp_path / "data").items() if name != "ledger.jsonl"
    }


def test_the_hub_is_a_folder_to_write_to(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("SCA_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "talks").mkdir()
    sf.write(tmp_path / "talks" / "a.flac", corpus.tone(1.0), corpus.RATE)
    done = command("transcode", tmp_path / "talks", "hf://datasets/me/data/clean", "flac")
    assert done.returncode == 0, done.stderr
    assert hub.files.keys() == {"clean/a.flac", "clean/ledger.jsonl", "clean/.sca-url.json"}
    again = command("transcode", "hf://datasets/me/data/clean", tmp_path / "out", "flac")
    assert again.returncode == 0, again.stderr
    assert "1 file made" in again.stdout
