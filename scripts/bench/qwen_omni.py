"""Measure a chunk of 0.32 s in the Qwen3-Omni engine: each part, several sessions, with and without CUDA graphs.

    python scripts/bench/qwen_omni.py --size tiny --device cpu
    python scripts/bench/qwen_omni.py --size real --sessions 1 4 8 --device cuda    on a GPU machine, without a network

`real` is the released configuration with random bfloat16 weights that are created on the device (70 GB, never on the
host). Weights do not change the cost of a chunk, except that random ones always produce text: every chunk has two
tokens. `--layers N` keeps only N layers of each stack and all other sizes, to test every shape on a machine with less
memory. The times are then those of the smaller model; `released` in the report contains the bytes and operations of
the complete one. `--model FOLDER` measures real weights instead. Without a GPU, `real` needs as much memory, and
minutes per chunk.

* parts: audio encoder, thinker (2 or 3 forward passes), talker, code predictor, vocoder, each separately between two
  synchronisations.
* steps: whole chunks through the engine, all sessions in one call, from features to int16 on the host: p50, p95, p99.
  Eager, and on a GPU with
  graphs; `alone` is a session without slots, through the library's own forward passes. `fits`: p99 is within the 320
  ms of a chunk.
* capture: seconds of each key of the CUDA graphs, with its warm-up calls, before the first chunk. Steps with graphs have all
  keys captured.
* memory: weights, caches and the card as a whole, against the estimate of the memory check.
* first audio: from the end of the first chunk of input to its audio, of a new session with the default prompt.
* bound: the time to read each weight once per forward pass at the measured bandwidth of the device, and its
  multiplications at the measured
  rate; with the experts that one token selects, so for one session. No program with this model in this form is faster.

The last line is one JSON document.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from typing_extensions import override

from sca.audio.mel import log_mel
from sca.config import DuplexConfig, QwenConfig
from sca.infer.engine import SessionConfig
from sca.infer.engines.qwen_omni.loading.demand import CONTEXT_BYTES, demands
from sca.infer.engines.qwen_omni.loading.flops import chunk_work, parameters, skeleton
from sca.infer.engines.qwen_omni.loading.load import load_model
from sca.infer.engines.qwen_omni.loading.memory import workload
from sca.infer.engines.qwen_omni.loading.model_class import speaking_model
from sca.infer.engines.qwen_omni.loading.placement import free_gpus
from sca.infer.engines.qwen_omni.slots.cuda_graphs import CudaGraphs, GraphBackend
from sca.infer.engines.qwen_omni.slots.engine import SlotOmni
from sca.infer.engines.qwen_omni.slots.step import TalkerState, ThinkerState
from sca.infer.engines.qwen_omni.streaming.engine import QwenOmni
from sca.infer.frames import AudioInput
from sca.tokenizer import BUILTIN_QWEN, load_tokenizer
from sca.units import Grid

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # so that it runs as a file, from any folder
from sca.train.tiny import INITIAL_STD, build
from scripts.released_omni import released_config

GRID = Grid()
DEADLINE_MS = 1000 * float(GRID.chunk_s)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def made_on(device, dtype, layers=None):
    """Create a model of the released size with random weights, as it is loaded: without the vision tower, vocoder in float32.

    Args:
        device: Where.
        dtype: The dtype of the weights.
        layers: As in `released_config`.
    """
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model = speaking_model()(released_config(layers)).eval()
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.no_grad():
        for name, weight in model.talker.named_parameters():
            if ".experts." in name:  # transformers 5.22 does not initialise them
                weight.normal_(std=INITIAL_STD)
    model.code2wav.float()
    return model


def sync(device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(work, device, times):
    """Return the milliseconds of each call, after one warm-up call."""
    work()
    found = []
    for _ in range(times):
        sync(device)
        began = time.perf_counter()
        work()
        sync(device)
        found.append(1000 * (time.perf_counter() - began))
    return found


def percentiles(ms):
    at = np.percentile(ms, [50, 95, 99])
    return {name: round(float(value), 2) for name, value in zip(("p50_ms", "p95_ms", "p99_ms"), at, strict=True)}


def graphed(work):
    """Capture `work` as a CUDA graph."""
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def parts_of(engine, times, *, graphs):
    """Return the median milliseconds of each part of a chunk of all slots."""
    step, device, b = engine.chunk, engine.device, engine.slots
    features = torch.randn(b, 128, GRID.mel_frames, device=device)
    heard = step.encode(features)
    rows = (
        ThinkerState(active=1, length=200, position=200),
        TalkerState(active=1, running=1, length=200, position=200, frames=200, vocoder=200),
    )
    columns, talking = (one.split(torch.tensor([one.row()] * b, device=device)) for one in rows)
    key = engine.runner.keys.key("thinker", b - 1, 256)
    options, recent = (torch.from_numpy(one).to(device) for one in engine._blank(key)[2:])
    dice = torch.rand(b, GRID.frames_per_chunk, engine.books, device=device)
    first = torch.zeros(b, 1, dtype=torch.long, device=device)
    codes = torch.zeros(b, engine.books, GRID.frames_per_chunk, dtype=torch.long, device=device)
    text = step.pad.expand(b, -1, -1)
    active = talking["active"] > 0
    place = talking["length"]

    def predictor():
        for j in range(GRID.frames_per_chunk):
            step.talker.predictor(step.talker.hidden[:b], first, dice[:, j])

    def talker():
        for j in range(GRID.frames_per_chunk):
            step.talker.frame(text, dice[:, j], active, place + j, place + j, 256)

    work = {
        "audio tower": partial(step.encode, features),
        f"thinker, {3 - engine.shape.carry} forwards": partial(step._think_chunk, heard, columns, options, recent, 256),
        "talker with code predictor": talker,
        "code predictor alone": predictor,
        "code2wav": partial(step.vocoder.push, codes, active, talking["frames"], talking["vocoder"]),
    }
    found = {}
    for name, part in work.items():
        found[name] = round(statistics.median(timed(graphed(part) if graphs else part, device, times)), 3)
    return found


def chunks_of(seconds):
    """Yield chunks of changing noise, as features and samples."""
    draw = np.random.default_rng(0)
    for i in range(int(seconds / float(GRID.chunk_s))):
        samples = (0.1 * draw.standard_normal(GRID.heard_samples)).astype(np.float32)
        yield AudioInput(log_mel(samples)[None], samples, i, i * GRID.heard_samples)


def steps_of(engine, sessions, chunks):
    """Return the step percentiles of several sessions in one call, and the time of the first chunk."""
    opened = [engine.open(SessionConfig(prompt=DuplexConfig().system_prompt)) for _ in range(sessions)]
    together = getattr(engine, "step_batch", lambda opened, inputs: [opened[0].step(inputs[0])])
    found = []
    for chunk in chunks:
        began = time.perf_counter()
        results = together(opened, [chunk] * sessions)
        found.append(1000 * (time.perf_counter() - began))
        failed = [result for result in results if isinstance(result, Exception)]
        if failed:
            raise failed[0]
    for session in opened:
        session.close()
    later = percentiles(found[1:])
    return {
        "sessions": sessions,
        "chunks": len(found) - 1,
        **later,
        "first_audio_ms": round(found[0], 2),
        "real_time_factor": round(later["p50_ms"] / DEADLINE_MS, 4),
        "fits": later["p99_ms"] <= DEADLINE_MS,
    }


class TimedGraphs(GraphBackend):
    """Records the seconds of each capture with its warm-up calls, in the order of the keys."""

    def __init__(self, graphs):
        self._graphs, self.seconds = graphs, []

    @override
    def warm_up(self, work):
        self._began = time.perf_counter()
        self._graphs.warm_up(work)

    @override
    def capture(self, work):
        try:
            return self._graphs.capture(work)
        finally:
            self.seconds.append(round(time.perf_counter() - self._began, 3))

    @override
    def experts(self, dtype):
        return self._graphs.experts(dtype)


def captured_steps(model, tokenizer, qwen, inputs, backend, times=20):
    """Yield what is measured of `qwen.slots` sessions with all graphs captured, by name.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        qwen: The settings.
        inputs: Chunks.
        backend: Captures the graphs.
        times: Measurements of each part.
    """
    graphs = TimedGraphs(backend)
    engine = SlotOmni(model, tokenizer, qwen, DuplexConfig(), graphs)
    engine.prepare(GRID)
    keys = list(engine.runner.keys)
    yield "capture_s", dict(zip(map(str, keys), graphs.seconds, strict=True))
    yield "captured", f"{len(engine.runner.captured)} of {len(keys)}"
    yield "steps", steps_of(engine, qwen.slots, inputs)
    yield "memory", memory_of(engine)
    yield "parts_ms", parts_of(engine, times, graphs=engine.device.type == "cuda")


def memory_of(engine):
    """Return the memory of an engine, and the estimate of the memory check, in GB (10^9 bytes)."""
    model, qwen, device = engine.model, engine.qwen, engine.device
    gpus = free_gpus(str(device)) if device.type == "cuda" else []
    load = workload(model.config, qwen, engine.slots, gpus, model.dtype)
    thinker, talker = demands(skeleton(model.config), qwen, GRID, load, model.dtype)
    need = thinker + talker
    weights = sum(one.numel() * one.element_size() for one in model.parameters())
    estimated = {"weights": need.weights, "caches": need.caches, "work": need.work, "graphs": need.graphs}
    measured = {"weights": weights, "caches": engine.chunk.held_bytes}
    if gpus:
        estimated |= {"cuda": CONTEXT_BYTES, "all": need.least + need.graphs + CONTEXT_BYTES}
        free, whole = torch.cuda.mem_get_info(device)
        measured |= {"peak": torch.cuda.max_memory_allocated(device), "reserved": torch.cuda.memory_reserved(device)}
        measured["all"] = whole - free  # of every process on the card
    return {
        name: {part: round(size / 1e9, 4) for part, size in sizes.items()}
        for name, sizes in (("estimated_gb", estimated), ("measured_gb", measured))
    }


def speed_of(device, dtype):
    """Measure bytes and operations per second, with a sum over 1 GB (64 MB on a CPU) and a product of large matrices."""
    big = device.type == "cuda"
    row = torch.ones((1 << 29) if big else (1 << 25), dtype=dtype, device=device)
    size = 8192 if big else 1024
    matrix = torch.randn(size, size, device=device).to(dtype)
    read_ms = min(timed(lambda: row.sum(), device, 10))
    product_ms = min(timed(lambda: matrix @ matrix, device, 10))
    return row.numel() * row.element_size() / read_ms * 1000, 2 * size**3 / product_ms * 1000


def bound_of(model, device, dtype, tokens):
    work = chunk_work(skeleton(model.config), GRID, tokens)
    read_bytes, flops = speed_of(device, dtype)
    size = work.weights * dtype.itemsize
    return {
        "weights_read_gb": round(size / 1e9, 3),
        "gflop": round(work.flops / 1e9, 3),
        "device_gb_s": round(read_bytes / 1e9, 1),
        "device_tflop_s": round(flops / 1e12, 3),
        "bytes_ms": round(1000 * size / read_bytes, 3),
        "flops_ms": round(1000 * work.flops / flops, 3),
    }


def memory(device):
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**30, 2)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=("tiny", "real"), default="tiny")
    parser.add_argument("--layers", type=int, help="maximum layers of each stack of real (default: all)")
    parser.add_argument("--model", metavar="FOLDER", help="measure these weights instead")
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", choices=tuple(DTYPES), help="default: bfloat16 for real, float32 for tiny")
    parser.add_argument("--seconds", type=float, default=64, help="length of each session's conversation")
    parser.add_argument("--context-tokens", type=int, default=4096, help="size of the thinker's cache per slot")
    parser.add_argument("--carry", action="store_true", help="qwen.carry_second_token")
    given = parser.parse_args()
    if given.layers is not None and (given.size != "real" or given.model or given.layers < 1):
        parser.error("--layers must be at least 1 and requires --size real")
    device = torch.device(given.device)
    dtype = DTYPES[given.dtype or ("bfloat16" if given.size == "real" else "float32")]
    torch.set_float32_matmul_precision("high")
    qwen = QwenConfig(
        model_id=given.model or f"random, {given.size}{f', {given.layers} layers' if given.layers else ''}",
        device_map=given.device,
        torch_dtype=given.dtype or "bfloat16",
        slots=max(given.sessions),
        context_tokens=given.context_tokens,
        carry_second_token=given.carry,
    )
    began = time.perf_counter()
    if given.model:
        loaded = load_model(qwen, GRID, 2)
        model, tokenizer = loaded.model, loaded.tokenizer
    else:
        model = made_on(device, dtype, given.layers) if given.size == "real" else build().to(device, dtype)
        tokenizer = load_tokenizer(BUILTIN_QWEN)
    report = {
        "size": given.size,
        "layers": given.layers or "all",
        "device": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"cpu, {torch.get_num_threads()} threads",
        "dtype": str(dtype).removeprefix("torch."),
        "parameters_b": round(parameters(model) / 1e9, 3),
        "made_in_s": round(time.perf_counter() - began, 1),
        "carry": given.carry,
        "torch": torch.__version__,
        "load": [round(value, 1) for value in os.getloadavg()],
    }
    say = partial(print, file=sys.stderr, flush=True)
    say(f"{report['parameters_b']} B parameters on {report['device']}, created in {report['made_in_s']} s")
    with torch.inference_mode():
        report["bound"] = bound_of(model, device, dtype, 2)
        say(f"bound: {report['bound']}")
        if given.layers:
            whole = chunk_work(skeleton(released_config()), GRID, 2)
            report["released"] = {
                "weights_read_gb": round(whole.weights * dtype.itemsize / 1e9, 3),
                "gflop": round(whole.flops / 1e9, 3),
            }
            say(f"only {given.layers} layers per stack: these are not the times of the released size")
        inputs = list(chunks_of(given.seconds))
        report["alone"] = steps_of(
            QwenOmni(model, tokenizer, qwen.model_copy(update={"slots": 0}), DuplexConfig()), 1, inputs
        )
        say(f"alone: {report['alone']}")
        for graphs in (False, True) if device.type == "cuda" else (False,):
            name = "graphed" if graphs else "eager"
            report[name] = found = {"steps": []}
            for sessions in sorted(given.sessions):
                settings = qwen.model_copy(update={"slots": sessions, "cuda_graphs": graphs})
                if graphs:
                    steps = dict(captured_steps(model, tokenizer, settings, inputs, CudaGraphs(device)))
                    steps |= steps.pop("steps")
                else:
                    engine = SlotOmni(model, tokenizer, settings, DuplexConfig())
                    steps = steps_of(engine, sessions, inputs)
                    if sessions in (min(given.sessions), max(given.sessions)):
                        steps["parts_ms"] = parts_of(engine, 20 if device.type == "cuda" else 3, graphs=False)
                    del engine
                steps["memory_gib"] = memory(device)
                found["steps"].append(steps)
                say(f"{name}: {steps}")
            found["most_sessions_that_fit"] = max((s["sessions"] for s in found["steps"] if s["fits"]), default=0)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
