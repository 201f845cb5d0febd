"""`sca train` on a tiny model: a run in checkpoints, killed, interrupted and continued; what it refuses."""

import errno
import json
import os
import shutil
import signal
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from transformers import Qwen3OmniMoeForConditionalGeneration

from sca.config import load_settings
from sca.data.duplex.build.dataset import build_duplex
from sca.data.runs.files import read_json
from sca.errors import ConfigError
from sca.tokenizer import BUILTIN_QWEN, load_tokenizer
from sca.train.objective.loss import DuplexLoss
from sca.train.run.checkpoints import Checkpoint, CheckpointKeeper, whole_checkpoints
from sca.train.run.record import check_same_run, write_record
from sca.train.tiny import build
from tests.helpers import corpus
from tests.helpers.command import sca
from tests.helpers.fake_hub import fake_hub

STEPS = 4
SETTINGS = ("train.workers=0", "train.check=false", "train.log_every=1", "qwen.torch_dtype=float32", "train.warmup=0")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)  # on a busy machine several threads are slower than one


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("train")


@pytest.fixture(scope="module")
def model(root):
    folder = root / "tiny"
    build(books=3, vocoder_width=16).save_pretrained(folder)
    load_tokenizer(BUILTIN_QWEN).save(folder / "tokenizer.json")
    return folder


@pytest.fixture(scope="module")
def data(root):
    """Short rows without a prompt."""
    build_duplex(corpus.short_demo(root / "corpus"), root / "data", corpus.settings(window="4-6", system_prompt=""))
    return root / "data"


@pytest.fixture(scope="module")
def train(model, data):
    """Return a function that runs the command."""

    def run(output, *words, rows=data):
        options = [word for setting in SETTINGS for word in ("--set", setting)]
        return sca(
            "train", rows, "-o", output, "--model-path", model, "--max-steps", STEPS, "--rank", 4, *options, *words
        )

    return run


@pytest.fixture(scope="module")
def unbroken(train, root):
    """The folder of a run with a checkpoint every two steps, and its result."""
    done = train(root / "unbroken", "--save-every", 2, "--json")
    assert done.returncode == 0, done.stderr
    return root / "unbroken", json.loads(done.stdout)


def weights_of(folder):
    return load_file(folder / "adapter_model.safetensors")


def largest_difference(one, other):
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def test_run_writes_checkpoints_and_its_log(unbroken):
    folder, result = unbroken
    assert [one.step for one in whole_checkpoints(folder)] == [2, 4]
    assert largest_difference(weights_of(folder / "last"), weights_of(folder / "checkpoint-4")) == 0
    assert {path.name for path in (folder / "last").iterdir()} >= {"adapter_config.json", "duplex.json", "train.toml"}
    assert not (folder / "last" / "optimizer.pt").exists()
    assert "<svg" in (folder / "report.html").read_text()  # without an evaluation too
    lines = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert lines[0]["loss"] == result["first_loss"]
    assert {"loss_silence", "share_silence", "learning_rate", "grad_norm"} <= lines[0].keys()
    assert (result["schema"], result["steps"], result["made"], result["resumed_from"]) == ("sca.train/1", 4, 4, None)


def test_finished_run_makes_no_further_step(train, unbroken):
    before = weights_of(unbroken[0] / "last")
    done = train(unbroken[0], "--resume", "--save-every", 2, "--json")
    result = json.loads(done.stdout)
    assert (result["steps"], result["made"]) == (STEPS, 0), done.stderr
    assert [one.step for one in whole_checkpoints(unbroken[0])] == [2, 4]
    assert largest_difference(weights_of(unbroken[0] / "last"), before) == 0


def test_settings_beside_a_checkpoint_are_read_back(unbroken, model):
    settings = load_settings(unbroken[0] / "last" / "train.toml", env={})
    assert (settings.train.max_steps, settings.train.rank, settings.qwen.model_id) == (STEPS, 4, str(model))
    assert settings.duplex.system_prompt == ""


def test_killed_and_interrupted_run_equals_an_unbroken_one(train, root, unbroken, monkeypatch):
    folder = root / "broken"
    child = os.fork()
    if child == 0:  # killed while it saves its second checkpoint
        complete = CheckpointKeeper.complete

        def die(self, saved):
            if saved.step == STEPS:
                os.kill(os.getpid(), signal.SIGKILL)
            complete(self, saved)

        CheckpointKeeper.complete = die
        train(folder, "--save-every", 2)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert not Checkpoint(STEPS, folder / f"checkpoint-{STEPS}").is_whole
    assert [one.step for one in whole_checkpoints(folder)] == [2]

    step = DuplexLoss.__call__

    def interrupted(self, *passed, **more):
        signal.raise_signal(signal.SIGINT)
        return step(self, *passed, **more)

    with monkeypatch.context() as patched:
        patched.setattr(DuplexLoss, "__call__", interrupted)
        done = train(folder, "--save-every", 2, "--resume")
    assert done.returncode == 130
    assert "sca: interrupted; checkpoint-3 is saved, and the same command with --resume continues" in done.stderr
    assert [one.step for one in whole_checkpoints(folder)] == [2, 3]

    done = train(folder, "--save-every", 2, "--resume", "--json")
    assert json.loads(done.stdout)["resumed_from"] == 3, done.stderr
    assert largest_difference(weights_of(folder / "last"), weights_of(unbroken[0] / "last")) == 0
    steps = [json.loads(line)["step"] for line in (folder / "train.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4]


def test_training_in_full_saves_a_whole_model(train, root, model):
    folder = root / "full"
    words = ("--method", "full", "--targets", "attention,router", "--max-steps", 2, "--save-every", 1)
    assert train(folder, *words).returncode == 0
    whole = load_file(folder / "last" / "thinker.safetensors")
    shutil.rmtree(folder / "checkpoint-2")
    done = train(folder, *words, "--resume")
    assert "continuing from " in done.stderr
    assert largest_difference(load_file(folder / "last" / "thinker.safetensors"), whole) == 0
    saved, missing = Qwen3OmniMoeForConditionalGeneration.from_pretrained(folder / "last", output_loading_info=True)
    assert not missing["missing_keys"]
    before = dict(Qwen3OmniMoeForConditionalGeneration.from_pretrained(model).named_parameters())
    changed = {name for name, weight in saved.named_parameters() if not torch.equal(weight, before[name])}
    assert {name.rpartition("layers.")[2].partition(".")[2] for name in changed} == {
        *(f"self_attn.{one}_proj.weight" for one in "qkvo"),
        *("self_attn.q_norm.weight", "self_attn.k_norm.weight", "mlp.gate.weight"),
    }
    assert all(name.startswith("thinker.model.language_model.") for name in changed)


def test_refuses_to_begin_where_a_run_is(train, unbroken):
    done = train(unbroken[0])
    assert done.returncode == 5
    assert "has a training run in it, with 4 steps\n     continue it with --resume" in done.stderr


def test_refuses_to_continue_with_other_settings(train, unbroken):
    done = train(unbroken[0], "--resume", "--learning-rate", 0.5, "--set", "train.seed=3", "--set", "train.keep=9")
    assert done.returncode == 3
    assert "began with train.learning_rate 0.0001 (now 0.5), train.seed 0 (now 3)\n" in done.stderr


@pytest.mark.parametrize(("root", "may_change"), [(Path("rows"), True), ("s3://bucket/rows", False)])
def test_workers_that_decide_the_order_of_rows_are_kept(tmp_path, root, may_change):
    """At a URL each worker reads sessions of its own."""
    before, now = (
        SimpleNamespace(
            settings=load_settings(overrides={"train.workers": workers}, env={}),
            train=SimpleNamespace(root=root),
            identity="rows",
        )
        for workers in (1, 2)
    )
    (tmp_path / ".sca").mkdir()
    write_record(tmp_path, before, 1)
    with nullcontext() if may_change else pytest.raises(ConfigError, match=r"train.workers 1 \(now 2\)"):
        check_same_run(tmp_path, now, 1)


def test_loss_that_is_not_finite_ends_the_run(train, root, monkeypatch):
    folder, step = root / "nan", DuplexLoss.__call__
    calls = []

    def broken(self, *passed, **more):
        calls.append(None)
        return step(self, *passed, **more) * (float("nan") if len(calls) == 3 else 1)

    with monkeypatch.context() as patched:
        patched.setattr(DuplexLoss, "__call__", broken)
        done = train(folder, "--save-every", 2)
    assert done.returncode == 5
    assert "the loss is nan in step 3, in a batch of 1 row: " in done.stderr
    assert ">" in done.stderr, "the id of the row"
    assert [one.step for one in whole_checkpoints(folder)] == [2]
    assert all(weight.isfinite().all() for weight in weights_of(folder / "last").values())


def test_disk_full_leaves_the_checkpoint_before(train, root, unbroken, monkeypatch):
    folder, save = root / "full-disk", torch.save

    def full(content, path, *passed, **more):
        if f"checkpoint-{STEPS}" in str(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return save(content, path, *passed, **more)

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", full)
        done = train(folder, "--save-every", 2)
    assert done.returncode == 5
    assert f"the disk is full while writing {folder / f'checkpoint-{STEPS}'}\n" in done.stderr
    assert not (folder / f"checkpoint-{STEPS}").exists(), "it would fill the disk"
    assert train(folder, "--save-every", 2, "--resume").returncode == 0
    assert largest_difference(weights_of(folder / "last"), weights_of(unbroken[0] / "last")) == 0


def test_batch_that_does_not_fit_names_the_setting(train, root, monkeypatch):
    def full(self, *passed, **more):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(DuplexLoss, "__call__", full)
    done = train(root / "memory", "--batch-size", 2)
    assert done.returncode == 5
    assert "a batch of 2 rows with " in done.stderr
    assert "lower train.batch_size" in done.stderr


def test_rows_that_do_not_fit_the_model_are_refused(train, root, data, model):
    settings = read_json(data / "settings.json")
    other = root / "other-tokenizer"
    other.mkdir()
    for path in data.iterdir():
        if path.name != "settings.json":
            (other / path.name).symlink_to(path)
    settings["tokenizer"] = {"name": "another", "fingerprint": "0"}
    (other / "settings.json").write_text(json.dumps(settings))
    done = train(root / "refused", rows=other)
    assert done.returncode == 3
    assert "were built with the tokenizer another, and" in done.stderr
    assert f"build them again with --model-path {model}" in done.stderr

    done = train(root / "refused", "--set", "duplex.text_tokens_per_chunk=4")
    assert done.returncode == 3
    assert "were built with duplex.text_tokens_per_chunk 2 (now 4)" in done.stderr
    assert not (root / "refused").exists()


def test_adapter_of_another_grid_is_refused(train, root, unbroken):
    other = root / "other-grid"
    shutil.copytree(unbroken[0] / "last", other)
    format_of_rows = read_json(other / "duplex.json")
    (other / "duplex.json").write_text(json.dumps(format_of_rows | {"frames_per_chunk": 8}))
    done = train(root / "refused", "--set", f"train.adapter={other}")
    assert done.returncode == 3
    assert f"{other} was trained on other rows than those of " in done.stderr
    assert "audio.frames_per_chunk 8 (now 4)\n" in done.stderr


def test_adapter_to_start_from(train, root, unbroken):
    done = train(root / "second", "--set", f"train.adapter={unbroken[0] / 'last'}")
    assert done.returncode == 3, "--rank is given"
    assert "train.rank cannot be set together with train.adapter" in done.stderr


def test_weights_are_uploaded_with_their_card(train, root, data, monkeypatch):
    import huggingface_hub

    with fake_hub() as hub:
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", "hf_none")
        done = train(root / "pushed", "--push-to-hub", "me/model", "--private", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["hub"] is not None
    assert hub.created[0]["visibility"] == "private"
    assert {
        "adapter_model.safetensors",
        "adapter_config.json",
        "duplex.json",
        "train.toml",
        "README.md",
    } <= hub.files.keys()
    assert "optimizer.pt" not in hub.files
    assert b"Trained with sca" in hub.files["README.md"]
    assert b"--config FOLDER/train.toml --set qwen.adapter=FOLDER" in hub.files["README.md"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--push-to-hub", "a/b/c"], 2, "--push-to-hub a/b/c: Repo id must be in the form"),
        (["--private"], 2, "--private needs --push-to-hub"),
        (
            ["--set", "train.scheduler=cosinus"],
            3,
            "train.scheduler is cosinus, which does not exist\n     one of linear, ",
        ),
        (["--set", "train.optimizer=adam"], 3, "train.optimizer is adam, which does not exist"),
        (["--set", "qwen.device_map=layers"], 3, "qwen.device_map is layers, which does not exist for sca train"),
        (["--targets", "norms"], 3, "train.targets has norms, which a LoRA adapter cannot change"),
        (["--targets", "head"], 3, "train.targets has head, which is not a part of a thinker\n     "),
        (["--set", "train.trackers=mlflow"], 4, "train.trackers has mlflow, which is not installed"),
        (["--set", "train.deepspeed=zero.json"], 4, "train.deepspeed needs deepspeed, which is not installed\n     "),
        (["--set", "train.deepspeed=zero.json", "--set", "qwen.device_map=cpu"], 3, "train.deepspeed needs GPUs, and"),
    ],
)
def test_refuses_what_cannot_be_done(train, root, words, code, message):
    done = train(root / "refused", *words)
    assert (done.returncode, message in done.stderr) == (code, True), done.stderr
    assert len(done.stderr.splitlines()) <= 2
