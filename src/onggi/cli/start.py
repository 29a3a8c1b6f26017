"""The door that `./onggi` opens: `python -I -S start.py`, so without `site` and without an installed package.

It only puts this checkout's `src` on the path. An installed `onggi` comes in at `onggi.cli.main:main` directly.
Read next: `main`.
"""

import sys

sys.path.insert(0, __file__.rpartition("/onggi/cli/")[0] or ".")

from onggi.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
