"""Load the CUDA libraries that CTranslate2 opens by name when it first computes on a GPU.

They are found on the system, or in the packages of the extra `cuda12`, whose folder the loader of the system does not
search. A library that this process has loaded by its path is found by its name afterwards.
"""

import ctypes
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from sca.distribution import install_extra
from sca.errors import MissingToolError

__all__ = ["CUDA_LIBRARIES", "check_cuda_libraries", "missing_cuda_libraries"]

CUDA_LIBRARIES = ("libcublasLt.so.12", "libcublas.so.12")
"""In the order in which they need each other."""


def check_cuda_libraries() -> None:
    """Load the libraries.

    Raises:
        MissingToolError: One is missing or cannot be loaded.
    """
    missing = missing_cuda_libraries()
    if missing:
        raise MissingToolError(
            f"transcription on the GPU needs {' and '.join(missing)} (CUDA 12), which cannot be loaded",
            hint=f"{install_extra('cuda12')}; --device cpu needs none of it",
        )


def missing_cuda_libraries() -> list[str]:
    """Load the libraries, and return the names of those that cannot be loaded; none on systems other than Linux."""
    if not sys.platform.startswith("linux"):
        return []
    return [name for name in CUDA_LIBRARIES if not any(_loads(place) for place in (name, *_in_packages(name)))]


def _in_packages(name: str) -> Iterator[str]:
    """Yield the paths of a library in the packages of NVIDIA."""
    try:
        spec = find_spec("nvidia")
    except (ImportError, ValueError):
        spec = None
    for folder in (spec.submodule_search_locations or []) if spec else []:
        yield from (str(path) for path in sorted(Path(folder).glob(f"*/lib/{name}")))


def _loads(place: str) -> bool:
    try:
        ctypes.CDLL(place, mode=ctypes.RTLD_GLOBAL)
    except OSError:
        return False
    return True
