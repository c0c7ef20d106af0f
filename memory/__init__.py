"""What is kept: the records that rooms exchange, the run store, the novelty memory, spans.

    records     the typed records, and nothing else
    store       RunStore: everything about a run, in one SQLite file
    novelty     NoveltyMemory: which families are alike, in Chroma
    spans       span, tracing: every piece of work with its beginning and end
    waits       watched, under_way: which open spans are waited for, and how long
    settings    Settings, the base class of all settings; NoveltySettings
    errors      AcdcError, the root of all errors that users can fix
    hashing     text_hash, json_hash
    randomness  stream, derive_seed: one random stream per decision
    files       replace_file, replacement: files written as a whole or not at all
    messages    parts of error messages: did_you_mean, first_problem, first_line
    threads     heavy work in a thread that ends with it

The lowest room: it imports no other.
"""

import memory.threads  # noqa: F401  (before PyTorch)
