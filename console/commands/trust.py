"""`acdc trust`: what a run folder asks of this machine, and the user's permission."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from console.commands.frame import AsJson, Debug, RunDir, app, errors, finish, opened, print_json
from console.errors import NotPermittedError
from console.run.permissions import permit, requests_of, unpermitted

EXAMPLES = """Examples:

acdc trust mailed    shows all that it asks for, and asks you once

acdc trust mailed --json    what it asks for; permits nothing
"""


@app.command(epilog=EXAMPLES)
def trust(
    folder: RunDir,
    yes: Annotated[bool, typer.Option("--yes", help="Permit all of it without asking.")] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show what a run from elsewhere asks of this machine, and permit it.

    Until then no command imports its modules, calls its servers or sends its keys.

    A permission holds for the content of a module, or the address and key of a server.
    """

    def action() -> None:
        requests = requests_of(opened(folder).manifest()["config"])
        new = unpermitted(requests)
        for line in () if as_json else requests:
            typer.echo(f"{'new' if line in new else 'permitted'}: {line}")
        if new and (yes or (not as_json and _agreed(len(new)))):
            permit(new)
            new = []
        if as_json:
            rows = [{"request": line, "permitted": line not in new} for line in requests]
            print_json({"requests": rows})
        elif new:
            raise NotPermittedError("nothing was permitted; --yes permits all of it")
        else:
            typer.echo("permitted on this machine" if requests else "it asks for nothing")

    finish(action, debug)


def _agreed(count: int) -> bool:
    """Whether the person at the terminal permits it; nobody at one permits nothing."""
    if not sys.stdin.isatty():
        return False
    what = "this" if count == 1 else f"these {count}"
    errors.print(f"Permit {what} on this machine? [y/N] ", end="")
    return sys.stdin.readline().strip().lower() in ("y", "yes")
