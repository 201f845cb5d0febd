"""`sca say` with espeak-ng, and the voices behind it."""

import json
import signal
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from sca import plugins
from sca.cli.main import app
from sca.errors import UsageError
from sca.infer.speech import espeak_api, espeak_library, registry
from sca.infer.speech.base import SpeechChunk, VoiceInfo
from sca.infer.speech.registry import engine_state, load_speech_engine, open_voice, speech_engine_names
from tests.helpers.pulse import fit, pulse_server
from tests.helpers.spoken import inner_errors, onset_errors, whole

TEXT = "Dr. Smith paid 3.14 dollars, at the end of the day. Did the U.S.A. pay 2,500? It's well-known!"


def say(*words, **options):
    return CliRunner().invoke(app, ["say", *map(str, words)], **options)


@pytest.fixture
def voice():
    return open_voice("espeak")[1]


def test_every_word_has_its_time_and_place(voice):
    samples, words = whole(voice, TEXT)
    assert [word.text for word in words] == TEXT.split()
    assert all(TEXT[word.start_char : word.end_char] == word.text for word in words)
    starts = [word.start_sample for word in words]
    assert starts == sorted(starts)
    assert all(word.start_sample < word.end_sample <= len(samples) for word in words)


def test_a_clause_after_a_longer_one_is_spoken(voice):
    text = "It starts with the first clause, while more text arrives."
    _, words = whole(voice, text)
    assert [word.text for word in words] == text.split()


def test_words_start_where_the_sound_does(voice):
    text = "Bread. Tomatoes. Butter. Garlic. Potatoes. Carrots. Dinner. Breakfast. Kitchen. Table."
    samples, words = whole(voice, text)
    errors = onset_errors(samples, words, voice.sample_rate)
    assert len(errors) == len(words)
    assert np.abs(errors).max() < 0.05


def test_words_inside_sentences_start_where_they_are_found(voice):
    errors = inner_errors(
        voice, ["The train to London leaves at nine in the morning.", "My brother bought a new bicycle."]
    )
    assert len(errors) == 7
    assert np.median(np.abs(errors)) < 0.02
    assert np.abs(errors).max() < 0.08


def test_words_come_with_the_chunk_in_which_they_start(voice):
    at = 0
    for chunk in voice.speak(TEXT):
        assert chunk.samples.dtype == np.float32
        assert chunk.sample_rate == voice.sample_rate
        assert all(at <= word.start_sample < at + len(chunk.samples) for word in chunk.words)
        at += len(chunk.samples)


def test_first_clause_is_spoken_before_the_rest_is_known(voice):
    asked = []

    def pieces():
        for piece in ("Good morning, every", "one. This", " is the", " news."):
            asked.append(piece)
            yield piece

    speech = voice.speak(pieces())
    first = next(speech)
    assert len(first.samples)
    assert len(asked) < 3
    rest = list(speech)
    words = [word.text for chunk in [first, *rest] for word in chunk.words]
    assert words == ["Good", "morning,", "everyone.", "This", "is", "the", "news."]


def test_cancel_ends_within_one_chunk(voice):
    speech = voice.speak(TEXT)
    next(speech)
    voice.cancel()
    assert list(speech) == []
    assert len(whole(voice, "Again.")[1]) == 1


def test_other_scripts_are_skipped(voice):
    chunks = list(voice.speak("Hello привет world."))
    assert [word.text for chunk in chunks for word in chunk.words] == ["Hello", "world."]
    assert [word for chunk in chunks for word in chunk.skipped] == ["привет"]


def test_voices_of_other_scripts_speak_them():
    _, words = whole(open_voice("espeak", "ru")[1], "Привет, мир.")
    assert [word.text for word in words] == ["Привет,", "мир."]


def test_every_listed_voice_can_be_opened():
    engine = load_speech_engine("espeak")
    for info in engine.voices():
        engine.open(info.name)
    engine.open("en-gb+f3")


def test_long_text_needs_no_more_memory(voice):
    def peak(count):
        tracemalloc.start()
        samples = sum(len(chunk.samples) for chunk in voice.speak("The weather is fine today. " * count))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return samples, most

    (few, small), (many, large) = peak(37), peak(370)
    assert many > 9 * few
    assert large < 1.5 * small + 100_000


@pytest.mark.parametrize(
    ("text", "spoken", "skipped"),
    [
        ("Great 👍👍 work 🎉!", ["Great", "work"], []),
        ("Hello 世界 and привет.", ["Hello", "and"], ["世界", "привет."]),
        ("\x00 zero \ud800 and\u200b joiner", None, None),
        ("a" * 10_000, None, None),
        ("1234567890" * 60, None, None),
    ],
)
def test_strange_texts_end_or_are_skipped(voice, text, spoken, skipped):
    chunks = list(voice.speak(text))
    assert chunks
    if spoken is not None:
        assert [word.text for chunk in chunks for word in chunk.words if word.text[0].isalpha()] == spoken
        assert [word for chunk in chunks for word in chunk.skipped] == skipped


def test_plays_on_the_loudspeaker(tmp_path, report_retry):
    with pulse_server(tmp_path) as pulse:
        for _ in range(4):
            command = [sys.executable, "-m", "sca", "say", "Good morning, everyone.", "--engine", "espeak", "--play"]
            with pulse.listening() as listener:
                path = tmp_path / "o.wav"
                options = ["--out", str(path), "--rate", "24000", "--json"]
                done = subprocess.run(pulse.first(*command, *options), env=pulse.env, capture_output=True, timeout=60)
                listener.hear(1)
                heard = listener.samples
            assert done.returncode == 0, done.stderr
            fitting = fit(soundfile.read(path, dtype="float32")[0], heard)
            if fitting > 0.95:
                break
            report_retry(f"heard {fitting:.2f}")
        assert fitting > 0.95


def run(*words, **options):
    command = [sys.executable, "-m", "sca", "say", "--engine", "espeak", *map(str, words)]
    return subprocess.run(command, capture_output=True, timeout=120, check=False, **options)


def test_stream_is_the_file(tmp_path):
    path = tmp_path / "out.wav"
    done = run(TEXT, "--out", path, "--words", tmp_path / "words.json")
    assert done.returncode == 0, done.stderr
    streamed = run("-", "--stream", input=TEXT.encode())
    assert streamed.returncode == 0, streamed.stderr
    pcm, rate = soundfile.read(path, dtype="int16")
    assert np.abs(pcm.astype(int) - np.frombuffer(streamed.stdout, "<i2")).max() <= 1
    document = json.loads((tmp_path / "words.json").read_text())
    assert document["sample_rate"] == rate
    assert [word["word"] for word in document["words"]] == TEXT.split()


def test_rate_and_flac(tmp_path):
    path = tmp_path / "out.flac"
    done = say(TEXT, "--engine", "espeak", "--out", path, "--rate", 16000, "--json")
    assert done.exit_code == 0, done.output
    info = soundfile.info(path)
    assert (info.samplerate, info.format, info.channels) == (16000, "FLAC", 1)
    assert info.frames == pytest.approx(json.loads(done.stdout)["seconds"] * 16000, abs=1)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([""], 2, "there is no text"),
        (["  \n"], 2, "there is no text"),
        ([], 2, "there is no text"),
        (["привет"], 5, "cannot speak this text"),
        (["...!"], 2, "there is no text"),
        (["Hello", "--voice", "en-uss"], 2, "did you mean en-us"),
        (["Hello", "--engine", "espek"], 2, "did you mean espeak"),
        (["Hello", "--stream", "--json"], 2, "--stream"),
        (["Hello", "--out", "x.mp3"], 2, ".wav or .flac"),
    ],
)
def test_refusals(words, code, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = [] if {"--engine", "--voice"} & set(words) else ["--engine", "espeak"]
    target = [] if "--out" in words or "--stream" in words else ["--out", "o.wav"]
    done = say(*words, *options, *target)
    assert done.exit_code == code, done.output
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_empty_stdin_is_refused():
    done = say("-", "--engine", "espeak", "--stream", input="")
    assert done.exit_code == 2
    assert "standard input" in done.stderr


def test_without_espeak_the_hint_says_how_to_install_it(monkeypatch, tmp_path):
    monkeypatch.setattr(espeak_api, "_FILES", ("libespeak-that-does-not-exist.so",))
    espeak_library.load_library.cache_clear()
    try:
        done = say("Hello.", "--out", tmp_path / "o.wav", "--engine", "espeak")
    finally:
        espeak_library.load_library.cache_clear()
    assert done.exit_code == 4
    assert "apt-get install espeak-ng" in done.stderr


def test_without_its_model_piper_names_the_command(monkeypatch, tmp_path):
    monkeypatch.setenv("SCA_CACHE_DIR", str(tmp_path / "cache"))
    done = say("Hello.", "--engine", "piper", "--out", tmp_path / "o.wav")
    assert done.exit_code == 4
    assert "sca models get piper-joe" in done.stderr
    assert open_voice()[0] == "espeak"


def test_lists_voices():
    rows = json.loads(say("--list", "--json").stdout)["voices"]
    assert {"engine": "espeak", "voice": "en-us", "language": "en-us", "title": "English (America)"} in rows
    assert {"piper-joe", "af_heart", "alloy"} <= {row["voice"] for row in rows}


def test_list_has_the_state_of_every_engine(monkeypatch, tmp_path):
    monkeypatch.setenv("SCA_CACHE_DIR", str(tmp_path / "cache"))
    engines = {row["engine"]: row for row in json.loads(say("--list", "--json").stdout)["engines"]}
    assert engines["espeak"]["ready"]
    hints = {name: row["hint"] for name, row in engines.items() if not row["ready"]}
    assert "sca models get piper-joe" in hints["piper"]
    assert "sca models get kokoro" in hints["kokoro"]
    assert "SCA_SPEECH_BASE_URL" in hints["openai"]
    assert "hf download sesame/csm-1b" in hints["csm"]
    text = say("--list").stdout
    assert "espeak   ready\n" in text
    assert "openai   not ready: the engine openai needs the address of a server; set SCA_SPEECH_BASE_URL" in text


def test_list_of_one_engine():
    text = say("--list", "--engine", "kokoro").stdout
    assert "bf_emma" in text
    assert "espeak" not in text


def test_interrupt_says_what_remains(tmp_path):
    path = tmp_path / "o.wav"
    command = [sys.executable, "-m", "sca", "say", "--engine", "espeak", "-", "--out", str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdin.write(b"A sentence of words, which goes on. " * 20)
        process.stdin.flush()
        while not list(tmp_path.iterdir()):  # the temporary file: it is speaking
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.stderr.read().decode() == f"sca: interrupted; {path} not written\n"
    assert process.returncode == 130
    assert list(tmp_path.iterdir()) == []


def test_closed_pipe_is_quiet():
    command = [sys.executable, "-m", "sca", "say", "--engine", "espeak", "--stream", "-"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with process:
        process.stdin.write(b"A sentence of words. " * 500)
        process.stdin.flush()
        process.stdout.read(1000)
        process.stdout.close()
        process.stdin.close()
        assert process.stderr.read() == b""


class _Tone:
    name = "tone"

    def voices(self):
        return [VoiceInfo("tone", "und", "A tone")]

    def open(self, voice=None):
        return self

    sample_rate = 8000

    def speak(self, text):
        yield SpeechChunk(np.zeros(80, np.float32), 8000, (), ("tone",))

    def cancel(self):
        pass

    def close(self):
        pass


def test_plugins_add_engines(monkeypatch):
    monkeypatch.setattr(registry, "plugin_names", lambda group: ["tone"])
    monkeypatch.setattr(plugins, "load_plugin", lambda group, name: _Tone if name == "tone" else None)
    assert speech_engine_names() == ["csm", "espeak", "kokoro", "openai", "piper", "tone"]
    assert engine_state("tone").problem is None
    assert load_speech_engine("tone").open().sample_rate == 8000
    monkeypatch.setattr(plugins, "load_plugin", lambda group, name: dict)
    with pytest.raises(UsageError, match="does not provide a speech engine"):
        load_speech_engine("tone")
