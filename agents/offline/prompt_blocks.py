"""What stands in the messages of a request: labelled blocks of JSON and of code."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_JSON_BLOCK = re.compile(
    r"^## (?P<label>[^\n]+)\n(?:(?!^## |^```).)*?^(?P<fence>`{3,})json\n(?P<body>.*?)\n(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)
_CODE_BLOCK = re.compile(
    r"^(?P<fence>`{3,})python\n(?P<body>.*?)\n(?P=fence)$", re.MULTILINE | re.DOTALL
)

ASSIGNMENT = "Assignment"
PARENT = "Parent family"
INSPIRATIONS = "Families of the pool, for contrast"
WEAK_SPOTS = "Weak spots of the population"
REJECTED = "Lately rejected"
TAKEN = "Names that are taken"
GATES = "Gate report"
CRITIQUE = "Critique"
ANSWERS = "Answers of current models"
DRAFT = "Draft under review"
CANDIDATE = "Candidate"
NEIGHBOURS = "Nearest families of the pool"


def blocks(text: str) -> Mapping[str, Any]:
    """JSON values by the heading above them."""
    found = _JSON_BLOCK.finditer(text)
    return {block["label"].strip(): json.loads(block["body"]) for block in found}


def code_in(text: str) -> str:
    """The first fenced Python program, "" if there is none."""
    found = _CODE_BLOCK.search(text)
    return found["body"] if found else ""
