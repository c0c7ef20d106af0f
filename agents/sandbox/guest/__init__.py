"""The program inside the sandbox: it imports once, and forks one child for every step.

It runs in an interpreter that may see nothing else of this project, so it imports the standard
library only. The host speaks to it over standard input and output, in frames of a four-byte length
(big endian) and as many bytes, of which the first is the kind:

    host -> guest   a request: JSON {"code", "steps": [step], "limits": {...}} where a step is
                    {"op": "inspect"}, {"op": "score", "instance", "text"} or
                    {"op": "run", "stdin", "arguments"}
    guest -> host   b"e" + JSON {"end": "ready"}             once, when imports are done
                    b"q" + a question of the child           the host replies with one frame:
                                                             b"a" + the answer, or b"s" to stop
                    b"r" + the result of one step
                    b"e" + JSON {"end", "detail", "spent"}   when the request is over

Two kinds of process, and who may be believed:

- the parent (`parent`) runs no foreign code. It forks, keeps the clock, kills, sweeps up;
- a child (`child`) runs one step of one family under `confinement`, and ends. What it writes is
  the word of foreign code: the parent passes it on unread, and the host takes it for no more than
  the result of that step.

A request ends at the first fault. A guest that is `spent` could not be cleaned and is replaced.
"""
