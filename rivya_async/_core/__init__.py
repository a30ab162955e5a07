"""Floor 1: values and decisions. No await, no clock, no dice, no I/O."""
