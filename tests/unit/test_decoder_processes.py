"""Decoder processes: crashes, hangs and limits are failures of one file; the next file is read."""

import ctypes
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from sca.audio.coded.containers import selected_track as selected_track_here
from sca.audio.decode import BlockReader, probe, read_audio
from sca.audio.decoder import pool as pools
from sca.audio.decoder import process as processes
from sca.audio.decoder import remote, sandbox
from sca.audio.decoder.pool import DecoderPool
from sca.audio.decoder.process import DecoderProcess, Limits
from sca.errors import InputError
from tests.helpers.coded_parts import Part, write_part


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Return a recording that is longer than what is read ahead."""
    return write_part(tmp_path_factory.mktemp("sound") / "a.mka", "mka", Part("mono", 48_000, 300.0, 12.0))


@pytest.fixture
def use_pool(monkeypatch):
    made = []

    def use(**limits):
        pool = DecoderPool(Limits(**limits))
        monkeypatch.setattr(remote, "default_pool", lambda: pool)
        made.append(pool)
        return pool

    yield use
    for pool in made:
        pool.close()


def process_of(reader: BlockReader) -> DecoderProcess:
    return reader._reader._process


def fails_after(recording, act):
    """Return the message of a reading in which `act` is done to the decoder process after the first block."""
    with BlockReader(recording, 4096) as reader:
        blocks = iter(reader)
        next(blocks)
        act(process_of(reader))
        with pytest.raises(InputError) as caught:
            list(blocks)
    return caught.value.message


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_a_crash_is_the_failure_of_one_file(use_pool, recording, number):
    use_pool()
    message = fails_after(recording, lambda process: os.kill(process.pid, number))
    assert message == f"the decoder ended with signal {number.value} while reading {recording}"
    assert len(read_audio(recording)) == 12 * 48_000


def test_processor_time_without_a_block_is_limited(use_pool, recording):
    use_pool(cpu_s=7)
    message = fails_after(recording, lambda process: os.kill(process.pid, signal.SIGXCPU))
    assert message == f"the decoder used 7 s of processor time without a result while reading {recording}"


def test_a_decoder_that_gives_nothing_is_ended(use_pool, recording, monkeypatch):
    use_pool()
    pids = []

    def hold(process):
        pids.append(process.pid)
        os.kill(process.pid, signal.SIGSTOP)
        monkeypatch.setattr(process, "_limits", Limits(wait_s=0.3))

    assert fails_after(recording, hold) == f"the decoder gave no sound for 0.3 s while reading {recording}"
    assert not psutil.pid_exists(pids[0])


def test_decoders_work_without_posix(use_pool, recording, monkeypatch):
    expected = read_audio(recording)
    boot = processes._BOOT.replace("from sca", "import tests.helpers.no_posix; from sca")
    monkeypatch.setattr(processes, "_BOOT", boot)
    for name in ("readv", "writev"):
        monkeypatch.delattr(os, name)
    monkeypatch.delattr(select, "poll")
    use_pool()
    assert np.array_equal(read_audio(recording), expected)

    def hang(process):
        os.kill(process.pid, signal.SIGSTOP)
        monkeypatch.setattr(process, "_limits", Limits(wait_s=0.3))

    assert fails_after(recording, hang) == f"the decoder gave no sound for 0.3 s while reading {recording}"
    assert len(read_audio(recording)) == 12 * 48_000


def test_memory_is_limited(use_pool, recording):
    use_pool(memory_bytes=3 << 20)
    assert len(read_audio(recording)) == 12 * 48_000
    with BlockReader(recording, 1_000_003) as reader, pytest.raises(InputError) as caught:
        list(reader)  # 2.3 MB, twice while they are joined
    assert caught.value.message == f"the decoder needs more than 3 MiB of memory to read {recording}"


def test_processes_are_used_again(use_pool, recording):
    pool = use_pool()
    with BlockReader(recording) as reader:
        first = process_of(reader)
        next(iter(reader))
    assert pool._idle == [first]  # also after a reading that ended early
    read_audio(recording)
    assert remote.selected_track(recording) == selected_track_here(recording)
    with pytest.raises(InputError):
        probe(recording.with_name("nothing.webm"))
    assert pool._idle == [first]


def test_a_process_is_replaced_before_what_leaks_counts(use_pool, recording, monkeypatch):
    monkeypatch.setattr(pools, "_MOST_REQUESTS", 2)
    pool = use_pool()
    for _ in range(2):
        probe(recording)
    assert pool._idle == []
    assert len(read_audio(recording)) == 12 * 48_000


def test_a_process_that_ended_while_idle_is_replaced(use_pool, recording):
    pool = use_pool()
    probe(recording)
    (idle,) = pool._idle
    psutil.Process(idle.pid).kill()
    idle._process.wait()
    assert len(read_audio(recording)) == 12 * 48_000


def test_a_reader_that_nothing_closes_leaves_no_process(use_pool, recording):
    pool = use_pool()
    reader = BlockReader(recording)
    pid = process_of(reader).pid
    del reader
    gc.collect()
    assert not psutil.pid_exists(pid)
    assert pool._idle == []


def test_a_relative_path_is_that_of_the_current_folder(use_pool, recording, monkeypatch):
    use_pool()
    probe(recording)
    monkeypatch.chdir(recording.parent)
    assert len(read_audio(Path(recording.name))) == 12 * 48_000


@pytest.mark.parametrize(
    "answer",
    [
        b"b\xff\xff\xff\xff",  # too long
        b"b\x03\x00\x00\x00abc",  # no float32
        b"f\x10\x00\x00\x00" + b'{"holes": [0,9]}',
        b"e\x02\x00\x00\x00{}",  # an error without a message
    ],
)
def test_messages_of_a_decoder_are_not_trusted(use_pool, recording, answer, monkeypatch):
    pool = use_pool()
    with BlockReader(recording) as reader:
        read_end, write_end = os.pipe()
        os.write(write_end, answer)
        os.close(write_end)
        process = process_of(reader)
        monkeypatch.setattr(process, "_out", read_end)
        with pytest.raises(InputError, match=f"the decoder .* while reading {recording}"):
            list(reader)
    os.close(read_end)
    assert pool._idle == []


TRIED = """
import json, os, resource, socket, sys
from sca.audio.decoder import sandbox
sandbox.confine(64 << 20)
sandbox.limit_cpu(5)
def tried(act):
    try:
        act()
    except (OSError, MemoryError) as error:
        return type(error).__name__
    return "done"
print(json.dumps({
    "create": tried(lambda: open("made", "w")),
    "append": tried(lambda: os.write(os.open(sys.argv[1], os.O_WRONLY), b"x")),
    "run": tried(lambda: os.execv("/bin/true", ["true"])),
    "connect": tried(lambda: socket.create_connection(("127.0.0.1", int(sys.argv[2])))),
    "memory": tried(lambda: bytearray(65 << 20)),
    "read": tried(lambda: open(sys.argv[1]).read()),
    "core": resource.getrlimit(resource.RLIMIT_CORE),
    "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    "cpu_is_limited": resource.getrlimit(resource.RLIMIT_CPU)[0] <= 20,
    "no_new_privileges": [line.split()[1] for line in open("/proc/self/status") if line.startswith("NoNewPrivs")],
}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have fewer limits")
def test_what_a_decoder_process_may_do(tmp_path):
    """It reads files, and does not write them, run programs, or connect."""
    (tmp_path / "file").write_text("text")
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = [sys.executable, "-c", TRIED, str(tmp_path / "file"), str(server.getsockname()[1])]
        done = json.loads(subprocess.run(command, capture_output=True, check=True, cwd=tmp_path).stdout)
    by_landlock = {name: done.pop(name) for name in ("create", "append", "run", "connect")}
    if sandbox.landlock_version(ctypes.CDLL(None)) >= 4:
        assert set(by_landlock.values()) == {"PermissionError"}
    assert done == {
        "memory": "MemoryError",
        "read": "done",
        "core": [0, 0],
        "files": 64,
        "cpu_is_limited": True,
        "no_new_privileges": ["1"],
    }
    assert (tmp_path / "file").read_text() == "text"


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is of Linux")
def test_a_decoder_process_gets_no_secrets(use_pool, recording, monkeypatch):
    monkeypatch.setenv("SCA_SERVE__AUTH_KEY", "secret")
    use_pool()
    with BlockReader(recording) as reader:
        assert b"secret" not in Path(f"/proc/{process_of(reader).pid}/environ").read_bytes()


def test_without_processes_files_are_read_here(recording, monkeypatch):
    samples = read_audio(recording)
    monkeypatch.setattr(remote, "HAS_PROCESSES", False)
    monkeypatch.setattr(remote, "default_pool", None)
    assert np.array_equal(read_audio(recording), samples)
    assert remote.selected_track(recording).codec == "flac"
    assert remote.file_properties(recording).rate_hz == 48_000


def test_only_decoder_processes_open_media():
    """PyAV opens files in one place, and only modules of decoder processes call it."""
    package = Path(remote.__file__).parents[2]
    sources = {path.relative_to(package).as_posix(): path.read_text() for path in package.rglob("*.py")}
    assert {name for name, text in sources.items() if "av.open(" in text} == {
        "audio/coded/containers.py",
        "synth/sound.py",  # what it has just encoded
        "watch/capture/opening.py",
        "watch/recording/movie.py",  # writes only
    }
    assert {name for name, text in sources.items() if " open_video(" in text} == {
        "watch/capture/opening.py",
        "watch/capture/reading.py",
    }
    assert {name for name, text in sources.items() if "VideoReader(" in text} == {"watch/capture/child.py"}
    assert {name for name, text in sources.items() if "open_container(" in text} == {
        "audio/coded/containers.py",
        "audio/coded/pyav_reader.py",
        "audio/decoder/properties.py",
    }
    assert {name for name, text in sources.items() if "open_av(" in text} == {
        "audio/coded/pyav_reader.py",
        "audio/decoder/opening.py",
    }
