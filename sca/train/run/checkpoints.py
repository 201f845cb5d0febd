"""Checkpoints that are whole or do not count: what is written beside the files of the Trainer, and which one a run continues from.

The Trainer writes a checkpoint in place. A run that is killed meanwhile leaves a part of one, which must not be
continued from. So the last file of a checkpoint is `complete.json`, with the sizes of all others, which are synced before.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback  # noqa: TID253 - the Trainer requires its base class
from typing_extensions import override

from sca.data.runs.files import write_json
from sca.errors import writing
from sca.files.atomic import link_or_copy, sync_folder

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments

__all__ = [
    "LAST",
    "Checkpoint",
    "CheckpointKeeper",
    "drop_partial",
    "publish_links",
    "whole_checkpoints",
]

LAST = "last"
COMPLETE = "complete.json"
_NAME = re.compile(r"checkpoint-(\d+)")
_OF_TRAINER = re.compile(
    r"(optimizer|scheduler|rng_state|scaler|trainer_state|training_args|complete"
    r"|pytorch_model_fsdp|global_step|latest|zero_to_fp32).*"
)
"""Files and folders that only a run that continues needs, with those of FSDP and DeepSpeed."""


@dataclass(frozen=True, slots=True, order=True)
class Checkpoint:
    """A checkpoint.

    Attributes:
        step: Optimiser steps before it was saved.
        folder: Its folder.
    """

    step: int
    folder: Path

    @property
    def is_whole(self) -> bool:
        """Whether all its files are there with their sizes."""
        try:
            sizes = json.loads((self.folder / COMPLETE).read_text(encoding="utf-8"))["files"]
            return all((self.folder / name).stat().st_size == size for name, size in sizes.items())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False


def _checkpoints(output: Path) -> list[Checkpoint]:
    found = [(_NAME.fullmatch(path.name), path) for path in output.iterdir()] if output.is_dir() else []
    return sorted(Checkpoint(int(match[1]), path) for match, path in found if match and path.is_dir())


def whole_checkpoints(output: Path) -> list[Checkpoint]:
    """Return the checkpoints of a run that can be used, in the order of their steps."""
    return [one for one in _checkpoints(output) if one.is_whole]


def drop_partial(output: Path) -> None:
    """Remove what a killed run left of a checkpoint."""
    with writing(output):
        for one in _checkpoints(output):
            if not one.is_whole:
                shutil.rmtree(one.folder)


def publish_links(source: Path, target: Path) -> None:
    """Replace a folder by the files of a checkpoint that its users need: hard links where possible, which take no space.

    Args:
        source: The checkpoint.
        target: The folder, such as `last`.
    """
    new, old = (target.with_name(f".{target.name}.{name}") for name in ("new", "old"))
    with writing(target):
        for leftover in (new, old):
            shutil.rmtree(leftover, ignore_errors=True)
        shutil.copytree(source, new, copy_function=link_or_copy, ignore=_of_trainer)
        if target.exists():
            target.rename(old)
        new.rename(target)
        sync_folder(target.parent)
        shutil.rmtree(old, ignore_errors=True)


def _of_trainer(folder: str, names: list[str]) -> set[str]:
    """Return the files that the live engine does not need."""
    return {name for name in names if _OF_TRAINER.fullmatch(name)}


class CheckpointKeeper(TrainerCallback):  # type: ignore[misc]  # transformers has no types here
    """Completes each checkpoint of the Trainer, links it as `last`, and removes those that are too old."""

    def __init__(self, add_files: Callable[[Path, int], None], keep: int) -> None:
        """Create the callback.

        Args:
            add_files: Writes what belongs beside the weights after a number of steps: `duplex.json` and others.
            keep: Number of checkpoints that are kept.
        """
        self._add_files, self._keep = add_files, keep

    @override
    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> TrainerControl:
        if state.is_world_process_zero:
            self.complete(Checkpoint(state.global_step, Path(args.output_dir) / f"checkpoint-{state.global_step}"))
        return control

    def complete(self, saved: Checkpoint) -> None:
        """Write what belongs to a checkpoint beside the files of the Trainer, and then its last file."""
        output = saved.folder.parent
        self._add_files(saved.folder, saved.step)
        sizes = {}
        for path in sorted(one for one in saved.folder.rglob("*") if one.is_file() and one.name != COMPLETE):
            with path.open("rb") as written:
                os.fsync(written.fileno())
            sizes[path.relative_to(saved.folder).as_posix()] = path.stat().st_size
        write_json(saved.folder / COMPLETE, {"step": saved.step, "files": sizes})
        sync_folder(output)
        publish_links(saved.folder, output / LAST)
        for old in whole_checkpoints(output)[: -self._keep]:
            # Without its last file it is a part, whatever happens to the others.
            (old.folder / COMPLETE).unlink()
            shutil.rmtree(old.folder)
