"""An engine that uses a vLLM-Omni server: the server generates answers, this side detects turns and paces the output.

See `docs/vllm-omni.md`.
"""
