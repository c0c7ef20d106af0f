"""A damaged run.db: every page is there, or says what is wrong, and the viewer goes on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from console.view.site import PAGES
from tests.console.damage import HARMS, WHOLE, Column, damage
from tests.console.view.conftest import Viewed


@pytest.mark.parametrize("table", WHOLE)
def test_a_damaged_record_spoils_no_more_than_the_pages_that_show_it(
    copied: Path, table: str
) -> None:
    for harm in HARMS[:4]:
        harmed = shutil.copytree(copied, copied.with_name("harmed"))
        # The families of this run are closed and draw none, and no emitter asked for a child.
        if table not in ("instances", "emitters", "emissions"):
            damage(harmed, Column(table, WHOLE[table]), harm)
        viewed = Viewed(harmed, quiet=True)
        replies = {page: viewed.client.get(viewed.base + page) for page in PAGES}
        for page, reply in replies.items():
            assert reply.status_code in (200, 500), page
            if reply.status_code == 500:
                assert "damaged" in reply.text or "malformed" in reply.text, page
        assert replies["settings"].status_code == 200 or table in ("meta", "events")
        shutil.rmtree(harmed)


def test_a_database_that_is_none_is_said(copied: Path) -> None:
    (copied / "run.db").write_bytes(b"no database at all" * 100)
    assert "is not a database" in Viewed(copied).html(code=500)
    (copied / "run.db").unlink()
    assert "is missing" in Viewed(copied).html(code=500)


def test_a_damaged_configuration_is_said(copied: Path) -> None:
    viewed = Viewed(copied)
    (copied / "config.json").write_text("{")
    assert "is damaged" in viewed.html("settings", code=500)
