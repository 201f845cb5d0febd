"""Audio of conversations: encoded tracks, voice activity, cross-talk, codec targets and speaker embeddings."""
