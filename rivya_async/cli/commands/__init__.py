"""Commands of `rivya`: options and action together, a module for each group of commands."""
