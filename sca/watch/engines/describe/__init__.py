"""A vision engine without a model of its own: cuts, motion, brightness, and the text that is written in the picture."""
