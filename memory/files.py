"""Files that are replaced as a whole or not at all: a reader sees the old content or the new."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


@contextmanager
def replacement(path: Path, mode: int = 0o666) -> Iterator[Path]:
    """An empty file beside `path`, which takes its place if the block ends without an error.

    Its name cannot be guessed and it is never an existing file or link: in a folder that others can
    write to, nothing can be put in its way.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        os.close(os.open(draft, _NEW, mode))
        yield draft
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def replace_beneath(root: Path, parts: Sequence[str], content: str | bytes) -> None:
    """Write a file in folders beneath `root`, which are made; no link below it is followed.

    So nothing that somebody planted in a folder of theirs leads the writer out of it.

    Args:
        root: a folder that is there.
        parts: names of the folders, then of the file.
        content: as in `replace_file`.

    Raises:
        OSError: one of the folders is a link or a file, or cannot be written.
    """
    *folders, name = parts
    place = os.open(root, _FOLDER)
    try:
        for folder in folders:
            with suppress(FileExistsError):
                os.mkdir(folder, dir_fd=place)
            inner = os.open(folder, _FOLDER | os.O_NOFOLLOW, dir_fd=place)
            os.close(place)
            place = inner
        draft = f".{name}.{secrets.token_hex(8)}.part"
        try:
            with open(os.open(draft, _NEW, 0o666, dir_fd=place), "wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
            os.replace(draft, name, src_dir_fd=place, dst_dir_fd=place)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(draft, dir_fd=place)
    finally:
        os.close(place)


def replace_file(path: Path, content: str | bytes, mode: int = 0o666) -> None:
    """Write a file in one step; text in UTF-8, its line ends as they are.

    Args:
        path: of the file.
        content: all of it.
        mode: of the file, less what the umask takes away.
    """
    with replacement(path, mode) as draft:
        draft.write_bytes(content.encode() if isinstance(content, str) else content)
