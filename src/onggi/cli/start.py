"""The door that `./onggi` opens: `python -I -S start.py`, so without `site` and without an installed package.

It only puts this checkout's `src` on the path. An installed `onggi` comes in at `onggi.cli.main:main` directly.
Read next: `main`.
"""

import sys

sys.path.insert(0, __file__.rpartition("/onggi/cli/")[0] or ".")

import os

from onggi.cli.main import main

if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    os._exit(status)  # `main` has flushed stdout; taking the interpreter apart would cost milliseconds
