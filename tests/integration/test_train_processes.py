"""`accelerate launch` with two processes on a CPU trains like one process with the doubled batch. FSDP2 too, by torch itself."""

import json
import multiprocessing
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from sca.config import load_settings
from sca.data.duplex.build.dataset import build_duplex
from sca.train import tiny
from sca.train.objective.label_logits import logits_at_labels
from sca.train.objective.loss import DuplexLoss, kind_weights
from sca.train.run.arguments import training_arguments
from sca.train.run.inputs import open_inputs
from sca.train.run.weights import load_trained
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


class Steps:
    """Steps of SGD with the learner and the loss of a run, without a Trainer: accelerate ignores FSDP on a CPU."""

    def __init__(self, root):
        values = {
            "qwen.model_id": str(root / "model"), "qwen.device_map": "cpu", "qwen.torch_dtype": "float32",
            "train.targets": "attention,lm_head", "train.rank": 8, "train.gradient_checkpointing": False,
        }  # fmt: skip
        inputs = open_inputs(root / "rows", load_settings(overrides=values, env={}))
        self.trained = load_trained(inputs, training_arguments(root / "unused", inputs.settings))
        logits_at_labels(self.trained.thinker)
        self.loss = DuplexLoss(kind_weights(inputs.settings.train))
        self.batches = [inputs.collate([row]) for row in inputs.rows.train]
        self.total = sum(self.loss.weight_sum(batch["labels"]) for batch in self.batches)

    def losses(self, batches, processes):
        learner = self.trained.learner
        weights = [weight for weight in learner.parameters() if weight.requires_grad]
        optimizer, found = torch.optim.SGD(weights, lr=0.01), []
        for _ in range(STEPS):
            optimizer.zero_grad()
            total = torch.zeros(())
            for batch in batches:
                given = {name: value for name, value in batch.items() if name != "labels"}
                loss = self.loss(learner(**given), batch["labels"], self.total)
                (loss * processes).backward()  # FSDP takes the mean over the processes
                total += loss.detach()
            if processes > 1:
                torch.distributed.all_reduce(total)
            optimizer.step()
            found.append(total.item())
        return found

    def share(self, rank, store, results):
        """Divide the layers between two processes as `config/accelerate/fsdp2.yaml` does, and train on one of the rows."""
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        torch.set_num_threads(1)
        torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
        mesh = init_device_mesh("cpu", (2,))
        for layer in self.trained.thinker.model.language_model.layers:
            fully_shard(layer, mesh=mesh)
        fully_shard(self.trained.learner, mesh=mesh)
        divided = all(hasattr(weight, "full_tensor") for weight in self.trained.learner.parameters())
        losses = self.losses([self.batches[rank]], 2)
        if rank == 0:
            results.put((divided, losses))
        torch.distributed.destroy_process_group()


def test_divided_weights_train_like_whole_ones(inputs, tmp_path):
    torch.set_num_threads(1)
    steps, fork = Steps(inputs), multiprocessing.get_context("fork")
    results = fork.SimpleQueue()
    both = [fork.Process(target=steps.share, args=(rank, tmp_path / "store", results)) for rank in (0, 1)]
    for one in both:
        one.start()
    for one in both:
        one.join(120)
        one.kill()  # if it waits for the other one, which failed
    assert [one.exitcode for one in both] == [0, 0]
    divided, found = results.get()
    wanted = steps.losses(steps.batches, 1)
    assert divided
    assert wanted[-1] < 0.9 * wanted[0]
    assert found == pytest.approx(wanted, rel=1e-5)
