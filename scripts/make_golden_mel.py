"""Write tests/golden/mel.npz: short seeded sounds, and the log-mel that transformers computes for each.

    python scripts/make_golden_mel.py

The log-mel is that of `WhisperFeatureExtractor`'s numpy path (float64 spectra), so torch is not needed. Run the
script again only to add a sound. If a value changes, find the cause instead of storing the new value.
"""

from pathlib import Path

import numpy as np

TARGET = Path(__file__).resolve().parents[1] / "tests" / "golden" / "mel.npz"


def sounds() -> dict[str, np.ndarray]:
    """Return sounds by name, float32 `(5120,)`, quantised to 16 bits so that they compress well."""
    rng = np.random.default_rng(20_251_120)
    t = np.arange(5120) / 16_000
    pitch = 2 * np.pi * np.cumsum(120 + 40 * t) / 16_000
    voice = sum(np.sin(k * pitch) / k for k in range(1, 30)) * (0.5 + 0.5 * np.sin(2 * np.pi * 5 * t))
    impulses = np.zeros(5120)
    impulses[[0, 137, 2500, 5119]] = [0.9, -0.5, 1.0, 0.25]
    made = {
        "voice": 0.2 * voice,
        "noise": 0.1 * rng.standard_normal(5120),
        "faint": 2e-4 * rng.standard_normal(5120),
        "square": np.where(np.sin(2 * np.pi * 440 * t) >= 0, 1.0, -1.0),
        "impulses": impulses,
        "silence": np.zeros(5120),
    }
    return {name: (np.clip(np.round(x * 32768), -32768, 32767) / 32768).astype(np.float32) for name, x in made.items()}


def main() -> None:
    from transformers import WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor(feature_size=128)
    stored = {}
    for name, x in sounds().items():
        stored[f"{name}.pcm"] = np.round(x * 32768).astype(np.int16)
        stored[f"{name}.mel"] = extractor._np_extract_fbank_features(x[None], "cpu")[0].astype(np.float32)
    np.savez_compressed(TARGET, **stored)
    print(f"{TARGET}: {TARGET.stat().st_size} bytes, {len(stored) // 2} sounds")


if __name__ == "__main__":
    main()
