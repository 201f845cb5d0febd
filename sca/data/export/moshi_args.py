"""The arguments of moshi-finetune's `train.py` for an export, as a YAML file.

All paths are relative to the folder of the export, where the training is started, so that the folder can be moved.
Format: kyutai-labs/moshi-finetune, `TrainArgs` in finetune/args.py; values that do not depend on the data are those
that its README recommends for LoRA.
"""

import math
from collections.abc import Sequence

__all__ = ["moshi_args"]

_LONGEST_PIECE_S = 100
_BATCH = 16
_PASSES = 10  # over the training data; train.py counts steps and has no epochs

_TEMPLATE = """\
# Arguments of moshi-finetune. Start it in this folder:
#   PYTHONPATH=MOSHI_FINETUNE torchrun --nproc-per-node 1 -m train {name}
data:
  train_data: {train}
  eval_data: {evaluation}
  shuffle: true
moshi_paths:
  hf_repo_id: kyutai/moshiko-pytorch-bf16
run_dir: run
full_finetuning: false
lora:
  enable: true
  rank: 128
  scaling: 2.0
  ft_embed: false
save_adapters: true
first_codebook_weight_multiplier: 100.0
text_padding_weight: 0.5
gradient_checkpointing: true
optim:
  lr: 2.0e-06
  weight_decay: 0.1
  pct_start: 0.05
# Pieces of {duration_s} s: {pieces} for training. {steps} steps of {batch} pieces are about {passes} passes on one GPU.
duration_sec: {duration_s}
batch_size: {batch}
max_steps: {steps}
seed: 0
log_freq: 1
do_eval: {do_eval}
eval_freq: {every}
do_ckpt: true
ckpt_freq: {every}
"""


def moshi_args(
    name: str, train: str, train_s: Sequence[float], evaluation: str = "", evaluation_s: Sequence[float] = ()
) -> str:
    """Return the arguments as YAML.

    A batch is not larger than the number of pieces of either list: train.py drops incomplete batches, and an evaluation
    without a batch divides by zero.

    Args:
        name: The name of the file.
        train: The list of the recordings to train on.
        train_s: The length of each recording of `train` in seconds.
        evaluation: The list of the recordings to evaluate on; empty for no evaluation.
        evaluation_s: The length of each recording of `evaluation` in seconds.
    """
    duration_s = max(1, min(_LONGEST_PIECE_S, math.ceil(max((*train_s, *evaluation_s), default=_LONGEST_PIECE_S))))
    pieces = _pieces(train_s, duration_s)
    batch = max(1, min([_BATCH, pieces, *([_pieces(evaluation_s, duration_s)] if evaluation else [])]))
    steps = max(1, math.ceil(_PASSES * pieces / batch))
    return _TEMPLATE.format(
        name=name,
        train=train,
        evaluation=evaluation or "''",
        duration_s=duration_s,
        pieces=pieces,
        batch=batch,
        steps=steps,
        passes=_PASSES,
        do_eval="true" if evaluation else "false",
        every=max(1, steps // 20),
    )


def _pieces(lengths_s: Sequence[float], duration_s: int) -> int:
    """Return how many pieces recordings are cut into; the last piece of each is shorter."""
    return sum(math.ceil(length_s / duration_s) for length_s in lengths_s)
