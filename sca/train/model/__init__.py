"""The thinker that is trained: how it is loaded, which of its weights are trained, and how they are saved."""
