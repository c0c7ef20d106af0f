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
fcntl.flock(os.open(os.__file__, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
return 0
""",
    ),
)
