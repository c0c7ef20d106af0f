"""Family folders: families as files that people and other programs can read.

    tasks/<family id>/task.py      the program
    tasks/<family id>/task.json    everything else

The run store is authoritative; folders are written from it and can be rewritten at any time.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agents.errors import FamilyFolderError
from memory.files import replace_beneath
from memory.hashing import text_hash
from memory.messages import first_problem, not_written
from memory.records import Family

PROGRAM = "task.py"
METADATA = "task.json"
STATED = ("name", "description", "capability", "difficulty")
"""What only the author of a family can say."""
_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}")


def write_family(folder: Path, family: Family) -> Path:
    """Write the folder of a family; writing the same again changes nothing.

    Each file is replaced atomically, the metadata last: a folder that has it is complete.

    Args:
        folder: the parent of family folders, as in `runs/quickstart/tasks`.
        family: what to write; its id names the folder.

    Returns:
        The folder of this family.

    Raises:
        FamilyFolderError: the id is not a valid folder name, the files cannot be written, or
            `folder` or what is in it is a link.
    """
    check_id(family.id)
    own = folder / family.id
    metadata = family.model_dump(mode="json", exclude={"code", "code_hash"})
    metadata["example_instruction"] = family.example_instruction
    text = json.dumps(metadata, indent=2, ensure_ascii=False) + "\n"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _replace(own / PROGRAM, family.code)
        _replace(own / METADATA, text)
    except OSError as error:
        raise FamilyFolderError(not_written(own, error)) from error
    return own


def check_id(family_id: str) -> None:
    """Reject an id that is not a valid folder name.

    Raises:
        FamilyFolderError: it is not a valid folder name.
    """
    if not _SAFE_ID.fullmatch(family_id):
        raise FamilyFolderError(f"{family_id!r} is not a valid name for a family folder")


def read_family(folder: Path) -> Family:
    """Read one family folder, as written by `write_family` or by hand.

    A person states `STATED` and, for a closed family, the answers. What else is missing has its
    value from the folder's name or from the program.

    Args:
        folder: the folder of this family.

    Raises:
        FamilyFolderError: it is not a family folder, or its metadata is invalid.
    """
    try:
        code = (folder / PROGRAM).read_bytes().decode()
        metadata: dict[str, Any] = json.loads((folder / METADATA).read_text(encoding="utf-8"))
        # JSON may name half of a pair of surrogates, which no text in UTF-8 can hold.
        json.dumps(metadata, ensure_ascii=False).encode()
        metadata.pop("example_instruction", None)
        if missing := [name for name in STATED if name not in metadata]:
            raise FamilyFolderError(f"{folder / METADATA} does not state {', '.join(missing)}")
        by_hand: dict[str, Any] = {
            "id": folder.resolve().name,
            "generation": 0,
            "kind": "novel",
            "scientist": "by hand",
            "instructions": {},
        }
        if "reference_answers" not in metadata:
            # The program computes them, and draws.
            by_hand |= {"seed": 0, "reference_answers": {}, "wrong_answers": {}}
        own = {"code": code, "code_hash": text_hash(code)}
        return Family.model_validate(by_hand | metadata | own)
    except (OSError, UnicodeError) as error:
        raise FamilyFolderError(f"{folder} is not a readable family folder: {error}") from error
    except ValidationError as error:
        raise FamilyFolderError(f"{folder / METADATA}: {first_problem(error)}") from error
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise FamilyFolderError(f"{folder / METADATA} is not a JSON object: {error}") from error


def _replace(path: Path, text: str) -> None:
    """Replace a file atomically unless it has this content already; line endings are kept."""
    content, own = text.encode(), path.parent
    if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
        return
    replace_beneath(own.parent.parent, (own.parent.name, own.name, path.name), content)
