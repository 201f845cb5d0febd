"""Load Qwen3-Omni: check the machine, load the weights, merge a LoRA adapter."""
