"""What mkdocs does to a page: a link to a file of the repository becomes the file's name.

In the repository such links lead to the source; the site has no source to lead to.
"""

from __future__ import annotations

import re
from typing import Any

_OUTSIDE = re.compile(r"\[(`?)([^\]]+?)\1\]\((\.\./[^)#]+|inspect\.ipynb)(#[^)]*)?\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The text of a page with links that lead outside of `docs/` as plain names."""
    return _OUTSIDE.sub(_named, markdown)


def _named(link: re.Match[str]) -> str:
    text, path = link.group(2), link.group(3).removeprefix("../")
    return f"`{path}`" if text in (path, path.rstrip("/")) else f"{text} (`{path}`)"
