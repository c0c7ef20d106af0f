"""What a child may use: resource limits, and the system calls that are left to it.

Namespaces already hide network, files and other processes. The filter of system calls closes what
they leave open: processes (so that the memory limit of one process is that of a call), whatever
outlives a process inside its namespace (System V shared memory, message queues, the kernel
keyring), the limits and priorities of process 1, sockets that no network namespace confines (vsock
reaches a hypervisor), and the parts of the kernel that break-outs are made of.
"""

from __future__ import annotations

import ctypes
import errno
import math
import os
import resource
import socket
import tempfile
from typing import Any, NamedTuple

OPEN_FILES = 64
PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 4, 22, 38
SECCOMP_MODE_FILTER = 2
INSTRUCTION_SIZE = 8
LIBC = ctypes.CDLL(None, use_errno=True)
PRCTL = LIBC.prctl
PRCTL.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]

EXECUTING = "execve execveat"
TRACING = "ptrace process_vm_readv process_vm_writev kcmp pidfd_getfd process_madvise"
LASTING = "shmget shmat msgget semget mq_open add_key request_key keyctl"
GOVERNING = (
    "setpriority ioprio_set sched_setscheduler sched_setparam sched_setattr migrate_pages "
    "move_pages process_mrelease"
)
UNCOUNTED_MEMORY = "memfd_create memfd_secret userfaultfd vmsplice"
MOUNTING = (
    "mount umount umount2 pivot_root chroot unshare setns move_mount open_tree fsopen fsconfig "
    "fsmount fspick mount_setattr name_to_handle_at open_by_handle_at quotactl quotactl_fd"
)
KERNEL = (
    "bpf perf_event_open io_uring_setup io_uring_enter io_uring_register init_module "
    "finit_module delete_module kexec_load kexec_file_load reboot swapon swapoff syslog acct "
    "fanotify_init lookup_dcookie personality iopl ioperm modify_ldt settimeofday "
    "clock_settime clock_settime64 clock_adjtime clock_adjtime64 adjtimex sethostname "
    "setdomainname vhangup uselib"
)
SIGNALLING = "kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_send_signal"
WATCHING = "flock inotify_init inotify_init1"
"""Locks and watches on files of the host, by which guests could signal to each other."""
LOCKS = (5, 6, 7, 36, 37, 38, 1024, 1026)
"""Of `fcntl`: locks of processes and of open file descriptions, F_SETLEASE, F_NOTIFY."""
REFUSED = " ".join((EXECUTING, TRACING, LASTING, GOVERNING, UNCOUNTED_MEMORY, KERNEL, WATCHING))


class Limits(NamedTuple):
    """What one child may use.

    Attributes:
        seconds: wall clock of one step.
        memory: bytes of address space.
        file: bytes of one file.
        processes: processes and threads of the user, its own included; RLIM_INFINITY sets none.
        output: bytes of the result of one step.
    """

    seconds: float
    memory: int
    file: int
    processes: int
    output: int


def bounds(limits: Limits) -> list[tuple[int, tuple[int, int]]]:
    """The arguments of `setrlimit` for children of this process, within its own limits."""
    found = []
    for kind, value in (
        (resource.RLIMIT_CPU, math.ceil(limits.seconds) + 1),
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_FSIZE, limits.file),
        (resource.RLIMIT_NPROC, limits.processes),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        if value == resource.RLIM_INFINITY:
            continue
        hard = resource.getrlimit(kind)[1]
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        found.append((kind, (allowed, allowed)))
    return found


def control(option: int, first: int, second: int = 0) -> None:
    """The system call `prctl`.

    Raises:
        OSError: the kernel refused.
    """
    if PRCTL(option, first, second, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl {option}: {os.strerror(number)}")


def forbid_tracing() -> None:
    """Keep children, which run under the same user, from reading or writing this process."""
    control(PR_SET_DUMPABLE, 0)


CAPABILITY_VERSION = 0x20080522
NO_CAPABILITIES = (
    (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0),
    (ctypes.c_uint32 * 6)(0, 0, 0, 0, 0, 0),
)
"""The kernel's header for this process, and two times: effective, permitted, inheritable."""


def drop_capabilities() -> None:
    """Give up what this process may do in its namespace: its parent mounts scratch folders.

    Raises:
        OSError: the kernel refused.
    """
    if LIBC.capset(*NO_CAPABILITIES) != 0:
        raise OSError(ctypes.get_errno(), "capset")


class Condition(ctypes.Structure):
    """libseccomp's `struct scmp_arg_cmp`: a comparison with one argument of a system call."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


NOT_EQUAL, EQUAL, MASKED_EQUAL = 1, 4, 7
ALLOW, REFUSE = 0x7FFF0000, 0x00050000
CLONE_THREAD = 0x00010000


class FilterProgram(ctypes.Structure):
    """The kernel's `struct sock_fprog`: a filter of system calls as it is handed over.

    What is loaded cannot be taken off again, neither by the process nor by those that it starts.
    """

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))

    def load(self) -> None:
        """Bind this process for good.

        Raises:
            OSError: the kernel takes no filter.
        """
        control(PR_SET_NO_NEW_PRIVS, 1)
        control(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(self))


class SystemCallFilter:
    """A filter of system calls in the making.

    Raises:
        OSError: libseccomp is not installed, or made no filter.
    """

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libseccomp.so.2")
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._library.seccomp_init(ALLOW))

    def refuse(self, names: str, *conditions: Condition, error: int = errno.EPERM) -> None:
        """Let these calls fail, always or under conditions on their arguments."""
        for name in names.split():
            number = self._library.seccomp_syscall_resolve_name(name.encode())
            if number == -1:
                continue  # this libseccomp, and so its kernel, is older than the call
            array: Any = (Condition * len(conditions))(*conditions)
            self._check(
                self._library.seccomp_rule_add_array(
                    self._context, REFUSE | error, number, len(conditions), array
                )
            )

    def program(self) -> FilterProgram:
        """The filter, translated: once by the parent, and not by every child that loads it."""
        with tempfile.TemporaryFile() as file:
            self._check(self._library.seccomp_export_bpf(self._context, file.fileno()))
            file.seek(0)
            instructions = file.read()
        return FilterProgram(len(instructions) // INSTRUCTION_SIZE, instructions)

    @staticmethod
    def _check(outcome: int) -> None:
        if outcome < 0:
            raise OSError(-outcome, "libseccomp made no filter of system calls")


def filter_for_all() -> FilterProgram:
    """What the parent can do without, too: it loads this once, and its children inherit it."""
    made = SystemCallFilter()
    made.refuse(REFUSED)
    made.refuse("socket", Condition(0, NOT_EQUAL, socket.AF_UNIX, 0))
    made.refuse("prlimit64 sched_setaffinity", Condition(0, NOT_EQUAL, 0, 0))
    for command in LOCKS:
        made.refuse("fcntl fcntl64", Condition(1, EQUAL, command, 0))
    return made.program()


def filter_for_children(alone: bool) -> FilterProgram:
    """What is refused to children alone: to start processes, and to mount.

    Args:
        alone: whether the children have a process namespace of their own. Where they have not, a
            signal sent to all processes would reach all of the user's, so none may be sent.
    """
    made = SystemCallFilter()
    made.refuse(f"fork vfork {MOUNTING}")
    made.refuse("clone", Condition(0, MASKED_EQUAL, CLONE_THREAD, 0))
    # Without clone3, whose arguments no filter can read, the C library falls back to clone.
    made.refuse("clone3", error=errno.ENOSYS)
    if not alone:
        made.refuse(SIGNALLING)
    return made.program()


class Confinement(NamedTuple):
    """What binds a child. Its parent has it ready: a child copies every page that it touches.

    Attributes:
        bounds: kinds of limits and their values; hard ones, which cannot be raised again.
        filtered: what else it may not call; None where there is neither isolation nor libseccomp.
    """

    bounds: list[tuple[int, tuple[int, int]]]
    filtered: FilterProgram | None

    def enter(self) -> None:
        """Bind this process and all that it starts."""
        drop_capabilities()
        for kind, pair in self.bounds:
            resource.setrlimit(kind, pair)
        if self.filtered is not None:
            self.filtered.load()
