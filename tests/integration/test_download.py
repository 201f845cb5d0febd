"""`sca download` against a YouTube on the loopback interface, with the real yt-dlp."""

import gc
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner
from yt_dlp.downloader.common import FileDownloader

from sca.audio.decode import probe
from sca.cli.main import app
from sca.data.acquire import downloader
from sca.data.acquire.media_file import decoded_sound
from sca.errors import InputError
from tests.helpers import fake_youtube
from tests.helpers.broken import REASON, break_for
from tests.helpers.timeouts import until

Site, Video = fake_youtube.Site, fake_youtube.Video

ROOT = Path(__file__).resolve().parents[2]

# yt-dlp does not close the connection of a request that timed out; the garbage collector warns.
pytestmark = pytest.mark.filterwarnings("ignore:.*SSLSocket:pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def _collect_garbage():
    """Make such a warning appear in its own test."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media")
    made = {
        "webm": fake_youtube.make_media(folder / "a.webm", 6, 440),
        "m4a": fake_youtube.make_media(folder / "b.m4a", 5, 660),
        "big": fake_youtube.make_media(folder / "big.webm", 60, 330, rate="256k"),
    }
    (folder / "broken.webm").write_bytes(made["webm"].read_bytes()[:30_000])
    (folder / "text.webm").write_bytes(b"this is no sound at all\n" * 2000)
    return made | {"broken": folder / "broken.webm", "text": folder / "text.webm"}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with fake_youtube.FakeYouTube(Site(), tmp_path_factory.mktemp("tls")) as fake:
        yield fake


@pytest.fixture
def fake(served):
    served.site.__init__()  # every test has its own site at the same address
    return served


@pytest.fixture
def run(fake, tmp_path, monkeypatch):
    monkeypatch.setenv("SCA_CACHE_DIR", str(tmp_path / "cache"))

    def invoke(*arguments, out=tmp_path / "out", stdin=None):
        command = ["download", "--output-path", str(out), "--only-audio", "--sleep-interval", "0"]
        return CliRunner().invoke(app, [*command, *fake.options, *map(str, arguments)], input=stdin)

    return invoke


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def results(videos):
    found = [{"id": v.id, "url": f"https://www.youtube.com/watch?v={v.id}", "title": v.title} for v in videos]
    return json.dumps({"query": "q", "count": len(found), "results": found})


def ledger(out):
    lines = [json.loads(line) for line in (out / "ledger.jsonl").read_text().splitlines()]
    return {one["item"]: one for one in lines}


def files(out):
    return sorted(path.name for path in out.iterdir() if path.suffix in (".webm", ".m4a"))


def ok(fake, media, *names, **more):
    fake.site.add(Video(name, f"Title of {name}", seconds=6, files=(media["webm"],), **more) for name in names)
    return fake.site.found


# --- results ---


def test_downloads_are_complete_named_and_described(run, fake, media, out):
    first = Video("okVideo0001", "Hello / “you” <x>: 🎙️\n" + "long " * 60, 6, files=(media["webm"], media["m4a"]))
    second = Video("-kVideo0002", "m4a only", 5, files=(media["m4a"],), licence=fake_youtube.CREATIVE_COMMONS)
    fake.site.add([first, second])
    done = run("-", "--json", stdin=results([first, second]))
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    assert [summary[name] for name in ("requested", "verified", "skipped", "failed")] == [2, 2, 0, 0]
    names = files(out)
    assert names[1] == "m4a only [-kVideo0002].m4a"
    assert names[0].startswith("Hello _ “you” _x__ 🎙")
    assert names[0].endswith(" [okVideo0001].webm")
    assert (out / names[0]).read_bytes() == media["webm"].read_bytes(), "the best sound, byte for byte"
    assert (out / names[1]).read_bytes() == media["m4a"].read_bytes()
    about = json.loads((out / "m4a only [-kVideo0002].info.json").read_text())
    assert (about["license"], about["upload_date"]) == (fake_youtube.CREATIVE_COMMONS, "20230501")
    assert (about["channel"], about["duration"], about["acodec"]) == ("Chan 0", 5, "mp4a.40.2")
    assert about["sca"]["sha256"] == hashlib.sha256(media["m4a"].read_bytes()).hexdigest()
    assert about["sca"]["seconds"] == pytest.approx(5.0, abs=0.05)
    assert "videoplayback" not in json.dumps(about)
    assert sorted((out / "archive.txt").read_text().split()) == ["-kVideo0002", "okVideo0001", "youtube", "youtube"]
    entry = ledger(out)["-kVideo0002"]
    assert (entry["status"], entry["extra"]["file"]) == ("verified", "m4a only [-kVideo0002].m4a")
    assert probe(out / names[0]).codec == "opus"
    assert not (out / ".incomplete").exists()


def test_second_run_downloads_nothing(run, fake, media, out):
    names = ok(fake, media, "okVideo0001", "okVideo0002")
    assert run(*names).exit_code == 0
    kept = {path: path.stat().st_mtime_ns for path in out.iterdir() if path.suffix == ".webm"}
    fake.site.log.clear()
    done = run(*names)
    assert (done.exit_code, fake.site.log) == (0, [])
    assert "0 verified (0.0 MB, 0.00 h), 2 skipped (already there), 0 failed" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    entry = ledger(out)["okVideo0001"]
    assert (entry["status"], entry["reason"]) == ("skipped", "already in archive.txt")
    assert entry["extra"]["file"] == "Title of okVideo0001 [okVideo0001].webm", "facts of the earlier run are kept"


def test_archive_outside_the_folder(run, fake, media, tmp_path, out):
    ok(fake, media, "okVideo0001", "okVideo0002")
    archive = tmp_path / "shared" / "archive.txt"
    archive.parent.mkdir()
    archive.write_text("youtube okVideo0001\n")
    done = run("okVideo0001", "okVideo0002", "--archive", archive)
    assert (done.exit_code, files(out)) == (0, ["Title of okVideo0002 [okVideo0002].webm"])
    assert archive.read_text() == "youtube okVideo0001\nyoutube okVideo0002\n"
    assert {name: one["status"] for name, one in ledger(out).items()} == {
        "okVideo0001": "skipped",
        "okVideo0002": "verified",
    }


def test_links_of_the_folder_are_not_followed(run, fake, media, tmp_path, out):
    ok(fake, media, "okVideo0001")
    assert run("okVideo0001").exit_code == 0
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"of others")
    name = next(out.glob("*okVideo0001*.webm")).name
    (out / name).unlink()
    (out / "archive.txt").unlink()
    (out / ".incomplete").mkdir(exist_ok=True)
    (out / ".incomplete" / f"{name}.part").symlink_to(elsewhere)
    assert run("okVideo0001").exit_code == 0
    assert elsewhere.read_bytes() == b"of others"
    (out / "archive.txt").unlink()
    (out / "archive.txt").symlink_to(tmp_path / "none")
    refused = run("okVideo0001")
    assert refused.exit_code == 5
    assert "archive.txt is a link" in refused.stderr
    assert not (tmp_path / "none").exists()


def test_existing_file_without_archive_is_checked_not_fetched(run, fake, media, out):
    ok(fake, media, "okVideo0001")
    run("okVideo0001")
    (out / "archive.txt").unlink()
    fake.site.log.clear()
    assert run("okVideo0001").exit_code == 0
    assert fake.site.media() == []
    assert (out / "archive.txt").read_text() == "youtube okVideo0001\n"


def test_shuffle_and_count_select_the_same_again(run, fake, media, out, tmp_path):
    names = ok(fake, media, *(f"okVideo{n:04d}" for n in range(8)))
    saved = tmp_path / "videos.json"
    saved.write_text(results(fake.site.videos.values()))
    assert run(saved, "--shuffle", "--seed", "3", "--download-count", "2").exit_code == 0
    first = files(out)
    assert len(first) == 2
    assert "2 skipped" in run(saved, "--shuffle", "--seed", "3", "--download-count", "2").stdout
    assert files(out) == first
    assert set(ledger(out)) < set(names)


def test_plain_progress_lines(run, fake, media):
    done = run(*ok(fake, media, "okVideo0001"), "privateVid1")
    lines = done.stderr.splitlines()
    assert lines[0] == "sca: 2 to download"
    assert any("0.1 MB, 6 s of sound" in line and "of 2, about" in line for line in lines)
    assert any("privateVid1: failed: Video unavailable" in line for line in lines)
    assert lines[-2] == "sca: 1 of 2 videos failed, 0 of them may succeed later"
    assert "ledger.jsonl" in lines[-1]
    assert run("okVideo0001", "--quiet").stderr == ""


def test_subtitles_are_optional_extras(run, fake, media, out):
    fake.site.subtitles = 200
    ok(fake, media, "okVideo0001", "okVideo0002")
    assert run("okVideo0001", "--subtitles", "en").exit_code == 0
    assert (out / "Title of okVideo0001 [okVideo0001].en.vtt").read_text().startswith("WEBVTT")
    fake.site.subtitles = 429
    done = run("okVideo0002", "--subtitles", "en")
    assert done.exit_code == 0
    entry = ledger(out)["okVideo0002"]
    assert entry["status"] == "verified"
    assert "no subtitles" in entry["notes"][0]
    assert "429" in entry["notes"][0]
    assert not (out / ".incomplete").exists()


def test_video_and_audio_are_merged_without_only_audio(fake, media, out, tmp_path, monkeypatch):
    monkeypatch.setenv("SCA_CACHE_DIR", str(tmp_path / "cache"))
    pictures = fake_youtube.make_pictures(tmp_path / "p.mp4", 5)
    fake.site.add([Video("pictures001", "Both", 5, files=(pictures, media["m4a"]))])
    plain = ["download", "pictures001", "--output-path", str(out), "--sleep-interval", "0", *fake.options]
    done = CliRunner().invoke(app, plain)
    assert done.exit_code == 0, done.output
    assert [path.name for path in out.glob("*.mp4")] == ["Both [pictures001].mp4"]
    assert decoded_sound(out / "Both [pictures001].mp4", 5)[0] == pytest.approx(5, abs=0.1)
    assert not (out / ".incomplete").exists()


def test_format_and_rate_limit(run, fake, media, out, monkeypatch):
    fake.site.add([Video("okVideo0001", "t", 6, files=(media["webm"], media["m4a"]))])
    limits = set()
    slow_down = FileDownloader.slow_down

    def record(downloader, *state):
        limits.add(downloader.params["ratelimit"])
        slow_down(downloader, *state)

    monkeypatch.setattr(FileDownloader, "slow_down", record)
    assert run("okVideo0001", "--format", "140", "--rate-limit", "100K", "--jobs", "2").exit_code == 0
    assert limits == {50 * 1024}  # 100 KiB per second, shared by two jobs
    assert files(out) == ["t [okVideo0001].m4a"]


# --- faults ---


@pytest.mark.parametrize(
    ("faults", "requests"),
    [([500], 2), ([503, 500], 3), (["truncate"], 2), ([403], 2), ([404], 2), ([429], 2)],
    ids=str,
)
def test_temporary_faults_are_retried(run, fake, media, out, faults, requests):
    ok(fake, media, "okVideo0001")
    fake.site.faults[("media", "okVideo0001")] = list(faults)
    done = run("okVideo0001")
    assert done.exit_code == 0, done.output
    assert (out / files(out)[0]).read_bytes() == media["webm"].read_bytes()
    assert len(fake.site.media()) == requests
    looks = len(fake.site.requests_to("youtube.com", "/watch"))
    assert looks == (2 if faults[0] in (403, 404, 429) else 1), "the page of refused media is requested once more"


def test_truncated_body_continues_at_its_byte(run, fake, media, out):
    ok(fake, media, "okVideo0001")
    fake.site.faults[("media", "okVideo0001")] = ["truncate"]
    assert run("okVideo0001").exit_code == 0
    first, second = (int(one.range.removeprefix("bytes=").split("-")[0]) for one in fake.site.media())
    # yt-dlp wrote a part of the third that arrived; a block that it had not read completely is requested again.
    assert (first, second > 10_000, second <= media["webm"].stat().st_size // 3) == (0, True, True)


def test_stalled_connection_times_out_and_continues(run, fake, media, out):
    ok(fake, media, "okVideo0001")
    fake.site.faults[("media", "okVideo0001")] = ["stall"]
    # Longer than a busy machine takes for any other response.
    assert run("okVideo0001", "--ytdlp-opt", "socket_timeout=4").exit_code == 0
    assert (out / files(out)[0]).read_bytes() == media["webm"].read_bytes()
    assert fake.site.media()[1].range != fake.site.media()[0].range


@pytest.mark.parametrize(
    ("faults", "reason", "looks"),
    [
        ([403] * 9, "HTTP 403 for the media", 2),
        ([404] * 9, "HTTP 404 for the media", 2),
        ([429] * 9, "HTTP 429 for the media", 2),
        ([500] * 99, "HTTP 500 for the media", 1),
        (["truncate"] * 99, "read", 1),
    ],
    ids=["403", "404", "429", "500", "truncated"],
)
def test_permanent_faults_are_failures_with_a_reason(run, fake, media, out, faults, reason, looks):
    ok(fake, media, "badVideo001", "okVideo0001")
    fake.site.faults[("media", "badVideo001")] = faults
    done = run("badVideo001", "okVideo0001", "--retries", "1", "--jobs", "1")
    assert done.exit_code == 7
    entry = ledger(out)["badVideo001"]
    assert (entry["status"], entry["retryable"]) == ("failed", True)
    assert reason in entry["reason"]
    assert len(fake.site.requests_to("youtube.com", "/watch", "badVideo001")) == looks
    assert ledger(out)["okVideo0001"]["status"] == "verified"
    assert (out / "archive.txt").read_text() == "youtube okVideo0001\n"
    assert "1 verified" in done.stdout
    assert "1 failed" in done.stdout


def test_unexpected_exception_fails_its_video_only(run, fake, media, out, monkeypatch):
    names = ok(fake, media, "okVideo0001", "odVideo0002")
    break_for(monkeypatch, downloader, "decoded_sound", "odVideo0002")
    done = run(*names)
    assert done.exit_code == 7, done.output
    entries = ledger(out)
    assert (entries["okVideo0001"]["status"], entries["odVideo0002"]["reason"]) == ("verified", REASON)
    assert "ZeroDivisionError: injected" in entries["odVideo0002"]["extra"]["traceback"]
    monkeypatch.undo()
    assert run(*names).exit_code == 0
    assert ledger(out)["odVideo0002"]["status"] == "verified"


def test_unavailable_videos_fail_permanently_with_exit_7(run, fake, media, out):
    fake.site.add(
        [
            Video("privateVid1", "p", unavailable="Private video"),
            Video("liveVideo01", "l", live=True, files=(media["webm"],)),
            Video("noSound0001", "n", 6, files=()),
        ]
    )
    done = run(*fake.site.found, "http://127.0.0.1:1/nothing", "https://www.youtube.com/playlist")
    assert done.exit_code == 7, done.output
    entries = ledger(out)
    assert {one["status"] for one in entries.values()} == {"failed"}
    assert len(entries) == 5
    assert "retryable" not in entries["privateVid1"]
    assert entries["privateVid1"]["reason"].startswith("Private video (an account that may see it is needed: give its")
    assert entries["liveVideo01"]["retryable"]
    assert files(out) == []


@pytest.mark.parametrize(
    "url", ["https://www.youtube.com/playlist?list=PL0123456789", "https://www.youtube.com/@chan0"]
)
def test_lists_of_videos_are_downloaded_once_each(run, fake, media, out, url):
    names = ok(fake, media, "okVideo0001", "okVideo0002", "okVideo0003")
    done = run(url, "okVideo0002", "--download-count", "2")
    assert done.exit_code == 0, done.output
    assert f"sca: {url}: 2 videos" in done.stderr
    assert sorted(ledger(out)) == names[:2]
    assert f"{url}: 3 videos" in run("okVideo0003", url).stderr
    assert sorted(ledger(out)) == names
    assert len(fake.site.media("okVideo0003")) == 1


LIST = """\
# two videos of one evening

https://www.youtube.com/watch?v=okVideo0001  # the first
okVideo0002\t0:06\t2023-05-01\tChan 0\ta line of sca search
https://youtu.be/okVideo0001?t=30#t=30
"""


@pytest.mark.parametrize("source", ["list.txt", "-"])
def test_text_with_a_video_per_line(run, fake, media, out, tmp_path, source):
    names = ok(fake, media, "okVideo0001", "okVideo0002")
    (tmp_path / "list.txt").write_text(LIST)
    done = run(source if source == "-" else tmp_path / source, stdin=LIST)
    assert done.exit_code == 0, done.output
    assert sorted(ledger(out)) == names


def test_text_output_of_search_is_accepted(run, fake, media, out):
    names = ok(fake, media, "okVideo0001", "okVideo0002")
    text = CliRunner().invoke(app, ["search", "evening", *fake.options]).stdout
    assert text.count("\t") == 8
    assert run("-", stdin=text).exit_code == 0
    assert sorted(ledger(out)) == names


def test_explanations_of_ytdlp_reach_the_reason(run, fake, media, out):
    fake.site.add(
        [
            Video("sabrVideo01", "s", 6, files=(media["webm"],), sabr=True),
            Video("membersVid1", "m", unavailable="Join this channel to get access to members-only content"),
            Video("adultsVid01", "a", unavailable="Sign in to confirm your age", status="LOGIN_REQUIRED"),
        ]
    )
    done = run(*fake.site.found)
    assert done.exit_code == 7, done.output
    reasons = {name: entry["reason"] for name, entry in ledger(out).items()}
    assert "SABR" in reasons["sabrVideo01"]
    assert "SABR" not in reasons["membersVid1"]
    for name in ("membersVid1", "adultsVid01"):
        assert "--cookies-from-browser or --cookies" in reasons[name]
        assert reasons[name] in done.stderr
    assert "[debug]" not in done.stderr


def test_verbose_shows_the_messages_of_ytdlp(run, fake, media):
    ok(fake, media, "okVideo0001")
    done = run("okVideo0001", "--verbose")
    assert done.exit_code == 0, done.output
    assert "yt-dlp: [debug] yt-dlp version" in done.stderr
    assert "okVideo0001: Downloading webpage" in done.stderr


def test_old_failures_are_tried_again_unless_switched_off(run, fake, out):
    fake.site.add([Video("privateVid1", "p", unavailable="Private video")])
    assert run("privateVid1").exit_code == 7
    before = (out / "ledger.jsonl").read_bytes()
    fake.site.log.clear()
    done = run("privateVid1", "--no-retry-failed")
    assert (done.exit_code, fake.site.log) == (7, [])
    assert (out / "ledger.jsonl").read_bytes() == before
    assert "1 failed" in done.stdout
    assert run("privateVid1", "--retry-failed").exit_code == 7
    assert fake.site.log != []


@pytest.mark.parametrize(("name", "seconds"), [("broken", 6), ("text", 6), ("webm", 60)])
def test_file_of_wrong_length_is_not_kept(run, fake, media, out, name, seconds):
    fake.site.add([Video("badVideo001", "bad", seconds, files=(media[name],))])
    done = run("badVideo001")
    assert done.exit_code == 7
    assert ledger(out)["badVideo001"]["retryable"]
    assert "the downloaded file" in ledger(out)["badVideo001"]["reason"]
    assert len(fake.site.media()) == 2, "downloaded once more"
    assert files(out) == []
    assert not (out / "archive.txt").exists()
    assert not (out / ".incomplete").exists()


@pytest.mark.parametrize(("promised", "passes"), [(6, True), (7.9, True), (4.1, True), (8.2, False), (3.8, False)])
def test_length_tolerance_is_two_seconds(media, promised, passes):
    if passes:
        assert decoded_sound(media["webm"], promised)[0] == pytest.approx(6.0, abs=0.05)
    else:
        with pytest.raises(InputError, match="the site announced"):
            decoded_sound(media["webm"], promised)
    assert decoded_sound(media["big"], None)[0] == pytest.approx(60.0, abs=0.05)


def test_unreachable_proxy_is_exit_6_and_recorded(run, fake, media, out):
    names = ok(fake, media, "okVideo0001", "okVideo0002", "okVideo0003")
    done = run(*names, "--proxy", "http://127.0.0.1:9", "--retries", "0", "--quiet")
    assert done.exit_code == 6
    assert (
        done.stderr.splitlines()[0] == "sca: downloading: the proxy cannot be reached, or refuses (Connection refused)"
    )
    assert len(done.stderr.splitlines()) == 2
    entries = ledger(out)
    assert len(entries) == 3
    assert all(one["status"] == "failed" and one["retryable"] for one in entries.values())
    assert run(*names).exit_code == 0


def test_run_ends_when_the_site_refuses(run, fake, media, out):
    names = ok(fake, media, *(f"okVideo{n:04d}" for n in range(6)))
    for name in names[1:]:
        fake.site.faults[("watch", name)] = [429] * 9
        fake.site.faults[("player", name)] = [429] * 9
    done = run(*names, "--jobs", "1", "--retries", "0")
    assert done.exit_code == 6
    entries = ledger(out)
    assert [entries[name]["status"] for name in names] == ["verified"] + ["failed"] * 5
    assert [entries[name]["reason"].startswith("not tried") for name in names[1:]] == [False] * 3 + [True] * 2


# --- interrupts, limits, bad arguments ---


def command(fake, out, *arguments):
    found = [sys.executable, "-m", "sca", "download", "--output-path", str(out), "--only-audio"]
    return [*found, "--sleep-interval", "0", *fake.options, *arguments]


def environment(tmp_path):
    return os.environ | {"SCA_CACHE_DIR": str(tmp_path / "cache")}


def part(out):
    return next(iter((out / ".incomplete").glob("*.part")), None) if (out / ".incomplete").is_dir() else None


def archived(out):
    return (out / "archive.txt").read_text() if (out / "archive.txt").exists() else ""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_stopped_download_continues_at_its_byte(run, fake, media, out, tmp_path, how):
    ok(fake, media, "okVideo0001")
    fake.site.add([Video("bigVideo001", "Big", 60, files=(media["big"],))])
    fake.site.faults[("media", "bigVideo001")] = ["stall"]  # a third of 1.9 MB arrives, and then nothing
    process = subprocess.Popen(
        command(fake, out, "okVideo0001", "bigVideo001", "--jobs", "1", "--ytdlp-opt", "socket_timeout=300"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(tmp_path),
    )  # fmt: skip
    try:
        until(lambda: archived(out) and part(out) is not None and part(out).stat().st_size > 200_000)
        process.send_signal(how)
        _, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == (-signal.SIGKILL if how == signal.SIGKILL else 130)
    if how == signal.SIGINT:
        assert "sca: interrupted; finished results are kept" in stderr
        assert "Traceback" not in stderr
    assert archived(out) == "youtube okVideo0001\n"
    reached = part(out).stat().st_size
    fake.site.log.clear()
    done = run("okVideo0001", "bigVideo001")
    assert done.exit_code == 0, done.output
    assert "1 verified" in done.stdout
    assert "1 skipped" in done.stdout
    (request,) = fake.site.media()
    assert request.range.startswith(f"bytes={reached}-")
    assert (out / "Big [bigVideo001].webm").read_bytes() == media["big"].read_bytes()


def test_full_disk_is_one_error_and_finished_files_stay(fake, media, out, tmp_path):
    ok(fake, media, "okVideo0001")
    fake.site.add([Video("bigVideo001", "Big", 60, files=(media["big"],))])
    # A limit on the file size stands for a full disk: both are a failed write in yt-dlp.
    done = subprocess.run(
        command(fake, out, "okVideo0001", "bigVideo001", "--jobs", "1"),
        capture_output=True, text=True, timeout=60, check=False, env=environment(tmp_path),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000)),
    )  # fmt: skip
    assert done.returncode == 5, done.stderr
    assert "the disk is full" in done.stderr
    assert "Traceback" not in done.stderr
    assert files(out) == ["Title of okVideo0001 [okVideo0001].webm"]
    assert ledger(out)["bigVideo001"]["retryable"]


def test_process_substitution_and_script(fake, media, out, tmp_path):
    ok(fake, media, "okVideo0001")
    (tmp_path / "v.json").write_text(results(fake.site.videos.values()))
    script = ROOT / "scripts" / "download.py"
    # A PATH with a Python without sca, and a folder outside the project.
    options = " ".join(fake.options)
    line = f"'{script}' <(cat v.json) --output-path ./out --shuffle --download-count 50 --only-audio {options}"
    done = subprocess.run(
        ["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "SCA_CACHE_DIR": str(tmp_path / "cache")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert files(out) == ["Title of okVideo0001 [okVideo0001].webm"]


def test_second_run_at_the_same_time_is_refused(run, fake, media, out):
    import fcntl

    ok(fake, media, "okVideo0001")
    out.mkdir()
    with (out / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = run("okVideo0001")
    assert done.exit_code == 5
    assert "another run is writing" in done.stderr


@pytest.mark.parametrize(
    ("stdin", "code", "message"),
    [
        ('{"query": "x", "count": 0, "results": []}', 0, "no videos to download"),
        ("", 5, "standard input is empty"),
        ('{"results": [', 5, "standard input is not JSON"),
        ('{"items": []}', 5, "has no field `results`"),
        ('{"results": [{"title": "t"}]}', 5, "results[0]: field `url`"),
        ("# none\n\n", 0, "no videos to download"),
        ("okVideo0001\nnot a video\n", 5, "standard input: line 2: 'not a video' is not a URL"),
    ],
)
def test_invalid_input(run, stdin, code, message):
    done = run("-", stdin=stdin)
    assert done.exit_code == code
    assert message in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("nothing.json",), 5, "is not a file, a URL or a video id"),
        (("okVideo0001", "--rate-limit", "fast"), 2, "--rate-limit should be a number of bytes"),
        (("okVideo0001", "--cookies", "nowhere.txt"), 5, "nowhere.txt does not exist"),
        (("okVideo0001", "--cookies-from-browser", "mosaic"), 2, "unknown browser 'mosaic'"),
    ],
)
def test_invalid_arguments(run, arguments, code, message):
    done = run(*arguments)
    assert done.exit_code == code
    assert message in done.stderr
    assert done.stderr.count("sca: ") <= 2


def test_unwritable_output_folder(run, fake, media, tmp_path):
    ok(fake, media, "okVideo0001")
    (tmp_path / "file").write_text("in the way")
    done = run("okVideo0001", out=tmp_path / "file" / "deeper")
    assert done.exit_code == 5
    assert "cannot create" in done.stderr
    assert fake.site.log == []
