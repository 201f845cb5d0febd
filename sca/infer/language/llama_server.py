"""A local language model: a llama.cpp server in a child process, reachable from this machine with a random key only.

The package `xllamacpp` has the server. Its default has no key and lets pages of any site read answers, so both are set.
The child ends when the pipe to its standard input closes: with `close`, with the garbage collector, or with this
process, however it ends.
"""

import json
import secrets
import subprocess
import sys
import threading
import weakref
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import override

from sca.distribution import install_extra
from sca.errors import InputError, MissingToolError, ScaError, UpstreamError
from sca.infer.language.chat_api import ChatApi, ChatServer, chat_url
from sca.infer.language.llama_child import ChildOptions
from sca.models import resolve

if TYPE_CHECKING:
    from sca.config import LlmConfig

__all__ = ["DEFAULT_MODEL", "LlamaModel", "check_local", "model_file"]

DEFAULT_MODEL = "smollm2"
"""The model of the catalogue that is used unless another one is named."""

_STOP_S = 5.0


def model_file(model: str, cache_dir: Path | None = None) -> Path:
    """Return the GGUF file of a model.

    Args:
        model: A name of the catalogue, or a path.
        cache_dir: The cache folder; by default the one of the settings.

    Raises:
        MissingToolError: The model was not fetched.
        InputError: The file does not exist.
    """
    folder = resolve(model, cache_dir)
    path = Path(model) if folder is None else next(iter(sorted(folder.glob("*.gguf"))), folder)
    if path.suffix != ".gguf" or not path.is_file():
        raise InputError(
            f"{model} is not a local language model",
            hint=f"a path of a .gguf file, or {DEFAULT_MODEL}; --llm-url names the server of another model",
        )
    return path


def check_local(model: str | None, cache_dir: Path | None = None) -> Path:
    """Return the file of a model after a check that it can run here; None is the default model.

    Raises:
        MissingToolError: The package `xllamacpp` or the model is not on this machine.
        InputError: The file does not exist.
    """
    path = model_file(model or DEFAULT_MODEL, cache_dir)
    if find_spec("xllamacpp") is None:
        raise MissingToolError("a local language model needs xllamacpp", hint=install_extra("llm"))
    return path


class LlamaModel(ChatApi):
    """A model that runs on this machine.

    Args:
        llm: The model, its context and the limits.
        cache_dir: The cache folder of fetched models; by default the one of the settings.

    Raises:
        MissingToolError: The package `xllamacpp` or the model is not on this machine.
        InputError: The file is not a model.
        UpstreamError: The process does not get ready in time.
    """

    def __init__(self, llm: "LlmConfig", cache_dir: Path | None = None) -> None:
        model = llm.model or DEFAULT_MODEL
        path = check_local(llm.model, cache_dir)
        key = secrets.token_urlsafe(32)
        options: ChildOptions = {
            "model": str(path.resolve()),
            "key": key,
            "context_tokens": llm.context_tokens,
            "threads": llm.threads,
        }
        self._process = _spawn()
        self._stop = weakref.finalize(self, _end, self._process)
        try:
            url = _ready_url(self._process, options, llm.start_timeout_s)
        except ScaError:
            self._stop()
            raise
        self._name = path.stem if path.parent.name != "." else model
        super().__init__(ChatServer(chat_url(url), key, model, llm.context_tokens), llm)

    @property
    @override
    def name(self) -> str:
        return f"{self._name} on this machine"

    @override
    def close(self) -> None:
        super().close()
        self._stop()


def _spawn() -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "sca.infer.language.llama_child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C in the terminal reaches this process only, which ends the child
    )


def _ready_url(process: "subprocess.Popen[bytes]", options: ChildOptions, timeout_s: float) -> str:
    """Send the options; return the address once the server answers."""
    assert process.stdin is not None
    assert process.stdout is not None
    line, stdout = bytearray(), process.stdout
    reader = threading.Thread(target=lambda: line.extend(stdout.readline()), daemon=True)
    try:
        process.stdin.write(json.dumps(options).encode() + b"\n")
        process.stdin.flush()
    except BrokenPipeError as error:
        raise UpstreamError("the process of the language model ended at once") from error
    reader.start()
    reader.join(timeout_s)
    if reader.is_alive():
        raise UpstreamError(
            f"the language model {options['model']} is not ready within {timeout_s:g} s",
            hint="llm.start_timeout_s gives more time",
        )
    try:
        answer = json.loads(line)
    except ValueError:
        answer = {}
    if "url" in answer:
        return str(answer["url"])
    reason = answer.get("error") or "the process ended"
    raise InputError(f"cannot load the language model {options['model']}: {reason}")


def _end(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
