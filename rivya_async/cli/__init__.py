"""The command `rivya`. No other package imports it.

`main` and `app` import click and nothing else, so that `rivya --help` and shell completion are quick. The module of a
command is imported when the command runs.
"""
