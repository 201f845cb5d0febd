"""Count the operations that a chunk of the Qwen3-Omni slots launches on a GPU, by part, without a GPU.

    python -m scripts.bench.qwen_launches [--layers N] [--slots N]

The forwards run at the released size on the meta device, which has shapes but no values. An operation of torch that
only makes a view or reserves memory launches nothing. Attention and RMS norms count as one: on CUDA each is one kernel,
on the meta device several operations. Some operations of torch launch more than one kernel (a top-k also sorts), so the
numbers are a lower bound. `µs` divides the 320 ms of a chunk by the count: the time that one launch may take.

The last line is one JSON document.
"""

import argparse
import json
from collections import Counter
from collections.abc import Callable

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from sca.control_tokens import Grammar
from sca.infer.engines.qwen_omni.loading.flops import skeleton
from sca.infer.engines.qwen_omni.slots.step import ChunkStep, Shape, TalkerState, ThinkerState
from sca.infer.engines.qwen_omni.streaming.sampling import REPEATED, TEXT_OPTIONS
from sca.infer.engines.qwen_omni.streaming.token_mask import TokenMask
from scripts.released_omni import released_config

CHUNK_US = 320_000
SPAN = 256  # cells that attention covers; their number does not change the count
SILENCE = 151_646
NOTHING = {
    "_reshape_alias",
    "_unsafe_view",
    "detach",
    "empty",
    "empty_like",
    "empty_strided",
    "lift_fresh",
    "new_empty",
}
ONE_KERNEL = {"rms_norm", "scaled_dot_product_attention"}


class Launches(TorchDispatchMode):
    """Counts operations by name, in `by_name`."""

    def __init__(self) -> None:
        super().__init__()
        self.by_name: Counter[str] = Counter()
        self._in_kernel = False
        self._kernels = _Kernels(self)

    def __enter__(self):
        self._kernels.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self._kernels.__exit__(*error)

    def __torch_dispatch__(self, operation, _types, args=(), kwargs=None):
        name = operation._overloadpacket.__name__
        if not (self._in_kernel or operation.is_view or name in NOTHING):
            self.by_name[name] += 1
        return operation(*args, **(kwargs or {}))

    def kernel(self, function: Callable, args, kwargs):
        """Run a function that counts as one operation."""
        if self._in_kernel:
            return function(*args, **kwargs)
        self.by_name[function.__name__] += 1
        self._in_kernel = True
        try:
            return function(*args, **kwargs)
        finally:
            self._in_kernel = False


class _Kernels(TorchFunctionMode):
    def __init__(self, launches: Launches) -> None:
        super().__init__()
        self._launches = launches

    def __torch_function__(self, function, _types, args=(), kwargs=None):
        if getattr(function, "__name__", "") in ONE_KERNEL:
            return self._launches.kernel(function, args, kwargs or {})
        return function(*args, **(kwargs or {}))


def counted(work: Callable) -> Counter[str]:
    """Return the operations of a function, by name."""
    with torch.no_grad(), Launches() as launches:  # inference mode would count composite operations, such as matmul
        work()
    return launches.by_name


def step_of(layers: int | None, slots: int, carry: bool = False, config=None) -> ChunkStep:
    """Create a step on the meta device.

    Args:
        layers: The maximum number of layers in each stack; None for all.
        slots: Number of slots.
        carry: `qwen.carry_second_token`.
        config: The configuration of the model; by default that of the released one.
    """
    model = skeleton(released_config(layers) if config is None else config).to(torch.bfloat16)
    never = torch.zeros(152_064, dtype=torch.bool, device="meta")
    shape = Shape(frames=4, tokens=2, most=2, unused=151_675, layer=0, carry=carry, temperature=0.9, top_k=50)
    with torch.no_grad():
        return ChunkStep(model, TokenMask(Grammar(SILENCE), never), shape, slots, room=16_384, said_room=4096)


def parts_of(step: ChunkStep, slots: int) -> dict[str, Callable]:
    """Return the parts of a chunk by name."""
    thinker, talker, meta = step.model.thinker, step.model.talker, torch.device("meta")
    features = torch.empty(slots, 128, 32, device=meta)
    noise = torch.empty(slots, 4, talker.config.num_code_groups, device=meta)
    number = torch.zeros(slots, 1, dtype=torch.long, device=meta)
    codes = number[..., None].expand(-1, talker.config.num_code_groups, 4)
    text = torch.empty(slots, 1, talker.config.text_config.hidden_size, dtype=torch.bfloat16, device=meta)

    def forward(rows: int) -> None:
        width = thinker.config.text_config.hidden_size
        embeds = torch.empty(slots, rows, width, dtype=torch.bfloat16, device=meta)
        step._think(embeds, number.expand(-1, rows), number.expand(-1, rows), SPAN)

    return {
        "audio tower": lambda: step.encode(features),
        "thinker, 4 tokens": lambda: forward(4),
        "thinker, 1 token": lambda: forward(1),
        "talker, 1 frame": lambda: step.talker.frame(text, noise[:, 0], number > 0, number, number, SPAN),
        "code predictor in it": lambda: step.talker.predictor(step.talker.hidden, number, noise[:, 0]),
        "vocoder": lambda: step.vocoder.push(codes, number > 0, number, number),
    }


def part_launches(step: ChunkStep, slots: int) -> dict[str, int]:
    """Return the launches of the parts of a chunk."""
    return {name: counted(part).total() for name, part in parts_of(step, slots).items()}


def _numbers(state: type[ThinkerState | TalkerState], slots: int) -> torch.Tensor:
    return torch.zeros(slots, len(state.names()), dtype=torch.long, device="meta")


def chunk_launches(step: ChunkStep, slots: int) -> dict[str, int]:
    """Return the launches of a chunk in which a voice runs, and of a chunk in which none does."""
    text = (
        torch.empty(slots, TEXT_OPTIONS + 2, device="meta"),
        torch.zeros(slots, REPEATED, dtype=torch.long, device="meta"),
    )
    heard = [torch.empty(slots, 128, 32, device="meta"), _numbers(ThinkerState, slots), *text]
    noise = torch.empty(slots, 4, step.model.talker.config.num_code_groups, device="meta")
    talking = [_numbers(TalkerState, slots), noise, *step.link()]
    silent = counted(lambda: step.think(heard, SPAN)).total()
    return {"chunk": silent + counted(lambda: step.speak(talking, SPAN)).total(), "chunk of silence": silent}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, help="maximum layers of each stack (default: all)")
    parser.add_argument("--slots", type=int, default=1)
    parser.add_argument("--names", type=int, default=0, metavar="N", help="also print the N most frequent operations")
    given = parser.parse_args()
    step = step_of(given.layers, given.slots)
    found = part_launches(step, given.slots) | chunk_launches(step, given.slots)
    for name, launches in found.items():
        print(f"{name:20} {launches:7,}")
    if given.names:
        for name, part in parts_of(step, given.slots).items():
            print(name, dict(counted(part).most_common(given.names)))
    print(f"{'µs a launch':20} {CHUNK_US / found['chunk']:7.1f}")
    print(json.dumps({"layers": given.layers or "all", "slots": given.slots, "launches": found}))


if __name__ == "__main__":
    main()
