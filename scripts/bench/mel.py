"""How long the log-mel of one 0.32 s chunk takes: ours, and transformers' extractor on the same chunk.

    python scripts/bench/mel.py [--rounds 30]

Regime: one process, one thread, CPU only, float32 noise at 16 kHz made from a seed. Each round calls every contestant ten times
running, in turn, so that a busy neighbour hits all of them alike and nobody pays for another's use of the cache.
`transformers` is called as a processor calls it (its torch path when torch is installed, its numpy path otherwise), once on the
bare chunk and once with its default padding to 30 s, which is what a loop that never thought about it would pay.

Prints a table, then one JSON line.
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"  # read when numpy and torch are imported

import argparse
import json
import platform
import time
from collections.abc import Callable

import numpy as np

CHUNK_SAMPLES = 5120
BATCH = 64
BURST = 10
WARM_UP_ROUNDS = 2
SCALE = 1e6  # seconds to microseconds


def contestants() -> tuple[dict[str, tuple[Callable[[], object], int]], str]:
    """Name to (call, chunks per call), and which path transformers takes."""
    from transformers import WhisperFeatureExtractor
    from transformers.utils import is_torch_available

    from sca.audio.mel import log_mel

    path = "numpy"
    if is_torch_available():
        import torch

        torch.set_num_threads(1)
        path = f"torch {torch.__version__}"
    extractor = WhisperFeatureExtractor(feature_size=128)
    batch = (np.random.default_rng(0).standard_normal((BATCH, CHUNK_SAMPLES)) * 0.1).astype(np.float32)
    chunk = batch[0].copy()
    bare = {"sampling_rate": 16_000, "padding": True, "truncation": False, "return_tensors": "np"}
    calls: dict[str, tuple[Callable[[], object], int]] = {
        "sca": (lambda: log_mel(chunk), 1),
        f"sca, {BATCH} at once": (lambda: log_mel(batch), BATCH),
        "transformers": (lambda: extractor(chunk, **bare), 1),
        "transformers, numpy path": (lambda: extractor._np_extract_fbank_features(chunk[None], "cpu"), 1),
        "transformers, padded to 30 s": (lambda: extractor(chunk, sampling_rate=16_000, return_tensors="np"), 1),
    }
    return calls, path


def measure(calls: dict[str, tuple[Callable[[], object], int]], rounds: int) -> dict[str, dict[str, float]]:
    """Microseconds per chunk: p50, p95, p99 and the least."""
    took: dict[str, list[float]] = {name: [] for name in calls}
    for i in range(WARM_UP_ROUNDS + rounds):
        for name, (call, chunks) in calls.items():
            for _ in range(BURST):
                start = time.perf_counter()
                call()
                if i >= WARM_UP_ROUNDS:
                    took[name].append((time.perf_counter() - start) / chunks * SCALE)
    return {
        name: {"least": min(all_us)} | {f"p{p}": float(np.percentile(all_us, p)) for p in (50, 95, 99)}
        for name, all_us in took.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30, help="rounds of ten calls")
    options = parser.parse_args()
    calls, path = contestants()
    found = measure(calls, options.rounds)
    chunk_us = CHUNK_SAMPLES / 16_000 * SCALE
    print(f"{'µs per 0.32 s chunk':30}{'least':>9}{'p50':>9}{'p95':>9}{'p99':>9}{'× real time':>14}")
    for name, us in found.items():
        row = "".join(f"{us[key]:9.0f}" for key in ("least", "p50", "p95", "p99"))
        print(f"{name:30}{row}{chunk_us / us['p50']:14.0f}")
    print(
        json.dumps(
            {
                "bench": "mel",
                "unit": "us_per_chunk",
                "calls": options.rounds * BURST,
                "transformers_path": path,
                "python": platform.python_version(),
                "numpy": np.__version__,
                "cpus": os.cpu_count(),
                "results": {name: {key: round(us, 1) for key, us in all_us.items()} for name, all_us in found.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
