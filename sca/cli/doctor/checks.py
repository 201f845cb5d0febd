"""The checks of `sca doctor`: one function per check. Each is quick, and none raises if something is missing.

Heavy packages are looked up, not imported. Queries that may hang (an audio server, a hub) have a time limit.
"""

import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from sca.distribution import DISTRIBUTION, install_extra, install_packages, reinstall, upgrade
from sca.errors import ConfigError
from sca.models.gpus import nvidia_gpus
from sca.textutil import counted

__all__ = ["CHECKS", "Check", "Status"]

_TIME_LIMIT_S = 4.0
_YTDLP_OLD_DAYS = 90
_DENO_MIN, _NODE_MIN = (2, 3, 0), (22, 0, 0)


class Status(StrEnum):
    """ok; warn: a feature is missing or works less well; missing: a core command cannot run."""

    ok = "ok"
    warn = "warn"
    missing = "missing"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the table.

    Attributes:
        name: The subject of the check.
        status: The result.
        found: What was found.
        fix: A command or a sentence that fixes the problem.
    """

    name: str
    status: Status
    found: str
    fix: str | None = None


def python() -> Check:
    """Check the interpreter."""
    found = f"{'.'.join(map(str, sys.version_info[:3]))} ({sys.executable})"
    ok = sys.version_info >= (3, 11)
    return Check("python", Status.ok if ok else Status.missing, found, None if ok else "uv python install 3.12")


def settings_valid(error: ConfigError | None) -> Check:
    """Check the settings: the environment, the files that are read, and the command line."""
    if error is None:
        return Check("settings", Status.ok, "valid")
    found = "; ".join(line.strip() for line in error.lines) or error.message
    return Check("settings", Status.warn, found, error.hint or "sca config show lists every setting")


def core() -> Check:
    """Check the packages that sca requires."""
    required = [name for name, extra in _requirements() if extra is None]
    missing = [name for name in required if _version(name) is None]
    if missing:
        return Check("packages", Status.missing, f"missing: {', '.join(missing)}", reinstall())
    if not required:
        return Check("packages", Status.warn, "sca is not installed, so its requirements are unknown", reinstall())
    return Check(
        "packages", Status.ok, f"all {len(required)}; PyAV {_version('av')}, soundfile {_version('soundfile')}"
    )


def ffmpeg() -> Check:
    """Check the ffmpeg that transcoding uses."""
    from sca.data.media.ffmpeg import INSTALL, find_ffmpeg
    from sca.errors import MissingToolError

    try:
        program = find_ffmpeg()
    except (MissingToolError, ImportError) as error:
        return Check("ffmpeg", Status.missing, str(error), INSTALL)
    lacking = "" if program.soxr else ", without soxr: lower resampling quality"
    return Check("ffmpeg", Status.ok, f"{program.version}, {program.origin}{lacking} ({program.path})")


def transport_streams() -> Check:
    """Check whether ffmpeg reads a second of an MPEG transport stream, as HLS streams and broadcasts have."""
    from sca.data.media.ffmpeg import INSTALL, find_ffmpeg
    from sca.data.media.ffmpeg_trial import transport_stream_fault
    from sca.errors import MissingToolError

    try:
        fault = transport_stream_fault(find_ffmpeg())
    except (MissingToolError, ImportError):
        return Check("transport streams", Status.warn, "not tried: no ffmpeg", INSTALL)
    if fault is None:
        return Check("transport streams", Status.ok, "read by ffmpeg")
    return Check("transport streams", Status.warn, f"decoded by PyAV: {fault}", f"for speed, another build: {INSTALL}")


def ffprobe() -> Check:
    """Check ffprobe, which is optional: sca does not need it."""
    path = shutil.which("ffprobe")
    return Check("ffprobe", Status.ok, path if path else "none (optional: sca does not need it)")


def ytdlp(today: date | None = None) -> Check:
    """Check yt-dlp and its age: sites change, and an old version stops working."""
    version = _constant("yt_dlp", "version.py", "__version__")
    if version is None:
        return Check("yt-dlp", Status.missing, "not installed: no search, no download", reinstall())
    parts = [int(part) for part in version.split(".")[:3] if part.isdigit()]
    try:
        age = ((today or datetime.now(UTC).date()) - date(*parts)).days
    except (TypeError, ValueError):
        return Check("yt-dlp", Status.warn, f"{version}, a version without a date", upgrade("yt-dlp"))
    if age > _YTDLP_OLD_DAYS:
        return Check("yt-dlp", Status.warn, f"{version}, {counted(age, 'day')} old", upgrade("yt-dlp"))
    return Check("yt-dlp", Status.ok, f"{version}, {counted(max(age, 0), 'day')} old")


def ytdlp_ejs() -> Check:
    """Check the scripts that solve YouTube's challenges; yt-dlp accepts only one version of them."""
    found = _version("yt-dlp-ejs")
    required = _constant("yt_dlp", "extractor/youtube/jsc/_builtin/vendor/_info.py", "VERSION")
    if found is None:
        return Check("yt-dlp-ejs", Status.warn, "not installed: some formats will be missing", reinstall())
    if required is not None and found != required:
        fix = install_packages(f"yt-dlp-ejs=={required}")
        return Check("yt-dlp-ejs", Status.warn, f"{found}, but yt-dlp requires {required} and ignores it", fix)
    return Check("yt-dlp-ejs", Status.ok, f"{found}, the version that yt-dlp requires" if required else found)


def js_runtime() -> Check:
    """Check the runtime of those scripts: deno of this environment or on the PATH, or node."""
    scripts = sysconfig.get_path("scripts")
    too_old = []
    for name, least in (("deno", _DENO_MIN), ("node", _NODE_MIN)):
        path = shutil.which(name, path=scripts) or shutil.which(name)
        version = _version_in(_output_of([path, "--version"])) if path else None
        if path and version:
            found = f"{name} {'.'.join(map(str, version))}"
            if version >= least:
                return Check("js runtime", Status.ok, f"{found} ({path})")
            too_old.append(f"{found} is older than {'.'.join(map(str, least))}")
    found = "; ".join(too_old) or "none"
    return Check(
        "js runtime", Status.warn, f"{found}: some YouTube formats will be missing", install_packages("deno>=2.3")
    )


def torch() -> Check:
    """Check torch and the hardware it was built for."""
    version = _version("torch")
    if version is None:
        return Check("torch", Status.warn, "not installed: no local models", install_extra("live"))
    cuda = _constant("torch", "version.py", "cuda")
    return Check("torch", Status.ok, f"{version}, built for {'CUDA ' + cuda if cuda else 'the CPU'}")


def gpu() -> Check:
    """Check the graphics card, without loading torch."""
    gpus = nvidia_gpus()
    if not gpus:
        return Check("gpu", Status.warn, "no NVIDIA GPU: no engine qwen-omni, transcription is slow")
    found = "; ".join(map(str, gpus))
    if _version("torch") is not None and _constant("torch", "version.py", "cuda") is None:
        fix = "uv pip install --torch-backend=auto --reinstall torch"
        return Check("gpu", Status.warn, f"{found}, but torch is built for the CPU", fix)
    return Check("gpu", Status.ok, found)


def cuda_libraries() -> list[Check]:
    """Check the CUDA libraries of transcription; no check without a GPU."""
    if not nvidia_gpus():
        return []
    from sca.models.cuda_libraries import CUDA_LIBRARIES, missing_cuda_libraries

    missing = missing_cuda_libraries()
    if missing:
        found = f"missing: {', '.join(missing)}; sca transcribe needs --device cpu"
        return [Check("cuda libraries", Status.warn, found, install_extra("cuda12"))]
    return [Check("cuda libraries", Status.ok, f"{', '.join(CUDA_LIBRARIES)}, for transcription")]


def extras() -> list[Check]:
    """Check the packages of each optional extra."""
    by_extra: dict[str, list[str]] = {}
    for name, extra in _requirements():
        if extra is not None and name != DISTRIBUTION:  # an extra that consists of others
            by_extra.setdefault(extra, []).append(name)
    checks = []
    for extra, names in by_extra.items():
        missing = [name for name in names if _version(name) is None]
        found = f"missing: {', '.join(missing)}" if missing else f"all of {', '.join(names)}"
        fix = install_extra(extra)
        checks.append(Check(f"extra {extra}", Status.warn if missing else Status.ok, found, fix if missing else None))
    return checks


# miniaudio falls back to its Null backend, which plays nothing and records silence; the list excludes it.
_MICROPHONE = """
import miniaudio
B = miniaudio.Backend
real = [B.WASAPI, B.COREAUDIO, B.PULSEAUDIO, B.ALSA]
try:
    found = miniaudio.Devices(real)
    print("backend", found.backend, len(found.get_captures()), len(found.get_playbacks()))
except miniaudio.MiniaudioError as error:
    print("none", error)
"""


def microphone() -> Check:
    """Check the sound system that a live session would use."""
    fix = "start an audio server (PipeWire or PulseAudio) with a microphone"
    if find_spec("miniaudio") is None:
        return Check("microphone", Status.warn, "miniaudio is not installed", reinstall())
    words = _output_of([sys.executable, "-c", _MICROPHONE]).split()
    if len(words) < 4 or words[0] != "backend":
        reason = "only miniaudio's Null backend, which records silence"
        return Check("microphone", Status.warn, f"no sound system: {reason}", fix)
    inputs, outputs = int(words[-2]), int(words[-1])
    found = f"{' '.join(words[1:-2])}: {counted(inputs, 'input')}, {counted(outputs, 'output')}"
    enough = inputs > 0 and outputs > 0
    return Check("microphone", Status.ok if enough else Status.warn, found, None if enough else fix)


def _output_of(command: Sequence[str]) -> str:
    """Return what a program prints, or nothing if it is missing, fails or takes too long."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=_TIME_LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout if result.returncode == 0 else ""


def _version_in(text: str) -> tuple[int, ...] | None:
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", text)
    return tuple(map(int, found.groups())) if found else None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _requirements() -> Iterator[tuple[str, str | None]]:
    """Yield the packages that sca requires, each with its extra."""
    try:
        lines = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return
    for line in lines:
        name = re.match(r"[\w.-]+", line)
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", line)
        if name:
            yield name[0], extra[1] if extra else None


def _constant(package: str, file: str, name: str) -> str | None:
    """Read a text constant from a file of a package without importing the package."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        spec = None
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / file
        if path.is_file():
            found = re.search(
                rf"^{name}\b[^=\n]*=\s*['\"]([^'\"]+)['\"]", path.read_text(encoding="utf-8"), re.MULTILINE
            )
            return found[1] if found else None
    return None


CHECKS = (
    python,
    core,
    ffmpeg,
    transport_streams,
    ffprobe,
    ytdlp,
    ytdlp_ejs,
    js_runtime,
    torch,
    gpu,
    cuda_libraries,
    extras,
    microphone,
)
"""The checks in the order of the table."""
