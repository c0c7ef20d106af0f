"""Starts the guest: `python -m guest isolated|container|shared MODULE...`."""

import os
import site
import sys

from .parent import main

# Families find the standard library and installed packages, and nothing of this project: neither
# the guest program, nor the checkout that an editable install puts on the path.
sys.path.remove(os.environ.pop("PYTHONPATH"))
checkout = os.path.realpath(__file__).rsplit(os.sep, 4)[0]
if checkout not in map(os.path.realpath, site.getsitepackages()):
    sys.path[:] = [path for path in sys.path if os.path.realpath(path) != checkout]
main(sys.argv[1:])
