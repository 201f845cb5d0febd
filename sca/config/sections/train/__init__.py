"""Settings of `sca train`: the run, the loss, and the evaluation while it trains."""
