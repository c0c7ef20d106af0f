"""Word for a later call: what a hostile scorer might leave in its guest."""

from .case import Escape

LASTING = (
    Escape(
        "shared_memory",
        "leave a segment of System V shared memory",
        """
import ctypes
return float(ctypes.CDLL(None).shmget(0x4242, 4096, 0o1666) >= 0)
""",
        after="import ctypes\nreturn float(ctypes.CDLL(None).shmget(0x4242, 4096, 0o666) >= 0)",
    ),
    Escape(
        "message_queue",
        "leave a message in a queue",
        """
import ctypes
libc = ctypes.CDLL(None)
return float(libc.msgget(0x4242, 0o1666) >= 0 or libc.semget(0x4242, 1, 0o1666) >= 0)
""",
        after="import ctypes\nreturn float(ctypes.CDLL(None).msgget(0x4242, 0o666) >= 0)",
    ),
    Escape(
        "keyring",
        "leave a key in the keyring of the kernel",
        """
import ctypes, platform
if platform.machine() != "x86_64":
    return 0
libc = ctypes.CDLL(None)
key = libc.syscall(248, b"user", b"word", b"secret", 6, -4)
return float(key >= 0 or libc.syscall(250, 0, -4, 1) >= 0)
""",
    ),
    Escape(
        "file",
        "leave a file in the scratch folder",
        "open('note', 'w').write('word'); return 0",
        after="import os; return float(os.path.exists('note'))",
    ),
    Escape(
        "folder_without_rights",
        "leave the scratch folder unreadable",
        "import os; os.chmod(os.getcwd(), 0); return 0",
        outcomes=("0", "crash"),
        after="import os; os.listdir('.'); return 0",
    ),
    Escape(
        "shared_mapping",
        "change memory that the parent shares with its children",
        """
import gc, mmap
found = 0
for thing in gc.get_objects():
    if isinstance(thing, mmap.mmap):
        found = 1
return found
""",
    ),
    Escape(
        "parent_object",
        "change an object that was made before the fork",
        "import os, sys; sys.word = os.word = 1; os.environ['WORD'] = '1'; return 0",
        after="import os, sys; return float(hasattr(sys, 'word') or 'WORD' in os.environ)",
    ),
    Escape(
        "signals_blocked",
        "leave signals blocked and timers running",
        """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
return 0
""",
        after="""
import signal
return float(bool(signal.pthread_sigmask(signal.SIG_BLOCK, [])) or signal.getitimer(0)[0] > 0)
""",
    ),
    Escape(
        "marks_on_the_scratch_folder",
        "leave word for the next family in times, mode, attributes and inode numbers",
        """
import fcntl, os
scratch = os.getcwd()
for number in range(20):
    os.close(os.open(f"{scratch}/{number}", os.O_CREAT | os.O_WRONLY))
for mark in (
    lambda: os.setxattr(scratch, "user.mark", b"1"),
    lambda: os.setxattr(scratch, "trusted.mark", b"1"),
    lambda: fcntl.ioctl(os.open(scratch, os.O_RDONLY), 0x40086602, b"\\x80" + bytes(7)),
    lambda: os.chmod(scratch, 0o1711),
    lambda: os.utime(scratch, (5, 5)),
):
    try: mark()
    except OSError: pass
return 0
""",
        after="""
import os
scratch = os.getcwd()
found = os.stat(scratch)
with open(f"{scratch}/mine", "w") as file:
    number = os.fstat(file.fileno()).st_ino
traces = [
    found.st_mode & 0o7777 != 0o1777, found.st_mtime == 5, os.listxattr(scratch) != [],
    number > 10, os.listdir(scratch) != ["mine"],
]
return float(any(traces))
""",
        shown_by=("docker",),
    ),
    Escape(
        "locks_of_processes",
        "be seen by another guest at work through a lock on a file of the host",
        """
import fcntl, os
held = 0
for lock in (fcntl.flock, fcntl.lockf):
    try:
        lock(os.open(os.__file__, os.O_RDONLY), fcntl.LOCK_SH | fcntl.LOCK_NB)
        held = 1
    except OSError: pass
return held
""",
    ),
    Escape(
        "watches",
        "watch files of the host that another guest opens",
        """
import ctypes
return float(ctypes.CDLL(None).inotify_init1(0) >= 0)
""",
    ),
    Escape(
        "lock",
        "hold a lock on a file that everybody reads",
        """
import fcntl, os
try:
    fcntl.flock(os.open(os.__file__, os.O_RDONLY), fcntl.LOCK_EX)
except OSError: pass
os.close(0); os.close(1); os.close(2)
return 0
""",
        after="""
import fcntl, os
try:
    fcntl.flock(os.open(os.__file__, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    return 1
except PermissionError: pass
return 0
""",
    ),
)
