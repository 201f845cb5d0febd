"""Real weights: the models that `scripts/test --prepare` fetches, checked and used."""

import json
import shutil

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from sca.audio.decode import read_audio
from sca.cli.main import app
from sca.data.corpora.segments.cues import read_cues
from sca.data.media.enhancers import load_enhancer
from sca.data.reactions.registry import load_detector
from sca.data.reactions.yamnet import YamnetTagger
from sca.errors import InputError
from sca.resources import demo_corpus
from sca.units import HEARD_HZ
from tests.helpers.show_lines import event, line
from tests.helpers.word_errors import errors, words_of

pytestmark = pytest.mark.weights


def sca(*words):
    done = CliRunner().invoke(app, [*map(str, words)])
    assert done.exit_code == 0, done.output
    return done


@pytest.fixture(scope="module")
def spoken(real_recordings, tmp_path_factory):
    """A recording, its words, and the share of words that a tiny model may get wrong: real speech, or the demo."""
    if real_recordings is not None:
        text = "And so, my fellow Americans, ask not what your country can do for you, ask what you can do for your country."
        return real_recordings / "clips" / "jfk.flac", words_of(text), 0.1
    path = tmp_path_factory.mktemp("spoken") / "demo.wav"
    with demo_corpus() as corpus:
        recording, transcript = (sorted((corpus / folder).iterdir())[0] for folder in ("WAV", "TXT"))
        samples, rate = soundfile.read(recording, dtype="float32")
        lines = [line.split("\t") for line in transcript.read_text(encoding="utf-8").splitlines()]
    soundfile.write(path, samples, rate)
    return path, words_of(" ".join(line[-1] for line in lines)), 0.4


@pytest.mark.parametrize("name", ["whisper-tiny-en", "whisper-base", "yamnet", "dtln", "piper-joe", "smollm2"])
def test_fetched_files_have_their_hashes(weights, name):
    weights(name)
    assert sca("models", "check", name).stdout.split()[:2] == [name, "ok"]
    (row,) = json.loads(sca("models", "get", name, "--json").stdout)["items"]
    assert (row["name"], row["state"]) == (name, "present")


@pytest.mark.parametrize("name", ["whisper-tiny-en", "pkg:whisper-base"])
def test_transcribes_with_a_fetched_model(weights, spoken, name, tmp_path):
    weights(name)
    recording, truth, most = spoken
    save = tmp_path / "shows.jsonl"
    sca("transcribe", recording, "--model", name, "--language", "en", "--save-file", save)
    (show,) = map(json.loads, save.read_text().splitlines())
    heard = words_of(" ".join(word["word"] for word in show["words"]))
    assert errors(truth, heard) <= most * len(truth)
    again = sca("transcribe", recording, "--model", name, "--language", "en", "--save-file", save, "--json")
    assert (json.loads(again.stdout)["made"], json.loads(again.stdout)["already"]) == (0, 1)
    other = name.removeprefix("pkg:") if name.startswith("pkg:") else f"pkg:{name}"
    again = sca("transcribe", recording, "--model", other, "--language", "en", "--save-file", save, "--json")
    assert json.loads(again.stdout)["made"] == 0


@pytest.mark.parametrize("options", [[], ["--no-word-timestamps"]])
def test_transcription_accounts_for_all_speech(weights, spoken, options, tmp_path):
    weights("whisper-tiny-en")
    recording, truth, most = spoken
    save = tmp_path / "shows.jsonl"
    sca("transcribe", recording, "--model", "whisper-tiny-en", "--language", "en", "--save-file", save, *options)
    (show,) = map(json.loads, save.read_text().splitlines())
    texts = [event["content"] for event in show["timeline"]]
    assert errors(truth, words_of(" ".join(texts))) <= most * len(truth)
    if not options:  # every word of the recogniser is in an event
        assert words_of(" ".join(texts)) == words_of(" ".join(word["word"] for word in show["words"]))
    assert show["guards"]["on_silence"] == 0
    proof = json.loads(sca("verify", save, "--json").stdout)
    assert (proof["holds"], proof["speech"]["omitted_s"]) == (True, 0)
    assert proof["speech"]["labelled_s"] > 0.8 * proof["speech"]["speech_s"] > 1


def test_options_of_the_decoder_change_the_settings(weights, spoken, tmp_path):
    weights("whisper-tiny-en")
    recording, truth, most = spoken
    save = tmp_path / "shows.jsonl"
    plain = ["transcribe", recording, "--model", "whisper-tiny-en", "--save-file", save, "--json"]
    decoders = ([], ["--beam-size", "1"], ["--hotwords", "Kennedy"], ["--initial-prompt", "A speech."])
    for options in decoders:
        assert json.loads(sca(*plain, *options).stdout)["made"] == 1
        show = json.loads(save.read_text())
        heard = words_of(" ".join(word["word"] for word in show["words"]))
        assert errors(truth, heard) <= most * len(truth)
        assert json.loads(sca(*plain, *options).stdout)["already"] == 1


def test_subtitles_of_a_fetched_model(weights, spoken, tmp_path):
    weights("whisper-tiny-en")
    recording, truth, most = spoken
    plain = ["transcribe", recording, "--model", "whisper-tiny-en", "--save-file", tmp_path / "shows.jsonl"]
    sca(*plain, "--language", "English", "--output-format", "srt,json")
    cues = list(read_cues(tmp_path / f"{recording.stem}.srt"))
    assert errors(truth, words_of(" ".join(cue.text for cue in cues))) <= most * len(truth)
    assert all(cue.start_s < cue.end_s for cue in cues)
    segments = json.loads((tmp_path / f"{recording.stem}.json").read_text())["segments"]
    for segment in segments:
        assert "".join(word["word"] for word in segment["words"]) == segment["text"]
    done = CliRunner().invoke(app, [*map(str, plain), "--multilingual"])
    assert (done.exit_code, "knows only English" in done.stderr) == (2, True)


def seconds(count):
    return np.arange(count * HEARD_HZ) / HEARD_HZ


def chords(count):
    """Struck chords of four tones, twice a second."""
    t = seconds(count)
    tones = sum(np.sin(2 * np.pi * hz * t) for hz in (261.6, 329.6, 392.0, 523.2))
    return (0.1 * tones * np.exp(-(t % 0.5) * 5)).astype(np.float32)


SOUNDS = {
    "Beep, bleep": 0.3 * np.sin(2 * np.pi * 1000 * seconds(4)) * (seconds(4) % 0.5 < 0.25),
    "Music": chords(4),
    "Silence": np.zeros(4 * HEARD_HZ),
}


@pytest.mark.parametrize("label", SOUNDS)
def test_yamnet_names_sounds(weights, label):
    tagger = YamnetTagger(weights("yamnet") / "model.onnx")
    starts = range(0, 4 * HEARD_HZ - tagger.window_samples, 8000)
    scores = tagger.scores(SOUNDS[label].astype(np.float32), starts)
    assert scores.shape == (len(starts), 521)
    high = {name for name in SOUNDS if np.median(scores[:, tagger.labels.index(name)]) >= 0.5}
    assert high == {label}


def test_yamnet_hears_speech(weights, spoken):
    tagger = YamnetTagger(weights("yamnet") / "model.onnx")
    speech = read_audio(spoken[0], HEARD_HZ)[: 10 * HEARD_HZ]
    scores = tagger.scores(speech, range(0, len(speech) - tagger.window_samples, 8000))
    assert np.median(scores[:, tagger.labels.index("Speech")]) > 0.5


def test_transcribe_writes_the_sounds_of_yamnet(weights, spoken, tmp_path):
    """Speech, two seconds of silence, then six seconds of chords."""
    weights("yamnet")
    weights("whisper-tiny-en")
    speech = read_audio(spoken[0], HEARD_HZ)[: 6 * HEARD_HZ]
    sound = np.concatenate([speech, np.zeros(2 * HEARD_HZ, np.float32), chords(6)])
    soundfile.write(tmp_path / "show.wav", sound, HEARD_HZ)
    save = tmp_path / "shows.jsonl"
    sca("transcribe", tmp_path / "show.wav", "--model", "whisper-tiny-en", "--save-file", save)  # by default
    show = json.loads(save.read_text())
    assert show["reactions"] == "yamnet"
    (music,) = [event for event in show["timeline"] if event.get("sound_category") == "music"]
    assert music["start"] == pytest.approx(8.0, abs=1.0)
    assert music["end"] == pytest.approx(14.0, abs=1.0)


def test_yamnet_without_its_weights_is_refused(weights, tmp_path):
    shutil.copytree(weights("yamnet"), tmp_path / "copy")
    (tmp_path / "copy" / "model.data").unlink()
    with pytest.raises(InputError, match="cannot be loaded") as caught:
        load_detector(str(tmp_path / "copy"))
    assert "sca models get yamnet" in caught.value.hint


def snr_db(clean, other):
    return 10 * np.log10(np.sum(clean**2) / np.sum((clean - other) ** 2))


def test_dtln_removes_noise_and_keeps_the_time_line(weights, spoken):
    weights("dtln")
    speech = read_audio(spoken[0], HEARD_HZ)[: 10 * HEARD_HZ]
    noise = np.random.default_rng(0).normal(0, 1, len(speech)) * np.sqrt(np.mean(speech**2))
    noisy = (speech + noise).astype(np.float32)
    enhancer = load_enhancer("dtln")
    assert enhancer.rate_hz == HEARD_HZ
    clean = enhancer.enhance(noisy)
    assert snr_db(speech, noisy) == pytest.approx(0, abs=0.1)
    assert snr_db(speech, clean) > 5
    late = [snr_db(speech[100:-100], np.roll(clean, shift)[100:-100]) for shift in (-8, 8)]
    assert snr_db(speech, clean) > max(late)


@pytest.mark.parametrize("length", [1, 127, 128, 129, 512, 3000])
def test_dtln_keeps_every_length(weights, length):
    weights("dtln")
    block = np.random.default_rng(length).normal(0, 0.1, length).astype(np.float32)
    result = load_enhancer("pkg:dtln").enhance(block)
    assert (result.shape, result.dtype) == (block.shape, np.float32)


def test_convert_enhances_with_dtln(weights, spoken, tmp_path):
    weights("dtln")
    (tmp_path / "audio").mkdir()
    speech = np.tile(read_audio(spoken[0], 24_000)[: 10 * 24_000], 4)
    soundfile.write(tmp_path / "audio" / "show.wav", speech, 24_000)
    lines = [event(t, t + 6.0, f"Part {t}.") for t in (5.0, 15.0, 25.0)]
    (tmp_path / "shows.jsonl").write_text(line("show", *lines) + "\n")
    arguments = ["-i", tmp_path / "shows.jsonl", "--audio-dir", tmp_path / "audio", "-o", tmp_path / "out"]
    sca("convert", *arguments, "--enhance", "dtln")
    assert "dtln" in (tmp_path / "out" / "README.md").read_text()


def test_dvector_finds_the_speakers_of_one_channel(weights, tmp_path):
    weights("dvector")
    weights("whisper-tiny-en")
    with demo_corpus() as corpus:
        tracks = [soundfile.read(path, dtype="float32") for path in sorted((corpus / "WAV").iterdir())]
        lines = [path.read_text(encoding="utf-8").splitlines() for path in sorted((corpus / "TXT").iterdir())]
    rate = tracks[0][1]
    samples = [track[: 24 * rate] for track, _ in tracks]
    soundfile.write(tmp_path / "talk.wav", sum(samples), rate)
    soundfile.write(tmp_path / "one.wav", samples[0], rate)
    save = tmp_path / "shows.jsonl"
    options = ["--model", "whisper-tiny-en", "--language", "en", "--diarize", "--reactions", "none"]
    sca("transcribe", tmp_path / "talk.wav", tmp_path / "one.wav", *options, "--save-file", save)
    found = {show["video_id"]: show for show in map(json.loads, save.read_text(encoding="utf-8").splitlines())}
    assert {turn["speaker"] for turn in found["one"]["turns"]} == {"SPEAKER_00"}
    assert {turn["speaker"] for turn in found["talk"]["turns"]} == {"SPEAKER_00", "SPEAKER_01"}
    spans = [[tuple(map(float, row.split("]")[0][1:].split(","))) for row in track] for track in lines]

    def speaker_of(word):
        middle = (word["start"] + word["end"]) / 2
        return next((n for n, own in enumerate(spans) if any(start <= middle < end for start, end in own)), None)

    judged = [(speaker_of(word), int(word["speaker"][-1])) for word in found["talk"]["words"]]
    right = [true == named for true, named in judged if true is not None]
    assert len(right) > 40
    assert sum(right) / len(right) > 0.9
