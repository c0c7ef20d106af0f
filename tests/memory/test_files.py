from __future__ import annotations

from pathlib import Path

import pytest

from memory.files import replace_beneath, replace_file, replacement


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    replace_file(path, "first\r\n")
    with pytest.raises(UnicodeEncodeError), replacement(path) as draft:
        draft.write_text("sec\udc00nd", encoding="utf-8")
    assert path.read_bytes() == b"first\r\n"
    replace_file(path, b"third")
    assert path.read_bytes() == b"third"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    target, path = tmp_path / "target", tmp_path / "link"
    target.write_text("untouched", encoding="utf-8")
    path.symlink_to(target)
    replace_file(path, "own")
    assert not path.is_symlink()
    assert (path.read_text(), target.read_text()) == ("own", "untouched")


def test_every_draft_has_a_name_of_its_own(tmp_path: Path) -> None:
    with replacement(tmp_path / "one") as first, replacement(tmp_path / "one") as second:
        assert first != second
        assert first.parent == second.parent == tmp_path


def test_no_link_beneath_the_root_is_followed(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    replace_beneath(root, ("a", "b", "file"), "first")
    replace_beneath(root, ("a", "b", "file"), b"second")
    assert (root / "a" / "b" / "file").read_bytes() == b"second"
    assert [path.name for path in (root / "a" / "b").iterdir()] == ["file"]
    (root / "c").symlink_to(outside)
    (root / "a" / "d").symlink_to(outside)
    for parts in (("c", "file"), ("a", "d", "file"), ("c", "deeper", "file")):
        with pytest.raises(OSError, match=r".+"):
            replace_beneath(root, parts, "never")
    assert list(outside.iterdir()) == []
    (root / "linked").symlink_to(outside / "target")
    replace_beneath(root, ("linked",), "own")
    assert not (root / "linked").is_symlink()
    assert list(outside.iterdir()) == []
