"""The council contract: one suite for the council in this process and for the real servers.

The repository's root is put on the path so that `tests.…` can be imported however pytest was
started.
"""

import sys
from pathlib import Path

_ROOT = str(Path(__file__).parents[3])
if _ROOT not in sys.path:
    sys.path.append(_ROOT)
