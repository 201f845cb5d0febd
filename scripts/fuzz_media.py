"""Damage small recordings of all kinds at random, and read them through decoder processes.

A crash, a limit or a refusal of one file is a result, and is counted; an exception of another kind is a fault, and is printed
with its seed. The files are made here from tones. The last line is one JSON document.

    python scripts/fuzz_media.py --minutes 10 [--seed 0] [--keep DIR]
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.helpers.media_fuzz import outcomes, write_corpus


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0, help="Seed of the first copy; each has the next one.")
    parser.add_argument("--keep", type=Path, help="Folder for copies that crash a decoder or meet a fault.")
    given = parser.parse_args()
    results: Counter[str] = Counter()
    end_s, seed = time.monotonic() + 60 * given.minutes, given.seed
    with tempfile.TemporaryDirectory() as folder:
        files = write_corpus(Path(folder))
        while time.monotonic() < end_s:
            try:
                for seed, copy, message in outcomes(files, Path(folder), count(seed)):  # noqa: B020 - goes on after a fault
                    kind = "read" if message == "read" else "crash" if "ended with signal" in message else "refused"
                    kind = (
                        "limit"
                        if message.startswith(("the decoder used", "the decoder gave", "the decoder needs"))
                        else kind
                    )
                    results[kind] += 1
                    if kind in ("crash", "limit"):
                        print(f"seed {seed}: {copy.name}: {message}", file=sys.stderr)
                        _keep(copy, given.keep, seed)
                    if time.monotonic() > end_s:
                        break
            except Exception:  # noqa: BLE001 - every kind of fault is counted
                seed += 1  # the one that failed was not yielded
                results["fault"] += 1
                print(f"after seed {seed - 1}:\n{traceback.format_exc()}", file=sys.stderr)
            seed += 1
    print(json.dumps({"seeds": [given.seed, seed], "kinds": len(files), **results}))
    return 1 if results["fault"] else 0


def _keep(copy: Path, folder: Path | None, seed: int) -> None:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(copy, folder / f"{seed}-{copy.name}")


if __name__ == "__main__":
    sys.exit(main())
