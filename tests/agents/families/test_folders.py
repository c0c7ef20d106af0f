import json
from pathlib import Path

import pytest

from agents.errors import FamilyFolderError
from agents.families.folders import read_family, write_family
from memory.hashing import text_hash
from memory.records import Family

CODE = 'class TaskFamily:\r\n    """Ünï."""\n'
FAMILY = Family(
    id="g2-a05-spell-backward",
    generation=2,
    name="spell backward",
    description="Spell words backward.",
    capability="words",
    difficulty=3,
    code=CODE,
    code_hash=text_hash(CODE),
    instructions={"1": "Spell 'ab' backward.", "2": "Spell 'cd' backward."},
    reference_answers={"1": "ba", "2": "dc"},
    wrong_answers={"1": ["ab"], "2": ["cd"]},
    parents=("g0-a01-spell",),
    kind="harder",
    scientist="offline",
    prompt_hashes={"propose": "abc"},
)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    folder = write_family(tmp_path / "tasks", FAMILY)
    assert folder == tmp_path / "tasks" / FAMILY.id
    assert read_family(folder) == FAMILY
    assert json.loads((folder / "task.json").read_text())["example_instruction"] == (
        "Spell 'ab' backward."
    )


def test_writing_again_changes_nothing(tmp_path: Path) -> None:
    folder = write_family(tmp_path, FAMILY)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert {path.name for path in before} == {"task.py", "task.json"}
    write_family(tmp_path, FAMILY)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_changed_program_has_another_hash(tmp_path: Path) -> None:
    folder = write_family(tmp_path, FAMILY)
    (folder / "task.py").write_text("x = 1\n")
    assert read_family(folder).code_hash == text_hash("x = 1\n")


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "/etc"])
def test_an_id_that_is_no_plain_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(FamilyFolderError, match="not a valid name for a family folder"):
        write_family(tmp_path, FAMILY.model_copy(update={"id": name}))


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "not a readable family folder"),
        ("[1]", "not a JSON object"),
        ("{", "not a JSON object"),
        ("{}", "does not state name"),
    ],
)
def test_a_damaged_folder_is_one_clear_line(
    tmp_path: Path, metadata: str | None, message: str
) -> None:
    folder = write_family(tmp_path, FAMILY)
    (folder / "task.json").unlink()
    if metadata is not None:
        (folder / "task.json").write_text(metadata)
    with pytest.raises(FamilyFolderError, match=message) as caught:
        read_family(folder)
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "tasks").write_text("a file")
    with pytest.raises(FamilyFolderError, match="cannot be written"):
        write_family(tmp_path / "tasks", FAMILY)
