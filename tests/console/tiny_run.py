"""The configuration of a run that takes seconds."""

from __future__ import annotations

from tests.conftest import TinyFamily


def tiny_run_config(family: TinyFamily, url: str) -> str:
    """TOML: tiny models, a small pool, two adaptations, and a scientist at a URL."""
    seeds = ", ".join(
        f'{{ name = "{name}", path = "{path}" }}' for name, path in family.seeds.items()
    )
    return f"""
generations = 4
# Of this seed some bred experts are no gibberish, and some of those are not in the archive.
seed = 5

[models]
base = "{family.base}"
seeds = [{seeds}]

[population]
founders = 6
capacity = 4
children = 3

[pool]
capacity = 8
adapt_every = 2
adaptations = 4

[judge]
max_tokens = 6

[engine]
# What random models answer in bfloat16 differs from one processor to the next.
compute = "float32"

[sandbox]
preimport = []

[novelty]
duplicate_similarity = 0.9999
similar_similarity = 0.999

[endpoints.scientist]
base_url = "{url}"
model = "scripted"
"""
