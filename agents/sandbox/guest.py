"""The program inside the sandbox: it imports once, and forks one child for every request.

It is started as a script by an interpreter that may see nothing else of this project, so it
imports the standard library only. The host speaks to it over standard input and output, in frames
of a four-byte length (big endian) and as many bytes:

    host -> guest   JSON {"code", "steps": [{"op": "inspect"} | {"op": "score", "instance",
                    "text"}], "limits": {...}}
    guest -> host   b"e" + JSON {"end": "ready"}                 once, when imports are done
                    b"r" + JSON of one step, as the child wrote it; step 0 is the import
                    b"e" + JSON {"end", "detail", "spent"}       when the request is over

The child writes its results to a private pipe that the parent passes on unread; whatever the
family prints goes nowhere. A child ends at its first fault. A guest that is `spent` could not be
cleaned and is to be replaced.
"""

from __future__ import annotations

import contextlib
import copy
import ctypes
import gc
import importlib
import json
import math
import os
import resource
import select
import shutil
import signal
import struct
import sys
import time
import traceback
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, NoReturn

REQUESTS, REPLIES = 3, 4
OPEN_FILES = 64
DETAIL_LENGTH = 400
SCRATCH = os.environ.get("TMPDIR", "/tmp")
PR_SET_DUMPABLE = 4


class Limits(NamedTuple):
    """What one child may use.

    Attributes:
        seconds: wall clock of one step.
        memory: bytes of address space.
        file: bytes of one file.
        processes: processes and threads, its own included.
        output: bytes of the result of one step.
    """

    seconds: float
    memory: int
    file: int
    processes: int
    output: int


class HostGone(Exception):
    """The host closed its end while a request was served."""


class Fault(Exception):
    """The family broke a rule of the format; `code` is the reason code."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


# --------------------------------------------------------------------------- frames


def write_frame(descriptor: int, payload: bytes) -> None:
    """Write one frame, however many pieces the pipe takes it in."""
    view = memoryview(struct.pack(">I", len(payload)) + payload)
    while view:
        view = view[os.write(descriptor, view) :]


def read_exactly(descriptor: int, size: int, deadline: float | None) -> bytes | None:
    """`size` bytes, or None if the other side closed.

    Raises:
        TimeoutError: the deadline (of `time.monotonic`) passed.
        HostGone: there is a deadline, and the host did not wait for it.
    """
    pieces = []
    while size:
        if deadline is not None:
            left = max(0.0, deadline - time.monotonic())
            ready = select.select([descriptor, REQUESTS], [], [], left)[0]
            if REQUESTS in ready:
                raise HostGone
            if not ready:
                raise TimeoutError
        piece = os.read(descriptor, min(size, 1 << 20))
        if not piece:
            return None
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def read_frame(
    descriptor: int, deadline: float | None = None, limit: int | None = None
) -> bytes | None:
    """The next frame, or None if the other side closed.

    Raises:
        TimeoutError: the deadline passed.
        HostGone: there is a deadline, and the host did not wait for it.
        OverflowError: the frame is longer than the limit.
    """
    head = read_exactly(descriptor, 4, deadline)
    if head is None:
        return None
    (size,) = struct.unpack(">I", head)
    if limit is not None and size > limit:
        raise OverflowError
    return read_exactly(descriptor, size, deadline)


# --------------------------------------------------------------------------- the child


def set_limits(limits: Limits, steps: int) -> None:
    """Bind this process and all that it starts; the hard limits cannot be raised again."""
    cpu = math.ceil(limits.seconds * (steps + 1)) + 1
    for kind, value in (
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_FSIZE, limits.file),
        (resource.RLIMIT_NPROC, limits.processes),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (allowed, allowed))


def load(code: str) -> Any:
    """The `TaskFamily` that the code defines."""
    module = types.ModuleType("task")
    sys.modules["task"] = module
    exec(compile(code, "task.py", "exec"), module.__dict__)
    if not hasattr(module, "TaskFamily"):
        raise Fault("import_error", "the code defines no class TaskFamily")
    family = module.TaskFamily()
    for name in ("get_tasks", "get_instructions", "score"):
        if not callable(getattr(family, name, None)):
            raise Fault("import_error", f"TaskFamily has no method {name}")
    return family


def tasks_of(family: Any) -> dict[str, Any]:
    """Instance -> task data."""
    tasks = family.get_tasks()
    if not isinstance(tasks, dict):
        raise Fault("instance_count", f"get_tasks returned {type(tasks).__name__}, not a dict")
    return {str(key): value for key, value in tasks.items()}


def plain(value: Any) -> Any:
    """The value if JSON can carry it, else its `repr`."""
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return repr(value)
    return value


def inspect(family: Any) -> dict[str, Any]:
    """What the family says about itself."""
    tasks = tasks_of(family)
    instructions = {}
    for instance, task in tasks.items():
        text = family.get_instructions(task)
        if not isinstance(text, str):
            raise Fault(
                "instruction_empty",
                f"get_instructions returned {type(text).__name__} for instance {instance}",
            )
        instructions[instance] = text
    return {
        "tasks": {instance: plain(task) for instance, task in tasks.items()},
        "instructions": instructions,
    }


def number(value: Any) -> float:
    """The score as a float; numpy scalars count, anything that is no finite number does not."""
    if not isinstance(value, (bool, int, float)) and hasattr(value, "item"):
        value = value.item()
    if not isinstance(value, (bool, int, float)) or not math.isfinite(value):
        raise Fault("score_range", f"score returned {value!r:.80}, not a number")
    return float(value)


def runner(family: Any) -> Callable[[dict[str, str]], dict[str, Any]]:
    """A function that runs one step; every scoring starts from the same task data."""
    tasks: dict[str, Any] = {}

    def run(step: dict[str, str]) -> dict[str, Any]:
        if step["op"] == "inspect":
            return inspect(family)
        if not tasks:
            tasks.update(tasks_of(family))
        if step["instance"] not in tasks:
            raise Fault("instance_count", f"get_tasks has no instance {step['instance']}")
        task = copy.deepcopy(tasks[step["instance"]])
        return {"value": number(family.score(task, step["text"]))}

    return run


def described(error: BaseException) -> str:
    """One line about an exception of the family, with its line in `task.py`."""
    try:
        text = " ".join(str(error).split())[:DETAIL_LENGTH]
    except BaseException:  # a hostile __str__ must not end the report
        text = ""
    lines = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == "task.py"]
    place = f" (task.py line {lines[-1].lineno}, in {lines[-1].name})" if lines else ""
    return f"{type(error).__name__}: {text}{place}"


def fault_of(error: BaseException, otherwise: str) -> dict[str, str]:
    """The fault that an exception of the family amounts to."""
    if isinstance(error, Fault):
        return {"fault": error.code, "detail": str(error)}
    if isinstance(error, MemoryError):
        return {"fault": "memory", "detail": "the memory limit was reached"}
    return {"fault": otherwise, "detail": described(error)}


def results(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The result of the import and of every step, ending with the first fault.

    The family may raise anything, SystemExit included, and all of it is a result here.
    """
    try:
        run = runner(load(request["code"]))
    except BaseException as error:
        yield fault_of(error, "import_error")
        return
    yield {"loaded": True}
    for step in request["steps"]:
        try:
            result = run(step)
        except BaseException as error:
            yield fault_of(error, "crash")
            return
        yield result


def child(request: dict[str, Any], limits: Limits, pipe: int) -> NoReturn:
    """Serve one request and end, without any clean-up that the family could hook into."""
    os.setsid()
    os.closerange(3, pipe)
    os.closerange(pipe + 1, 256)
    set_limits(limits, len(request["steps"]))
    for result in results(request):
        payload = json.dumps(result).encode()
        if len(payload) > limits.output:
            detail = f"a result of {len(payload):,} bytes, at most {limits.output:,} are read"
            payload = json.dumps({"fault": "crash", "detail": detail}).encode()
        write_frame(pipe, payload)
    os._exit(0)


# --------------------------------------------------------------------------- the parent


def relay(pipe: int, frames: int, limits: Limits) -> tuple[str, str]:
    """Pass on the frames of a child; how it ended, and one line about it."""
    for _ in range(frames):
        try:
            frame = read_frame(pipe, time.monotonic() + limits.seconds, limits.output)
        except TimeoutError:
            return "timeout", f"ran longer than {limits.seconds:g} s"
        except OverflowError:
            return "crash", "wrote an oversized result"
        if frame is None:
            return "died", ""
        write_frame(REPLIES, b"r" + frame)
    return "done", ""


def cause_of_death(status: int) -> tuple[str, str]:
    """Why a child that closed its pipe too early is gone."""
    if not os.WIFSIGNALED(status):
        return "crash", f"ended the process itself (exit status {os.WEXITSTATUS(status)})"
    number = os.WTERMSIG(status)
    if number == signal.SIGXCPU:
        return "timeout", "used up its CPU time"
    if number == signal.SIGKILL:
        return "memory", "was killed by the system, as happens when memory runs out"
    return "crash", f"died of {signal.Signals(number).name}"


def wait_briefly(pid: int) -> int | None:
    """The exit status of a child that is about to end, or None if it goes on."""
    for _ in range(100):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        time.sleep(0.002)
    return None


def sweep(pid: int | None, isolated: bool, group: int) -> None:
    """Kill what a request left running.

    Inside a process namespace of its own the guest is process 1: it may kill everything else.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if isolated and os.getpid() == 1:
            os.kill(-1, signal.SIGKILL)
        else:
            os.killpg(group, signal.SIGKILL)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    with contextlib.suppress(ChildProcessError):
        while isolated:
            os.waitpid(-1, 0)


def empty_scratch() -> None:
    """Remove what imports have left in the scratch folder; no family has run yet."""
    for entry in os.scandir(SCRATCH):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)


def scratch_is_clean() -> bool:
    """Whether the scratch folder is empty, so that no call can leave word for a later one."""
    try:
        return not os.listdir(SCRATCH)
    except OSError:
        return False


def serve(request: dict[str, Any], isolated: bool) -> dict[str, Any]:
    """Run one request in a forked child and pass on its results; how it ended."""
    limits = Limits(**request["limits"])
    if "numpy" in sys.modules:  # unlike `random`, numpy would draw the same in every child
        sys.modules["numpy"].random.seed(int.from_bytes(os.urandom(4), "big"))
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            child(request, limits, writer)
        finally:  # whatever goes wrong, a child never returns into the loop of its parent
            os._exit(1)
    os.close(writer)
    try:
        end, detail = relay(reader, 1 + len(request["steps"]), limits)
    except (HostGone, BrokenPipeError):
        sweep(pid, isolated, pid)
        sys.exit()
    os.close(reader)
    running: int | None = pid
    if end == "died":
        status = wait_briefly(pid)
        if status is None:
            end, detail = "crash", "closed its result pipe"
        else:
            running = None
            end, detail = cause_of_death(status)
    sweep(running, isolated, pid)
    return {"end": end, "detail": detail, "spent": isolated and not scratch_is_clean()}


def take_over_standard_streams() -> None:
    """Move the host's pipes away from standard input and output, which then lead nowhere."""
    os.dup2(0, REQUESTS, inheritable=False)
    os.dup2(1, REPLIES, inheritable=False)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    if null > REPLIES:
        os.close(null)


def forbid_tracing() -> None:
    """Keep children, which run under the same user, from reading or writing this process."""
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def main(arguments: Sequence[str]) -> None:
    """Serve requests until the host closes its end.

    Args:
        arguments: `isolated` or `shared` (is this a process namespace of our own?), then the
            modules to import beforehand, as far as they are installed.
    """
    mode, *modules = arguments
    isolated = mode == "isolated"
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    take_over_standard_streams()
    if isolated:
        forbid_tracing()
    for name in modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    if isolated:
        empty_scratch()
    gc.collect()
    gc.freeze()
    write_frame(REPLIES, b'e{"end": "ready"}')
    while (frame := read_frame(REQUESTS)) is not None:
        outcome = serve(json.loads(frame), isolated)
        write_frame(REPLIES, b"e" + json.dumps(outcome).encode())


if __name__ == "__main__":
    main(sys.argv[1:])
