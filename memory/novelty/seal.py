"""A seal on a folder: whether it holds, byte for byte, what it held when it was closed.

Native code that maps its files dies of one wrong byte, or answers wrongly and says nothing. To ask
it is no proof, and in a child process takes longer than to build a thousand entries anew; so
files that are not what was left behind are not opened at all. Nor are those that somebody else has
left: a seal is made with a key of this machine.
"""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from memory.files import replace_file

_NAME = "closed.sha256"


def seal(folder: Path, key: bytes) -> None:
    """Note what the files of a folder are; nothing may write to them any more."""
    replace_file(folder / _NAME, _digest(folder, key) + "\n")


def break_seal(folder: Path, key: bytes) -> bool:
    """Take the seal off a folder that is to be changed, and say whether it held.

    Without one it does not hold: who worked there last was killed, or died of what is there.
    """
    mark = folder / _NAME
    if not mark.is_file():
        return False
    noted = mark.read_bytes()
    mark.unlink()
    return hmac.compare_digest(noted, (_digest(folder, key) + "\n").encode())


def _digest(folder: Path, key: bytes) -> str:
    """HMAC of SHA-256 over names and contents of all files but the seal."""
    digest = hmac.new(key, digestmod="sha256")
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / _NAME:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()
