"""Starts the guest: `python -m guest isolated|container|shared MODULE...`."""

import os
import sys

from .hiding import hide_project
from .parent import main

# What is left of this project on the path, where it is installed, is hidden.
sys.path.remove(os.environ.pop("PYTHONPATH"))
hide_project()
main(sys.argv[1:])
