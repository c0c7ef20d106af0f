"""Files that are replaced as a whole or not at all: a reader sees the old content or the new."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


@contextmanager
def replacement(path: Path) -> Iterator[Path]:
    """An empty file beside `path`, which takes its place if the block ends without an error.

    Its name cannot be guessed and it is never an existing file or link: in a folder that others can
    write to, nothing can be put in its way.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        os.close(os.open(draft, _NEW, 0o666))
        yield draft
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def replace_file(path: Path, content: str | bytes) -> None:
    """Write a file in one step; text in UTF-8, its line ends as they are."""
    with replacement(path) as draft:
        draft.write_bytes(content.encode() if isinstance(content, str) else content)
