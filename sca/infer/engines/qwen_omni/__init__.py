"""The Qwen3-Omni engine. `sca.infer.engines.qwen_omni.factory.load` creates it."""
