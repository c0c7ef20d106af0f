"""The program of a process of a pool: it serves calls until the other end is gone."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from functools import partial
from typing import Any

from evolution.engines.pool.channel import Service, read_frame, write_frame


def _service(name: str) -> Service:
    if name == "ray":
        from evolution.engines.pool.driver import Driver

        return Driver()
    from evolution.engines.pool.host import Host

    return Host()


async def _serve(name: str, descriptor: int) -> None:
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=descriptor))
    service = _service(name)

    def answered(number: int, call: asyncio.Task[tuple[Any, Exception | None]]) -> None:
        calls.discard(call)
        write_frame(writer, (number, *call.result()))

    calls: set[asyncio.Task[tuple[Any, Exception | None]]] = set()
    while True:
        try:
            number, method, arguments = await read_frame(reader)
        except (asyncio.IncompleteReadError, ConnectionError):
            # Whoever asked is gone, perhaps killed. What computes in threads is not waited for, and
            # what was started goes too.
            os.killpg(0, signal.SIGKILL)
        call = asyncio.create_task(service.perform(number, method, *arguments))
        calls.add(call)
        call.add_done_callback(partial(answered, number))


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2])))
