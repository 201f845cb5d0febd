"""A stand-in of Slurm's `sbatch`: it runs the tasks of an array, and jobs after them, at once and on this machine."""

import os
import stat
import sys
from pathlib import Path

_SCRIPT = """#!{python}
import json, os, subprocess, sys
from pathlib import Path
log = Path({log!r})
words = dict(word.lstrip("-").partition("=")[::2] for word in sys.argv[1:] if word.startswith("--"))
with log.open("a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
if "refuse" in words:
    sys.exit("sbatch: error: invalid partition specified: nowhere")
number = len(log.read_text().splitlines())
first, _, last = words.get("array", "").partition("-")
for task in range(int(first), int(last) + 1) if first else [None]:
    env = dict(os.environ)
    if task is not None:
        env |= dict(SLURM_ARRAY_TASK_ID=str(task), SLURM_ARRAY_TASK_MIN=first, SLURM_ARRAY_TASK_MAX=last,
                    SLURM_ARRAY_TASK_STEP="1", SLURM_ARRAY_TASK_COUNT=last)
    if task is None or task not in json.loads(os.environ.get("FAILING_TASKS", "[]")):
        subprocess.run(["/bin/sh", "-c", words["wrap"]], env=env, stdout=sys.stderr, check=False)
print(f"{{700 + number}};cluster" if "parsable" in words else f"Submitted batch job {{700 + number}}")
"""


def install(folder: Path) -> tuple[str, Path]:
    """Write the program to a folder; return a PATH with it in front, and the file that gets the words of each call."""
    folder.mkdir()
    log = folder / "calls.jsonl"
    program = folder / "sbatch"
    program.write_text(_SCRIPT.format(python=sys.executable, log=str(log)), encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return f"{folder}{os.pathsep}{os.environ['PATH']}", log
