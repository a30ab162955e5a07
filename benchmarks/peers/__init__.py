"""Other asyncio SDKs beside this one: the same jobs, the same poll counts, the same faults, one local server.

`python -m benchmarks peers`. Not part of CI: it downloads third-party packages into an environment of its own.
"""
