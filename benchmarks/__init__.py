"""What waiting and importing cost, as ratios measured side by side in one run. `python -m benchmarks` prints it all."""
