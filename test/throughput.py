"""Measure a turn server for a time: `python -m test.throughput --duration 60 --concurrency 4`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from test._run import main

if __name__ == "__main__":
    main("bench", __doc__)
