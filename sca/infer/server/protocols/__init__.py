"""Protocols that clients speak over a WebSocket."""
