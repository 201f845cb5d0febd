#!/usr/bin/env python3
"""Train the tiny Qwen3-Omni on spoken talks, and sweep a setting into an operating curve.

    python -m scripts.bench.qwen_operating_curve FOLDER [--steps 200] [--sweep qwen.silence_bias=-8,-6,-4,-3,-2,-1,0]

The talks are made by `sca synth` with espeak: a user asks in two parts with a pause between them, and gets an answer.
Every opening, question and answer is in the 24 talks of the training; the 12 talks of the items have other combinations.
A LoRA of the thinker (attention, experts, lm_head; r 32) is trained with `transformers.Trainer`, and the items are run as
by `sca eval fdb --sweep`. There are two for each talk, cut at the times of the script. `pause_handling` ends with the
question: speech in the pause is a false barge-in. `user_interruption` continues with 3 s of silence: the engine should take
the turn. The talker is not trained and its sound is noise, so a chunk with text is played as recorded speech.

Conditions: CPU, float32, one thread for the sweep, two for the training; no warm-up, because nothing but the duration of
the training is a time. A second call with the same FOLDER uses what is there. Prints the curve as one JSON document on the
last line, and writes curve.json and curve.svg to FOLDER/curve.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from peft import LoraConfig, get_peft_model
from transformers import Qwen3OmniMoeForConditionalGeneration, Trainer, TrainingArguments

import sca
from sca.audio.decode import read_audio
from sca.config import Settings, load_settings
from sca.data.duplex.load.collate import DuplexCollator
from sca.infer.engines.qwen_omni.loading.load import load_model
from sca.infer.engines.qwen_omni.streaming.engine import QwenOmni
from sca.infer.eval.curve_picture import curve_svg
from sca.infer.eval.full_duplex_bench import find_items
from sca.infer.eval.operating_curve import measure_curve, parse_sweep
from sca.resources import demo_corpus
from sca.tokenizer import BUILTIN_QWEN, load_tokenizer
from sca.train.tiny import save
from sca.units import HEARD_HZ, SPOKEN_HZ

PROMPT = "Be brief."
IGNORED = -100  # label of a token without loss
FED = ("input_ids", "attention_mask", "labels", "input_features", "feature_attention_mask")
TAIL_S = 3.0
VOICES = {"user": "en-us+m3", "model": "en-gb-x-rp+f2"}
OPENINGS = (
    "Could you tell me please",
    "I would like to know",
    "My question is",
    "Can you find out",
    "Please explain",
    "Do you know",
)
ANSWERS = {
    "when the last train leaves.": "It leaves at nine, from the second platform.",
    "how much two tickets are.": "That is twelve pounds, with the reservation.",
    "where the station is.": "Behind the market, next to the old bridge.",
    "what the weather will be.": "It will rain in the morning, and then clear up.",
    "who sits in the office.": "Maria does until four, and then it is closed.",
    "why the shop is closed.": "They are on holiday, and come back on Monday.",
}


class RecordedVoice:
    """A voice that plays recorded speech while the thinker has text, so that a VAD detects when it speaks."""

    held_bytes = 0

    def __init__(self, speech: np.ndarray, not_text: frozenset[int], samples: int) -> None:
        self._speech, self._not_text, self._samples, self._at = speech, not_text, samples, 0

    def speak(self, tokens: Sequence[int], _hidden: Any, *, turn_ended: bool = False) -> np.ndarray:
        if not set(tokens) - self._not_text:
            return np.zeros(self._samples, np.float32)
        wave = self._speech[self._at : self._at + self._samples]
        self._at = (self._at + self._samples) % (len(self._speech) - self._samples)
        return wave


class TextOmni(QwenOmni):
    """The engine with `RecordedVoice` in place of talker and vocoder."""

    speech: np.ndarray

    def voice(self, grid: Any, marks: Any, options: Any) -> RecordedVoice:
        return RecordedVoice(self.speech, self.grammar.not_text, grid.spoken_samples)


class LabelledTrainer(Trainer):
    """Computes logits at labelled places only, a quarter of the tokens: the vocabulary dominates the time."""

    def compute_loss(self, model: Any, inputs: Any, *_arguments: Any, **_options: Any) -> Any:
        labels = inputs.pop("labels")[:, 1:]
        wanted = labels != IGNORED
        head = model.get_base_model().lm_head
        hook = head.register_forward_pre_hook(lambda _module, given: (given[0][:, :-1][wanted][None],))
        try:
            logits = model(**inputs).logits[0]
        finally:
            hook.remove()
        return torch.nn.functional.cross_entropy(logits.float(), labels[wanted])


def learner_of(model_folder: Path) -> Any:
    """Return the thinker with the LoRA that is trained."""
    thinker = Qwen3OmniMoeForConditionalGeneration.from_pretrained(model_folder, dtype=torch.float32).thinker
    thinker.requires_grad_(False)
    layers, ends = "model.language_model.layers.", ("q_proj", "k_proj", "v_proj", "o_proj")
    names = [name for name, _ in thinker.named_modules() if name.startswith(layers) and name.endswith(ends)]
    experts = [name for name, _ in thinker.named_parameters() if "language_model" in name and ".experts." in name]
    lora = LoraConfig(r=32, lora_alpha=64, target_modules=[*names, "lm_head"], target_parameters=experts)
    return get_peft_model(thinker, lora)


def train(rows: Any, model_folder: Path, adapter: Path, steps: int) -> None:
    """Train the adapter."""
    torch.set_num_threads(2)
    learner, collator = learner_of(model_folder), DuplexCollator(load_tokenizer(BUILTIN_QWEN))
    arguments = TrainingArguments(
        str(adapter.parent / "trainer"),
        max_steps=steps,
        per_device_train_batch_size=2,
        learning_rate=6e-3,
        logging_steps=max(1, steps // 8),
        save_strategy="no",
        report_to=[],
        remove_unused_columns=False,
        label_names=["labels"],
        use_cpu=True,
        seed=0,
        warmup_steps=min(10, steps),
        lr_scheduler_type="cosine",
    )
    trainer = LabelledTrainer(
        model=learner,
        args=arguments,
        train_dataset=list(rows),
        data_collator=lambda chosen: {name: value for name, value in collator(chosen).items() if name in FED},
    )
    begun = time.perf_counter()
    trainer.train()
    losses = [round(float(line["loss"]), 3) for line in trainer.state.log_history if "loss" in line]
    print(f"trained {steps} steps in {time.perf_counter() - begun:.0f} s, loss {losses}", flush=True)
    unfinished = adapter.with_suffix(".part")
    learner.save_pretrained(unfinished)
    unfinished.rename(adapter)


def make_talks(folder: Path, wanted: Callable[[int, int], bool]) -> tuple[list[dict[str, Any]], list[Any]]:
    """Make talks and build their rows, unless they are there.

    Args:
        folder: The folder to write to.
        wanted: Whether the talk of an opening and a question belongs to them.

    Returns:
        The labels of the talks, and the rows in which the user is heard.
    """
    scripts = folder / "scripts"
    scripts.mkdir(parents=True, exist_ok=True)
    files = []
    for i, opening in enumerate(OPENINGS):
        for j, (question, answer) in enumerate(ANSWERS.items()):
            if wanted(i, j):
                turns = (("user", opening), ("user", question), ("model", answer))
                files.append(scripts / f"talk-{i}-{j}.jsonl")
                files[-1].write_text("".join(json.dumps({"speaker": who, "text": said}) + "\n" for who, said in turns))
    voices = ",".join(f"{name}=espeak:{voice}" for name, voice in VOICES.items())
    settings = {"synth.backchannels": 0, "synth.interruptions": 0, "synth.voices": voices}
    sca.synthesize(files, folder / "talks", settings=settings, jobs=1)
    sca.build(folder / "talks", folder / "rows", settings={"duplex.system_prompt": PROMPT, "duplex.window": "session"})
    heard = f":espeak-{VOICES['user']}>"
    rows = [row for row in sca.load(folder / "rows") if heard in row.row_id]
    return [json.loads(path.read_text()) for path in sorted((folder / "talks" / "LABELS").glob("*.json"))], rows


def write_items(talks: Sequence[dict[str, Any]], rows: Sequence[Any], folder: Path) -> None:
    """Write the two items of each talk in the layout of the benchmark."""
    heard = {row.row_id.partition(":")[0]: row.heard.reshape(-1) for row in rows}
    tail = np.zeros(int(TAIL_S * HEARD_HZ), np.float32)
    for talk in talks:
        opening, question = (turn for turn in talk["turns"] if turn["speaker"] == 0)
        sound = heard[talk["session"]][: int(question["end"] * HEARD_HZ)]
        pause, turn = [opening["end"], question["start"]], [question["start"], question["end"]]
        for task, name, span, samples in (
            ("pause_handling", "pause.json", pause, sound),
            ("user_interruption", "interrupt.json", turn, np.concatenate([sound, tail])),
        ):
            item = folder / task / talk["session"]
            item.mkdir(parents=True, exist_ok=True)
            soundfile.write(item / "input.wav", samples, HEARD_HZ, subtype="PCM_16")
            (item / name).write_text(json.dumps([{"timestamp": span}]))


def engine_of(settings: Settings) -> TextOmni:
    """Load the trained model."""
    loaded = load_model(settings.qwen, settings.grid, settings.duplex.tokens_per_chunk)
    engine = TextOmni(loaded.model, loaded.tokenizer, settings.qwen, settings.duplex)
    with demo_corpus() as corpus:
        engine.speech = read_audio(corpus / "WAV" / "D0001_S0001_0_G0001.flac", SPOKEN_HZ)[
            14 * SPOKEN_HZ : 17 * SPOKEN_HZ
        ]
    return engine


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the tiny Qwen3-Omni on the demo, and sweep a setting.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--sweep", default="qwen.silence_bias=-8,-6,-4,-3,-2,-1,0")
    given = parser.parse_args()
    folder, adapter = given.folder, given.folder / "adapter"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "tiny").is_dir():
        save(folder / "tiny")
    _, rows = make_talks(folder / "training", lambda i, j: (i + j) % 3 > 0)
    if not adapter.is_dir():
        train(rows, folder / "tiny", adapter, given.steps)
    talks, others = make_talks(folder / "others", lambda i, j: (i + j) % 3 == 0)
    if not (folder / "items").is_dir():
        write_items(talks, others, folder / "items")
    torch.set_num_threads(1)
    overrides = {
        "duplex.system_prompt": PROMPT,
        "qwen.model_id": str(folder / "tiny"),
        "qwen.adapter": str(adapter),
        "qwen.torch_dtype": "float32",
        "qwen.device_map": "cpu",
    }
    settings = load_settings(overrides=overrides)
    items = find_items(folder / "items")
    print(f"{len(items)} items", flush=True)
    results, report = measure_curve(items, parse_sweep(given.sweep), settings, engine_of, folder / "curve")
    for failed in {result.error for result in results if result.error}:
        print("failed:", failed)
    (folder / "curve" / "curve.json").write_text(json.dumps(report, indent=2))
    (folder / "curve" / "curve.svg").write_text(curve_svg(report))
    print(json.dumps(report))


if __name__ == "__main__":
    main()
