"""Where a server listens, and who may call it: addresses, the loopback, bearer tokens."""

from __future__ import annotations

import ipaddress
import os
import socket

from console.errors import UsageError

SHORTEST_TOKEN = 16
"""Characters of a bearer token: who can call a server can try all of the shorter ones."""


def host_of(header: str) -> str:
    """The host in a Host header, without port and brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's loopback."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """A socket at an address, before anything is loaded.

    Raises:
        UsageError: the address is none of ours, or is taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise UsageError(f"--host {host} is no address of this machine: {error.strerror}") from None
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise UsageError(
            f"cannot listen on {host}:{port} ({error.strerror}): choose another --port"
        ) from None
    return listener


def origin_of(listener: socket.socket) -> str:
    """Scheme, host and port of the URLs of a listening socket, as other machines call it."""
    host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = _own_address(listener.family)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _own_address(family: socket.AddressFamily) -> str:
    """The address from which this machine calls others, or its name where it has no way to them."""
    # Of the addresses for documentation; to connect a datagram socket sends nothing.
    elsewhere = "2001:db8::1" if family == socket.AF_INET6 else "192.0.2.1"
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((elsewhere, 9))
        except OSError:
            return socket.gethostname()
        return str(probe.getsockname()[0])


def token_in(variable: str, usual: str, host: str) -> str | None:
    """The bearer token in a variable without white space around it, None if nothing is left.

    Args:
        variable: that holds it.
        usual: the variable that is looked at when none is named.
        host: address to listen on.

    Raises:
        UsageError: clients cannot send it, it is too short, or there is none and the address can
            be reached from other machines.
    """
    token = os.environ.get(variable, "").strip() or None
    if token is not None and not (token.isascii() and token.isprintable()):
        raise UsageError(
            f"the bearer token in {variable} has to be printable ASCII: clients "
            "send other characters in different ways, or not at all"
        )
    if token is not None and len(token) < SHORTEST_TOKEN:
        raise UsageError(
            f"the bearer token in {variable} has {len(token)} characters, and needs at least "
            f"{SHORTEST_TOKEN}: `openssl rand -hex 24` makes one"
        )
    if token is None and variable != usual:
        # Whoever names a variable wants a token; a mistyped name must not serve without one.
        raise UsageError(f"the environment variable {variable} holds no bearer token")
    if token is None and not is_loopback(host):
        raise UsageError(
            f"--host {host} is reachable from other machines: set a bearer token in {variable}"
        )
    return token
