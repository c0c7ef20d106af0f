"""`acdc serve` as a process of its own, for the length of a block."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai

from tests.console.conftest import Acdc

TOKEN = "a-token-of-the-tests"


@dataclass(frozen=True)
class Served:
    url: str
    models: list[str]
    process: subprocess.Popen[str]

    @property
    def experts(self) -> list[str]:
        return [name for name in self.models if not name.startswith("acdc")]

    @property
    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=self.url, api_key=TOKEN, max_retries=0)

    @property
    def aclient(self) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=self.url, api_key=TOKEN, max_retries=0)

    @property
    def bare(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return httpx.Client(base_url=self.url.removesuffix("/v1"), headers=headers, timeout=120)


@contextmanager
def serving(acdc: Acdc, folder: Path, *words: str, token: str | None = TOKEN) -> Iterator[Served]:
    """The command until the end of the block, as a process of its own."""
    acdc.environment.pop("ACDC_SERVE_TOKEN", None)
    if token is not None:
        acdc.environment["ACDC_SERVE_TOKEN"] = token
    process = acdc.start("serve", folder, "--port", "0", "--json", *words)
    acdc.environment.pop("ACDC_SERVE_TOKEN", None)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        yield Served(**json.loads(line), process=process)
    finally:
        process.kill()
        process.communicate()
