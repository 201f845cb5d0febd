"""The checks of `scripts/bench/turn.py --device DEVICE --all`: turn models in torch, on a GPU or smaller on a CPU.

v3 has the weights of the installed pipecat-ai, v2 random ones: the published size on a GPU, a small one on a CPU. Audio
is noise of 8 s or made sounds; nothing is downloaded. Times are medians after a warm-up; processor time is that of the
process or the thread. A check that finds a wrong answer fails, and the others still run.
"""

import json
import os
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

RATE_HZ = 16_000
V2_SAMPLES = 16 * RATE_HZ
FLOAT32_TOLERANCE, HALF_TOLERANCE = 1e-4, 0.05


def sounds(count: int, longest_s: float = 8.0) -> list[np.ndarray]:
    """Return sounds of many lengths and levels, with silence and full scale among them."""
    rng = np.random.default_rng(0)
    made = []
    for i in range(count):
        samples = int(rng.integers(400, longest_s * RATE_HZ))
        t = np.arange(samples)
        kind = (rng.standard_normal(samples) * 0.1, np.sign(np.sin(t * 0.02)), np.sin(t * 0.1) * 0.3, np.zeros(samples))
        made.append(kind[i % 4].astype(np.float32))
    return made


def noise(count: int, seconds: float = 8.0) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [(rng.standard_normal(round(seconds * RATE_HZ)) * 0.1).astype(np.float32) for _ in range(count)]


def median_ms(run: Callable[[], object], rounds: int, clock: Callable[[], float] = time.perf_counter) -> float:
    took = []
    for _ in range(rounds + 1):
        started = clock()
        run()
        took.append((clock() - started) * 1000)
    return round(float(np.median(took[1:])), 3)


def differs(found: np.ndarray, expected: list[float] | np.ndarray, limit: float) -> float:
    worst = float(np.abs(np.asarray(found) - np.asarray(expected)).max())
    if not worst <= limit:  # NaN too
        raise AssertionError(f"answers differ by {worst:.2e}, and the limit is {limit:g}")
    return float(f"{worst:.1e}")


@dataclass
class Bench:
    """The models of a run, loaded when they are first used."""

    device: str

    @property
    def on_gpu(self) -> bool:
        return self.device.startswith("cuda")

    @property
    def sizes(self) -> list[int]:
        return [16, 32, 64] if self.on_gpu else [1, 2, 4]

    @property
    def rounds(self) -> int:
        return 30 if self.on_gpu else 3

    def v3(self, dtype: str = "float32"):
        from sca.infer.turn.models.smart_turn_v3_torch import SmartTurnV3Torch
        from sca.infer.turn.models.weights import bundled_file

        return SmartTurnV3Torch.load(bundled_file(), self.device, dtype)

    def v2(self, dtype: str = "float32"):
        import torch
        from transformers import Wav2Vec2Config

        from sca.infer.turn.models.networks import network_class
        from sca.infer.turn.models.smart_turn_v2 import SmartTurnV2

        torch.manual_seed(0)
        small = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
        small |= {"conv_dim": (32,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
        network = network_class()(Wav2Vec2Config(**({} if self.on_gpu else small)))
        return SmartTurnV2(network.to(getattr(torch, dtype)), self.device)

    @cached_property
    def models(self) -> dict:
        """The models of both versions in the format that the server uses by default."""
        return {"v3": self.v3(), "v2": self.v2("bfloat16" if self.on_gpu else "float32")}


# The checks. Each returns what it measured, or raises an AssertionError.


def host_preparation(bench: Bench) -> dict:
    """Processor time and memory to stage 64 × 8 s, beside the former way: padded values and a mask made by the host."""
    import torch

    from sca.infer.turn.models.features import normalize
    from sca.infer.turn.models.staging import StagedRows

    items = noise(64)
    rows = StagedRows(bench.device, V2_SAMPLES, at_end=False)
    rows.reserve(64)

    def stage() -> None:
        for row, item in enumerate(items):
            rows.put(0, row, item)

    values = torch.zeros((64, V2_SAMPLES))
    mask = torch.zeros((64, V2_SAMPLES), dtype=torch.long)

    def former() -> None:
        values.zero_()
        mask.zero_()
        for i, item in enumerate(items):
            values[i, : len(item)] = torch.from_numpy(normalize(item))
            mask[i, : len(item)] = 1

    host_bytes = sum(slot.memory.nbytes for slot in rows._slots) if bench.on_gpu else 2 * values.nbytes
    return {
        "ms": median_ms(stage, 10, time.process_time),
        "former_ms": median_ms(former, 10, time.process_time),
        "host_mib": round(host_bytes / 2**20, 1),
        "former_host_mib": round((values.nbytes + mask.nbytes) / 2**20, 1),
    }


def v3_equals_onnxruntime(bench: Bench) -> dict:
    """v3 in float32 against the same weights in onnxruntime: sounds of all lengths, in batches and alone."""
    from sca.infer.turn.models.smart_turn_v3 import SmartTurnV3
    from sca.infer.turn.models.weights import bundled_file

    reference = SmartTurnV3(bundled_file(), dtype="float32")
    items = sounds(32 if bench.on_gpu else 8)
    expected = [reference(item) for item in items]
    model = bench.v3()
    alone = np.array([model(item) for item in items[:8]])
    return {
        "batch": differs(model.batch(items, len(items)), expected, FLOAT32_TOLERANCE),
        "alone": differs(alone, expected[:8], FLOAT32_TOLERANCE),
        "int8_decides_otherwise": _flips(items, expected),
    }


def _flips(items: list[np.ndarray], expected: list[float]) -> str:
    from sca.infer.turn.models.smart_turn_v3 import SmartTurnV3
    from sca.infer.turn.models.weights import bundled_file

    int8 = SmartTurnV3(bundled_file(), dtype="int8")
    others = sum((int8(item) > 0.5) != (probability > 0.5) for item, probability in zip(items, expected, strict=True))
    return f"{others} of {len(items)}"


def v2_rows(bench: Bench) -> dict:
    """v2 in float32: a batch against single answers, and short rows against rows of the whole window."""
    model = bench.v2()
    items = sounds(16 if bench.on_gpu else 3, 15.0)
    together = model.batch(items, len(items))
    alone = np.array([model(item) for item in items])
    model.lengths = (V2_SAMPLES,)
    whole = np.array([model(item) for item in items])
    found = {
        "batch": differs(together, alone, FLOAT32_TOLERANCE),
        "short_rows": differs(alone, whole, FLOAT32_TOLERANCE),
    }
    bad = model.batch([*items, np.full(9000, np.nan, np.float32)], len(items) + 1)
    return {**found, "beside_nan": differs(bad[:-1], whole, FLOAT32_TOLERANCE)}


def half_precision(bench: Bench) -> dict:
    """bfloat16 and float16 against float32, for v3."""
    items = sounds(16 if bench.on_gpu else 4)
    expected = bench.v3().batch(items, len(items))
    found = {}
    for dtype in ("bfloat16", "float16"):
        answers = bench.v3(dtype).batch(items, len(items))
        # Sounds in the middle of the scale may differ more; what matters is whether the formats decide alike.
        found[dtype] = {
            "mean": round(float(np.abs(answers - expected).mean()), 4),
            "decides_otherwise": f"{int(((answers > 0.5) != (expected > 0.5)).sum())} of {len(items)}",
        }
        if not np.isfinite(answers).all():
            raise AssertionError(f"{dtype} has answers that are not finite")
    return found


def batches(bench: Bench) -> dict:
    """Time of a batch by size, of 8 s, and the processor time of the host."""
    found = {}
    for name, model in bench.models.items():
        model.warm_up(bench.sizes)
        for size in bench.sizes:
            items = noise(size)
            model.batch(items, size)
            wall_ms = median_ms(lambda m=model, n=size: m.run(0, range(n), n), bench.rounds)
            cpu_ms = median_ms(lambda m=model, n=size: m.run(0, range(n), n), bench.rounds, time.thread_time)
            found[f"{name} {model.dtype} × {size}"] = {
                "ms": wall_ms,
                "host_cpu_ms": cpu_ms,
                "answers_per_s": round(size / wall_ms * 1000, 1),
            }
    return found


def graphs(bench: Bench) -> dict:
    """CUDA graphs of every bucket: the same answers, and the time of a batch."""
    found = {}
    size = bench.sizes[0]
    rows = range(size - 1)
    for name, model in bench.models.items():
        items = noise(len(rows))
        before = model.batch(items, size)
        eager_ms = median_ms(lambda m=model: m.run(0, rows, size), bench.rounds)
        started = time.perf_counter()
        model.capture_graphs(bench.sizes)
        if model.captured != bench.sizes:
            raise AssertionError(f"captured {model.captured}: {model.notices}")
        captured_s = round(time.perf_counter() - started, 1)
        limit = FLOAT32_TOLERANCE if model.dtype == "float32" else HALF_TOLERANCE
        found[name] = {
            "difference": differs(model.batch(items, size), before, limit),
            "capture_s": captured_s,
            "eager_ms": eager_ms,
            "graph_ms": median_ms(lambda m=model: m.run(0, rows, size), bench.rounds),
        }
    return found


def overlap(bench: Bench) -> dict:
    """Answers per second through the batcher, in full batches, against the model alone and against no overlap."""
    from sca.infer.turn.serving.batcher import BatchPolicy, MicroBatcher

    size = bench.sizes[-1]
    model, items = bench.models["v3"], noise(size)
    staged_ms = median_ms(lambda: [model.stage(1, row, item) for row, item in enumerate(items)], 5)
    model.batch(items, size)
    run_ms = median_ms(lambda: model.run(0, range(size), size), bench.rounds)
    batcher = MicroBatcher(model, BatchPolicy((size,), 0.05), max_queue=100 * size)
    count = 20 if bench.on_gpu else 3
    started = time.perf_counter()
    futures = [batcher.submit(lambda item=item: item) for _ in range(count) for item in items]
    answers = [future.result(300) for future in futures]
    took_ms = (time.perf_counter() - started) * 1000 / count
    batcher.close(60)
    return {
        "batch_sizes": sorted({answer.batch_size for answer in answers}),
        "stage_ms": staged_ms,
        "run_ms": run_ms,
        "batch_ms": round(took_ms, 2),
        "without_overlap_ms": round(staged_ms + run_ms, 2),
    }


def memory(bench: Bench) -> dict:
    """A batch that exceeds the memory of the GPU is divided, and all of it is answered."""
    import torch

    from sca.infer.turn.models.model import DeviceMemoryError
    from sca.infer.turn.serving.batcher import BatchPolicy, run_batch

    model, size = bench.v2(), bench.sizes[-1]
    items = noise(size, 15.0)
    expected = model.batch(items, size)
    torch.cuda.empty_cache()
    idle = torch.cuda.memory_reserved()
    torch.cuda.reset_peak_memory_stats()
    model.run(0, range(size), size)
    whole = torch.cuda.max_memory_reserved()
    total = torch.cuda.get_device_properties(bench.device).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((idle + (whole - idle) * 0.7) / total)
    try:
        divided = False
        try:
            model.run(0, range(size), size)
        except DeviceMemoryError:
            divided = True
        found = np.array(run_batch(model, 0, range(size), BatchPolicy((size,), 0.0)), float)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    if not divided:
        raise AssertionError("the whole batch did not exceed the memory")
    return {"difference": differs(found, expected, 1e-3), "whole_mib": whole >> 20, "idle_mib": idle >> 20}


def compiled(bench: Bench) -> dict:
    """`torch.compile` in the background: the same answers."""
    model = bench.v3()
    items = noise(bench.sizes[0])
    before = model.batch(items, len(items))
    started = time.perf_counter()
    model.compile_in_background([bench.sizes[0]]).join(240)
    if model.compiled is not True:
        raise AssertionError(f"not compiled after {time.perf_counter() - started:.0f} s: {model.notices}")
    answers = model.batch(items, len(items))
    return {
        "difference": differs(answers, before, 1e-3),
        "compile_s": round(time.perf_counter() - started, 1),
        "ms": median_ms(lambda: model.run(0, range(len(items)), len(items)), bench.rounds),
    }


@dataclass(frozen=True)
class Check:
    """A check and where it makes sense."""

    run: Callable[[Bench], dict]
    gpu_only: bool = False
    named: str = ""

    @property
    def name(self) -> str:
        return self.named or self.run.__name__

    @property
    def text(self) -> str:
        return (self.run.__doc__ or "").splitlines()[0]


CHECKS = [
    Check(host_preparation),
    Check(v3_equals_onnxruntime),
    Check(v2_rows),
    Check(half_precision),
    Check(batches),
    Check(overlap),
    Check(graphs, gpu_only=True),
    Check(memory, gpu_only=True),
    Check(compiled, gpu_only=True),
]


def run_checks(bench: Bench, checks: list[Check]) -> tuple[dict, list[str]]:
    """Run checks, print their results, and return them with the names of those that failed."""
    results, failed = {}, []
    for check in checks:
        name = check.name
        if check.gpu_only and not bench.on_gpu:
            results[name] = "only on a GPU"
            continue
        began = time.perf_counter()
        try:
            results[name] = check.run(bench)
        except Exception as error:  # noqa: BLE001 - reported, and the other checks are run
            traceback.print_exc()
            results[name] = {"failed": f"{type(error).__name__}: {error}"}
            failed.append(name)
        print(f"{name:22} {time.perf_counter() - began:6.1f} s  {json.dumps(results[name])}", flush=True)
    return results, failed


def run_all(device: str, extra: Callable[[], dict]) -> None:
    """Run the checks and print one JSON document.

    Args:
        device: The device. Without it, the checks are listed and nothing is run.
        extra: The last check, of a real server.
    """
    from sca.errors import MissingToolError
    from sca.infer.turn.models.device_model import resolve_device

    try:
        resolve_device(device, "the bench")
    except MissingToolError as error:
        print(f"{error.message}; on a machine with one, this would run:")
        for check in CHECKS:
            print(f"  {check.name:22} {check.text}")
        print(f"  {'server':22} A real server on {device} under load.")
        print(json.dumps({"bench": "turn", "device": device, "ran": False, "checks": [c.name for c in CHECKS]}))
        return
    print(f"{device}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    started = time.perf_counter()
    results, failed = run_checks(Bench(device), [*CHECKS, Check(lambda bench: extra(), named="server")])
    document = {"bench": "turn", "device": device, "ran": True, "failed": failed, **results}
    print(json.dumps({**document, "took_s": round(time.perf_counter() - started, 1)}))
    if failed:
        raise SystemExit(7)
