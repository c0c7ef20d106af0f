"""How PyTorch's threads wait for each other."""

from __future__ import annotations

import os
import subprocess
import sys


def test_how_threads_wait_is_set_before_pytorch_is_loaded() -> None:
    """OpenMP reads it once, when it is loaded; what a user has set stays."""
    program = (
        "import sys, os, memory; assert 'torch' not in sys.modules; "
        "print(os.environ['GOMP_SPINCOUNT'])"
    )
    plain = {key: value for key, value in os.environ.items() if key != "GOMP_SPINCOUNT"}
    for given, found in ((plain, "1000"), ({**plain, "GOMP_SPINCOUNT": "7"}, "7")):
        done = subprocess.run([sys.executable, "-c", program], env=given, stdout=subprocess.PIPE)
        assert done.stdout.decode().strip() == found
