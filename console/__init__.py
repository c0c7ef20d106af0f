"""The command line: `acdc`, the run folder, the live display, the server.

    app        the entry of the command, and its commands in the order of the help
    commands   one file a command; frame: what they share, and how they end
    run        a run on disk: its folder, its configuration, opening it for work or for reading
    serving    the collective as an OpenAI-compatible endpoint
    view       runs in a browser, and as one file
    display    progress of a run, live or as plain lines
    studio     the run's graph for `langgraph dev`
    calling    commands as a user would type them, for messages
    errors     UsageError, ConfigError

`acdc.py` does the same from Python.
"""
