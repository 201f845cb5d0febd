"""ONNX models on the CPU, with the session options that all of our models share."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["StoppableRun", "StoppedRunError", "open_session"]


def open_session(model: Path | bytes, *, threads: int = 1, config: Mapping[str, str] | None = None) -> Any:
    """Open an ONNX model with onnxruntime on the CPU.

    Args:
        model: The model file, or its content.
        threads: Threads inside one operator. With one thread the results are the same on any number of cores.
        config: Additional session configuration entries.

    Returns:
        The `onnxruntime.InferenceSession`.

    Raises:
        ImportError: onnxruntime is not installed.
        Exception: The file is not a model. The exception classes of onnxruntime are private, so the caller catches all
            of them.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    for name, value in (config or {}).items():
        options.add_session_config_entry(name, value)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class StoppedRunError(Exception):
    """Another thread has stopped the run of a model."""


class StoppableRun:
    """Runs of models that another thread can stop. A run in progress ends at its next operator."""

    def __init__(self) -> None:
        import onnxruntime

        self._options: Any = onnxruntime.RunOptions()

    def stop(self) -> None:
        """Stop the run in progress, and all later ones."""
        self._options.terminate = True

    def run(self, session: Any, feeds: Mapping[str, Any]) -> list[Any]:
        """Run a model, and return its outputs.

        Args:
            session: The `onnxruntime.InferenceSession`.
            feeds: The inputs.

        Raises:
            StoppedRunError: The run was stopped.
        """
        try:
            outputs: list[Any] = session.run(None, feeds, self._options)
        except Exception as error:  # the exception classes of onnxruntime are private
            if self._options.terminate:
                raise StoppedRunError from error
            raise
        return outputs
