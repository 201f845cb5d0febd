#!/usr/bin/env python3
"""`./main.py dataset/audio_outputs --save-file …` is `sca transcribe`, from any folder and by any Python."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "scripts"))
from _cli import run

if __name__ == "__main__":
    run("transcribe")
