"""What every command says when it ends early."""

from __future__ import annotations

from io import StringIO

import pytest

from console.commands.frame import EXIT_INTERRUPTED, supervise
from console.display import Terminal


@pytest.mark.parametrize(("level", "added"), [("", ""), ("1", "; make reports this as an error")])
def test_an_interrupt_is_one_line_however_narrow_the_terminal(
    level: str, added: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAKELEVEL", level)
    said = StringIO()

    def interrupted() -> None:
        raise KeyboardInterrupt

    code = supervise(interrupted, Terminal(file=said, width=20), debug=False)
    assert code == EXIT_INTERRUPTED
    assert said.getvalue() == (
        f"interrupted; everything is kept, run the same command to go on{added}\n"
    )
