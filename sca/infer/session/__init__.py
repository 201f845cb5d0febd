"""The live loop: input chunks, engine steps, pacing of the output, and recordings."""
