"""Count the landmarks that changed copies of recordings share with them, and those that other recordings share.

Every WAV file of the corpora is changed in 11 ways and compared with itself, and all files, their reversals and some
synthetic sounds are compared with each other. A copy is found if the landmarks suffice (`found`); no pair of other
recordings may (`false_alarms`). The cost is the processor time of the fingerprints per second of sound, the least of
several rounds. Prints a table and one JSON document.

    uv run python scripts/bench/duplex_copies.py CORPUS ... [--rounds 5]
"""

import argparse
import io
import json
import time
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr

from sca.data.quality.fingerprint import Fingerprint, Fingerprinter, decode_fingerprint
from sca.data.quality.matching import compare
from sca.units import HEARD_HZ

_BLOCK = 4 * HEARD_HZ  # as in a build


def text_of(samples: np.ndarray) -> str:
    """Return the fingerprint of samples, as text."""
    prints = Fingerprinter()
    for at in range(0, len(samples), _BLOCK):
        prints.push(np.ascontiguousarray(samples[at : at + _BLOCK], np.float32))
    return prints.finish()


def fingerprint(samples: np.ndarray) -> Fingerprint:
    """Return the fingerprint of samples."""
    return decode_fingerprint(text_of(samples))


def encoded(samples: np.ndarray, kind: str, subtype: str, rate: int = HEARD_HZ) -> np.ndarray:
    """Write and read samples in a format, at a rate."""
    file = io.BytesIO()
    sf.write(file, soxr.resample(samples, HEARD_HZ, rate), rate, format=kind, subtype=subtype)
    file.seek(0)
    found, read_hz = sf.read(file, dtype="float32")
    return np.asarray(soxr.resample(found, read_hz, HEARD_HZ))


def noisy(samples: np.ndarray) -> np.ndarray:
    """Add noise 30 dB below the samples."""
    level = float(np.sqrt(np.mean(samples**2))) / 10**1.5
    return np.asarray(samples + np.random.default_rng(0).normal(0, level, len(samples)).astype(np.float32))


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "0.3 of the level": lambda samples: samples * np.float32(0.3),
    "30 dB of noise": noisy,
    "MP3": lambda samples: encoded(samples, "MP3", "MPEG_LAYER_III"),
    "MP3 at 44.1 kHz": lambda samples: encoded(samples, "MP3", "MPEG_LAYER_III", 44_100),
    "8 kHz": lambda samples: encoded(samples, "WAV", "PCM_16", 8_000),
    "8 kHz µ-law": lambda samples: encoded(samples, "WAV", "ULAW", 8_000),
    "Opus": lambda samples: encoded(samples, "OGG", "OPUS", 24_000),
    "cut by 0.342 s": lambda samples: samples[5469:],
    "cut by 0.342 s, 0.4 of the level, MP3": lambda samples: encoded(
        samples[5469:] * np.float32(0.4), "MP3", "MPEG_LAYER_III"
    ),
    "cut by 10 s": lambda samples: samples[10 * HEARD_HZ :],
    "cut by 10.013 s": lambda samples: samples[160_211:],
}


def recordings(corpora: list[Path]) -> list[np.ndarray]:
    """Return the samples of all WAV files at 16 kHz."""
    found = []
    for corpus in corpora:
        for path in sorted(corpus.rglob("*.wav")):
            samples, rate = sf.read(path, dtype="float32")
            found.append(np.asarray(soxr.resample(samples, rate, HEARD_HZ)))
    return found


def others(sounds: list[np.ndarray]) -> list[np.ndarray]:
    """Return recordings that are no copies of each other."""
    random = np.random.default_rng(0)
    minute = 60 * HEARD_HZ
    return [
        *sounds,
        *(samples[::-1] for samples in sounds),
        *(random.normal(0, 0.05, minute) for _ in range(4)),
        *(random.integers(-1, 2, minute) / 32768 for _ in range(3)),
        np.zeros(minute),
        *(0.1 * np.sin(np.arange(minute) * step) for step in (0.1, 0.1003)),
    ]


def cost(sounds: list[np.ndarray], rounds: int) -> float:
    """Return the processor time in µs per second of sound."""
    spent = []
    for _ in range(rounds):
        began = time.process_time()
        for samples in sounds:
            text_of(samples)
        spent.append(time.process_time() - began)
    return round(1e6 * min(spent) * HEARD_HZ / sum(map(len, sounds)), 1)


def main() -> None:
    """Print the table and the JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", metavar="CORPUS", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of which the cost is the least")
    arguments = parser.parse_args()
    sounds = recordings(arguments.corpora)
    given = [fingerprint(samples) for samples in sounds]
    changes: dict[str, dict[str, object]] = {}
    for name, change in CHANGES.items():
        matches = [compare(own, fingerprint(change(samples))) for own, samples in zip(given, sounds, strict=True)]
        shared = sorted(match.shared for match in matches)
        changes[name] = {"shared": shared, "found": sum(match.is_copy for match in matches)}
        print(f"{name:38} {changes[name]['found']} of {len(sounds)} found, {shared[0]}-{shared[-1]} shared: {shared}")
    pairs = [compare(*pair) for pair in combinations(map(fingerprint, others(sounds)), 2)]
    most, alarms = max(match.shared for match in pairs), sum(match.is_copy for match in pairs)
    print(f"{len(pairs)} pairs of other recordings: at most {most} shared, {alarms} taken for copies")
    result = {"others": {"pairs": len(pairs), "most_shared": most, "false_alarms": alarms}, "changes": changes}
    spent = cost(sounds, arguments.rounds)
    print(f"{spent} µs of one core per second of sound")
    print(
        json.dumps({"bench": "duplex_copies", "tracks": len(sounds), "us_per_s": spent, **result}, ensure_ascii=False)
    )


if __name__ == "__main__":
    main()
