"""The documentation site: reference pages are those of the code, it builds, and links lead on."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from console.reference import DOCS, PAGES

ROOT = DOCS.parent
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("name", PAGES)
def test_a_reference_page_is_what_the_code_says(name: str) -> None:
    written = (DOCS / name).read_text(encoding="utf-8")
    assert written == PAGES[name](), "python -m console.reference writes it"


@pytest.mark.parametrize("page", sorted(["README.md", *map(str, DOCS.glob("*.md"))]))
def test_every_link_leads_to_a_file(page: str) -> None:
    file = ROOT / page
    broken = [link for link in LINK.findall(file.read_text()) if not (file.parent / link).exists()]
    assert not broken


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for page in DOCS.glob("*.md"):
        assert (tmp_path / page.with_suffix(".html").name).is_file(), "not in the site"
    index = (tmp_path / "index.html").read_text()
    assert "AC/DC in five minutes" in index
    assert not re.findall(r'(?:src|href)="(?:https?:)?//(?!squidfunk)[^"]*', index), (
        "from elsewhere"
    )


def test_messages_that_the_page_on_troubleshooting_quotes_are_real() -> None:
    rooms = ("agents", "evolution", "memory", "console")
    files = [file for room in rooms for file in (ROOT / room).rglob("*.py")]
    text = "\n".join(file.read_text() for file in [*files, ROOT / "Makefile"])
    # A string that goes on in the next line is one string.
    source = re.sub(r'"\s*\n\s*f?"', "", text)
    rows = re.findall(
        r"^\| ([^|]*`.*?) \|", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE
    )
    quoted = [quote for row in rows for quote in re.findall(r"`([^`]+)`", row)]
    assert len(quoted) >= 10
    pieces = {piece for quote in quoted for piece in re.split(r" ?\bN\b ?", quote) if piece}
    assert not {piece for piece in pieces if piece not in source}
