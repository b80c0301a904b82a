"""The forge contract: one suite for the simulated forges and for real ones.

The oracle lives with the simulator's own tests; the repository's root is put on the path so that
`tests.…` can be imported however pytest was started.
"""

import sys
from pathlib import Path

_ROOT = str(Path(__file__).parents[3])
if _ROOT not in sys.path:
    sys.path.append(_ROOT)
