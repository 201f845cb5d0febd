"""Measure the token-time error in nine languages and in chat text with emoji, with 2 tokens per chunk and as advised.

One conversation of a minute per language and tempo: four sentences in turn, at the natural syllable rate and 25 %
faster, with exact word times in `WORDS`. The audio is noise, because the placement depends on the times only. Targets
after the advice (`--text-tokens auto`): a mean error of at most 0.06 s, and at most 5 % of the tokens past their own
onset.

    uv run python scripts/bench/languages.py [--work DIR]
"""

import argparse
import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf

from sca.config import load_settings
from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.model.report import Report
from sca.data.duplex.rows.text import clean, split_words
from sca.units import HEARD_HZ

MAX_MEAN_ERROR_S, MAX_PAST_ONSET = 0.06, 0.05
TEMPOS = (1.0, 1.25)
SECONDS = 60
PAUSES_S = (0.2, 0.5, 0.9, 1.4)


@dataclass(frozen=True)
class Language:
    """Sentences with their numbers of syllables (for Japanese, morae), and an assumed natural rate of them per second."""

    sentences: tuple[str, ...]
    syllables: tuple[int, ...]
    rate: float


LANGUAGES = {
    "English": Language(
        (
            "so I was waiting for the bus and it just never came",
            "you know what I mean it happens every single time",
            "I think we should probably leave before it gets dark",
            "yeah but who is going to drive all the way back",
        ),
        (15, 15, 15, 12),
        6.2,
    ),
    "Chinese": Language(
        (
            "我昨天下午去超市买了一点水果结果忘了带钱包",
            "你知道吗他每次都是这样真的让人受不了",
            "我觉得我们还是早一点出发比较好",
            "对啊可是谁来开车回去呢",
        ),
        (21, 18, 15, 11),
        5.6,
    ),
    "Korean": Language(
        (
            "어제 버스를 기다리는데 아무리 기다려도 안 오더라고요",
            "제가 말씀드렸잖아요 매번 똑같은 일이 생긴다니까요",
            "우리 어두워지기 전에 빨리 출발하는 게 좋을 것 같아요",
            "그런데 돌아올 때는 누가 운전할 거예요",
        ),
        (23, 22, 22, 16),
        6.6,
    ),
    "Japanese": Language(
        (
            "昨日バスを待っていたんですけど全然来なくて困りました",
            "本当に毎回同じことが起きるんですよね",
            "暗くなる前に早く出発した方がいいと思います",
            "でも帰りは誰が運転するんですか",
        ),
        (27, 19, 24, 16),
        7.8,
    ),
    "Arabic": Language(
        (
            "كنت أنتظر الحافلة أمس لكنها لم تأت أبدا",
            "هل تعرف ماذا أقصد هذا يحدث في كل مرة",
            "أعتقد أننا يجب أن نغادر قبل أن يحل الظلام",
            "نعم ولكن من سيقود السيارة في طريق العودة",
        ),
        (18, 17, 19, 18),
        5.9,
    ),
    "Hindi": Language(
        (
            "मैं कल बस का इंतज़ार कर रहा था लेकिन वह आई ही नहीं",
            "तुम्हें पता है हर बार यही होता है",
            "मुझे लगता है हमें अंधेरा होने से पहले निकल जाना चाहिए",
            "हाँ लेकिन वापस गाड़ी कौन चलाएगा",
        ),
        (19, 13, 20, 13),
        6.0,
    ),
    "Thai": Language(
        (
            "เมื่อวานรอรถเมล์นานมากแต่ก็ไม่มาสักที",
            "รู้ไหมว่ามันเป็นแบบนี้ทุกครั้งเลย",
            "เราน่าจะรีบออกก่อนที่มันจะมืดนะ",
            "ใช่แต่ขากลับใครจะขับรถล่ะ",
        ),
        (14, 12, 12, 10),
        4.7,
    ),
    "Vietnamese": Language(
        (
            "hôm qua tôi chờ xe buýt mãi mà nó không đến",
            "anh biết không lần nào cũng như vậy hết",
            "tôi nghĩ chúng ta nên đi trước khi trời tối",
            "ừ nhưng mà ai sẽ lái xe về đây",
        ),
        (11, 9, 10, 9),
        5.3,
    ),
    "Russian": Language(
        (
            "вчера я очень долго ждал автобус но он так и не пришёл",
            "понимаешь такое происходит каждый божий раз",
            "мне кажется нам лучше выехать пока не стемнело",
            "да но кто же поведёт машину обратно",
        ),
        (18, 16, 16, 13),
        6.3,
    ),
    "emoji": Language(
        (
            "that is so funny 😂😂 I can not believe it 🤷‍♀️",
            "wow 🎉🎉🎉 congrats 🥳",
            "👍 ok ok see you there 🚗💨",
            "❤️ love it",
        ),
        (12, 3, 6, 3),
        6.2,
    ),
}


def make_corpus(folder: Path, language: Language, tempo: float) -> Path:
    """Write a conversation in the MagicHub layout."""
    rng = np.random.default_rng(5)
    lines: tuple[list[str], list[str]] = ([], [])
    words: tuple[list[list[object]], list[list[object]]] = ([], [])
    spans: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
    clock, speaker, turn = 0.5, 0, 0
    while clock < SECONDS:
        sentence = language.sentences[turn % len(language.sentences)]
        end = clock + language.syllables[turn % len(language.sentences)] / (language.rate * tempo)
        lines[speaker].append(f"[{clock:.3f},{end:.3f}]\tG{speaker + 1}\tmale\t{sentence}\n")
        words[speaker].extend(timed_words(sentence, clock, end))
        spans[speaker].append((clock, end))
        clock, turn = end + float(rng.choice(PAUSES_S)), turn + 1
        speaker = 1 - speaker if rng.random() < 0.6 else speaker
    for name in ("WAV", "TXT", "WORDS"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for n in (0, 1):
        audio = rng.normal(0, 2e-4, int((clock + 1) * HEARD_HZ))
        for start, end in spans[n]:
            first, last = int(start * HEARD_HZ), int(end * HEARD_HZ)
            audio[first:last] += rng.normal(0, 0.1, last - first)
        sf.write(folder / "WAV" / f"A_S_G{n + 1}.wav", audio.astype(np.float32), HEARD_HZ)
        (folder / "TXT" / f"A_S_G{n + 1}.txt").write_text("".join(lines[n]), encoding="utf-8")
        (folder / "WORDS" / f"A_S_G{n + 1}.json").write_text(json.dumps(words[n]), encoding="utf-8")
    return folder


def timed_words(sentence: str, start: float, end: float) -> list[list[object]]:
    """Return (word, start, end), in proportion to the letters and marks of the words."""
    text = clean(sentence).text
    parts = [text[a:b] for a, b in split_words(text)]
    ends = start + (end - start) * np.cumsum([max(1, len(re.sub(r"[^\w\u0300-\u1fff]", "", p))) for p in parts]) / sum(
        max(1, len(re.sub(r"[^\w\u0300-\u1fff]", "", p))) for p in parts
    )
    starts = [start, *ends[:-1]]
    return [[part, round(float(a), 4), round(float(b), 4)] for part, a, b in zip(parts, starts, ends, strict=True)]


def measured(corpus: Path, output: Path, text_tokens: str) -> tuple[int, Report]:
    """Build a data set and return its tokens per chunk and its report."""
    settings = load_settings(overrides={"duplex.text_tokens_per_chunk": text_tokens}, env={})
    report = build_duplex(corpus, output, settings, jobs=1).details.report
    duplex = json.loads((output / "settings.json").read_text(encoding="utf-8"))["duplex"]
    return duplex["text_tokens_per_chunk"], report


def row_of(name: str, tempo: float, work: Path) -> dict[str, object]:
    """Return the row of the table of one language and tempo."""
    folder = work / f"{name}_{tempo}"
    corpus = make_corpus(folder / "corpus", LANGUAGES[name], tempo)
    row: dict[str, object] = {"language": name, "tempo": tempo}
    for label, text_tokens in (("before", "2"), ("after", "auto")):
        number, report = measured(corpus, folder / label, text_tokens)
        error, past = report.placement.mean_error_s, report.leak.lagged_tokens / report.placement.tokens
        row |= {f"{label}_k": number, f"{label}_error_s": round(error, 3), f"{label}_past_onset": round(past, 3)}
        if label == "before":
            assert report.text_rate is not None
            row |= {
                "tokens_a_second": round(report.text_rate.tokens_a_second, 2),
                "warned": not report.text_rate.sufficient,
            }
        else:
            row["reached"] = error <= MAX_MEAN_ERROR_S and past <= MAX_PAST_ONSET
    return row


def print_rows(rows: list[dict[str, object]]) -> None:
    """Print the table of all languages and tempos."""
    print(f"{'language':12}tempo tokens/s  K  mean s  past  warned |  K  mean s  past  target")
    for row in rows:
        print(
            f"{row['language']:12}{row['tempo']:5} {row['tokens_a_second']:8} {row['before_k']:2} "
            f"{row['before_error_s']:7.3f} {row['before_past_onset']:5.1%} {'yes' if row['warned'] else 'no':>6}  | "
            f"{row['after_k']:2} {row['after_error_s']:7.3f} {row['after_past_onset']:5.1%}  "
            f"{'reached' if row['reached'] else 'MISSED'}"
        )


def main() -> None:
    """Print the table and one JSON document."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, help="folder for the corpora and data sets; kept")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        rows = [row_of(name, tempo, work) for name in LANGUAGES for tempo in TEMPOS]
    print_rows(rows)
    print(json.dumps({"rows": rows, "missed": sum(not row["reached"] for row in rows)}, ensure_ascii=False))


if __name__ == "__main__":
    main()
