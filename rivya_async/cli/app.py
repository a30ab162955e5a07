"""The root group of `rivya`: the commands with their modules and summaries."""

from __future__ import annotations

from typing import Final

import click

from .. import __version__
from .command import LazyCommand, LazyGroup, RivyaCommand

HELP_WIDTH: Final = 80
"""Columns of option lists. A fixed width spares `rivya --help` the import of shutil."""

COMMANDS: Final = (
    LazyCommand("demo", "demo", "Make a mixed batch of images, videos and audio, and a contact sheet."),
    LazyCommand("generate", "generations", "Buy a job, or several alike, and wait for the results."),
    LazyCommand("batch", "batch", "Run thousands of jobs from a file, and resume after any interruption."),
    LazyCommand("worker", "worker", "Run jobs that other programs enqueue, on any number of machines."),
    LazyCommand("wait", "generations", "Wait for jobs that were bought before."),
    LazyCommand("download", "generations", "Save the files of finished jobs, or of links."),
    LazyCommand("chat", "chat", "Ask a chat model, or list the conversations."),
    LazyCommand("files", "files", "Upload reference files, or show an uploaded one."),
    LazyCommand("webhooks", "webhooks", "Manage webhook endpoints, and show deliveries and events."),
    LazyCommand("listen", "listen", "Receive webhooks on this machine, show them, and forward them."),
    LazyCommand("models", "service", "List the models, or show the params, limits and price of one."),
    LazyCommand("credits", "service", "Show the credit balance."),
    LazyCommand("openapi", "service", "Show the OpenAPI document of the service."),
    LazyCommand("sandbox", "sandbox", "Serve the whole API on this machine until Ctrl-C."),
)


@click.group(
    cls=LazyGroup,
    commands=COMMANDS,
    context_settings={"show_default": True, "terminal_width": HELP_WIDTH},
)
@click.version_option(__version__, message="rivya-async %(version)s")
def app() -> None:
    """Images, video, audio and chat from the Rivya API.

    RIVYA_API_KEY holds the API key, RIVYA_BASE_URL another origin than https://rivya.ai.
    With --json, stdout holds one JSON object per line and nothing else; an error is
    a line {"error": {...}} on stderr. Try any command with --sandbox: no account needed.
    """


@app.command("completion", cls=RivyaCommand, is_plain=True)
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def completion(shell: str) -> None:
    """Print the completion script for bash, zsh or fish.

    bash: add to ~/.bashrc     eval "$(rivya completion bash)"
    zsh:  add to ~/.zshrc      eval "$(rivya completion zsh)"      (after compinit)
    fish: run once             rivya completion fish > ~/.config/fish/completions/rivya.fish

    Examples:
      rivya completion bash
    """
    from click.shell_completion import get_completion_class

    if found := get_completion_class(shell):
        click.echo(found(app, {}, "rivya", "_RIVYA_COMPLETE").source())
