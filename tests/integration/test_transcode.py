"""`sca transcode` on real media made by ffmpeg and PyAV: results, resuming, unusual names, bad files."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from sca.audio.coded.containers import SelectedTrack, selected_track
from sca.audio.decode import BlockReader, read_audio
from sca.children.ending import ending_with_parent
from sca.cli.main import app
from sca.data.digests import file_facts
from sca.data.media import transcoder
from sca.data.media.ffmpeg import FfmpegCrashedError, FfmpegProgram, FfmpegRunner, find_ffmpeg
from sca.data.media.transcode import AudioFormat
from sca.data.media.transcode import transcode as run_transcode
from sca.data.runs.ledger import lock_dir
from sca.data.runs.local import ProcessExecutor
from tests.helpers.broken import REASON, break_for
from tests.helpers.coded_parts import JOINABLE, Part, join, write_part
from tests.helpers.processes import is_running, state
from tests.helpers.timeouts import until

ROOT = Path(__file__).resolve().parents[2]
SINE = "sine=frequency={hz}:sample_rate={rate_hz}:duration={seconds}"
PICTURES = ["-f", "lavfi", "-i", "testsrc=duration=4:size=64x48:rate=10"]
# name: pitch, rate, seconds, options of ffmpeg. Rates, layouts and containers are those of downloads.
MEDIA = {
    "opus.webm": (440, 48_000, 3.0, ["-ac", "2", "-c:a", "libopus"]),
    "aac.m4a": (523, 44_100, 2.7, ["-c:a", "aac"]),
    "film.mp4": (659, 44_100, 3.3, [*PICTURES, "-c:a", "aac", "-c:v", "libx264"]),
    "surround.mp4": (784, 48_000, 2.0, ["-ac", "6", "-c:a", "aac"]),
    "film.webm": (880, 44_100, 2.5, [*PICTURES, "-c:a", "libvorbis", "-c:v", "libvpx"]),
    "layer.mp3": (988, 22_050, 2.1, ["-c:a", "libmp3lame"]),
    "deep.wav": (1047, 96_000, 1.9, ["-c:a", "pcm_s24le"]),
}


def ffmpeg(*arguments):
    command = [find_ffmpeg().path, "-nostdin", "-v", "error", "-y", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True)


def sine(path, hz=440, rate_hz=48_000, seconds=1.0, options=()):
    lavfi = SINE.format(hz=hz, rate_hz=rate_hz, seconds=seconds)
    pictures, codec = (list(options[:4]), options[4:]) if "-i" in options else ([], options)
    path.parent.mkdir(parents=True, exist_ok=True)
    ffmpeg("-f", "lavfi", "-i", lavfi, *pictures, *codec, f"file:{path}")
    return path


@pytest.fixture(scope="session")
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media")
    for name, (hz, rate_hz, seconds, options) in MEDIA.items():
        sine(folder / name, hz, rate_hz, seconds, options)
    return folder


@pytest.fixture(scope="session")
def webm(media):
    return media / "opus.webm"


def transcode(*arguments, code=0):
    done = CliRunner().invoke(app, ["transcode", *map(str, arguments), "--json"])
    assert done.exit_code == code, done.stderr + str(done.exception)
    return json.loads(done.stdout) if done.stdout else done.stderr


def refused(*arguments, code=5):
    done = CliRunner().invoke(app, ["transcode", *map(str, arguments)])
    assert (done.exit_code, done.stdout) == (code, ""), done.output
    return done.stderr


def failure(*arguments):
    """Transcode one file that fails, and return the reason."""
    ((_, reason),) = transcode(*arguments, code=7)["failed"].items()
    assert "\n" not in reason
    return reason


def copies(folder, webm, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(webm, folder / name)
    return folder


def seconds_of(path):
    with BlockReader(path) as reader:
        return sum(map(len, reader)) / reader.info.rate_hz


def pitch_of(path):
    samples, rate_hz = soundfile.read(path)
    samples = samples if samples.ndim == 1 else samples[:, 0]
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return np.argmax(spectrum) * rate_hz / len(samples)


def entries(out):
    lines = (out / "ledger.jsonl").read_text(encoding="utf-8").splitlines()
    return {entry["item"]: entry for entry in map(json.loads, lines)}


def visible(out):
    return sorted(
        path.relative_to(out).as_posix()
        for path in out.rglob("*")
        if path.is_file() and path.name not in (".lock", ".files.jsonl")
    )


# --- results ---


@pytest.mark.parametrize(("extension", "subtype"), [("flac", "PCM_16"), ("wav", "PCM_16"), ("opus", "OPUS")])
def test_length_pitch_and_format_are_correct(media, tmp_path, extension, subtype):
    alone = [name for name in MEDIA if name not in ("film.mp4", "film.webm")]
    for name in MEDIA:  # the two films would have one result name
        target = tmp_path / "in" / (name if name in alone else f"{Path(name).suffix[1:]}-{name}")
        target.parent.mkdir(exist_ok=True)
        shutil.copy(media / name, target)
    done = transcode(tmp_path / "in", tmp_path / "out", "any", extension)
    assert (done["total"], done["made"], done["failed"]) == (len(MEDIA), len(MEDIA), {})
    for source in sorted((tmp_path / "in").iterdir()):
        result = tmp_path / "out" / f"{source.stem}.{extension}"
        info = soundfile.info(result)
        assert (info.samplerate, info.channels, info.subtype) == (48_000, 1, subtype), result
        # The padding of the last AAC packet is kept by one version of FFmpeg and dropped by another.
        packet_s = 1024 / 44_100 if source.suffix in (".mp4", ".m4a") else 0.0
        assert -0.02 <= seconds_of(result) - seconds_of(source) <= 0.02 + packet_s, result
        hz = MEDIA[source.name if source.name in MEDIA else source.name.split("-", 1)[1]][0]
        assert pitch_of(result) == pytest.approx(hz, abs=1.0), result
    assert done["seconds"] == pytest.approx(sum(map(seconds_of, (tmp_path / "in").iterdir())), abs=0.2)


def test_rate_and_channels_are_options(webm, tmp_path):
    transcode(webm, tmp_path, "--sample-rate", 16_000, "--channels", 2)
    info = soundfile.info(tmp_path / "opus.flac")
    assert (info.samplerate, info.channels, info.subtype, info.frames) == (16_000, 2, "PCM_16", 48_000)


def test_ledger_describes_the_source(webm, tmp_path):
    transcode(webm, tmp_path)
    entry = entries(tmp_path)["opus.webm"]
    assert entry["status"] == "kept"
    assert entry["extra"]["format"] == "flac, 48000 Hz, mono, 16 bit"
    assert entry["extra"]["source"]["codec"] == "opus"
    assert entry["extra"]["seconds"] == pytest.approx(3.0, abs=0.02)


def test_mono_mix_does_not_clip(tmp_path):
    sides = "sine=440:sample_rate=48000:duration=1,volume=17dB,aformat=channel_layouts=5.1"
    ffmpeg("-f", "lavfi", "-i", sides, tmp_path / "loud.wav")
    transcode(tmp_path / "loud.wav", tmp_path / "out")
    samples = read_audio(tmp_path / "out" / "loud.flac")
    assert np.mean(np.abs(samples) > 0.999) < 0.001


def test_loudness_is_one_gain(tmp_path):
    rng = np.random.default_rng(0)
    swell = np.repeat(np.linspace(0.02, 0.1, 8), 48_000)  # a quiet beginning stays quieter than the end
    samples = (rng.standard_normal(len(swell)) * swell).clip(-0.5, 0.5)
    soundfile.write(tmp_path / "speech.wav", samples, 48_000, subtype="PCM_16")
    done = transcode(tmp_path / "speech.wav", tmp_path / "out", "--loudness", -23)
    assert done["notes"] == []
    result = tmp_path / "out" / "speech.flac"
    loudness, _ = (
        FfmpegRunner(find_ffmpeg())
        .run(AudioFormat().loudness_command(result, selected_track(result), soxr=False))
        .loudness
    )
    assert loudness == pytest.approx(-23, abs=0.15)
    made, source = read_audio(result), read_audio(tmp_path / "speech.wav")
    gain = np.dot(made, source) / np.dot(source, source)
    assert np.max(np.abs(made - gain * source)) < 2 / 32768, "the same gain everywhere"
    assert transcode(tmp_path / "speech.wav", tmp_path / "out", "--loudness", -23)["already"] == 1
    assert "made as flac, 48000 Hz, mono, 16 bit, -23 LUFS" in failure(tmp_path / "speech.wav", tmp_path / "out")


def test_loudness_keeps_peaks_and_silence(tmp_path):
    click = np.full(480_000, 0.001)
    click[::48_000] = 0.9
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in" / "click.wav", click * np.sin(np.arange(480_000)), 48_000)
    soundfile.write(tmp_path / "in" / "silence.wav", np.zeros(96_000), 48_000)
    notes = dict(transcode(tmp_path / "in", tmp_path / "out", "wav", "--loudness", -14)["notes"])
    assert "leave room for" in notes["click.wav"]
    assert "silent" in notes["silence.wav"]
    assert np.max(np.abs(read_audio(tmp_path / "out" / "click.flac"))) < 10 ** (-0.9 / 20)
    assert np.max(np.abs(read_audio(tmp_path / "out" / "silence.flac"))) == 0


def write_with_hole(path, gap_s):
    """Write two seconds of sound, with a gap of `gap_s` between them in the time line."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=16_000)
        stream.layout = "mono"
        tone = (0.3 * 32767 * np.sin(2 * np.pi * 440 * np.arange(32_000) / 16_000)).astype(np.int16)
        for at in range(0, 32_000, 1600):
            frame = av.AudioFrame.from_ndarray(tone[None, at : at + 1600], "s16", "mono")
            frame.sample_rate, frame.pts = 16_000, at + (round(gap_s * 16_000) if at >= 16_000 else 0)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def test_gap_in_the_time_line_stays_silent(tmp_path):
    write_with_hole(tmp_path / "hole.mkv", 1.5)
    transcode(tmp_path / "hole.mkv", tmp_path / "out")
    samples = read_audio(tmp_path / "out" / "hole.flac", 16_000)
    assert len(samples) == pytest.approx(3.5 * 16_000, abs=0.02 * 16_000)
    assert np.max(np.abs(samples[17_000:39_000])) < 0.01
    assert np.max(np.abs(samples[41_000:50_000])) > 0.25


# --- files and names ---


def test_subfolders_are_mirrored_and_hidden_files_ignored(webm, tmp_path):
    source = copies(tmp_path / "in", webm, "a.webm", "b/c/d.WEBM", ".hidden.webm", ".git/x.webm", "out/again.webm")
    done = transcode(source, source / "out")
    assert done["made"] == 2
    assert visible(source / "out") == ["a.flac", "again.webm", "b/c/d.flac", "ledger.jsonl"]


ODD = [
    "with space.webm", "it's \"quoted\".webm", "new\nline.webm", "😀 ünïcode.webm", "-y.webm", "--help.webm", "a:b.webm",
    "50%d.webm", "[x];{y}$(z)`w`.webm", "back\\slash.webm", "dots.v1.2.webm", "x" * 250 + ".webm", "é" * 124 + ".webm",
]  # fmt: skip


def test_odd_names(webm, tmp_path):
    source = copies(tmp_path / "in", webm, *ODD)
    done = transcode(source, tmp_path / "out")
    assert (done["made"], done["failed"]) == (len(ODD), {})
    assert visible(tmp_path / "out") == sorted([*(name.removesuffix("webm") + "flac" for name in ODD), "ledger.jsonl"])
    assert "new\\nline.webm" in entries(tmp_path / "out")
    assert transcode(source, tmp_path / "out")["already"] == len(ODD)


def test_relative_path_with_leading_dash(webm, tmp_path):
    copies(tmp_path / "in", webm, "-n.webm")
    command = [sys.executable, "-m", "sca", "transcode", "--", "-n.webm", "-out"]
    subprocess.run(command, cwd=tmp_path / "in", check=True, capture_output=True, timeout=60)
    assert (tmp_path / "in" / "-out" / "-n.flac").exists()


def test_too_long_name_fails_alone(webm, tmp_path):
    copies(tmp_path / "in", webm, "y" * 252 + ".ts", "fine.ts")
    done = transcode(tmp_path / "in", tmp_path / "out", "ts", code=7)
    assert done["made"] == 1
    assert "too long" in next(iter(done["failed"].values()))


def test_name_that_is_not_utf8_is_reported(webm, tmp_path):
    (tmp_path / "in").mkdir()
    shutil.copy(webm, os.fsencode(tmp_path / "in") + b"/latin-\xe9.webm")
    shutil.copy(webm, tmp_path / "in")
    done = transcode(tmp_path / "in", tmp_path / "out", code=7)
    assert done["made"] == 1
    assert list(done["failed"]) == ["latin-\\udce9.webm"]
    assert "rename it" in done["failed"]["latin-\\udce9.webm"]


def test_two_sources_with_one_result_name_fail(webm, media, tmp_path):
    source = copies(tmp_path / "in", webm, "a.webm", "b.webm")
    shutil.copy(media / "aac.m4a", source / "a.m4a")
    done = transcode(source, tmp_path / "out", "webm,m4a", code=7)
    assert done["made"] == 1
    assert set(done["failed"]) == {"a.m4a", "a.webm"}
    assert "a.m4a and a.webm would both become a.flac" in done["failed"]["a.webm"]
    assert visible(tmp_path / "out") == ["b.flac", "ledger.jsonl"]


# --- second runs ---


def test_second_run_does_nothing(media, tmp_path):
    first = transcode(media, tmp_path, "m4a,mp3,wav")
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.iterdir() if path.is_file()}
    second = transcode(media, tmp_path, "m4a,mp3,wav")
    assert (first["made"], second["made"], second["already"]) == (3, 0, 3)
    for name in ("aac.flac", "layer.flac", "deep.flac"):
        assert (tmp_path / name).stat().st_mtime_ns == before[tmp_path / name][0]
    assert (tmp_path / "ledger.jsonl").read_bytes() == before[tmp_path / "ledger.jsonl"][1]


def test_known_results_are_not_decoded_again(webm, tmp_path, monkeypatch):
    transcode(webm, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(transcoder, "file_properties", lambda path: pytest.fail(f"{path} was read"))
        assert transcode(webm, tmp_path)["already"] == 1
    (result,) = tmp_path.glob("*.flac")
    result.write_bytes(result.read_bytes()[:-2000])
    assert transcode(webm, tmp_path)["made"] == 1, "a damaged result is made again"


def test_results_without_a_ledger_are_recognized(webm, tmp_path):
    transcode(webm, tmp_path)
    (tmp_path / "ledger.jsonl").unlink()
    assert transcode(webm, tmp_path)["already"] == 1
    os.utime(webm)
    assert transcode(webm, tmp_path)["already"] == 1, "touched, not changed"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--sample-rate", 16_000], "is at 48000 Hz, not 16000 Hz"),
        (["--channels", 2], "has 1 channel, not 2"),
        (["--loudness", -23], "made as flac, 48000 Hz, mono, 16 bit"),
    ],
)
def test_different_result_stays_without_force(webm, tmp_path, options, words):
    transcode(webm, tmp_path)
    before = (tmp_path / "opus.flac").read_bytes()
    assert words in failure(webm, tmp_path, *options)
    assert (tmp_path / "opus.flac").read_bytes() == before
    assert transcode(webm, tmp_path)["already"] == 1, "the first result is still there"
    assert transcode(webm, tmp_path, *options, "--force")["made"] == 1
    assert transcode(webm, tmp_path, *options)["already"] == 1


def test_result_of_other_length_source_or_depth_stays(webm, tmp_path):
    deep, short, other = (tmp_path / name for name in ("deep", "short", "other"))
    for folder in (deep, short, other):
        folder.mkdir()
    samples = read_audio(webm)
    soundfile.write(deep / "opus.flac", samples, 48_000, subtype="PCM_24")
    soundfile.write(short / "opus.flac", samples[:48_000], 48_000, subtype="PCM_16")
    assert "more than 16 bits" in failure(webm, deep)
    assert "lasts 1.00 s, not 3.00 s" in failure(webm, short)
    source = sine(tmp_path / "in" / "one.webm")
    transcode(source, other)
    sine(source, hz=600)
    assert "another recording" in failure(source, other)
    assert pitch_of(other / "one.flac") == pytest.approx(440, abs=1)


def test_unreadable_result_is_replaced(webm, tmp_path):
    transcode(webm, tmp_path)
    (tmp_path / "opus.flac").write_bytes(b"fLaC")
    done = transcode(webm, tmp_path)
    assert (done["made"], done["notes"]) == (1, [])
    half = (tmp_path / "opus.flac").read_bytes()[:9000]
    (tmp_path / "opus.flac").write_bytes(half)
    assert transcode(webm, tmp_path, "--force")["made"] == 1
    assert seconds_of(tmp_path / "opus.flac") == pytest.approx(3, abs=0.02)


def test_file_of_others_is_replaced_only_with_force(webm, tmp_path):
    theirs = tmp_path / "opus.flac"
    theirs.write_text("minutes of a meeting")
    assert failure(webm, tmp_path) == (
        "opus.flac exists, is not in the ledger and cannot be read as sound: --force replaces it"
    )
    assert theirs.read_text() == "minutes of a meeting"
    done = transcode(webm, tmp_path, "--force")
    assert done["notes"] == [["opus.webm", "replaced opus.flac, which is not in the ledger"]]
    assert transcode(webm, tmp_path)["already"] == 1


# --- bad input ---


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["xyz"], "unknown extension 'xyz' to read"),
        (["webm", "docx"], "unknown extension 'docx' to write"),
        (["webm", "opus", "--sample-rate", "44100"], "opus does not support 44100 Hz"),
        (["--loudness", "3"], "--loudness should be between"),
        (["--channels", "6"], "--channels should be 1 or 2"),
    ],
)
def test_usage_errors(webm, tmp_path, arguments, words):
    stderr = refused(webm.parent, tmp_path, *arguments, code=2)
    assert words in stderr
    if "unknown" in words:
        assert "flac" in stderr, "lists what is supported"


def test_folder_without_such_files_lists_what_it_has(media, tmp_path):
    assert "2 .mp4" in refused(media, tmp_path / "out", "avi")
    (tmp_path / "empty").mkdir()
    assert "has no .webm file" in refused(tmp_path / "empty", tmp_path / "out")
    assert "does not exist" in refused(tmp_path / "nowhere", tmp_path / "out")


def test_source_is_never_overwritten(webm, tmp_path):
    source = copies(tmp_path / "in", webm, "a.opus", "b.webm")
    assert "give another folder" in refused(source, source, "any", "opus", code=2)
    assert "over itself" in refused(source / "a.opus", source, "opus", "opus", code=2)
    assert transcode(source, source)["made"] == 1, "beside their sources is fine"


def bad_files(folder, webm):
    folder.mkdir()
    (folder / "text.webm").write_text("this is no recording\n" * 50)
    (folder / "empty.webm").write_bytes(b"")
    ffmpeg(*PICTURES, "-c:v", "libvpx", folder / "mute.webm")
    ffmpeg("-f", "lavfi", "-i", "anullsrc", "-t", "0", "-c:a", "libopus", folder / "zero.webm")
    whole = sine(folder / "cut.webm", seconds=8, options=["-c:a", "libopus"]).read_bytes()
    (folder / "cut.webm").write_bytes(whole[: len(whole) // 3])
    damaged = bytearray(sine(folder / "damaged.webm", seconds=6, options=["-c:a", "libvorbis"]).read_bytes())
    damaged[len(damaged) // 2 : len(damaged) // 2 + 3000] = bytes(range(250)) * 12
    (folder / "damaged.webm").write_bytes(bytes(damaged))
    (folder / "gone.webm").symlink_to(folder / "nowhere.webm")
    (folder / "folder.webm").mkdir()
    shutil.copy(webm, folder / "fine.webm")
    return folder


def test_bad_files_fail_alone_with_their_reasons(webm, tmp_path):
    source = bad_files(tmp_path / "in", webm)
    done = transcode(source, tmp_path / "out", code=7)
    reasons = done["failed"]
    # The reader fills missing packets with silence; an ffmpeg of the user finds that they cannot be decoded.
    filled = [name for name, note in done["notes"] if "in place of missing packets" in note]
    assert filled in ([], ["damaged.webm"])
    assert done["made"] == 1 + len(filled)
    assert "Invalid data found when processing input" in reasons["text.webm"]
    assert "is empty (0 bytes)" in reasons["empty.webm"]
    assert "has no sound track" in reasons["mute.webm"]
    assert "holds no sound" in reasons["zero.webm"]
    assert "cut short" in reasons["cut.webm"]
    if not filled:
        assert "damaged" in reasons["damaged.webm"] or "cut short" in reasons["damaged.webm"]
    assert "does not exist" in reasons["gone.webm"]
    assert len(reasons) == 7 - len(filled)
    assert all("\n" not in reason for reason in reasons.values())
    assert visible(tmp_path / "out") == sorted(["fine.flac", "ledger.jsonl", *(["damaged.flac"] if filled else [])])
    statuses = {item: entry["status"] for item, entry in entries(tmp_path / "out").items()}
    assert statuses == dict.fromkeys(reasons, "failed") | dict.fromkeys(["fine.webm", *filled], "kept")


@pytest.mark.parametrize(("module", "function"), [(transcoder, "probe"), (file_facts, "input_sha256")])
def test_unexpected_exception_fails_its_file_only(webm, tmp_path, monkeypatch, module, function):
    source = copies(tmp_path / "in", webm, "fine.webm", "odd.webm")
    break_for(monkeypatch, module, function, "odd.webm")
    done = transcode(source, tmp_path / "out", code=7)
    assert (done["made"], done["failed"]) == (1, {"odd.webm": REASON})
    assert "ZeroDivisionError: injected" in entries(tmp_path / "out")["odd.webm"]["extra"]["traceback"]
    monkeypatch.undo()
    assert transcode(source, tmp_path / "out")["made"] == 1
    assert "traceback" not in entries(tmp_path / "out")["odd.webm"]["extra"]


@pytest.mark.parametrize("extension", JOINABLE)
@pytest.mark.parametrize("channels", [1, 2])
def test_joined_recordings_are_transcoded_whole(tmp_path, extension, channels):
    path, _ = join(tmp_path / "in" / f"a.{extension}", extension, Part(), Part(hz=880.0))
    done = transcode(path, tmp_path / "out", "any", "wav", "--channels", str(channels))
    assert done["made"] == 1
    x = soundfile.read(tmp_path / "out" / "a.wav", always_2d=True)[0]
    assert x.shape == (pytest.approx(len(read_audio(path)), abs=1_000), channels)
    assert np.abs(x[-40_000:-10_000]).max() == pytest.approx(0.3, abs=0.05)


def test_adts_with_cut_frames_is_transcoded_as_it_is_read(tmp_path):
    first, later = (
        write_part(tmp_path / f"{hz}.aac", "aac", Part(rate_hz=rate_hz, hz=hz, seconds=3.0)).read_bytes()
        for rate_hz, hz in ((48_000, 440.0), (24_000, 880.0))
    )
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "joined.aac").write_bytes(first[:-4_000] + later)
    (folder / "padded.aac").write_bytes(first + bytes(3_000))
    done = transcode(folder, tmp_path / "out", "aac", "wav", "--sample-rate", "48000")
    assert (done["made"], done["failed"]) == (2, {})
    for name in ("joined", "padded"):
        with BlockReader(folder / f"{name}.aac") as reader:
            expected = np.concatenate(list(reader))
        x, _ = soundfile.read(tmp_path / "out" / f"{name}.wav")
        assert np.abs(x - expected).max() < 1e-3
        assert reader.explains_damage
        assert tuple(entries(tmp_path / "out")[f"{name}.aac"]["notes"]) == reader.notes
    strict = transcode(folder, tmp_path / "strict", "aac", "wav", "--accept-damage", "0", code=7)
    assert list(strict["failed"]) == ["joined.aac"]
    assert "0.02 s cannot be decoded" in strict["failed"]["joined.aac"]


def mixes():
    """Return film sound, stereo that is inverted in its second half, wide stereo, and sound above full scale."""
    rng, times = np.random.default_rng(0), np.arange(4 * 65_536) / 48_000
    speech = 0.2 * np.sin(2 * np.pi * 440 * times)
    sides, halves = 0.1 * rng.standard_normal((2, len(speech))), np.repeat([1, -1], len(speech) // 2)
    film = np.zeros((len(speech), 6))
    film[:, 2], film[:, 0], film[:, 3] = speech, sides[0], sides[1]
    return {
        "film.flac": (film, ["6 channels of film sound are mixed, with the centre channel at full level"]),
        "inverted.wav": (
            np.column_stack([speech, halves * speech]),
            ["left and right cancel each other in 3 s; the left channel is used there"],
        ),
        "wide.flac": (sides.T, []),
        "loud.wav": (6 * speech, ["samples above full scale are clipped: the peak is 1.6 dB above it"]),
        "both loud.wav": (
            6 * np.column_stack([speech, speech]),
            ["samples above full scale are clipped: the peak is 1.6 dB above it"],
        ),
    }


def test_channels_are_mixed_and_noted_as_the_reader_does(tmp_path):
    (tmp_path / "in").mkdir()
    for name, (samples, _) in mixes().items():
        subtype = "FLOAT" if name.endswith("wav") else "PCM_16"
        soundfile.write(tmp_path / "in" / name, samples, 48_000, subtype=subtype)
    notes = transcode(tmp_path / "in", tmp_path / "out", "any", "flac")["notes"]
    for name, (_, expected) in mixes().items():
        assert [text for item, text in notes if item == name] == expected
        with BlockReader(tmp_path / "in" / name) as reader:
            read = np.concatenate(list(reader))
        assert list(reader.notes) == expected
        made = read_audio((tmp_path / "out" / name).with_suffix(".flac"))
        assert np.abs(made - read).max() < 2 / 32768


@pytest.mark.parametrize("name", ["film.flac", "joined.mka", "mono.wav"])
def test_stereo_keeps_the_level_of_the_centre_and_of_mono(name, tmp_path):
    tones = np.zeros((48_000, 6))
    for channel, hz in ((0, 300), (1, 700), (2, 1100), (3, 1500)):
        tones[:, channel] = 0.2 * np.sin(2 * np.pi * hz * np.arange(48_000) / 48_000)
    if name == "joined.mka":
        join(tmp_path / name, "mka", Part("5.1", hz=1100.0), Part("5.1", hz=1100.0))
    else:
        soundfile.write(tmp_path / name, tones if name == "film.flac" else tones[:, 2], 48_000)
    transcode(tmp_path / name, tmp_path / "out", "any", "wav", "--channels", "2")
    x = soundfile.read(tmp_path / "out" / f"{name.split('.')[0]}.wav")[0][:48_000]
    levels = np.abs(np.fft.rfft(x, axis=0))[[300, 700, 1100, 1500]] / 24_000
    expected = {
        "film.flac": [[0.2, 0], [0, 0.2], [0.2, 0.2], [0, 0]],
        "mono.wav": [[0, 0], [0, 0], [0.2, 0.2], [0, 0]],
        # The same tone of 0.3 on every channel: a front, the centre, and one behind.
        "joined.mka": None,
    }[name]
    if expected is None:
        assert np.abs(x).max() == pytest.approx(0.3 * (2 + 2**-0.5), abs=0.02)
    else:
        assert np.allclose(levels, expected, atol=2e-3)


@pytest.mark.parametrize("default", [0, 1])
def test_default_track_is_transcoded(tmp_path, default):
    inputs = [argument for hz in (440, 880) for argument in ("-f", "lavfi", "-i", f"sine={hz}:duration=1")]
    flags = ["-disposition:a:0", "0", "-disposition:a:1", "0", f"-disposition:a:{default}", "default"]
    ffmpeg(*inputs, "-map", 0, "-map", 1, *flags, tmp_path / "a.mka")
    done = transcode(tmp_path / "a.mka", tmp_path / "out")
    assert pitch_of(tmp_path / "out" / "a.flac") == pytest.approx(880 if default else 440, abs=3)
    assert done["notes"] == [["a.mka", f"track {default + 1} of 2 audio tracks is read"]]


def test_crash_of_ffmpeg_is_not_a_fault_of_the_file(tmp_path):
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\nkill -SEGV $$\n")
    program.chmod(0o755)
    command = AudioFormat().transcode_command(
        tmp_path / "a", tmp_path / "b", SelectedTrack(0, (1.0,), None), soxr=False
    )
    with pytest.raises(FfmpegCrashedError, match="crashed with signal 11"):
        FfmpegRunner(FfmpegProgram(str(program), "system", "0", soxr=False)).run(command)


def test_old_failures_are_tried_again_unless_switched_off(webm, tmp_path):
    source = copies(tmp_path / "in", webm, "fine.webm")
    whole = sine(source / "cut.webm", seconds=8, options=["-c:a", "libopus"]).read_bytes()
    (source / "cut.webm").write_bytes(whole[: len(whole) // 3])
    first = transcode(source, tmp_path / "out", code=7)
    (source / "cut.webm").write_bytes(whole)
    left = transcode(source, tmp_path / "out", "--no-retry-failed", code=7)
    assert (left["made"], left["already"], left["failed"]) == (0, 1, first["failed"])
    assert transcode(source, tmp_path / "out", "--retry-failed")["made"] == 1


def test_worker_processes_write_the_same_as_threads(webm, tmp_path):
    source = copies(tmp_path / "in", webm, "a.webm", "b.webm", "c.webm")
    (source / "bad.webm").write_text("this is not sound")
    for name, executor in (("threads", None), ("processes", ProcessExecutor(2))):
        summary = run_transcode(source, tmp_path / name, AudioFormat(), executor=executor)
        assert (summary.made, len(summary.failed)) == (3, 1)
    assert visible(tmp_path / "threads") == visible(tmp_path / "processes")
    for name in visible(tmp_path / "threads"):
        assert (tmp_path / "threads" / name).read_bytes() == (tmp_path / "processes" / name).read_bytes()


def test_printed_text(webm, tmp_path):
    source = copies(tmp_path / "in", webm, "a.webm")
    (source / "b.webm").write_text("no recording " * 99)
    done = CliRunner().invoke(app, ["transcode", str(source), str(tmp_path / "out")])
    assert done.exit_code == 7
    assert "1 file made, 0.00 h; 0 made before, 1 failed" in done.stdout
    assert "sca: b.webm: failed: " in done.stderr
    assert "sca: 1 of 2 files failed\n     the reasons are in" in done.stderr


def test_output_that_cannot_be_written(webm, tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot create" in refused(webm, tmp_path / "file")
    assert "cannot create" in refused(webm, tmp_path / "file" / "below")
    (tmp_path / "out" / "opus.flac").mkdir(parents=True)
    assert "opus.flac" in failure(webm, tmp_path / "out")
    with lock_dir(tmp_path / "busy"):
        assert "another run" in refused(webm, tmp_path / "busy")


def test_no_permission(webm, tmp_path):
    if os.geteuid() == 0:  # root may write anywhere except in the kernel's file systems
        assert "/sys/sca-out" in refused(webm, "/sys/sca-out")
        assert "/proc/sca-out" in refused(webm, "/proc/sca-out")
        return
    (tmp_path / "locked").mkdir(mode=0o500)
    assert "no permission" in refused(webm, tmp_path / "locked")


def run_sca(*arguments, env=None, before=""):
    command = f'{before}exec "$0" -m sca "$@"'
    return subprocess.run(
        ["bash", "-c", command, sys.executable, *map(str, arguments)],
        capture_output=True, text=True, timeout=90, env=os.environ | (env or {}), check=False,
    )  # fmt: skip


def test_full_disk(tmp_path):
    """A limit on the file size is used where a small disk cannot be mounted."""
    source, out = tmp_path / "in", tmp_path / "out"
    out.mkdir()
    noise = np.random.default_rng(0).standard_normal((48_000 * 60, 1)) * 0.1
    source.mkdir()
    soundfile.write(source / "long.wav", noise, 48_000)
    soundfile.write(source / "short.wav", noise[:48_000], 48_000)
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(out)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        done = run_sca("transcode", source, out, "wav", "--json", before="" if mounted else "ulimit -f 2048; ")
        assert done.returncode == 7, done.stderr
        document = json.loads(done.stdout)
        assert (document["made"], list(document["failed"])) == (1, ["long.wav"])
        reason = document["failed"]["long.wav"]
        assert ("the disk is full" if mounted else "cannot be written") in reason
        assert entries(out)["long.wav"]["retryable"] is True
        assert visible(out) == ["ledger.jsonl", "short.flac"]
    finally:
        if mounted:
            subprocess.run(["umount", str(out)], check=True)


def without_ffmpeg(tmp_path):
    return {"PATH": str(tmp_path), "IMAGEIO_FFMPEG_EXE": str(tmp_path / "nowhere")}


def test_no_ffmpeg(webm, tmp_path):
    command = [sys.executable, "-m", "sca", "transcode", str(webm), str(tmp_path / "out")]
    env = os.environ | without_ffmpeg(tmp_path)
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (4, "")
    assert "no working ffmpeg found" in done.stderr
    assert "apt-get install ffmpeg" in done.stderr


def test_ffmpeg_of_the_system_is_preferred(webm, tmp_path):
    (tmp_path / "ffmpeg").symlink_to(find_ffmpeg().path)
    done = run_sca("transcode", webm, tmp_path / "out", "--json", env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert json.loads(done.stdout)["ffmpeg"].startswith("system ")
    (tmp_path / "ffmpeg").unlink()
    (tmp_path / "ffmpeg").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "ffmpeg").chmod(0o755)
    done = run_sca("transcode", webm, tmp_path / "2", "--json", env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert json.loads(done.stdout)["ffmpeg"].startswith("imageio-ffmpeg "), "one that does not start is not used"


# --- interrupts ---


@pytest.fixture(scope="session")
def slow(tmp_path_factory):
    """Files of 25 s."""
    folder = tmp_path_factory.mktemp("slow")
    noise = np.random.default_rng(0).standard_normal((48_000 * 25, 2)) * 0.1
    for name in ("a.wav", "b.wav", "c.wav"):
        soundfile.write(folder / name, noise, 48_000, subtype="PCM_16")
    return folder


def children(pid):
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError):  # a thread that has ended meanwhile
            found += map(int, (task / "children").read_text().split())
    return found


def at_work(pid, out, slowly):
    """Return whether this is a slow ffmpeg with a started file, not one that measures, or a Python before exec."""
    with suppress(FileNotFoundError, ProcessLookupError):
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        if "ffmpeg" in Path(words[0]).name and any(word.endswith(name) for name in slowly for word in words):
            return any(word.endswith(part.name) for part in out.glob(".sca-*.part") for word in words)
    return False


def stopped(pid):
    """Stop a process, and return whether it is stopped; not if it has ended."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    while state(pid) not in "TZ":
        time.sleep(0.001)
    return state(pid) == "T"


# Reads some files only five times as fast as they were recorded.
SLOW_FFMPEG = """#!/bin/sh
case "$*" in *.part*) ;; *) exec "$FFMPEG" "$@" ;; esac
for name in $SLOWLY; do case "$*" in *"$name"*) slow="-readrate 5" ;; esac; done
for word; do shift; [ "$word" = -i ] && set -- "$@" $slow; set -- "$@" "$word"; done
exec "$FFMPEG" "$@"
"""


def started(slow, out, slowly=("a.wav", "b.wav", "c.wav")):
    """Start a run; return it when it has unfinished files, with the ffmpeg processes of slow ones, stopped.

    They are stopped, so that they end when the test ends them, whatever the load of the machine.
    """
    wrapped = out.with_name(f"{out.name}-bin") / "ffmpeg"
    wrapped.parent.mkdir()
    wrapped.write_text(SLOW_FFMPEG)
    wrapped.chmod(0o755)
    env = os.environ | {"FFMPEG": str(find_ffmpeg().path), "SLOWLY": " ".join(slowly)}
    env["PATH"] = f"{wrapped.parent}:{env['PATH']}"
    command = [sys.executable, "-m", "sca", "transcode", str(slow), str(out), "wav", "opus", "--jobs", "2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    limit = time.monotonic() + 60
    while time.monotonic() < limit and process.poll() is None:
        ffmpegs = [child for child in children(process.pid) if at_work(child, out, slowly) and stopped(child)]
        if ffmpegs:
            return process, ffmpegs
        time.sleep(0.01)
    process.kill()
    raise AssertionError(process.communicate())


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_interrupt_leaves_nothing_unfinished(slow, tmp_path, sent, code):
    process, ffmpegs = started(slow, tmp_path)
    process.send_signal(sent)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code
    assert "interrupted; finished results are kept" in stderr
    assert ffmpegs
    assert not any(map(is_running, ffmpegs))
    assert not list(tmp_path.glob(".sca-*"))


def test_interrupt_of_ffmpeg_interrupts_the_run(slow, tmp_path):
    process, (ffmpeg,) = started(slow, tmp_path, ["b.wav"])
    os.kill(ffmpeg, signal.SIGINT)
    os.kill(ffmpeg, signal.SIGCONT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert not list(tmp_path.glob(".sca-*"))


def test_run_after_a_kill_continues(slow, tmp_path):
    process, ffmpegs = started(slow, tmp_path)
    process.kill()
    process.communicate()
    for pid in ffmpegs:
        if ending_with_parent():
            until(lambda pid=pid: not is_running(pid))
        else:
            os.kill(pid, signal.SIGKILL)
    assert list(tmp_path.glob(".sca-*.part"))
    assert not list(tmp_path.glob("*.opus")), "nothing unfinished has its final name"
    done = transcode(slow, tmp_path, "wav", "opus")
    assert done["made"] == 3
    assert not list(tmp_path.glob(".sca-*"))
    assert all(seconds_of(tmp_path / f"{name}.opus") == pytest.approx(25, abs=0.02) for name in "abc")
    assert transcode(slow, tmp_path, "wav", "opus")["already"] == 3


def test_killed_ffmpeg_fails_only_its_file(slow, tmp_path):
    process, (ffmpeg,) = started(slow, tmp_path, ["b.wav"])
    os.kill(ffmpeg, signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == 7
    (failed,) = [entry for entry in entries(tmp_path).values() if entry["status"] == "failed"]
    assert "killed by signal 9" in failed["reason"]
    assert failed["retryable"] is True


def test_ledger_of_downloads_stays_theirs(webm, tmp_path):
    folder = copies(tmp_path / "videos", webm, "a.webm")
    downloads = b'{"item": "abcdefghijk", "key": "youtube abcdefghijk", "status": "verified"}\n'
    (folder / "ledger.jsonl").write_bytes(downloads)
    assert transcode(folder, folder, "webm", "flac")["made"] == 1
    assert transcode(folder, folder, "webm", "flac")["already"] == 1
    assert (folder / "ledger.jsonl").read_bytes() == downloads


# --- the documented command ---


def test_script_works_from_any_folder(webm, tmp_path):
    copies(tmp_path / "dataset" / "video_downloads", webm, "a b.webm")
    command = [
        ROOT / "scripts" / "transcode.sh",
        "./dataset/video_downloads",
        "./dataset/audio_outputs",
        "webm",
        "flac",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "dataset" / "audio_outputs" / "a b.flac").exists()
