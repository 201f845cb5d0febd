"""Send one request to a turn server: `python -m test.warmup --sample mid.wav --seconds 8`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from test._run import main

if __name__ == "__main__":
    main("warmup", __doc__, {"--requests": "1"})
