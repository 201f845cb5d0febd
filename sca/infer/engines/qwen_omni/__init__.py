"""The Qwen3-Omni full-duplex engine: a thinker, a talker and a vocoder, stepped together chunk by chunk (`docs/qwen-omni.md`)."""
