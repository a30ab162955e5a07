"""Job durations, learned from finished jobs, and the poll times that follow from them."""
