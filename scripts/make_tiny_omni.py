#!/usr/bin/env python3
"""Make a tiny random Qwen3-Omni that loads like the released one: same classes, same vocabulary, same grid, 24 M weights.

    python scripts/make_tiny_omni.py FOLDER [--seed 0]

Writes config, safetensors, tokenizer and feature extractor; about 110 MB, most of it the 152064 rows of the real
vocabulary. Its output is meaningless. See `sca.train.tiny`.

In tests, use `from sca.train.tiny import build, save`, or the fixture `tiny_omni`, a folder that is created
once per run. Requires torch (the extra `live`), but no network.
"""

import argparse
from pathlib import Path

from sca.train.tiny import save


def main() -> None:
    parser = argparse.ArgumentParser(description="Make a tiny random Qwen3-Omni that loads like the released one.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    folder = save(given.folder, given.seed)
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{folder}: {size / 1e6:.0f} MB in {len(list(folder.iterdir()))} files")


if __name__ == "__main__":
    main()
