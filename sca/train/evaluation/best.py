"""The folder `best/`, the weights of the best evaluation so far. At every moment it is complete."""

import shutil
from collections.abc import Callable
from pathlib import Path

from sca.data.runs.files import write_json
from sca.errors import writing

__all__ = ["BEST", "EVALUATION", "replace_best"]

BEST = "best"
"""The folder in the folder of the run."""

EVALUATION = "evaluation.json"
"""The evaluation of the weights, in their folder."""


def replace_best(
    output: Path, save: Callable[[Path], None], evaluation: dict[str, object], *, write: bool = True
) -> None:
    """Save the present weights as the best ones.

    A killed run leaves `best.part` or `best.old`, which the next call removes, and never a mixture of two checkpoints.

    Args:
        output: The folder of the run.
        save: Saves the weights to a folder; called by all processes.
        evaluation: Their evaluation.
        write: Whether this process writes files.

    Raises:
        OutputError: The folder cannot be written.
    """
    best, part, old = (output / name for name in (BEST, f"{BEST}.part", f"{BEST}.old"))
    if write:
        with writing(part):
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
    save(part)
    if not write:
        return
    write_json(part / EVALUATION, evaluation)
    with writing(best):
        shutil.rmtree(old, ignore_errors=True)
        if best.exists():
            best.rename(old)
        part.rename(best)
        shutil.rmtree(old, ignore_errors=True)
