"""`python -m sca` is the `sca` command."""

from sca.cli.main import run

run()
