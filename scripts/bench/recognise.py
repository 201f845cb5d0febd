"""Streaming recognition against `sca transcribe`'s recognizer: errors, commit lag and processor time, in one run.

    python scripts/bench/recognise.py [--model NAME] [--chunks-ms N ...] [--compute-type TYPE] [--voice ROUNDS]

Data: about a minute of speech by the voice piper with its exact word times, per text. The recognizer gets it in chunks,
without a thread and without waiting, so the result does not depend on the machine. WER counts replaced, missing and
added words against the text. The lag of a word is the audio received when it is committed minus the true end of the
word, for the words that are recognized. Both recognizers have one thread, the same model and the same compute type;
offline is beam 5 in batches, as `sca transcribe` runs it. Processor seconds of this process after one text of warm-up.

With --voice the voice speaks a text with and without a recognizer beside it, in turns, and the real-time factors of the
synthesis are compared. The recognizer gets its audio at the pace of a microphone, for as long as the voice works.
"""

import argparse
import difflib
import json
import os
import re
import statistics
import sys
import threading
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sca.audio.resample import resample
from sca.config.sections.recognition import RecognitionConfig
from sca.data.transcription.whisper import Recognizer, RecognizerOptions
from sca.infer.recognition.whisper import StreamingRecognizer, WhisperEngine
from sca.infer.speech.registry import open_voice
from sca.units import HEARD_HZ
from tests.helpers import word_errors

LIBRARY = """Thank you for calling the city library, this is the front desk. I would like to know whether the reading
room is open on Sunday afternoon, because my daughter has to finish a project about the history of the harbour. The
reading room opens at noon and closes at five, but please bring your library card, since we check it at the entrance.
Yesterday I tried to renew three books on the website, and every time it told me that my password was wrong. That
happens when the account has not been used for more than a year; I can reset it for you right now. Great, thank you.
Could you also tell me if the new novel by the author from Scotland has arrived? It arrived this morning, and there are
already seven people on the waiting list. In that case please put my name on the list, and send me a message when it is
my turn. I will do that, and you should hear from us in about three weeks. One more question before I go: is there a
place nearby where I can park without paying a fortune? There is a garage behind the theatre, which is free for two
hours if you show the ticket at our desk."""
DOCTOR = """Good evening and welcome to the show. Tonight we talk with a doctor who has spent many years in small
villages, far away from any hospital. Doctor, what was the hardest part of your work? I think the hardest part was the
roads, honestly. In winter the snow was so deep that we had to leave the car behind and walk for hours with the
equipment on our backs. And people were waiting for you? They were always waiting, and they always had soup ready, which
was wonderful. Once a farmer called me because his horse was sick, not a person. I told him that I knew nothing about
horses. He said it did not matter, because nobody else would come. So I went, and I looked at the horse, and we both
decided that it needed rest. The next week the horse was fine, and the farmer told everybody in the valley that I was
the best doctor he had ever met. After that, I received more calls about cows than about children. Did you ever think
about giving up? Every spring, when the bills arrived, but never for longer than a day."""
WARM_UP = "This is a short text to warm up, with a few words."


def words_of(text):
    return re.findall(r"[a-z0-9']+", text.lower())


def spoken(voice, text):
    """Return the sound at 16 kHz, and each word with its end in samples."""
    chunks = list(voice.speak(" ".join(text.split())))
    sound = resample(np.concatenate([chunk.samples for chunk in chunks]), voice.sample_rate, HEARD_HZ)
    ends = [(word.text, word.end_sample * HEARD_HZ // voice.sample_rate) for chunk in chunks for word in chunk.words]
    return sound.astype(np.float32), [(part, end) for word, end in ends for part in words_of(word)]


def streamed(engine, sound, chunk_samples):
    """Return the words with the audio received at their commit, the processor seconds, and the number of decodings."""
    began = time.process_time()
    stream, heard = engine.stream(), []
    for start in range(0, len(sound), chunk_samples):
        stream.push(sound[start : start + chunk_samples])
        received = min(start + chunk_samples, len(sound))
        heard += [(word, received) for word in stream.result.words[len(heard) :]]
    stream.finish()
    heard += [(word, len(sound)) for word in stream.result.words[len(heard) :]]
    cpu_s = time.process_time() - began
    return [(part, received) for word, received in heard for part in words_of(word.text)], cpu_s, stream.decoded


def lags_s(truth, heard):
    matcher = difflib.SequenceMatcher(None, [word for word, _ in truth], [word for word, _ in heard], autojunk=False)
    return [
        (heard[block.b + n][1] - truth[block.a + n][1]) / HEARD_HZ
        for block in matcher.get_matching_blocks()
        for n in range(block.size)
    ]


def offline(recognizer, sound):
    began = time.process_time()
    found = recognizer.transcribe(sound)
    cpu_s = time.process_time() - began
    return [part for segment in found.segments for word in segment for part in words_of(word.text)], cpu_s


def compared(engine, recognizer, clips, chunk_ms):
    errors, counts, cpu_s, lags, decodings = [0, 0], 0, [0.0, 0.0], [], 0
    for sound, truth in clips:
        texts = [word for word, _ in truth]
        plain, plain_s = offline(recognizer, sound)
        heard, stream_s, decoded = streamed(engine, sound, chunk_ms * HEARD_HZ // 1000)
        errors = [
            errors[0] + word_errors.errors(texts, plain),
            errors[1] + word_errors.errors(texts, [word for word, _ in heard]),
        ]
        cpu_s = [cpu_s[0] + plain_s, cpu_s[1] + stream_s]
        counts, decodings = counts + len(texts), decodings + decoded
        lags += lags_s(truth, heard)
    seconds = sum(len(sound) for sound, _ in clips) / HEARD_HZ
    return {
        "chunk_ms": chunk_ms,
        "wer_offline": round(100 * errors[0] / counts, 2),
        "wer_streaming": round(100 * errors[1] / counts, 2),
        "lag_s_p50": round(float(np.percentile(lags, 50)), 2),
        "lag_s_p95": round(float(np.percentile(lags, 95)), 2),
        "cpu_offline": round(cpu_s[0] / seconds, 3),
        "cpu_streaming": round(cpu_s[1] / seconds, 3),
        "cpu_ratio": round(cpu_s[1] / cpu_s[0], 2),
        "decodings_per_s": round(decodings / seconds, 2),
    }


def beside_a_voice(engine, voice, sound, rounds):
    """Return the real-time factors of the synthesis alone and beside a recognizer, and the slowdown in percent.

    They are measured by the clock on the wall, and by the processor time of the thread that synthesises. The second one
    does not count the time in which another program has the processor.
    """
    factors = {(beside, clock): [] for beside in (False, True) for clock in ("wall", "processor")}
    for n in range(2 * rounds):
        beside = n % 2 == 1
        stop = threading.Event()
        recognizer = StreamingRecognizer(engine)
        recognizer.start_processing()

        def feed(recognizer=recognizer, stop=stop):
            for start in range(0, len(sound), 5120):
                if stop.wait(0.32):
                    return
                recognizer.put_audio_chunk(sound[start : start + 5120])

        feeder = threading.Thread(target=feed)
        if beside:
            feeder.start()
        wall_s, processor_s = time.perf_counter(), time.thread_time()
        samples = sum(len(chunk.samples) for chunk in voice.speak(" ".join(DOCTOR.split())))
        seconds = samples / voice.sample_rate
        factors[beside, "wall"].append((time.perf_counter() - wall_s) / seconds)
        factors[beside, "processor"].append((time.thread_time() - processor_s) / seconds)
        stop.set()
        if beside:
            feeder.join()
        recognizer.close()
    result = {}
    for clock in ("wall", "processor"):
        alone, together = (statistics.median(factors[beside, clock]) for beside in (False, True))
        slower = round(100 * (together / alone - 1), 1)
        result[clock] = {"alone": round(alone, 4), "beside": round(together, 4), "slower_percent": slower}
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="whisper-base")
    parser.add_argument("--compute-type", default="int8")
    parser.add_argument("--chunks-ms", type=int, nargs="+", default=[320])
    parser.add_argument("--step-ms", type=int, default=RecognitionConfig().step_ms)
    parser.add_argument("--margin-ms", type=int, default=RecognitionConfig().margin_ms)
    parser.add_argument("--nice", type=int, default=RecognitionConfig().nice)
    parser.add_argument("--voice", type=int, metavar="ROUNDS")
    options = parser.parse_args()
    _, voice = open_voice("piper")
    config = RecognitionConfig(
        model=options.model,
        language="en",
        compute_type=options.compute_type,
        nice=options.nice,
        step_ms=options.step_ms,
        margin_ms=options.margin_ms,
    )
    engine = WhisperEngine(config)
    result = {"model": options.model, "compute_type": options.compute_type, "load": round(os.getloadavg()[0], 1)}
    if options.voice:
        sound, _ = spoken(voice, LIBRARY)
        result["voice_real_time_factor"] = beside_a_voice(engine, voice, sound, options.voice)
    else:
        offline_options = RecognizerOptions(model=options.model, language="en", compute_type=options.compute_type)
        recognizer = Recognizer(offline_options, cpu_threads=1)
        warm, *clips = [spoken(voice, text) for text in (WARM_UP, LIBRARY, DOCTOR)]
        offline(recognizer, warm[0])
        streamed(engine, warm[0], 5120)
        result["runs"] = []
        for chunk_ms in options.chunks_ms:
            result["runs"].append(compared(engine, recognizer, clips, chunk_ms))
            print(result["runs"][-1])
    print(json.dumps(result))


if __name__ == "__main__":
    main()
