"""A simulated user, who reacts to an engine in virtual time: questions, interruptions, backchannels, pauses and noise."""
