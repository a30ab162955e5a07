"""Benchmarks of the SDK, mostly as ratios measured in one run. `python -m benchmarks` runs them all."""
