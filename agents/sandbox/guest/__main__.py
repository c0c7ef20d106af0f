"""Starts the guest: `python -m guest isolated|container|shared MODULE...`."""

import os
import sys

from .hiding import hide_project
from .parent import main

# Neither the guest program nor the installed project can be imported by families.
sys.path.remove(os.environ.pop("PYTHONPATH"))
hide_project()
main(sys.argv[1:])
