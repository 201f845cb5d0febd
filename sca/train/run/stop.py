"""Ctrl-C and SIGTERM during training: the step is finished, a checkpoint is saved, and then the run ends.

A second signal ends the run at once.
"""

from __future__ import annotations

import signal
import threading
from contextlib import suppress
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback  # noqa: TID253 - the Trainer requires its base class
from typing_extensions import override

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments

__all__ = ["StopAfterStep", "StopRequest", "TrainingInterrupt"]

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


class TrainingInterrupt(KeyboardInterrupt):
    """A run that ended early because of a signal.

    Attributes:
        remains: What is left, in words.
    """

    def __init__(self, remains: str) -> None:
        super().__init__(remains)
        self.remains = remains


class StopRequest:
    """A context in which the first signal is noted. Has no effect outside the main thread, which receives no signals.

    Attributes:
        received: The signal that arrived; None so far.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name, None) for name in _SIGNALS):  # Windows has no SIGHUP
                # A shell ignores SIGINT for programs in the background, and `nohup` SIGHUP.
                if number is not None and signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def end(self, remains: str) -> None:
        """End the run if a signal arrived. SIGTERM is sent again, so that the process ends by it afterwards.

        Args:
            remains: What is left, in words.

        Raises:
            TrainingInterrupt: A signal arrived.
        """
        if self.received is None:
            return
        if self.received != signal.SIGINT:
            with suppress(KeyboardInterrupt):
                signal.raise_signal(self.received)
        raise TrainingInterrupt(remains)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = number


class StopAfterStep(TrainerCallback):  # type: ignore[misc]  # transformers has no types here
    """Saves a checkpoint and stops after the step in which a signal arrived in one of the processes."""

    def __init__(self, request: StopRequest) -> None:
        self._request = request

    @override
    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> TrainerControl:
        if self._in_any_process(args):
            control.should_training_stop = control.should_save = True
        return control

    def _in_any_process(self, args: TrainingArguments) -> bool:
        received = self._request.received is not None
        if args.world_size == 1:
            return received
        import torch

        flag = torch.tensor(int(received), device=args.device)
        torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX)  # or some would wait for the others forever
        return bool(flag)
