"""A checkpoint with its own code that has the calls of MiniCPM-o 4.5: its answer is the mean level of the pictures.

The calls and their results are those of MiniCPMO45/modeling_minicpmo.py: `init_tts`, `init_token2wav_cache`,
`reset_session`, `streaming_prefill` with one message, `streaming_generate` with text or with sound and text.
"""

import json

import numpy as np

CONFIGURATION = """
from transformers import PretrainedConfig


class MiniCPMOConfig(PretrainedConfig):
    model_type = "minicpmo"
"""

MODELING = """
import numpy as np
import torch
from transformers import PreTrainedModel

from .configuration_minicpmo import MiniCPMOConfig


class MiniCPMO(PreTrainedModel):
    config_class = MiniCPMOConfig

    def __init__(self, config):
        super().__init__(config)
        self.gain = torch.nn.Parameter(torch.ones(2, 2))
        self.voice, self.reference, self.levels, self.roles = None, None, [], []
        self.post_init()

    def init_tts(self, streaming=False, model_dir=None, enable_float16=False, n_timesteps=10):
        self.voice = (streaming, model_dir, enable_float16)

    def init_token2wav_cache(self, prompt_speech_16k):
        self.reference = len(prompt_speech_16k)

    def reset_session(self, reset_token2wav_cache=True):
        assert not reset_token2wav_cache
        self.levels, self.roles = [], []

    def streaming_prefill(self, session_id, msgs, omni_mode=True, max_slice_nums=None, **kwargs):
        assert session_id and len(msgs) == 1
        self.roles.append(msgs[0]["role"])
        self.levels += [int(round(np.asarray(one).mean())) for one in msgs[0]["content"] if not isinstance(one, str)]

    def streaming_generate(self, session_id, generate_audio=True, max_new_tokens=256, do_sample=True, **kwargs):
        if self.levels == [13]:
            raise RuntimeError("out of memory")
        for part in ("Levels: ", " ".join(map(str, self.levels)), "<|tts_eos|>"):
            yield (torch.full((1, 2400), 0.25), part) if generate_audio else (part, part == "<|tts_eos|>")
"""


def save(folder):
    """Create the checkpoint and return its folder."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True)
    auto_map = {"AutoConfig": "configuration_minicpmo.MiniCPMOConfig", "AutoModel": "modeling_minicpmo.MiniCPMO"}
    config = {"model_type": "minicpmo", "architectures": ["MiniCPMO"], "auto_map": auto_map}
    files = {
        "config.json": json.dumps(config),
        "configuration_minicpmo.py": CONFIGURATION,
        "modeling_minicpmo.py": MODELING,
    }
    for name in ("preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"):
        files[name] = "{}"
    for name, text in files.items():
        (folder / name).write_text(text)
    save_file({"gain": np.ones((2, 2), np.float32)}, folder / "model.safetensors", metadata={"format": "pt"})
    return folder
