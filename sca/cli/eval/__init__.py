"""Commands of `sca eval`: measures of engines and detectors."""
