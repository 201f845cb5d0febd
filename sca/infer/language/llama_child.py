"""The process of the local language model: a llama.cpp server, until its parent closes standard input.

It reads one line of JSON from standard input (`ChildOptions`) and writes one line to standard output: `{"url": …}` once
requests are answered, or `{"error": …}`. The key is in that line, because the command line of a process is public.
"""

import json
import os
import sys
from typing import TYPE_CHECKING, Any, TypedDict

from sca.children.ending import end_with_stdin

if TYPE_CHECKING:
    from typing import TextIO

__all__ = ["ChildOptions", "main"]


class ChildOptions(TypedDict):
    """What the parent writes.

    Attributes:
        model: The path of the GGUF file.
        key: The key that requests need.
        context_tokens: The length of the context.
        threads: The number of threads; 0 is one for each core.
    """

    model: str
    key: str
    context_tokens: int
    threads: int


def main() -> None:
    """Serve until standard input ends."""
    # llama.cpp prints to stdout and stderr, so the answer goes to a copy of stdout.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    options: ChildOptions = json.loads(sys.stdin.readline())
    end_with_stdin()
    try:
        server = _start(options)
    except Exception as error:  # noqa: BLE001 - the parent reports it
        _tell(out, {"error": f"{type(error).__name__}: {error}"})
        os._exit(1)
    _tell(out, {"url": server.listening_address})
    sys.stdin.read()  # until the parent ends, however it ends
    os._exit(0)  # without waiting for requests in progress


def _start(options: ChildOptions) -> Any:
    import xllamacpp

    from sca.cores import usable_cores

    params = xllamacpp.CommonParams()
    params.model.path = options["model"]
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.api_keys = [options["key"]]
    params.cors_origins = "http://127.0.0.1"  # pages of other sites may not read answers
    params.endpoint_slots = params.endpoint_props = params.ui = False
    params.n_ctx, params.n_parallel = options["context_tokens"], 1
    params.n_gpu_layers = 0
    threads = options["threads"] or usable_cores()
    for cpu in (params.cpuparams, params.cpuparams_batch):
        cpu.n_threads, cpu.poll = threads, 0  # threads that wait without sleeping take the cores from the voice
    return xllamacpp.Server(params)


def _tell(out: "TextIO", document: dict[str, object]) -> None:
    out.write(json.dumps(document) + "\n")
    out.flush()


if __name__ == "__main__":
    main()
