"""Find the highest probability that the bundled smart-turn v3 model gives.

    python scripts/bench/turn_probabilities.py [AUDIO|FOLDER …] [--limit N] [--step 0.5]

Two answers. The first is exact: the input of the last sigmoid is stored in 8 bits with a fixed scale and zero point,
which are read from the file, so the output is one of 256 numbers and the largest of them is a bound for any input. The
second is measured: windows that end at every step of each file (speech with and without the pause that follows), the
demo corpus of sca, silence, noise and tones, at four levels. The
last line is JSON. It needs the package onnx.
"""

import argparse
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sca.audio.decode import read_audio
from sca.infer.turn.models.smart_turn_v3 import SmartTurnV3
from sca.infer.turn.models.weights import bundled_file
from sca.resources import demo_corpus

RATE = 16_000
LEVELS = (1.0, 0.3, 0.05, 0.002)


def bound() -> float:
    """Return the largest output that the 8 bits before the sigmoid can represent."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(bundled_file())).graph
    constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    dequantize = graph.node[-2]
    assert (graph.node[-1].op_type, dequantize.op_type) == ("Sigmoid", "DequantizeLinear")
    scale, zero = (float(constants[name]) for name in dequantize.input[1:3])
    return float(1 / (1 + np.exp(-(255 - zero) * scale)))


def files(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (file for file in found if file.suffix.lower() in (".wav", ".flac", ".mp3", ".ogg"))


def windows(x: np.ndarray, step: int) -> Iterator[np.ndarray]:
    """Yield what a server is sent: the audio up to each step, and the same followed by 0.2 s and 1 s of silence."""
    for end in range(step, len(x) + step, step):
        part = x[max(0, end - 8 * RATE) : end]
        yield part
        for silence_s in (0.2, 1.0):
            yield np.concatenate([part, np.zeros(round(silence_s * RATE), np.float32)])


def synthetic() -> Iterator[tuple[str, np.ndarray]]:
    chance = np.random.default_rng(0)
    for seconds in (0.1, 0.5, 1, 2, 4, 8):
        samples = round(seconds * RATE)
        yield "silence", np.zeros(samples, np.float32)
        yield "noise", (0.3 * chance.standard_normal(samples)).astype(np.float32)
        yield "brown noise", (0.01 * np.cumsum(chance.standard_normal(samples))).clip(-1, 1).astype(np.float32)
        for hz in (60, 220, 1000, 4000):
            yield "tone", (0.3 * np.sin(2 * np.pi * hz * np.arange(samples) / RATE)).astype(np.float32)


def inputs(paths: list[Path], step: int) -> Iterator[tuple[str, np.ndarray]]:
    yield from synthetic()
    with demo_corpus() as folder:
        for path in itertools.chain(files([folder]), files(paths)):
            x = read_audio(path, RATE)
            for part in windows(x, step):
                for level in LEVELS:
                    yield path.name, part * np.float32(level)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", type=Path)
    parser.add_argument("--limit", type=int, default=20_000, help="windows to judge")
    parser.add_argument("--step", type=float, default=0.5, help="seconds between the ends of windows")
    given = parser.parse_args()
    model, largest = SmartTurnV3(bundled_file()), bound()
    print(f"largest output of 8 bits: {largest:.6f}")
    kinds: dict[str, list[float]] = {}
    for name, x in itertools.islice(inputs(given.paths, round(given.step * RATE)), given.limit):
        kinds.setdefault(name, []).append(model(x))
    for name, found in kinds.items():
        print(f"{name:32} {len(found):5} windows, highest {max(found):.6f}")
    every = sorted(itertools.chain.from_iterable(kinds.values()))
    print(
        json.dumps(
            {
                "bench": "turn_probabilities",
                "bound": round(largest, 6),
                "windows": len(every),
                "highest": round(every[-1], 6),
                "distinct": len(set(every)),
                "p99": round(every[int(0.99 * len(every))], 6),
            }
        )
    )


if __name__ == "__main__":
    main()
