"""Read random sound files of all formats, and compare each with FFmpeg's own decoding of its parts.

The files are those of `tests/property/test_decode_zoo.py`: joined, cut at any byte, with clocks that begin anywhere, with
changes of layout and rate, in eleven formats. A failure prints its seed and case on stderr. The last line is one JSON document.

    python scripts/bench/decode_zoo.py --cases 2000 [--seed 0]
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.helpers.decode_zoo import check, random_case


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0, help="Seed of the first case; each has the next one.")
    given = parser.parse_args()
    formats: Counter[str] = Counter()
    failures: list[dict[str, object]] = []
    samples, began = 0, time.process_time()
    for seed in range(given.seed, given.seed + given.cases):
        case = random_case(random.Random(seed))
        formats[case.extension] += 1
        try:
            with tempfile.TemporaryDirectory() as folder:
                samples += check(case, Path(folder))
        except Exception as error:  # noqa: BLE001 - every kind of failure is counted
            failures.append({"seed": seed, "format": case.extension, "error": f"{type(error).__name__}: {error}"[:300]})
            print(f"seed {seed}: {case}: {error}", file=sys.stderr)
    print(
        json.dumps(
            {
                "cases": given.cases,
                "formats": dict(sorted(formats.items())),
                "samples": samples,
                "cpu_s": round(time.process_time() - began, 1),
                "failed": len(failures),
                "failures": failures[:20],
            }
        )
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
