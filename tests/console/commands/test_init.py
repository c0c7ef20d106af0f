"""What `acdc init` writes can be read back, whatever the seeds are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.commands import init
from console.errors import UsageError
from console.run.config import resolve


def _names(seeds: list[str], file: Path) -> list[str]:
    init.write_config(file, init.filled_in(None, None, "org/base", seeds))
    return [seed.name for seed in resolve(file, []).models.seeds]


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["org/Math-7B@main", "org/Code-7B"], ["math-7b", "code-7b"]),
        (["one/expert", "two/expert", "three/expert/"], ["expert", "expert-2", "expert-3"]),
        (["builtin:numbers", "my folder/été 1.gguf"], ["numbers", "t-1.gguf"]),
    ],
)
def test_seeds_are_named_by_their_paths(paths: list[str], names: list[str], tmp_path: Path) -> None:
    assert _names(paths, tmp_path / "acdc.toml") == names


def test_a_configuration_is_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "acdc.toml"
    file.write_text("# mine\n")
    with pytest.raises(UsageError, match="exists already"):
        init.write_config(file, init.filled_in(None, None, None, []))
    assert file.read_text() == "# mine\n"


def test_a_parameter_that_is_not_sent_is_written_and_read_back(tmp_path: Path) -> None:
    file = tmp_path / "acdc.toml"
    words = ["base_url='http://h:1/v1'", "model='m'", "temperature=unset", "top_p='unset'"]
    asked = resolve(None, [f"endpoints.scientist.{word}" for word in words])
    init.write_config(file, asked)
    again = resolve(file, ["endpoints.critic.temperature=0.5"]).endpoints
    assert again.scientist == asked.endpoints.scientist
    assert again.scientist.sampling() == {"max_tokens": 4096}
    assert again.of("critic").sampling() == {"temperature": 0.5, "max_tokens": 4096}
    assert '\ntemperature = "unset"\n' in file.read_text()
    assert "\n# temperature =\n" in file.read_text(), "a role inherits what it leaves out"


def test_the_variable_of_a_key_is_written_and_never_a_key(tmp_path: Path) -> None:
    url = "https://models.example/v1"
    config = init.filled_in(url, "m", None, [], "MY_KEY")
    init.write_config(tmp_path / "mine.toml", config)
    assert 'api_key_env = "MY_KEY"' in (tmp_path / "mine.toml").read_text().splitlines()
    with pytest.raises(UsageError, match="the name of an environment variable"):
        init.filled_in(url, "m", None, [], "sk-0123")
