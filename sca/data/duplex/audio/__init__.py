"""Audio of a conversation: tracks, voice activity, cross-talk, codec targets, speaker embeddings."""
