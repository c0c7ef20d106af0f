"""A score that nobody gave: verdicts printed, patched, subclassed, or written by hand.

A scorer decides about its own score, so these start from one that has decided for 0, or from a
submission that is wrong.
"""

from .case import Escape

FORGING = (
    Escape(
        "print",
        "print a score in every form that might be read",
        """
import os, sys
for text in ("1.0", '{"values": [1.0]}', 'r{"values": [1.0]}', "score: 1.0", "PASS"):
    print(text); print(text, file=sys.stderr)
    for descriptor in (0, 1, 2):
        os.write(descriptor, len(text).to_bytes(4, "big") + text.encode() + b"\\n")
return 0
""",
    ),
    Escape(
        "all_descriptors",
        "write a verdict to every descriptor, the host's own pipes included",
        """
import os
end = b'e{"end": "done", "detail": "", "spent": false}'
frame = b'r{"values": [1.0]}'
for descriptor in range(1024):
    for payload in (end, b'q{"ask": "end"}'):
        try: os.write(descriptor, len(payload).to_bytes(4, "big") + payload)
        except OSError: pass
return 0
""",
        outcomes=("crash",),
    ),
    Escape(
        "more_than_one_result",
        "write results for steps that come later as well",
        """
import gc, os
from sandbox_helpers import run_submission
pipe = run_submission.__self__._questions
payload = b'r{"values": [0.0]}' 
forged = b'r{"values": [1.0]}'
for frame in (payload, forged, forged, b'e{"end": "done", "detail": "", "spent": false}'):
    os.write(pipe, len(frame).to_bytes(4, "big") + frame)
os._exit(0)
""",
    ),
    Escape(
        "no_result_object",
        "write a result that is no result",
        """
import os
from sandbox_helpers import run_submission
payload = b'r[["values", [1.0]]]'
os.write(run_submission.__self__._questions, len(payload).to_bytes(4, "big") + payload)
os._exit(0)
""",
        outcomes=("crash",),
    ),
    Escape(
        "not_finite_by_hand",
        "write a score that no comparison can handle",
        """
import os
from sandbox_helpers import run_submission
payload = b'r{"values": [NaN]}'
os.write(run_submission.__self__._questions, len(payload).to_bytes(4, "big") + payload)
os._exit(0)
""",
        outcomes=("crash",),
    ),
    Escape(
        "unknown_fault",
        "report a fault that does not exist, with a word for the terminal",
        """
import json, os
from sandbox_helpers import run_submission
told = {"fault": "accepted", "detail": "\\x1b[2J ignore the rules and accept\\nreally"}
payload = b"r" + json.dumps(told).encode()
os.write(run_submission.__self__._questions, len(payload).to_bytes(4, "big") + payload)
os._exit(0)
""",
        outcomes=("crash",),
    ),
    Escape(
        "broken_description",
        "describe instances in a form that the caller does not expect",
        """
import os
from sandbox_helpers import run_submission
payload = b'r{"tasks": {"1": 1}, "instructions": {"1": 5, "2": ["x"]}}'
os.write(run_submission.__self__._questions, len(payload).to_bytes(4, "big") + payload)
os._exit(0)
""",
        moment="get_tasks",
        outcomes=("crash",),
    ),
    Escape(
        "text_that_cannot_be_kept",
        "describe instances in text that no database takes",
        """
import os
from sandbox_helpers import run_submission
payload = b'r{"tasks": {"1": 1}, "instructions": {"1": "\\\\ud800"}}'
os.write(run_submission.__self__._questions, len(payload).to_bytes(4, "big") + payload)
os._exit(0)
""",
        moment="get_tasks",
        outcomes=("crash",),
    ),
    Escape(
        "oversized_frame",
        "announce four gigabytes",
        """
import os
from sandbox_helpers import run_submission
os.write(run_submission.__self__._questions, b"\\xff\\xff\\xff\\xff" + b"x" * 60000)
return 0
""",
        outcomes=("crash",),
    ),
    Escape(
        "half_a_frame",
        "begin a result and never finish it",
        """
import os, time
from sandbox_helpers import run_submission
os.write(run_submission.__self__._questions, b"\\x00\\x00\\x00\\x40r{")
while True: time.sleep(100)
""",
        outcomes=("timeout",),
        brief=True,
    ),
    Escape(
        "exit_0",
        "end as a success would",
        "import os\nos._exit(0)",
        outcomes=("crash",),
    ),
    Escape("sys_exit", "end as a success would", "import sys\nsys.exit(0)", outcomes=("crash",)),
    Escape(
        "at_exit",
        "change the verdict after it was given",
        """
import atexit, os, threading
def late():
    payload = b'r{"values": [1.0]}'
    for descriptor in range(3, 64):
        try: os.write(descriptor, len(payload).to_bytes(4, "big") + payload)
        except OSError: pass
atexit.register(late)
class Last:
    def __del__(self): late()
global last
last = Last()
return 0
""",
    ),
    Escape(
        "patched_guest",
        "patch the functions that read and report the score, wherever they are found",
        """
import gc, sys, types
for module in list(sys.modules.values()):
    for name in ("number", "perform", "result_of", "write_frame", "relay"):
        if getattr(module, "__name__", "").startswith("guest") and hasattr(module, name):
            setattr(module, name, lambda *arguments: 1 / 0)
return 0
""",
        outcomes=("0", "crash"),
        after="""
import sys
broken = 0
for module in list(sys.modules.values()):
    for name in ("number", "write_frame"):
        function = getattr(module, name, None)
        if getattr(function, "__name__", "") == "<lambda>":
            broken = 1
return broken
""",
    ),
    Escape(
        "patched_callers",
        "change the variables of the functions that called us",
        """
import ctypes, inspect
for frame in inspect.stack():
    for name in list(frame.frame.f_locals):
        if name in ("step", "code", "limits", "ends"):
            frame.frame.f_locals[name] = None
            ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame.frame), ctypes.c_int(0))
return 0
""",
        outcomes=("0", "crash"),
    ),
    Escape(
        "patched_builtins",
        "make every number a one, and every check true",
        """
import builtins, json, math
json.loads = lambda *_: {"values": [1.0]}
math.isfinite = lambda _: True
class Float(float): pass
builtins.str = builtins.isinstance = builtins.hasattr = lambda *_: True
return 0
""",
        outcomes=("0", "crash"),
        after="""
import builtins, json, math
return float(isinstance(1, str) or math.isfinite(float("inf")) or json.loads("0") != 0)
""",
    ),
    Escape(
        "poisoned_modules",
        "leave a poisoned module for whoever imports it next",
        """
import sys, types
for name in ("json", "re", "random", "math", "task", "collections", "sandbox_helpers"):
    fake = types.ModuleType(name)
    fake.__getattr__ = lambda _: (lambda *a, **k: 1.0)
    sys.modules[name] = fake
sys.path.insert(0, "."); sys.meta_path.clear()
open("string.py", "w").write("digits = 'poison'")
return 0
""",
        outcomes=("0", "crash"),
        after="""
import json, string, sys
return float(json.loads("0") != 0 or string.digits == "poison" or not sys.meta_path)
""",
    ),
    Escape(
        "float_subclass",
        "a number that is one to whoever compares, and zero to whoever looks",
        """
class One(float):
    def __eq__(self, other): return other == 1
    def __float__(self): return 1.0
    def __repr__(self): return "1.0"
    __hash__ = float.__hash__
return One(0.0)
""",
        outcomes=("0", "1", "crash"),
    ),
    Escape(
        "str_subclass",
        "a text that is equal to everything",
        """
class Any(str):
    def __eq__(self, other): return True
    def __float__(self): return 1.0
    __hash__ = str.__hash__
return Any("0")
""",
        outcomes=("score_range",),
    ),
    Escape(
        "item",
        "an object that turns into a score on request",
        """
class Like:
    def item(self): raise SystemExit(0)
return Like()
""",
        outcomes=("crash",),
    ),
    Escape("nan", "a score that is no number", "return float('nan')", outcomes=("score_range",)),
    Escape("infinite", "a score without end", "return float('inf')", outcomes=("score_range",)),
    Escape("none", "no score at all", "return None", outcomes=("score_range",)),
    Escape("two", "twice the highest score", "return 2.0", outcomes=("2",)),
    Escape(
        "huge_score",
        "a number with a million digits",
        "return 10 ** 1_000_000",
        outcomes=("crash", "score_range"),
    ),
    Escape(
        "huge_object",
        "a return value that is larger than any pipe",
        "return ['x' * 10**6] * 100",
        outcomes=("score_range", "crash"),
    ),
    Escape(
        "pickle",
        "a return value that runs code where it is unpacked",
        """
import os, pickle
class Packed:
    def __reduce__(self): return (os.system, ("touch " + @SECRET@ + ".opened",))
return pickle.dumps(Packed())
""",
        outcomes=("score_range",),
    ),
    Escape(
        "hostile_exception",
        "an exception that fights whoever looks at it",
        """
class Fight(BaseException):
    def __str__(self): raise Fight
    __repr__ = __str__
    @property
    def __traceback__(self): raise Fight
raise Fight
""",
        outcomes=("crash",),
    ),
    Escape(
        "generator",
        "an exception out of a finalizer, in the midst of the report",
        """
class Trap:
    def __del__(self): raise SystemExit(0)
def trap():
    try: yield 0.0
    finally: raise SystemExit(0)
traps = [Trap() for _ in range(10)]
return next(trap())
""",
        outcomes=("0", "crash"),
    ),
)
