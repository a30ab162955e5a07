"""Comparison with other asyncio SDKs: the same jobs, poll counts and faults on one local server.

`python -m benchmarks peers`. Not part of CI: it installs third-party packages into a separate environment.
"""
