"""`accelerate launch` with two processes on a CPU trains like one process with the doubled batch."""

import json
import subprocess
import sys

import pytest
from safetensors.torch import load_file

from sca.data.duplex.build.dataset import build_duplex
from sca.train import tiny
from tests.helpers import command, corpus

STEPS = 3


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Two rows, and a tiny model whose weights have the usual scale: rounding is not amplified from layer to layer."""
    root = tmp_path_factory.mktemp("processes")
    build_duplex(corpus.short_demo(root / "corpus", 10.5), root / "rows", corpus.settings(), jobs=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny, "GAIN", 1.0)
        tiny.save(root / "model", books=3, vocoder_width=16)
    return root


def words(root, output, batch_size):
    values = {
        "qwen.device_map": "cpu", "qwen.torch_dtype": "float32", "train.targets": "attention,lm_head", "train.rank": 8,
        "train.workers": 0, "train.gradient_checkpointing": "false", "train.log_every": 1, "train.check": "false",
        "train.optimizer": "sgd", "train.learning_rate": 0.3, "train.warmup": 0, "train.save_every": 0,
    }  # fmt: skip
    given = [word for name, value in values.items() for word in ("--set", f"{name}={value}")]
    named = ("--model-path", root / "model", "--max-steps", STEPS, "--batch-size", batch_size, "--eval-every", 0)
    return ["train", root / "rows", "-o", output, *named, *given, "--json"]


def losses(output):
    return [json.loads(line)["loss"] for line in (output / "train.jsonl").read_text().splitlines()]


def weights(output):
    """The adapter that is saved at the end, and only there: `train.save_every` is 0."""
    assert [path.name for path in output.glob("checkpoint-*")] == [f"checkpoint-{STEPS}"]
    return load_file(output / "last" / "adapter_model.safetensors")


def test_two_processes_equal_the_doubled_batch(inputs, tmp_path):
    """SGD, because Adam divides by the size of a gradient: one that is only rounding moves a weight like any other."""
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launch += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    both = [*launch, "-m", "sca", *map(str, words(inputs, tmp_path / "two", 1))]
    two = subprocess.run(both, capture_output=True, text=True)
    assert two.returncode == 0, two.stderr
    assert json.loads(two.stdout)["epochs"] == STEPS  # a batch of each process is half of the rows
    one = command.sca(*words(inputs, tmp_path / "one", 2))
    assert one.returncode == 0, one.stderr
    found, wanted = losses(tmp_path / "two"), losses(tmp_path / "one")
    assert len(wanted) == STEPS
    assert wanted[-1] < 0.9 * wanted[0]  # it has learned something
    assert found == pytest.approx(wanted, rel=1e-5)
    found, wanted = weights(tmp_path / "two"), weights(tmp_path / "one")
    assert found.keys() == wanted.keys()
    for name, weight in wanted.items():
        assert (found[name] - weight).abs().max() < 1e-5, name
