"""The protocols that clients speak over a WebSocket: raw PCM16, Twilio media streams, OpenAI Realtime."""
