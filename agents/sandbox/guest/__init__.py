"""The program inside the sandbox: it imports once, and forks one child for every step.

It runs in an interpreter that may see nothing else of this project, so it imports the standard
library only. The host speaks to it over standard input and output, in frames of a four-byte length
(big endian) and as many bytes, of which the first is the kind:

    host -> guest   a request, one step: JSON {"program": false, "limits": {...}}, which the parent
                    reads, then the work itself, which the child reads: JSON {"code", "pairs"} to
                    score pairs of instance and text (none: the family describes itself), or, for a
                    program, JSON {"code", "stdin", "arguments"}
    guest -> host   b"e" + JSON {"end": "ready"}             once, when imports are done
                    b"q" + a question of the child           the host replies with one frame:
                                                             b"a" + the answer, or b"s" to stop
                    b"r" + the result, if there is one
                    b"e" + JSON {"end", "detail", "spent"}   when the step is over

Two kinds of process, and who may be believed:

- the parent (`parent`) runs no foreign code and reads none. It forks, keeps the clock, kills,
  sweeps up;
- a child (`child`) runs one step of one family under `confinement`, and ends. What it writes is
  the word of foreign code: the parent passes it on unread, and the host takes it for no more than
  the result of that step.

A guest that is `spent` could not be cleaned and is replaced.
"""
