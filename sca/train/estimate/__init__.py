"""What a training run needs, computed from the configuration of the model: parameters, memory, operations, time."""
