"""`python -m sca.infer.server`: the live server with settings from a file. `sca serve` has all options."""

import argparse
import sys
from pathlib import Path

from sca.config import load_settings
from sca.errors import ScaError
from sca.infer.server.app import run


def main() -> int:
    """Run the server and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m sca.infer.server", description="The live server of sca.")
    parser.add_argument("--config", type=Path, metavar="FILE", help="read settings from this TOML file")
    parser.add_argument("--host", metavar="ADDRESS", help="address to listen on")
    parser.add_argument("--port", metavar="PORT", help="port; 0 for a free one")
    given = parser.parse_args()
    try:
        run(load_settings(given.config, {"serve.host": given.host, "serve.port": given.port}))
    except ScaError as error:
        sys.stderr.write(f"sca: {error.message}\n" + (f"     {error.hint}\n" if error.hint else ""))
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
