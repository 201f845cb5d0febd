"""`sca doctor`: the checks on this machine, the messages about missing parts, and the time limits."""

import http.server
import json
import os
import re
import subprocess
import sys
import threading
from datetime import date, timedelta
from importlib import metadata

import pytest

from sca.cli.doctor import voices
from sca.cli.doctor.checks import Check, Status, ffmpeg, js_runtime, transport_streams, ytdlp, ytdlp_ejs
from sca.cli.doctor.network import cache, disk
from sca.config import CsmConfig, Settings
from sca.distribution import install_extra, upgrade
from sca.infer.speech import espeak_api

NAMES = {
    *(
        "python",
        "packages",
        "ffmpeg",
        "transport streams",
        "ffprobe",
        "yt-dlp",
        "yt-dlp-ejs",
        "js runtime",
        "torch",
        "gpu",
        "espeak-ng",
        "llama.cpp",
        "engine csm",
        "hub",
        "microphone",
    ),
    *("extra live", "extra serve", "extra turn", "extra ray", "cache", "disk"),
}


# Long time limits for a busy machine; another test checks the real ones.
LONG_LIMITS = """
from sca.cli.doctor import checks as doctor_checks
from sca.cli.doctor import network as doctor_network
doctor_checks._TIME_LIMIT_S = doctor_network._HUB_S = 60
from sca.cli.main import run
run()
"""


def doctor(*arguments, how=("-c", LONG_LIMITS), **environment):
    command = [sys.executable, *how, "doctor", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=os.environ | environment, check=False
    )


def checks(done):
    document = json.loads(done.stdout)
    return document["ok"], {check["name"]: check for check in document["checks"]}


@pytest.fixture(scope="module")
def here():
    """`sca doctor --json` on this machine, and the seconds of work that it took."""
    before = os.times()
    done = doctor("--json")
    after = os.times()
    return done, after.children_user - before.children_user + after.children_system - before.children_system


def test_core_commands_can_run_here(here):
    done, work_s = here
    assert work_s < 10, "a few seconds of work"
    assert (done.returncode, done.stderr) == (0, "")
    ok, found = checks(done)
    assert ok
    assert set(found) >= NAMES
    assert {name for name, check in found.items() if check["status"] == "missing"} == set()
    for name in ("python", "packages", "ffmpeg", "yt-dlp-ejs", "js runtime"):
        assert found[name]["status"] == "ok", found[name]
    assert all(check["fix"] for check in found.values() if check["status"] != "ok" and check["name"] != "gpu")


def test_table_is_complete_with_invalid_settings():
    done = doctor(SCA_FRAMES_HZ="12.5", SCA_API_TOKEN="secret")
    assert done.returncode == 3
    assert done.stderr.splitlines() == [
        "SCA_API_TOKEN is not a setting of sca and is ignored",
        "sca: environment: SCA_FRAMES_HZ is not a setting",
        "     did you mean SCA_FRAME_HZ?",
    ]
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["warn", "settings", "environment:", "SCA_FRAMES_HZ"] in [line[:4] for line in lines]
    assert ["ok", "python"] in [line[:2] for line in lines]
    assert len(lines) >= len(NAMES)


def test_missing_ffmpeg_exits_with_4(tmp_path):
    done = doctor("--json", PATH=str(tmp_path), IMAGEIO_FFMPEG_EXE=str(tmp_path / "nowhere"))
    assert done.returncode == 4
    ok, found = checks(done)
    assert not ok
    assert found["ffmpeg"]["status"] == "missing"
    assert "apt-get install ffmpeg" in found["ffmpeg"]["fix"]
    assert "what core commands need is missing: ffmpeg" in done.stderr
    assert "apt-get install ffmpeg" in done.stderr
    assert found["js runtime"]["status"] == "ok", "deno is beside the interpreter, not on the PATH"


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """`sca doctor --json` with another ffmpeg, a hub that does not answer, and an empty cache."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "ffmpeg").write_text("#!/bin/sh\necho ffmpeg version 5.1.9-0 Copyright\n")
    (folder / "ffmpeg").chmod(0o755)
    hub = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0", "HF_HOME": str(folder)}
    cache = {"SCA_CACHE_DIR": str(folder / "cache")}
    return doctor("--json", PATH=f"{folder}:{os.environ['PATH']}", **hub, **cache)


def test_names_the_system_ffmpeg(elsewhere):
    _, found = checks(elsewhere)
    assert found["ffmpeg"]["found"].startswith("5.1.9-0, system, without soxr")


class Hub(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_response(self.server.answer)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def hub():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        server.answer = 200
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("answer", [200, 404])
def test_hub_that_answers(hub, tmp_path, answer):
    hub.answer = answer
    (tmp_path / "hub" / "models--Qwen--Qwen3").mkdir(parents=True)
    url = f"http://127.0.0.1:{hub.server_port}"
    _, found = checks(doctor("--json", HF_ENDPOINT=url, HF_HUB_OFFLINE="0", HF_HOME=str(tmp_path)))
    assert found["hub"] == {"name": "hub", "status": "ok", "found": f"{url} answers; cached: Qwen/Qwen3", "fix": None}


def test_hub_that_does_not_answer_is_a_warning(elsewhere):
    assert elsewhere.returncode == 0
    _, found = checks(elsewhere)
    assert found["hub"]["status"] == "warn"
    assert "does not answer" in found["hub"]["found"]


def test_hub_is_not_asked_in_offline_mode(here):
    _, found = checks(here[0])
    assert "offline mode" in found["hub"]["found"]


def test_models_of_defaults_are_named(elsewhere):
    _, found = checks(elsewhere)
    for name in ("whisper-base", "yamnet", "dvector", "piper-joe", "smollm2"):
        assert found[name]["status"] == "ok"
        assert found[name]["found"].startswith("not here: ")
        assert found[name]["found"].endswith(f"(sca models get {name})")


def test_hub_that_hangs_takes_three_seconds(tmp_path):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts connections and never answers
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        done = doctor("--json", how=("-m", "sca"), HF_ENDPOINT=url, HF_HUB_OFFLINE="0", HF_HOME=str(tmp_path))
    _, found = checks(done)
    assert found["hub"]["status"] == "warn"
    assert "no answer in 3 s" in found["hub"]["found"] or "timed out" in found["hub"]["found"]


def test_null_microphone_is_reported_as_missing(here):
    """Without a sound system miniaudio offers its Null backend, which must not pass as a microphone."""
    _, found = checks(here[0])
    check = found["microphone"]
    assert ("Null" in check["found"]) == (check["status"] == "warn" and "no sound system" in check["found"])


# --- single checks ---


def test_old_ytdlp_is_a_warning():
    version = ytdlp().found.split(",")[0]
    released = date(*map(int, version.split(".")[:3]))
    young, old = ytdlp(released + timedelta(days=90)), ytdlp(released + timedelta(days=91))
    assert (young.status, old.status) == (Status.ok, Status.warn)
    assert "91 days old" in old.found
    assert old.fix == upgrade("yt-dlp")
    assert ytdlp(released - timedelta(days=1)).found.endswith("0 days old"), "with a clock that is slow"


def test_installed_tools_pass():
    assert ytdlp_ejs().status is Status.ok
    assert js_runtime().status is Status.ok
    assert ffmpeg().status is Status.ok


@pytest.mark.parametrize(
    ("script", "status", "found"),
    [
        ("kill -SEGV $$", Status.warn, "decoded by PyAV: ffmpeg crashed with signal 11"),
        ("exit 0", Status.warn, "decoded by PyAV: ffmpeg wrote no file"),
        ("for a; do case $a in file:*.flac) touch ${a#file:};; esac; done", Status.ok, "read by ffmpeg"),
    ],
)
def test_transport_streams_are_tried(tmp_path, monkeypatch, script, status, found):
    program = tmp_path / "ffmpeg"
    program.write_text(f"#!/bin/sh\nif [ $1 = -version ]; then echo ffmpeg version 5.1.9; exit; fi\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    check = transport_streams()
    assert (check.status, check.found) == (status, found)


def test_cache_and_disk(tmp_path):
    assert cache(tmp_path / "not" / "yet").found.endswith("(created when needed)")
    (tmp_path / "file").write_text("")
    refused = cache(tmp_path / "file")
    assert (refused.status, refused.fix) == (Status.warn, "set SCA_CACHE_DIR to another folder")
    assert "GiB free" in disk(tmp_path).found
    assert isinstance(disk(tmp_path), Check)


def test_espeak_has_its_version():
    assert voices.espeak_ng().status is Status.ok
    assert re.match(r"1\.\d+", voices.espeak_ng().found)


def test_missing_parts_of_speech_name_their_extras(monkeypatch):
    def no_version(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(espeak_api, "_FILES", ("libnothing.so",))
    monkeypatch.setattr(voices.metadata, "version", no_version)
    monkeypatch.setattr(voices, "find_spec", lambda name: None)
    found = [voices.espeak_ng(), voices.llama_cpp(), voices.csm(Settings())]
    assert [check.status for check in found] == [Status.warn] * 3
    for check, fix in zip(
        found, ("apt-get install espeak-ng", install_extra("llm"), install_extra("speech")), strict=True
    ):
        assert fix in check.fix


def test_csm_without_its_model_is_ready_for_it():
    check = voices.csm(Settings(csm=CsmConfig(model_id="nobody/nothing")))
    assert check.status is Status.ok
    assert "nobody/nothing is not on this machine" in check.found


def test_heavy_packages_are_not_loaded():
    code = (
        "import sys\nfrom pathlib import Path\nfrom sca.cli.doctor.command import examine\n"
        "from sca.config import load_settings\nexamine(load_settings(), Path('/tmp'))\n"
        "print({'torch', 'av', 'yt_dlp', 'transformers', 'miniaudio', 'faster_whisper'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "set()\n"
