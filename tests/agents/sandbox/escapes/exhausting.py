"""Using up what neighbours need: processes, threads, memory, disk, time."""

from .case import Escape

ENDED = ("crash", "timeout", "memory")

EXHAUSTING = (
    Escape(
        "fork_bomb",
        "start processes until nothing else can",
        """
import os
if os.getppid() != 1:
    raise RuntimeError("no process namespace: not started")
started = 0
for attempt in range(10_000):
    try:
        if os.fork() == 0:
            while True: pass
        started += 1
    except OSError:
        pass
return float(started > 0)
""",
    ),
    Escape(
        "process_by_system_call",
        "fork past the library",
        """
import ctypes, platform
libc = ctypes.CDLL(None, use_errno=True)
if platform.machine() != "x86_64":
    return 0
for number, args in ((57, ()), (58, ()), (56, (17, 0, 0, 0, 0)), (435, (None, 88))):
    if number != 58 and libc.syscall(number, *args) >= 0:
        return 1
return float(libc.fork() >= 0)
""",
    ),
    Escape(
        "daemon",
        "leave a process behind that has no parent",
        """
import os
try:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            while True: pass
        os._exit(0)
    return 1
except OSError:
    return 0
""",
    ),
    Escape(
        "thread_bomb",
        "start threads until nothing else can",
        """
import threading, time
started = 0
for attempt in range(2_000):
    try:
        threading.Thread(target=time.sleep, args=(100,), daemon=True).start()
        started += 1
    except RuntimeError:
        break
return float(started > 100)
""",
    ),
    Escape(
        "threads_left_behind",
        "leave threads that count on after the score",
        """
import threading
def work():
    while True: pass
threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads: thread.start()
return 0
""",
    ),
    Escape(
        "memory_bomb",
        "fill the memory",
        """
hoard = []
while True: hoard.append(bytearray(2**24))
""",
        outcomes=ENDED,
    ),
    Escape(
        "huge_number",
        "fill the memory in one step of arithmetic",
        "return float(10 ** 10 ** 10 > 0)",
        outcomes=("crash", "memory", "timeout"),
        brief=True,
    ),
    Escape(
        "memory_past_the_limit",
        "keep memory where no limit of address space counts it",
        """
import os
try:
    descriptors = [os.memfd_create("hoard") for _ in range(8)]
    return 1
except OSError:
    return 0
""",
    ),
    Escape(
        "disk",
        "fill the disk",
        """
import os
written = 0
try:
    for number in range(100):
        with open(f"f{number}", "wb") as file:
            for _ in range(8):
                written += file.write(b"x" * 2**20)
except OSError:
    pass
return float(written > 2**28)
""",
        after="import os; return float(len(os.listdir('.')) > 0)",
    ),
    Escape(
        "many_files",
        "leave a labyrinth of files and folders for whoever has to clean it",
        """
import os
for number in range(300):
    os.mkdir("d"); os.chdir("d"); open(str(number), "w").close()
os.chmod(".", 0)
return 0
""",
        after="import os; return float(len(os.listdir('.')) > 0)",
    ),
    Escape("endless_loop", "never end", "while True: pass", outcomes=("timeout",), brief=True),
    Escape(
        "endless_sleep",
        "never end, deaf to all signals",
        """
import signal, time
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
while True:
    try: time.sleep(1000)
    except: pass
""",
        outcomes=("timeout",),
        brief=True,
    ),
    Escape(
        "endless_in_c",
        "never end inside of one call into C, where no exception arrives",
        "import itertools, collections; collections.deque(itertools.repeat(0), maxlen=0)",
        outcomes=("timeout",),
        brief=True,
    ),
    Escape(
        "endless_except",
        "never end, catching whatever comes",
        """
while True:
    try:
        while True: pass
    except BaseException: pass
""",
        outcomes=("timeout",),
        brief=True,
    ),
    Escape(
        "endless_get_tasks",
        "never say what the tasks are",
        "while True: pass",
        outcomes=("timeout",),
        moment="get_tasks",
        brief=True,
    ),
    Escape(
        "endless_import",
        "never finish importing",
        "while True: pass",
        outcomes=("timeout",),
        moment="import",
        brief=True,
    ),
    Escape(
        "limits",
        "raise the limits, or lower those of the guest",
        """
import os, resource
changed = 0
for kind in (resource.RLIMIT_AS, resource.RLIMIT_NPROC, resource.RLIMIT_FSIZE,
             resource.RLIMIT_CPU, resource.RLIMIT_NOFILE):
    for change in (lambda: resource.setrlimit(kind, (resource.RLIM_INFINITY,) * 2),
                   lambda: resource.prlimit(1, kind, (1, 1))):
        try:
            change()
            changed = 1
        except (OSError, ValueError): pass
return changed
""",
    ),
    Escape(
        "priorities",
        "make the guest the slowest process of all, or oneself the fastest",
        """
import ctypes, os
changed = 0
for change in (lambda: os.setpriority(os.PRIO_PROCESS, 1, 19), lambda: os.nice(-5),
               lambda: os.setpriority(os.PRIO_USER, 0, 19), lambda: os.sched_setaffinity(1, {0}),
               lambda: os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0)),
               lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))):
    try:
        change()
        changed = 1
    except OSError: pass
return changed
""",
    ),
    Escape(
        "output",
        "print without end",
        """
import os, sys
for _ in range(200):
    print("x" * 10**6); sys.stderr.write("y" * 10**6)
return 0
""",
    ),
    Escape(
        "recursion", "exhaust the stack", "f = lambda n: f(n + 1)\nreturn f(0)", outcomes=("crash",)
    ),
    Escape(
        "recursion_in_c",
        "exhaust the stack of the interpreter itself",
        """
import sys
sys.setrecursionlimit(10**9)
def f(n): return f(n + 1)
return f(0)
""",
        outcomes=ENDED,
        brief=True,
    ),
    Escape(
        "nested_source",
        "exhaust the parser",
        "return float(len(compile('(' * 10**5 + ')' * 10**5, 'x', 'eval').co_code))",
        outcomes=ENDED,
    ),
    Escape(
        "regular_expression",
        "an answer that takes a careless pattern for ever",
        "import re; return float(bool(re.fullmatch(r'(a|a)*b', submission)))",
        submission="a" * 64,
        outcomes=("timeout",),
        brief=True,
    ),
    Escape(
        "blocked_pipe",
        "ask without listening, so that the answer fills up its pipe",
        """
import gc
from sandbox_helpers import run_submission
host = run_submission.__self__
import json
while True:
    question = {"ask": "run", "code": "print('x' * 20000)", "stdin": "", "arguments": [],
                "timeout": 1.0}
    payload = b"q" + json.dumps(question).encode()
    import os
    os.write(host._questions, len(payload).to_bytes(4, "big") + payload)
""",
        outcomes=("timeout",),
        brief=True,
    ),
)
