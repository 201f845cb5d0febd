"""`python -m sca_run.server`: another name of `python -m sca.infer.server`."""

import sys

from sca.infer.server.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
