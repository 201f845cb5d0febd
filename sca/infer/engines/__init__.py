"""The engines that come with sca, found by name through `sca.infer.engines.registry`."""
