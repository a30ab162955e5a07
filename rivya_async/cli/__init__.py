"""The roof: the command `rivya`. Nothing in this library imports it.

`main` and `parser` load argparse and nothing else, so that `rivya --help` answers at once; every command is a module of
its own that is imported when it is asked for.
"""
