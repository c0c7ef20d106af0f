"""`python -m console` is the `acdc` command."""

from console.app import main

main()
