"""Floor 2: the floor that waits."""
