"""Full-duplex speech models live: one loop that listens, thinks and speaks, in real time or in simulated time."""
