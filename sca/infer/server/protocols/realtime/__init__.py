"""The OpenAI Realtime protocol at `WS /v1/realtime`."""
