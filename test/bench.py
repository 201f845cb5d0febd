"""Measure a turn server: `python -m test.bench --requests 6 --concurrency 6`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from test._run import main

if __name__ == "__main__":
    main("bench", __doc__)
