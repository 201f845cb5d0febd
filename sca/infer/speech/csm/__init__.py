"""The engine csm: Sesame's conversational speech model, streamed frame by frame."""
