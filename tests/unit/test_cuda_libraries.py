"""The CUDA libraries of transcription: found in packages, and a message that names what is missing."""

import _ctypes
import re
import shutil
import sys
import tomllib
from importlib import invalidate_caches
from pathlib import Path

import ctranslate2
import pytest

from sca.cli.doctor import checks
from sca.distribution import install_extra
from sca.errors import MissingToolError
from sca.models import cuda_libraries
from sca.models.gpus import Gpu
from sca.models.whisper import load_model

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("libsca-test-a.so.12", "libsca-test-b.so.12")

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the packages are for Linux")


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """A folder of NVIDIA's packages without libraries."""
    (tmp_path / "nvidia" / "cublas" / "lib").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "nvidia", raising=False)
    invalidate_caches()
    monkeypatch.setattr(cuda_libraries, "CUDA_LIBRARIES", NAMES)
    return tmp_path / "nvidia" / "cublas" / "lib"


def test_libraries_of_packages_are_loaded_by_their_path(packages):
    shutil.copy(_ctypes.__file__, packages / NAMES[0])
    assert cuda_libraries.missing_cuda_libraries() == [NAMES[1]]
    (packages / NAMES[1]).write_bytes(b"no library")
    assert cuda_libraries.missing_cuda_libraries() == [NAMES[1]]
    shutil.copy(_ctypes.__file__, packages / NAMES[1])
    cuda_libraries.check_cuda_libraries()


def test_model_on_a_gpu_needs_the_libraries(packages, monkeypatch):
    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: 1)
    with pytest.raises(MissingToolError, match=f"needs {NAMES[0]} and {NAMES[1]}") as raised:
        load_model("tiny", "auto", "auto", 0, 0)
    assert install_extra("cuda12") in raised.value.hint
    assert "--device cpu" in raised.value.hint


def test_doctor_checks_them_where_a_gpu_is(packages, monkeypatch):
    monkeypatch.setattr(checks, "nvidia_gpus", list)
    assert checks.cuda_libraries() == []
    monkeypatch.setattr(checks, "nvidia_gpus", lambda: [Gpu("NVIDIA T4", 15360, "550.1")])
    (found,) = checks.cuda_libraries()
    assert (found.status, found.fix) == (checks.Status.warn, install_extra("cuda12"))
    for name in NAMES:
        shutil.copy(_ctypes.__file__, packages / name)
    (found,) = checks.cuda_libraries()
    assert found.status == checks.Status.ok


def test_combined_extras_name_extras_that_exist():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    combined = [re.fullmatch(r"sca-duplex\[(.*)\]", line) for lines in extras.values() for line in lines]
    assert {name for found in combined if found for name in found[1].split(",")} <= set(extras)
    single = set(extras) - {"all", "full", "cpu", "cu128", "cuda12"}
    assert extras["full"] == [f"sca-duplex[{','.join(sorted(single))}]"]
    assert extras["all"] == ["sca-duplex[full]"]
