#!/usr/bin/env python3
"""Run `sca transcribe` from any folder and with any Python: `./main.py dataset/audio_outputs -o …`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "scripts"))
from _cli import run

if __name__ == "__main__":
    run("transcribe")
