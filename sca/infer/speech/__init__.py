"""Speech from text: the interface of the engines, their registry, and the engines espeak and piper."""
