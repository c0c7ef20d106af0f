"""Measurements: each module is a command, `python -m benchmarks.NAME`."""

import memory  # noqa: F401  (before PyTorch)
