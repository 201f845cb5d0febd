"""Runs an ASGI application under uvicorn with our connection limits and WebSocket behavior."""
