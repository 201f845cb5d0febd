"""What goes wrong at one step of a run."""

import errno
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from scripts.faults.steps import Fault, Step

__all__ = ["AT_STEPS", "StepFault"]

_SPACE = frozenset({"create", "write", "mkdir", "sync", "rename", "link"})
_OPENS = frozenset({"open", "create"})


@dataclass(frozen=True)
class StepFault:
    """A kind of fault that acts at one step.

    Attributes:
        concerns: Whether it can act at a step.
        at: Makes the fault for the step with a number; the files are the other contents of the inputs.
        needs_inputs: Whether it changes inputs.
        kills: Whether it ends the process.
    """

    concerns: Callable[[Step], bool]
    at: Callable[[int, Mapping[Path, bytes]], Fault]
    needs_inputs: bool = False
    kills: bool = False


def _kill(number: int, _: Mapping[Path, bytes]) -> Fault:
    def fault(step: Step, half: Callable[[], None]) -> None:
        if step.number == number:
            half()
            os.kill(os.getpid(), signal.SIGKILL)

    return fault


def _full_disk(number: int, _: Mapping[Path, bytes]) -> Fault:
    def fault(step: Step, half: Callable[[], None]) -> None:
        if step.number >= number and step.kind in _SPACE:
            if step.number == number:
                half()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), step.path)

    return fault


def _error(code: int) -> Callable[[int, Mapping[Path, bytes]], Fault]:
    def make(number: int, _: Mapping[Path, bytes]) -> Fault:
        def fault(step: Step, half: Callable[[], None]) -> None:
            if step.number == number:
                half()
                # As the system does: calls on descriptors have no name.
                name = () if step.kind in ("write", "sync", "read", "truncate") else (step.path,)
                raise OSError(code, os.strerror(code), *name)

        return fault

    return make


def _no_memory(number: int, _: Mapping[Path, bytes]) -> Fault:
    def fault(step: Step, half: Callable[[], None]) -> None:
        if step.number == number:
            raise MemoryError

    return fault


def _changed(*, replace: bool) -> Callable[[int, Mapping[Path, bytes]], Fault]:
    def make(number: int, others: Mapping[Path, bytes]) -> Fault:
        def fault(step: Step, half: Callable[[], None]) -> None:
            if step.number != number:
                return
            for path, content in others.items():
                target = path.with_name(f"{path.name}.new") if replace else path
                target.write_bytes(content)
                if replace:
                    target.rename(path)

        return fault

    return make


AT_STEPS: dict[str, StepFault] = {
    "kill": StepFault(lambda step: step.changes, _kill, kills=True),
    "ENOSPC": StepFault(lambda step: step.kind in _SPACE, _full_disk),
    "EIO": StepFault(lambda step: True, _error(errno.EIO)),
    "EMFILE": StepFault(lambda step: step.kind in _OPENS, _error(errno.EMFILE)),
    "memory": StepFault(lambda step: True, _no_memory),
    "replaced": StepFault(lambda step: True, _changed(replace=True), needs_inputs=True),
    "rewritten": StepFault(lambda step: True, _changed(replace=False), needs_inputs=True),
}
"""The faults of single steps, by the name of their column."""
