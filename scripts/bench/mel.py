"""Measure the log-mel of one 0.32 s chunk: sca's, and transformers' extractor on the same chunk.

    python scripts/bench/mel.py [--rounds 30]

Conditions: one process, one thread, CPU only, float32 noise at 16 kHz from a seed. Each round calls every candidate
ten times in a row, so that other load affects all of them equally, and the cache of one does not slow another.
`transformers` is called as a processor calls it (its torch path if torch is installed, otherwise its numpy path),
once on the chunk alone and once with its default padding to 30 s.

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


def candidates() -> tuple[dict[str, tuple[Callable[[], object], int]], str]:
    """Return (call, chunks per call) by name, and the path that transformers uses."""
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
    """Return p50, p95, p99 and the minimum of the microseconds per chunk."""
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
    calls, path = candidates()
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
