"""Evaluation of engines and of turn-taking."""
