"""`python -m rivya_async` is the command `rivya`."""

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
