"""The NVIDIA GPUs of this machine, without loading torch."""

import subprocess
from dataclasses import dataclass

__all__ = ["Gpu", "nvidia_gpus"]

_QUERY = ("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits")
_TIME_LIMIT_S = 4.0


@dataclass(frozen=True, slots=True)
class Gpu:
    """A graphics card.

    Attributes:
        name: Its name.
        memory_mib: Its memory.
        driver: The version of the driver.
    """

    name: str
    memory_mib: int
    driver: str

    def __str__(self) -> str:
        return f"{self.name}, {self.memory_mib} MiB, {self.driver}"


def nvidia_gpus() -> list[Gpu]:
    """Return the GPUs that the driver reports; none if its program is missing, fails or does not answer in time."""
    try:
        result = subprocess.run(_QUERY, capture_output=True, text=True, timeout=_TIME_LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    lines = result.stdout.splitlines() if result.returncode == 0 else []
    rows = [[part.strip() for part in line.split(",")] for line in lines]
    return [Gpu(row[0], int(row[1]), row[2]) for row in rows if len(row) == 3 and row[1].isdecimal()]
