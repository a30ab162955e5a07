"""`python -m rivya_async` is the command `rivya`. Ctrl-C while it loads ends it in one line."""

import os
import signal
import sys
from contextlib import suppress
from types import FrameType


def main() -> int:
    """Loads the command line and runs one command. Returns its exit code."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _exit_interrupted)  # until an event loop has its own handler
    from .cli.main import main as run_command

    return run_command()


def _exit_interrupted(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
    text = "rivya: interrupted; nothing was bought\n"
    if "--json" in sys.argv:
        text = '{"error": {"type": "Interrupted", "message": "interrupted", "exit_code": 130}}\n'
    with suppress(OSError):  # stderr may be closed
        os.write(2, text.encode())
    os._exit(130)


if __name__ == "__main__":
    sys.exit(main())
