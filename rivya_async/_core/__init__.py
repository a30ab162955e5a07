"""Pure core: values and decisions, without await, clock, randomness or I/O."""
