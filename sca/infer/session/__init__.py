"""The live session: input, engine, pacing, output."""
