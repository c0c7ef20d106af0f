"""Family folders: what a scientist wrote, as files that people and other programs can read.

    tasks/<family id>/task.py      the program
    tasks/<family id>/task.json    everything else

The run store is the truth; folders are written from it and may be written again at any time.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agents.errors import FamilyFolderError
from memory.files import replace_file
from memory.hashing import text_hash
from memory.messages import first_problem
from memory.records import Family

PROGRAM = "task.py"
METADATA = "task.json"
_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}")


def write_family(folder: Path, family: Family) -> Path:
    """Write the folder of a family; writing the same again changes nothing.

    Each file is replaced in one step, the metadata last: a folder that has it is complete.

    Args:
        folder: where family folders lie, as in `runs/quickstart/tasks`.
        family: what to write; its id names the folder.

    Returns:
        The folder of this family.

    Raises:
        FamilyFolderError: the id is no plain name, or the files cannot be written.
    """
    check_id(family.id)
    own = folder / family.id
    metadata = family.model_dump(mode="json", exclude={"code", "code_hash"})
    metadata["example_instruction"] = family.example_instruction
    text = json.dumps(metadata, indent=2, ensure_ascii=False) + "\n"
    try:
        own.mkdir(parents=True, exist_ok=True)
        _replace(own / PROGRAM, family.code)
        _replace(own / METADATA, text)
    except OSError as error:
        raise FamilyFolderError(f"the family cannot be written: {error}") from error
    return own


def check_id(family_id: str) -> None:
    """Refuse an id that cannot name a folder.

    Raises:
        FamilyFolderError: it is no plain name.
    """
    if not _SAFE_ID.fullmatch(family_id):
        raise FamilyFolderError(f"{family_id!r} cannot name a family folder")


def read_family(folder: Path) -> Family:
    """Read one family folder, as written by `write_family` or by hand.

    Args:
        folder: the folder of this family.

    Raises:
        FamilyFolderError: it is no family folder, or its metadata are not as they should be.
    """
    try:
        code = (folder / PROGRAM).read_bytes().decode()
        metadata: dict[str, Any] = json.loads((folder / METADATA).read_text(encoding="utf-8"))
        metadata.pop("example_instruction", None)
        return Family.model_validate(metadata | {"code": code, "code_hash": text_hash(code)})
    except (OSError, UnicodeDecodeError) as error:
        raise FamilyFolderError(f"{folder} is no readable family folder: {error}") from error
    except ValidationError as error:
        raise FamilyFolderError(f"{folder / METADATA}: {first_problem(error)}") from error
    except (ValueError, AttributeError, TypeError) as error:
        raise FamilyFolderError(f"{folder / METADATA} holds no JSON object: {error}") from error


def _replace(path: Path, text: str) -> None:
    """Write a file in one step, unless it holds this text already. Line ends stay as they are."""
    content = text.encode()
    if path.exists() and path.read_bytes() == content:
        return
    replace_file(path, content)
