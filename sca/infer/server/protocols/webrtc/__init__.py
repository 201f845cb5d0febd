"""Calls over WebRTC: the OpenAI Realtime protocol with audio tracks and a data channel."""
