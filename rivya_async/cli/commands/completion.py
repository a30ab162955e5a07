"""`rivya completion`: click's shell completion scripts."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from ..command import RivyaCommand


@click.command("completion", cls=RivyaCommand)
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def completion(shell: str) -> None:
    """Print the completion script for bash, zsh or fish.

    bash: add to ~/.bashrc     eval "$(rivya completion bash)"
    zsh:  add to ~/.zshrc      eval "$(rivya completion zsh)"      (after compinit)
    fish: run once             rivya completion fish > ~/.config/fish/completions/rivya.fish

    Examples:
      rivya completion bash
    """
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"click has no completion for {shell}.")
    root = click.get_current_context().find_root().command
    click.echo(found(root, {}, "rivya", "_RIVYA_COMPLETE").source())
