"""The door that `onggi-oci` opens: `python -I -S start.py`, so without `site` and without an installed package.

Short, because it is compiled each time. Read next: `ahead`, then `main`.
"""

import gc
import sys

gc.disable()  # a container starts in less time than the first collection takes
sys.path.insert(0, __file__.rpartition("/onggi/runc/")[0] or ".")

from onggi.runc import ahead  # noqa: E402 - what comes after it is loaded by it

ahead.install()

from onggi.runc.main import main  # noqa: E402

main()
