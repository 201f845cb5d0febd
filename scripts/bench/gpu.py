"""Check and measure everything that needs an NVIDIA GPU, in at most fifteen minutes. `gpu.sh` prepares a bare machine for it.

    python -m scripts.bench.gpu [--out gpu.json] [--limit 840] [--only machine] [--dry]

| part | what |
|---|---|
| machine | the GPU, its free memory, versions |
| tests | the tests with the marker `gpu` |
| qwen-1, qwen-8 | Qwen3-Omni of the released size with random weights, 1 and 8 sessions with all graphs captured: seconds
of each capture, steps, parts, memory against the estimate of the memory check |
| launches | kernels of a chunk by torch.profiler, against the count of `qwen_launches.py` |
| turn | models and server of end-of-turn detection (`turn.py --device cuda --all`) |
| voices | frames of CSM, released size with random weights, with and without graphs |

Each part runs in a process of its own with a time limit, and reports as it measures: what a part has measured before it fails or
is stopped is in the report, and the other parts run. The last line is one JSON document. Exit code 7: a part failed.

`--dry` runs the same parts on a CPU with tiny models; graphs are then functions that are called again.
"""

import argparse
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

# Imported before the parts are forked, so that each has the libraries at once. None of them starts CUDA.
import torch
from transformers import CsmConfig, CsmForConditionalGeneration

from sca.config import QwenConfig
from sca.infer.engines.qwen_omni.slots.cuda_graphs import CudaGraphs
from sca.infer.speech.csm.frames import FrameLoop
from sca.infer.speech.csm.sampling import Sampling
from sca.tokenizer import BUILTIN_QWEN, load_tokenizer
from sca.train.tiny import build as tiny_omni
from scripts.bench import qwen_launches, qwen_omni, turn, turn_device
from scripts.bench.part_runner import Note, Part, run_parts
from scripts.make_tiny_csm import build as tiny_csm
from tests.helpers.fake_graphs import FakeGraphs

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("torch", "transformers", "accelerate", "numpy", "onnxruntime", "sca-duplex")
NO_GPU = 4
FAILED = 7


def machine(note: Note, dry: bool) -> None:
    note("python", sys.version.split()[0])
    note("versions", {name: _version(name) for name in PACKAGES})
    note("cores", len(os.sched_getaffinity(0)))
    if dry:
        note("gpu", None)
        return
    note("gpu", torch.cuda.get_device_name())
    note("capability", torch.cuda.get_device_capability())
    note("cuda", torch.version.cuda)
    note("free_gb", round(torch.cuda.mem_get_info()[0] / 1e9, 2))


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def gpu_tests(note: Note, dry: bool) -> None:
    """Run the tests with the marker. A dry run only finds them, because they need a GPU."""
    files = sorted(str(path) for path in (ROOT / "tests").rglob("test_*.py") if "@pytest.mark.gpu" in path.read_text())
    note("files", len(files))
    if not files:
        raise AssertionError("no test has the marker gpu")
    if dry:
        return
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", *files]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    print(done.stdout)
    counts = {word: int(count) for count, word in re.findall(r"(\d+) (passed|failed|skipped|error)", done.stdout)}
    note("counts", counts)
    if done.returncode or not counts.get("passed") or counts.get("skipped"):
        raise AssertionError(f"pytest ended with {done.returncode}: {counts}")


_tiny = cache(partial(tiny_omni, books=2))


def qwen_model(dry: bool):
    """Return the model and the settings for one session."""
    if dry:
        sizes = {"context_tokens": 1024, "talker_context_frames": 256, "device_map": "cpu"}
        return _tiny(), QwenConfig(model_id="tiny", vocoder_dtype="float32", **sizes)
    torch.set_float32_matmul_precision("high")
    model = qwen_omni.made_on(torch.device("cuda"), torch.bfloat16)
    return model, QwenConfig(model_id="random", device_map="cuda")


def qwen(sessions: int) -> Callable[[Note, bool], None]:
    """Return the part of a number of sessions."""

    def work(note: Note, dry: bool) -> None:
        began = time.perf_counter()
        model, settings = qwen_model(dry)
        note("made_in_s", round(time.perf_counter() - began, 1))
        settings = settings.model_copy(update={"slots": min(sessions, 2) if dry else sessions})
        backend = FakeGraphs() if dry else CudaGraphs(model.device)
        inputs = list(qwen_omni.chunks_of(0.64 if dry else 32))
        with torch.inference_mode():
            if not dry:
                note("bound", qwen_omni.bound_of(model, model.device, model.dtype, 2))
            tokenizer = load_tokenizer(BUILTIN_QWEN)
            for name, value in qwen_omni.captured_steps(model, tokenizer, settings, inputs, backend, 1 if dry else 20):
                note(name, value)
                if name == "captured" and len(set(value.split(" of "))) > 1:
                    note("failed", f"{value} graphs were captured")

    return work


def launches(note: Note, dry: bool) -> None:
    """Count the kernels of both stages of a chunk. On a CPU: the operations inside of which there is none."""
    model, settings = qwen_model(dry)
    counted = qwen_launches.chunk_launches(qwen_launches.step_of(None, 1, config=model.config), 1)
    note("counted", counted)
    settings = settings.model_copy(update={"slots": 1, "cuda_graphs": False})
    engine = qwen_omni.SlotOmni(model, load_tokenizer(BUILTIN_QWEN), settings, qwen_omni.DuplexConfig())
    engine.prepare(qwen_omni.GRID)
    profiled = {"chunk of silence": _profiled(engine, "thinker")}
    if not dry:  # on a CPU the vocoder alone has thousands
        profiled["chunk"] = profiled["chunk of silence"] + _profiled(engine, "talker")
    note("profiled", profiled)
    note("ratio", {name: round(number / counted[name], 3) for name, number in profiled.items()})


def _profiled(engine, stage: str) -> int:
    from torch.profiler import ProfilerActivity, profile

    runner, cuda = engine.runner, engine.device.type == "cuda"
    key = runner.keys.key(stage, 0, 1)
    with torch.inference_mode():
        inputs = runner._fill(key, engine._blank(key))
        runner._work(key, inputs)
        with profile(activities=[ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU]) as found:
            runner._work(key, inputs)
            if cuda:
                torch.cuda.synchronize()
    if cuda:
        return sum(one.device_type == torch.autograd.DeviceType.CUDA for one in found.events())
    return sum(not one.cpu_children for one in found.events())


def turns(note: Note, dry: bool) -> None:
    """Check the turn models; on a GPU also a server under load."""
    if dry:
        checks = [turn_device.Check(turn_device.v2_rows)]
    else:
        server = turn_device.Check(lambda _: turn.serve_on_device("cuda", 5), named="server")
        checks = [*turn_device.CHECKS, server]
    found, failed = turn_device.run_checks(turn_device.Bench("cpu" if dry else "cuda"), checks)
    note("checks", found)
    if failed:
        raise AssertionError(f"failed: {', '.join(failed)}")


def voices(note: Note, dry: bool) -> None:
    """Generate frames of 80 ms with CSM. The other engines with voices run on a CPU."""
    if dry:
        model, frames = tiny_csm(), 1
    else:
        with torch.device("cuda"):
            model, frames = CsmForConditionalGeneration(CsmConfig()).eval().bfloat16(), 100
    prompt = torch.zeros(1, 20, dtype=torch.long, device=model.device)
    with torch.inference_mode():
        prompt = model.embed_text_tokens(prompt)
        for graphs in (False, True):
            loop, took = FrameLoop(model, graphs=graphs), []
            for _ in range(2):  # the first run captures
                began = time.perf_counter()
                for _frame in loop.run(prompt, frames, Sampling(0.9, 50, 2048), 1):
                    qwen_omni.sync(model.device)
                took.append((time.perf_counter() - began) / frames * 1000)
            note("graphs" if graphs else "eager", {"ms_a_frame": round(took[-1], 2), "captured": loop.captured})


PARTS = (
    Part("machine", machine, 60),
    Part("tests", gpu_tests, 180),
    Part("qwen-1", qwen(1), 150),
    Part("qwen-8", qwen(8), 210),
    Part("launches", launches, 90),
    Part("turn", turns, 150),
    Part("voices", voices, 60),
)


def main() -> None:
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the report to a file")
    parser.add_argument("--limit", type=float, default=840, metavar="SECONDS", help="stop all parts after this time")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="PART")
    parser.add_argument("--dry", action="store_true", help="tiny models on a CPU")
    given = parser.parse_args()
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = (
        "1"  # asks without starting CUDA, after which no process may be forked
    )
    if not given.dry and not torch.cuda.is_available():
        print("gpu.py: torch does not find an NVIDIA GPU; --dry runs the parts on a CPU", file=sys.stderr)
        raise SystemExit(NO_GPU)
    if given.dry:
        torch.set_num_threads(1)  # a process that has used threads of OpenMP must not be forked
        _tiny()
    chosen = [part for part in PARTS if part.name in given.only]
    report = {"bench": "gpu", "dry": given.dry, **run_parts(chosen, given.dry, given.limit)}
    line = json.dumps(report)
    if given.out is not None:
        given.out.write_text(line + "\n", encoding="utf-8")
    print(line)
    if report["failed"]:
        raise SystemExit(FAILED)


if __name__ == "__main__":
    main()
