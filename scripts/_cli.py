"""Run a command of `sca` from any folder and with any Python; shared by the one-file commands in this folder."""

import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run(*command, arguments=None):
    """Run a command of `sca`, with the Python of the project if this one has no sca.

    Args:
        command: The words of the command.
        arguments: Its arguments; those of this process by default.
    """
    arguments = [*command, *(sys.argv[1:] if arguments is None else arguments)]
    try:
        from sca.cli.main import run as sca
    except ImportError:
        python = ROOT / ".venv" / "bin" / "python"
        if python.exists() and Path(sys.prefix).resolve() != python.parents[1].resolve():
            os.execv(python, [str(python), "-m", "sca", *arguments])
        uv = shutil.which("uv")
        if uv:
            os.execv(uv, [uv, "run", "--quiet", "--project", str(ROOT), "sca", *arguments])
        sys.exit(f"sca is not installed: run `uv sync` in {ROOT} (https://docs.astral.sh/uv)")
    sys.argv = ["sca", *arguments]
    sca()
