"""The guest program inside bubblewrap: no network, no files, no view of other processes.

What a guest sees: `/usr`, the libraries and the interpreter with its packages, read-only; an empty
`/tmp` of bounded size; three devices; nothing of `/proc`, `/etc` or the home. It is process 1 of
its own namespace, so that nothing a family starts can signal or outlive it.

Three ways lead there, and the first that works is taken:

- *unprivileged user*: bubblewrap makes a user namespace;
- *root*: the user is changed to nobody first, so that a break-out lands there;
- *root, with the interpreter under a private folder such as /root*: an outer bubblewrap first
  builds a view in which nobody may walk to the interpreter;

and if nobody cannot be become (as in some containers), root's bubblewrap with a user namespace.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from agents.sandbox.process import GUEST, guest_environment, guest_program
from agents.settings import SandboxSettings

NOBODY = 65534
PROBE_SECONDS = 20.0
SYSTEM = ("/bin", "/sbin", "/lib", "/lib32", "/lib64")
CONFIGURATION = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime")
NO_FILTER = "no filter of system calls"
PROBE = f"""
from guest.confinement import filter_for_all
try:
    filter_for_all().load()
except OSError as error:
    raise SystemExit("{NO_FILTER}: " + str(error))
"""
DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")
KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)
"""Exit codes of a program that was killed, and of bubblewrap when what it runs was."""


@cache
def options_known(bwrap: str) -> frozenset[str]:
    """The options of the installed bubblewrap; older ones lack some that we like to use."""
    command = [bwrap, "--help"]
    try:
        shown = subprocess.run(
            command, capture_output=True, text=True, timeout=PROBE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return frozenset()
    return frozenset(word for word in shown.stdout.split() if word.startswith("--"))


def interpreter_paths() -> list[str]:
    """What Python needs beside `/usr`: its prefixes, as named and as resolved, and the guest."""
    named = [sys.base_prefix, sys.base_exec_prefix, sys.prefix, sys.exec_prefix, str(GUEST)]
    paths = dict.fromkeys([*named, *(os.path.realpath(path) for path in named)])
    return [path for path in sorted(paths) if not Path(path).is_relative_to("/usr")]


def file_view() -> list[str]:
    """Read-only binds of the system and of the interpreter, at their own paths."""
    view = ["--ro-bind", "/usr", "/usr"]
    for path in SYSTEM:
        if os.path.islink(path):
            view += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            view += ["--ro-bind", path, path]
    for path in CONFIGURATION:
        view += ["--ro-bind-try", path, path]
    for path in interpreter_paths():
        view += ["--ro-bind", path, path]
    for path in DEVICES:
        view += ["--dev-bind", path, path]
    return view


def isolation(bwrap: str, settings: SandboxSettings) -> list[str]:
    """The bubblewrap command in front of the guest program."""
    known = options_known(bwrap)
    command = [bwrap, "--unshare-user", "--unshare-all", "--die-with-parent", "--new-session"]
    # The guest's own process mounts a new scratch folder for every step; the children that run
    # foreign code have no capability, and no call by which to make a namespace.
    command += ["--as-pid-1", "--cap-drop", "ALL", "--cap-add", "CAP_SYS_ADMIN"]
    command += ["--hostname", "sandbox", "--clearenv"]
    for name, value in guest_environment().items():
        command += ["--setenv", name, value]
    command += file_view()
    if "--size" in known:
        command += ["--size", str(settings.file_mb * 2**20)]
    scratch = scratch_folder()
    command += ["--tmpfs", scratch, "--setenv", "TMPDIR", scratch]
    return [*command, "--remount-ro", "/", "--chdir", scratch]


def scratch_folder() -> str:
    """Where families may write: /tmp, unless mounting there would hide the interpreter."""
    hidden = any(Path("/tmp") in Path(path).parents for path in interpreter_paths())
    return "/scratch" if hidden else "/tmp"


def as_nobody() -> list[str]:
    """A prefix that changes root to nobody, without a way back."""
    user = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"]
    return ["setpriv", *user, "--bounding-set=-all", "--pdeathsig=KILL"]


def reachable_view(bwrap: str) -> list[str]:
    """A prefix that builds a view in which every folder above the interpreter may be entered."""
    stage = [bwrap, "--die-with-parent"]
    for capability in ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"):
        stage += ["--cap-add", capability]
    paths = [*interpreter_paths(), *CONFIGURATION, *DEVICES]
    parents = {str(above) for path in paths for above in Path(path).parents}
    for folder in sorted(parents - {"/"}):
        stage += ["--perms", "0755", "--dir", folder]
    return [*stage, *file_view(), "--bind", "/proc", "/proc", "--dir", scratch_folder()]


def ways(bwrap: str, settings: SandboxSettings) -> Iterator[list[str]]:
    """Command prefixes that isolate a program, the best first."""
    inner = isolation(bwrap, settings)
    if os.geteuid() != 0:
        yield inner
        return
    yield [*as_nobody(), *inner]
    yield [*reachable_view(bwrap), *as_nobody(), *inner]
    yield [*inner, "--uid", str(NOBODY), "--gid", str(NOBODY)]


def bubblewrap_command(settings: SandboxSettings) -> tuple[Sequence[str] | None, str]:
    """The command line of an isolated guest, or None and why there is none, with the remedy."""
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        return None, "bubblewrap is not installed (apt-get install bubblewrap)"
    reason = ""
    for way in ways(bwrap, settings):
        reason = refusal([*way, sys.executable, "-s", "-P", "-c", PROBE])
        if not reason:
            return [*way, *guest_program(settings, "isolated")], ""
        if NO_FILTER in reason:
            return None, f"{reason}: is libseccomp installed (apt-get install libseccomp2)?"
    return None, f"bubblewrap does not work here, it needs user namespaces ({reason})"


def refusal(command: Sequence[str]) -> str:
    """Why a command does not work, or "" if it does.

    One that is killed, as the system does when memory is short, is tried again: that says nothing
    of the way to isolate, and the next way may isolate less.
    """
    try:
        tried = _tried(command)
        if tried.returncode in KILLED:
            tried = _tried(command)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if tried.returncode == 0:
        return ""
    lines = tried.stderr.strip().splitlines()
    return lines[-1] if lines else f"exit status {tried.returncode}"


def _tried(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, timeout=PROBE_SECONDS, check=False
    )
