"""Nothing executes what was only meant to be read; secrets stay out of the repository."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("agents", "benchmarks", "console", "evolution", "memory", "prompts", "seeds")
ALLOWED = {
    # Code of families runs here, in a process of its own within the sandbox.
    ("agents/sandbox/guest/family.py", "exec"),
    ("agents/sandbox/guest/child.py", "exec"),
    # Both ends of this channel are processes of ours, over a socket that no other one has.
    ("evolution/engines/pool/channel.py", "pickle.loads"),
    # Programs that the benchmark's own writer has just written.
    ("benchmarks/ladder.py", "exec"),
}
EXECUTING = {
    *("eval", "exec", "os.system", "os.popen", "tempfile.mktemp", "code.interact"),
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "marshal.load", "marshal.loads"),
    *("shelve.open", "joblib.load", "dill.load", "dill.loads", "cloudpickle.load"),
    *("cloudpickle.loads", "yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load"),
    *("yaml.unsafe_load_all", "yaml.full_load_all", "torch.hub.load", "runpy.run_path"),
}
ONLY_WITH = {"torch.load": ("weights_only", "True")}
NEVER_WITH = {("shell", "True"), ("allow_pickle", "True"), ("use_safetensors", "False")}


def dangers(source: str) -> Iterator[str]:
    """What a file calls that can execute what it was given."""
    tree = ast.parse(source)
    origins = dict(_origins(tree))
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        first, _, rest = ast.unparse(call.func).partition(".")
        name = ".".join(filter(None, [origins.get(first, first), rest]))
        words = {(word.arg, ast.unparse(word.value)) for word in call.keywords}
        if name in EXECUTING or (name in ONLY_WITH and ONLY_WITH[name] not in words):
            yield name
        yield from (f"{key}={value}" for key, value in words & NEVER_WITH)
        for key, value in words:
            if key == "trust_remote_code" and value != "False":
                yield f"{key}={value}"


def _origins(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Name in this file -> where it was imported from."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.asname, alias.name) for alias in node.names if alias.asname)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from pickle import loads as read\nread(b'')", "pickle.loads"),
        ("import torch as t\nt.load('f')", "torch.load"),
        ("import yaml\nyaml.load(f, Loader=yaml.SafeLoader)", "yaml.load"),
        ("subprocess.run('ls', shell=True)", "shell=True"),
        ("AutoModel.from_pretrained(p, trust_remote_code=allowed)", "trust_remote_code=allowed"),
        ("eval(text)", "eval"),
        ("model.eval()\ntorch.load(f, weights_only=True)\nyaml.safe_load(f)", None),
        ("AutoModel.from_pretrained(p, trust_remote_code=False)", None),
    ],
)
def test_a_danger_is_seen(source: str, found: str | None) -> None:
    assert [*dangers(source)] == ([found] if found else [])


def test_nothing_executes_what_it_reads() -> None:
    files = [ROOT / "acdc.py", *(file for room in ROOMS for file in (ROOT / room).rglob("*.py"))]
    assert len(files) > 300
    found = {
        (str(file.relative_to(ROOT)), name) for file in files for name in dangers(file.read_text())
    }
    assert found == ALLOWED


SECRETS = {
    "a private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----",
    "a key of OpenAI or Anthropic": r"\bsk-(?:ant-\w+-|proj-)?[A-Za-z0-9_]{20,}",
    "a token of Hugging Face": r"\bhf_[A-Za-z0-9]{30,}",
    "a token of GitHub": r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{40,})",
    "a key of AWS": r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    "a key of Google": r"\bAIza[A-Za-z0-9_-]{35}",
    "a token of Slack": r"\bxox[abprs]-[A-Za-z0-9-]{10,}",
    "a web token": r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.",
    "a password in an address": r"\bhttps?://[^\s/:@{}<>\"'$]+:[^\s/:@{}<>\"'$]{8,}@[\w.-]+\.\w",
}
PASSED_OVER = {
    ".git",
    ".venv",
    ".mypy_cache",
    ".ruff_cache",
    ".pytest_cache",
    ".hypothesis",
    "runs",
}
LARGEST = 2_000_000


def secrets_in(text: str) -> list[str]:
    return [what for what, form in SECRETS.items() if re.search(form, text)]


@pytest.mark.parametrize(
    "parts",
    [
        ("-----BEGIN RSA ", "PRIVATE KEY-----"),
        ("sk-", "proj-" + "a1B2" * 8),
        ("hf_", "abCD12" * 6),
        ("ghp_", "abCD12" * 6),
        ("AKIA", "ABCD1234" * 2),
        ("https://me:", "correcthorse@example.org/"),
    ],
)
def test_a_secret_is_seen(parts: tuple[str, ...]) -> None:
    assert len(secrets_in("x = " + "".join(parts))) == 1


def test_no_file_holds_a_secret() -> None:
    files = [
        path
        for path in ROOT.rglob("*")
        if not PASSED_OVER & {*path.relative_to(ROOT).parts}
        and path.is_file()
        and path.stat().st_size < LARGEST
    ]
    assert len(files) > 500
    found = {
        str(file.relative_to(ROOT)): secrets
        for file in files
        if (secrets := secrets_in(file.read_bytes().decode("utf-8", "replace")))
    }
    assert found == {}
