"""A vLLM-Omni server as an engine: its GPUs think and speak, we hear, take turns and play (`docs/vllm-omni.md`)."""
