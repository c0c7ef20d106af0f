"""Starts the guest: `python -m guest isolated|container|shared MODULE...`."""

import os
import sys

from .parent import main

# Families find the standard library and installed packages, and nothing of this project.
sys.path.remove(os.environ.pop("PYTHONPATH"))
main(sys.argv[1:])
