"""One file a command: its words, the function that does the work, what is printed.

Importing them must stay cheap, so heavy modules are imported inside of functions. `frame` holds
the application, shared options, exit codes, and the only broad `except`.
"""
