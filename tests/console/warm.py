"""What a run imports, for `forked` to fork from: loading it takes seconds of every process."""

import contextlib
import gc
import os

os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
with (
    open(os.devnull, "w") as nowhere,
    contextlib.redirect_stdout(nowhere),
    contextlib.redirect_stderr(nowhere),
):
    # rich asks once, here, whether it writes to a terminal; a test reads files.
    import console.commands.frame

import chromadb  # noqa: F401
import mergekit.merge_methods  # noqa: F401
import peft  # noqa: F401

import console.app
import console.commands.evaluate
import console.commands.export
import console.run.coevolution
import console.run.reading
import console.serving.server  # noqa: F401

gc.freeze()
"""No process that is forked from here looks for garbage among what is loaded."""
