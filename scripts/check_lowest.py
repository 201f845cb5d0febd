#!/usr/bin/env python3
"""Run `sca live --engine qwen-omni` on the tiny model, alone and in slots, with an adapter, with the packages of this environment.

    python scripts/check_lowest.py

`bash scripts/test --lowest` starts it in an environment with the lowest versions that the extra `live` allows. Ends with
exit code 1 if a version, except that of torch, is not the lowest one, and with a traceback if a run fails.
"""

import contextlib
import os
import re
import sys
import tempfile
import tomllib
import warnings
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
SECONDS = 1
ROWS = 4  # layers of the tiny thinker


def lowest() -> dict[str, str]:
    """Return the lowest versions of the packages of the extra `live`."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extra = document["project"]["optional-dependencies"]["live"]
    return dict(re.match(r"([\w-]+)>=([\d.]+)", one).groups() for one in extra)  # type: ignore[union-attr]


def make_inputs(folder: Path) -> None:
    """Write the tiny model, an adapter for its thinker, and a recording."""
    import numpy as np
    import soundfile
    from peft import LoraConfig, get_peft_model
    from transformers import Qwen3OmniMoeForConditionalGeneration

    from sca.train.tiny import save

    save(folder / "tiny")
    model = Qwen3OmniMoeForConditionalGeneration.from_pretrained(folder / "tiny")
    names = [f"model.language_model.layers.{i}.self_attn.q_proj" for i in range(ROWS)]
    get_peft_model(model.thinker, LoraConfig(r=2, target_modules=names)).save_pretrained(folder / "adapter")
    noise = np.random.default_rng(0).standard_normal(SECONDS * 16_000).astype(np.float32)
    soundfile.write(folder / "in.wav", noise / 10, 16_000)


def live(folder: Path, *settings: str) -> None:
    """Run `sca live` in this process."""
    import soundfile

    from sca.cli.main import app

    out = folder / "out.wav"
    words = ["live", "--quiet", "--file", str(folder / "in.wav"), "--output", str(out), "--engine", "qwen-omni"]
    for one in (f"model_id={folder / 'tiny'}", f"adapter={folder / 'adapter'}", "device_map=cpu", *settings):
        words += ["--set", f"qwen.{one}"]
    with contextlib.redirect_stdout(sys.stderr):
        app(words, standalone_mode=False)
    said, rate = soundfile.read(out)
    assert (len(said), rate) == (SECONDS * 24_000, 24_000), (len(said), rate)
    assert abs(said).max() > 0


def main() -> None:
    wanted = lowest()
    found = {name: version(name) for name in wanted}
    for name, least in wanted.items():
        if name != "torch" and not f"{found[name]}.".startswith(f"{least}."):
            sys.exit(f"check_lowest: {name} {found[name]} is installed, the lowest version is {least}")
    os.environ.pop("SCA_CONFIG", None)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SCA_CACHE_DIR"] = folder
        make_inputs(Path(folder))
        for settings in (["torch_dtype=float32"], ["torch_dtype=float32", "slots=2"], ["torch_dtype=bfloat16"]):
            live(Path(folder), *settings)
            print(f"check_lowest: ok: sca live --engine qwen-omni, {', '.join(settings)}")
    print("check_lowest: with", ", ".join(f"{name} {number}" for name, number in found.items()))


if __name__ == "__main__":
    main()
