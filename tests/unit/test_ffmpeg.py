"""Parsing the logs of several versions of ffmpeg, and the ways in which it ends."""

import threading
import time

import pytest

from sca.audio.coded.containers import SelectedTrack
from sca.audio.decoder.properties import FileProperties
from sca.data.media.ffmpeg import FfmpegProgram, FfmpegRunner, FfmpegStopped, find_ffmpeg, url
from sca.data.media.ffmpeg_log import FfmpegLog
from sca.data.media.transcode_formats import AudioFormat
from sca.data.media.transcode_plan import clashes, find_sources, input_extensions
from sca.errors import InputError, MissingToolError, OutputError, ScaError, UsageError
from sca.textutil import one_line

IN_7 = (
    "[in#0/matroska,webm @ 0x1b] [verbose]   Input stream #0:0 (audio): 501 packets read (12 bytes); "
    "501 frames decoded; {n} decode errors (480000 samples); "
)
IN_5 = "[verbose]   Input stream #0:1 (audio): 501 packets read (129593 bytes); 501 frames decoded (480000 samples); "
RATES = "[Parsed_aresample_0 @ 0x7f] [verbose] ch:2 chl:stereo fmt:fltp r:48000Hz -> ch:2 chl:stereo fmt:fltp r:48000Hz"


def log(*lines):
    made = FfmpegLog()
    for line in lines:
        made.add_line(line)
    return made


def test_decoded_samples_are_parsed_for_every_version():
    for line in (IN_7.format(n=0), IN_5):
        read = log(RATES, line)
        assert (read.decoded, read.in_rate_hz, read.decode_errors, read.source_s) == (480_000, 48_000, 0, 10.0)
    assert log(IN_7.format(n=3)).decode_errors == 3
    assert log("[error] Error while decoding stream #0:0: Invalid data").decode_errors == 1


def test_source_length_includes_gaps():
    filled = log(RATES, IN_5, *["[Parsed_aresample_0 @ 0x7f] [verbose] adding 24000 audio samples of silence"] * 2)
    assert filled.source_s == 11.0
    assert log(RATES, IN_5, "[a @ 0x1] [verbose] discarding 48000 audio samples").source_s == 9.0
    assert log(IN_5).source_s is None
    assert log(RATES).source_s is None


def test_tags_of_the_source_are_not_parsed():
    """A title may look like a log line; ffmpeg prints tags at the level info."""
    read = log("[info]     title : " + IN_5, "[info]     title : adding 9 audio samples of silence", "no level at all")
    assert (read.decoded, read.added, read.errors) == (None, 0, [])


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["[in#0 @ 0x1f] [error] Error opening input: Invalid data", "[fatal] later"], "Error opening input: Invalid data"),
        (["[error] broken pipe of a filter", "[out#0 @ 0x2] [error] x: No space left on device"], "x: No space left on device"),
        (["[error] [dec @ 0xab12] odd"], "[dec] odd"),
        (["[info] nothing", "the last word", " "], "the last word"),
        ([], "it gave no reason"),
    ],
)  # fmt: skip
def test_reason_is_one_line(lines, reason):
    assert log(*lines).reason == reason


def test_loudness_is_parsed():
    summary = "  Integrated loudness:\n    I:         {i} LUFS\n    Threshold: -31.7 LUFS\n  True peak:\n    Peak:      {p} dBFS"
    assert log(*summary.format(i="-21.7", p="-17.8").split("\n")).loudness == (-21.7, -17.8)
    assert log(*summary.format(i="-70.0", p="-inf").split("\n")).loudness is None
    assert log("nothing").loudness is None


def script(path, body):
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return FfmpegRunner(FfmpegProgram(str(path), "system", "0", soxr=False))


def job(tmp_path):
    return AudioFormat().transcode_command(
        tmp_path / "in", tmp_path / "out", SelectedTrack(0, (1.0,), None), soxr=False
    )


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ("echo '[error] it broke' >&2; exit 1", InputError, "ffmpeg: it broke"),
        ("echo '[error] No space left on device' >&2; exit 1", OutputError, "No space left"),
        ("kill -9 $$", ScaError, "killed by signal 9"),
    ],
)
def test_exit_codes_become_errors(tmp_path, body, kind, words):
    with pytest.raises(kind, match=words) as caught:
        script(tmp_path / "ffmpeg", body).run(job(tmp_path))
    assert type(caught.value) is kind


def test_progress_is_reported(tmp_path):
    reported = []
    body = "printf 'out_time_us=N/A\\nprogress=continue\\nout_time_us=1500000\\nspeed=N/A\\nprogress=end\\n'"
    script(tmp_path / "ffmpeg", body).run(job(tmp_path), reported.append)
    assert reported == [1.5]


def test_number_of_kept_errors_is_bounded(tmp_path):
    body = "i=0; while [ $i -lt 5000 ]; do echo '[error] bad packet' >&2; i=$((i+1)); done"
    read = script(tmp_path / "ffmpeg", body).run(job(tmp_path))
    assert len(read.errors) <= 20
    assert len(read.tail) <= 60


def test_stop_ends_running_and_later_commands(tmp_path):
    runner = script(tmp_path / "ffmpeg", "exec sleep 60")
    ended = []

    def work():
        try:
            runner.run(job(tmp_path))
        except FfmpegStopped:
            ended.append("stopped")

    thread = threading.Thread(target=work)
    thread.start()
    while not runner._running:
        time.sleep(0.01)
    runner.stop()
    thread.join(60)
    assert ended == ["stopped"]
    with pytest.raises(FfmpegStopped):
        runner.run(job(tmp_path))


def test_no_ffmpeg(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "nowhere"))
    with pytest.raises(MissingToolError, match="no working ffmpeg found"):
        find_ffmpeg()


# --- formats, names ---


def test_paths_are_literal(tmp_path):
    assert url(tmp_path / "concat:a") == f"file:{tmp_path}/concat:a"


@pytest.mark.parametrize("text", ["webm", ".WEBM", " webm ", "webm,M4A", "any"])
def test_input_extensions(text):
    assert "webm" in input_extensions(text)


@pytest.mark.parametrize("text", ["", "webm,", "exe", "any thing"])
def test_unknown_extension_lists_the_supported_ones(text):
    with pytest.raises(UsageError, match="unknown extension") as caught:
        input_extensions(text)
    assert "m4a" in caught.value.hint


@pytest.mark.parametrize(
    "wrong",
    [
        {"extension": "mp3"},
        {"rate_hz": 0},
        {"channels": 0},
        {"loudness_lufs": float("nan")},
        {"extension": "opus", "rate_hz": 44_100},
    ],
)
def test_invalid_formats(wrong):
    with pytest.raises(UsageError):
        AudioFormat(**wrong)


def test_gain():
    asked = AudioFormat(loudness_lufs=-23)
    assert asked.gain_db(-30.0, -20.0) == (7.0, None)
    assert asked.gain_db(-10.0, 0.5) == (-13.0, None)
    gain, note = asked.gain_db(-30.0, -3.0)
    assert gain == 2.0
    assert "leave room for -28.0 LUFS" in note


def test_difference_of_a_file_from_a_format():
    fits = FileProperties("flac", 48_000, 1, False, 1.0)
    assert AudioFormat().difference(fits) is None
    assert "not opus" in AudioFormat("opus").difference(fits)
    assert AudioFormat("opus", 16_000).difference(FileProperties("opus", 48_000, 1, False, 1.0)) is None, (
        "opus always decodes to 48 kHz"
    )


def test_names_print_on_one_line():
    assert one_line("a\nb\tc\x1b[31m\udce9 é 😀") == "a\\nb\\tc\\x1b[31m\\udce9 é 😀"


def test_sources_are_sorted_and_clashes_reported(tmp_path):
    for name in ("b.webm", "a.webm", "a.mka", "c/a.webm"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = find_sources(tmp_path, tmp_path / "out", "any", "flac").files
    assert [one.item for one in found] == ["a.mka", "a.webm", "b.webm", "c/a.webm"]
    assert set(clashes(found)) == {"a.mka", "a.webm"}


def test_files_of_other_types_are_counted(tmp_path):
    for name in ("a.webm", "b.mp4", "c.m4a", "d/e.MP4", "a.info.json", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = find_sources(tmp_path, tmp_path / "out", None, "flac")
    assert [one.item for one in found.files] == ["a.webm"]
    assert found.left == {"mp4": 2, "m4a": 1}
    assert find_sources(tmp_path / "b.mp4", tmp_path / "out", None, "flac").left == {}
