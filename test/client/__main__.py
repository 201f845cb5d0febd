"""Ask the turn server of `.env` about a sample: `python -m test.client --sample mid.wav --seconds 8`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from test._run import main

if __name__ == "__main__":
    main("ask", __doc__, sample_argument=True)
