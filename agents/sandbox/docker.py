"""The guest program inside a container, over the Docker SDK (`pip install -e ".[docker]"`).

The container has no network, no capabilities, a read-only root, an empty `/tmp` of bounded size,
bounded memory and processes, and runs as nobody. The guest program is bound into it read-only, so
the daemon has to be on this machine; Python (3.11 or newer), libseccomp and whatever packages the
families may import come with the image.
"""

from __future__ import annotations

import asyncio
import importlib
from contextlib import suppress
from typing import Any

from agents.sandbox.channel import Channel, GuestDied, Start
from agents.sandbox.process import GUEST, guest_environment, guest_program
from agents.settings import SandboxSettings

NOBODY = "65534:65534"
FOLDER = "/acdc"
SPARE_PROCESSES = 4


class DockerChannel:
    """A guest program that is process 1 of a container.

    Args:
        sdk: the `docker` package.
        container: a running container of it.
        socket: the two streams of its guest, as the SDK attaches them.
    """

    def __init__(self, sdk: Any, container: Any, socket: Any) -> None:
        self._sdk = sdk
        self._container = container
        self._socket = socket
        self._frames = sdk.utils.socket.frames_iter(socket, tty=False)
        self._received = bytearray()

    async def read(self, size: int) -> bytes:
        """See `Channel.read`."""
        while len(self._received) < size:
            stream, data = await asyncio.to_thread(self._next)
            if stream == self._sdk.utils.socket.STDOUT:
                self._received += data
        wanted = bytes(self._received[:size])
        del self._received[:size]
        return wanted

    def _next(self) -> tuple[int, bytes]:
        try:
            return next(self._frames)  # type: ignore[no-any-return]
        except (StopIteration, OSError) as error:
            raise GuestDied("its container ended") from error

    async def write(self, data: bytes) -> None:
        """See `Channel.write`."""
        try:
            await asyncio.to_thread(self._socket._sock.sendall, data)
        except OSError as error:
            raise GuestDied("its container ended before it was served") from error

    async def kill(self) -> str:
        """See `Channel.kill`."""
        return await asyncio.to_thread(self._remove)

    def _remove(self) -> str:
        said = ""
        with suppress(self._sdk.errors.APIError):
            said = self._container.logs(stdout=False, tail=1).decode(errors="replace").strip()
        with suppress(self._sdk.errors.NotFound):
            self._container.remove(force=True)
        self._socket.close()
        return said or "its container ended"


def docker_start(settings: SandboxSettings) -> tuple[Start | None, str]:
    """How to start a guest in a container, or None and why that is not possible."""
    try:
        sdk = importlib.import_module("docker")
    except ImportError:
        return None, 'the Docker SDK is not installed (pip install -e ".[docker]")'
    try:
        client = sdk.from_env()
        client.images.get(settings.docker_image)
    except sdk.errors.ImageNotFound:
        return None, f"the image is not here (docker pull {settings.docker_image})"
    except sdk.errors.DockerException as error:
        return None, f"Docker does not answer, is its daemon running? ({error})"

    async def start() -> Channel:
        return await asyncio.to_thread(_started, sdk, client, settings)

    return start, ""


def _started(sdk: Any, client: Any, settings: SandboxSettings) -> DockerChannel:
    container = client.containers.create(**container_options(settings))
    socket = container.attach_socket(params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
    container.start()
    return DockerChannel(sdk, container, socket)


def container_options(settings: SandboxSettings) -> dict[str, Any]:
    """The container, as `docker.containers.create` takes it.

    Its memory holds the guest with its imports as well as a child; `memswap_limit` is the sum of
    memory and swap, so that nothing is swapped out.
    """
    memory = f"{2 * settings.memory_mb + settings.file_mb}m"
    return {
        "image": settings.docker_image,
        "command": guest_program(settings, "container", "python3"),
        "environment": guest_environment(FOLDER),
        "entrypoint": "",
        "stdin_open": True,
        "user": NOBODY,
        "working_dir": "/tmp",
        "network_mode": "none",
        "ipc_mode": "private",
        "read_only": True,
        "tmpfs": {"/tmp": f"size={settings.file_mb}m,mode=1777,nosuid,nodev,noexec"},
        "volumes": {str(GUEST): {"bind": f"{FOLDER}/{GUEST.name}", "mode": "ro"}},
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "pids_limit": settings.processes + SPARE_PROCESSES,
        "mem_limit": memory,
        "memswap_limit": memory,
    }
