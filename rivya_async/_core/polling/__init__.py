"""Poll intervals and snapshots as pure functions of values."""
