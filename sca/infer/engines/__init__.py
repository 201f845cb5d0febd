"""The engines that ship with sca. `sca.infer.engines.registry` loads them by name."""
