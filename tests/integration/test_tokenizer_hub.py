"""Hub ids against a local hub with the real protocol; nothing is written to stderr.

Each run is a separate process, because huggingface_hub reads the address of the hub when it is imported.
"""

import json
import os
import subprocess
import sys
import sysconfig
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

SHA = "0123456789abcdef0123456789abcdef01234567"
REFUSALS = {
    "gated": (403, "GatedRepo"),
    "private": (401, "RepoNotFound"),
    "missing": (404, "RepoNotFound"),
    "down": (502, ""),
}
SCRIPT = """
import json, sys, time
from sca import tokenizer
from sca.tokenizer import pretrained
from sca.errors import ScaError
results = []
for model_id, revision in json.loads(sys.argv[1]):
    try:
        # Only the timeout is shorter than in practice, for the repository that never responds.
        timeout_s = 1.0 if model_id == "people/slow" else 60.0
        folder = pretrained.from_hub(model_id, revision, timeout_s=timeout_s)
        loaded = tokenizer.load_tokenizer(model_id, revision=revision)
        results.append({"vocab_size": loaded.vocab_size, "folder": folder.name, "ids": loaded.encode("hi <think>")})
    except ScaError as error:
        results.append({"code": error.exit_code, "message": error.message})
print(json.dumps(results))
"""


class Hub(BaseHTTPRequestHandler):
    """`/api/models/<people>/<name>[/revision/<rev>]` and `/<people>/<name>/resolve/<sha>/<file>`."""

    files: ClassVar[dict[str, bytes]] = {}
    asked: ClassVar[list[str]] = []
    done = threading.Event()

    def do_GET(self):
        self.asked.append(self.path)
        parts = self.path.split("?")[0].strip("/").split("/")
        name = parts[3] if parts[0] == "api" else parts[1]
        if name == "slow":
            self.done.wait(300)
            return None
        if name in REFUSALS:
            return self.refuse(*REFUSALS[name])
        files = {} if name == "empty" else self.files
        if parts[0] == "api":
            if parts[4:] and parts[5] not in ("main", "v1", SHA):
                return self.refuse(404, "RevisionNotFound")
            siblings = [{"rfilename": file} for file in (*files, "model.safetensors")]
            return self.answer(json.dumps({"id": f"people/{name}", "sha": SHA, "siblings": siblings}).encode())
        return self.answer(files[parts[-1]])

    do_HEAD = do_GET  # noqa: N815 - the name http.server looks for

    def answer(self, content):
        self.send_response(200)
        for header, value in {
            "Content-Length": len(content),
            "ETag": f'"{hash(content)}"',
            "X-Repo-Commit": SHA,
        }.items():
            self.send_header(header, str(value))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def refuse(self, status, code):
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


def made_folder(target):
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_tokens([AddedToken("<|end|>", special=True), AddedToken("<think>", special=False)])
    PreTrainedTokenizerFast(tokenizer_object=made).save_pretrained(target)
    return target


def environment(home, **more):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "TRANSFORMERS_"))}
    return kept | {"HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"} | more


def ask(home, wanted, **more):
    command = [sys.executable, "-c", SCRIPT, json.dumps(wanted)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(home, **more), timeout=100)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    folder = made_folder(tmp_path_factory.mktemp("model"))
    Hub.files = {path.name: path.read_bytes() for path in folder.iterdir()}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    Hub.done.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("huggingface")


IDS = ["good", "gated", "private", "missing", "down", "empty", "slow"]


@pytest.fixture(scope="module")
def answers(hub, home):
    wanted = [[f"people/{name}", None] for name in IDS] + [["people/good", "v1"], ["people/good", "v9"]]
    return dict(zip([*IDS, "v1", "v9"], ask(home, wanted, HF_ENDPOINT=hub), strict=True))


@pytest.mark.parametrize("name", ["good", "v1"])
def test_loads_a_model_of_the_hub(answers, name):
    assert answers[name]["vocab_size"] == 258
    assert answers[name]["folder"] == SHA
    assert 257 not in answers[name]["ids"]


def test_downloads_only_tokenizer_files(answers):
    assert any(path.endswith("tokenizer.json") for path in Hub.asked)
    assert not any("safetensors" in path for path in Hub.asked)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("gated", "it is gated; accept its terms on its page and log in with `hf auth login`"),
        ("private", "it does not exist on the hub, or it is private"),
        ("missing", "it does not exist on the hub, or it is private"),
        ("down", "the hub responded with status 502"),
    ],
)
def test_hub_refusals(answers, name, why):
    message = f"cannot get the tokenizer of people/{name}: {why}; builtin:qwen needs no network"
    assert answers[name] == {"code": 6, "message": message}


def test_missing_revision(answers):
    assert answers["v9"]["code"] == 6
    assert "people/good: it has no revision v9; builtin:qwen" in answers["v9"]["message"]


def test_hub_that_never_responds_times_out(answers):
    assert answers["slow"]["code"] == 6
    assert "people/slow: the hub does not respond (" in answers["slow"]["message"]


def test_model_without_a_tokenizer(answers):
    assert answers["empty"] == {
        "code": 5,
        "message": "people/empty does not contain a tokenizer: it has neither tokenizer.json nor vocab.json with merges.txt",
    }


def test_cached_model_needs_no_hub(answers, home):
    (found,) = ask(home, [["people/good", None]], HF_ENDPOINT="http://127.0.0.1:9", HF_HUB_OFFLINE="1")
    assert found["vocab_size"] == 258


def test_unreachable_hub(tmp_path):
    (found,) = ask(tmp_path, [["people/good", None]], HF_ENDPOINT="http://127.0.0.1:9")
    assert found["code"] == 6
    assert found["message"].startswith("cannot get the tokenizer of people/good: the hub does not respond (")
    assert found["message"].endswith("; builtin:qwen needs no network")


def test_missing_torch_prints_nothing(tmp_path):
    """Links to the site-packages without torch: transformers then prints a warning when it is imported."""
    site = tmp_path / "site"
    site.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.startswith(("torch", "functorch")) and path.suffix != ".pth":
            (site / path.name).symlink_to(path)
    folder = made_folder(tmp_path / "model")
    root = Path(__file__).resolve().parents[2]
    script = (
        f"import sys; sys.path[:0] = [{str(root)!r}, {str(site)!r}]\n"
        "from sca.tokenizer import load_tokenizer\n"
        f"assert load_tokenizer({str(folder)!r}).vocab_size == 258\n"
        "from importlib.util import find_spec; assert find_spec('torch') is None; assert 'transformers' in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", script], capture_output=True, text=True, env=environment(tmp_path)
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
