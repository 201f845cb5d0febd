"""Waveforms with known smart-turn v3 probabilities, and pipecat's analyzer in the same precision."""

import numpy as np
import onnxruntime

from sca.infer.turn.models.weights import bundled_file

TOLERANCE = 0.02


def noise(seed: int, samples: int, level: float) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(samples) * level).astype(np.float32)


def tone(hz: float, samples: int) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(samples) / 16_000)).astype(np.float32)


def vowel(samples: int, fall: float) -> np.ndarray:
    """A voice-like sound: harmonics with a resonance, and a pitch that changes by the factor `fall`."""
    t = np.arange(samples) / 16_000
    phase = 2 * np.pi * np.cumsum(120 * fall ** (t / t[-1])) / 16_000
    harmonics = sum(np.sin(k * phase) / (1 + abs(k - 5)) for k in range(1, 20))
    return (0.1 * harmonics * np.minimum(1, 4 * np.sin(np.pi * t / t[-1]))).astype(np.float32)


WAVEFORMS = {
    "silence": np.zeros(16_000, np.float32),
    "noise": noise(0, 48_000, 0.05),
    "tone": tone(440, 64_000),
    "falling": np.concatenate([vowel(32_000, 0.6), np.zeros(3200, np.float32)]),
    "rising": np.concatenate([vowel(32_000, 1.5), np.zeros(3200, np.float32)]),
    "cut": vowel(32_000, 0.9)[:25_000],
    "long": np.concatenate([vowel(100_000, 0.8), np.zeros(50_000, np.float32)]),
}
GOLDEN = {
    "silence": 0.987,
    "noise": 0.7791,
    "tone": 0.0177,
    "falling": 0.0064,
    "rising": 0.0099,
    "cut": 0.0088,
    "long": 0.9786,
}


def precise(analyzer):
    """Give pipecat's analyzer a session whose int8 products do not saturate, as its own do on CPUs without VNNI."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.x64quantprecision", "1")
    analyzer._session = onnxruntime.InferenceSession(bundled_file(), options, providers=["CPUExecutionProvider"])
    return analyzer
