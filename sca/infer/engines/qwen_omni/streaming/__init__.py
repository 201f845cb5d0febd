"""Qwen3-Omni one session at a time: thinker, talker and vocoder as streams, and the engine made of them."""
