"""Shuts the runner in before any family is imported: files, network, other processes.

Landlock for files, signals and TCP; a seccomp filter against sockets, new programs, a look into other
processes, and changes of owner, mode and attributes, which Landlock lets through; an empty network
namespace; no capabilities; the first to be ended where the machine's memory runs out. Each part is best
effort, and `enter` says which of them hold. None of it can be undone.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import struct
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 22, 38
CLONE_NEWUSER, CLONE_NEWNET, CLONE_THREAD = 0x10000000, 0x40000000, 0x00010000

FIRST_TO_DIE = 800  # of 1000, which would be this one even where another took the memory

# Landlock's rights on files, by the version of its interface that brought them
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
FIRST_RIGHTS = (1 << 13) - 1
READ = EXECUTE | READ_FILE | READ_DIR
FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV

# Where Python, torch and the C library read from; /etc only by file, for it may hold secrets
READABLE = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/proc", "/sys")
READABLE_ON_CUDA = ("/opt", "/etc/OpenCL", "/etc/vulkan", "/run/nvidia-persistenced")
DEVICES = tuple(f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom"))
OWN_THREADS = Path("/proc/self/task")
READABLE_IN_ETC = ("ld.so.cache", "localtime", "nsswitch.conf", "passwd", "group", "alternatives")


def enter(*, writable: list[Path], readable: list[Path], cuda: bool) -> dict[str, str]:
    """Shuts this process in; {part: "on" or why not}. Call it while there is one thread."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    parts: dict[str, Callable[[], None]] = {
        "first_to_die": _first_to_die,
        "network_namespace": lambda: _leave_network(cuda),
        "capabilities": lambda: _drop_capabilities(cuda),
        "no_new_privileges": _no_new_privileges,
        "landlock": lambda: _landlock(writable, readable, cuda),
        "seccomp": lambda: _seccomp(cuda),
    }
    return {name: _tried(part) for name, part in parts.items()}


def _tried(part: Callable[[], None]) -> str:
    try:
        part()
    except OSError as error:
        return f"off: {error.strerror or error}"
    return "on"


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _first_to_die() -> None:
    """Where the machine's memory runs out it is this process that the kernel ends, not a database or the worker."""
    Path("/proc/self/oom_score_adj").write_text(str(FIRST_TO_DIE))


def _no_new_privileges() -> None:
    _checked(LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def _leave_network(cuda: bool) -> None:
    """Into a network namespace with nothing in it, by way of a user namespace if we are not root."""
    if os.geteuid() == 0:
        _checked(LIBC.unshare(CLONE_NEWNET))
        return
    if cuda:
        raise OSError("a user namespace may hide the device")
    user, group = os.geteuid(), os.getegid()
    _checked(LIBC.unshare(CLONE_NEWUSER | CLONE_NEWNET))
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def _drop_capabilities(cuda: bool) -> None:
    if cuda:
        raise OSError("the device's driver may need them")
    # version 3 of the interface: head (version, pid), then two triples of 32 bits
    head = ctypes.create_string_buffer(struct.pack("II", 0x20080522, 0))
    _checked(LIBC.capset(head, ctypes.create_string_buffer(24)))


# Landlock


def _landlock(writable: list[Path], readable: list[Path], cuda: bool) -> None:
    version = _checked(LIBC.syscall(444, None, ctypes.c_size_t(0), 1))
    rights = FIRST_RIGHTS
    for since, right in ((2, REFER), (3, TRUNCATE), (5, IOCTL_DEV)):
        rights |= right if version >= since else 0
    attributes = struct.pack("Q", rights)
    if version >= 4:
        attributes += struct.pack("Q", 0b11)  # bind and connect of TCP
    if version >= 6:
        attributes += struct.pack("Q", 0b11)  # abstract Unix sockets, signals
    ruleset = _checked(LIBC.syscall(444, attributes, ctypes.c_size_t(len(attributes)), 0))
    try:
        for path in (*_code_folders(), *readable, *_system_paths(cuda)):
            _allow(ruleset, path, READ & rights)
        for path in writable:
            _allow(ruleset, path, rights)
        # not /dev/shm beside them, where others of this machine may keep what is theirs; a GPU has files in many places
        for device in ("/dev",) if cuda else DEVICES:
            _allow(ruleset, Path(device), (READ | WRITE_FILE | IOCTL_DEV) & rights)
        if cuda:
            # The driver names its threads, and gives up where it may not (error 304). The handle stays
            # open: a rule is for this very inode, which the kernel would otherwise make anew.
            os.open(OWN_THREADS, os.O_PATH | os.O_CLOEXEC)
            _allow(ruleset, OWN_THREADS, (READ | WRITE_FILE | TRUNCATE) & rights)
        _checked(LIBC.syscall(446, ruleset, 0))
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # not on this machine
    try:
        rights &= rights if path.is_dir() else FILE_RIGHTS
        rule = struct.pack("=Qi", rights, handle)
        _checked(LIBC.syscall(445, ruleset, 1, rule, 0))
    finally:
        os.close(handle)


def _code_folders() -> list[Path]:
    """The interpreter and our two packages; not the folder around them, where data may lie."""
    packages = Path(__file__).resolve().parent.parent
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    return [packages / "worker", packages / "shared", *map(Path, sorted(prefixes))]


def _system_paths(cuda: bool) -> list[Path]:
    extra = READABLE_ON_CUDA if cuda else ()
    return [*map(Path, (*READABLE, *extra)), *(Path("/etc") / name for name in READABLE_IN_ETC)]


# Seccomp: a filter program of (code, jump if true, jump if false, value)

LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | 1  # EPERM
NOT_THERE = 0x00050000 | 38  # ENOSYS: the C library then tries the older call
Line = tuple[int, int, int, int]

# machine: (its number for the kernel's audit, {call: number})
CALLS = {
    "x86_64": (
        0xC000003E,
        {
            "socket": 41,
            "clone": 56,
            "clone3": 435,
            "refused": (57, 58, 59, 101, 155, 165, 166, 248, 249, 250, 272, 298, 308, 310, 311)
            + (321, 322, 323, 425, 438)
            # chmod and its like, chown, setxattr, removexattr, file_setattr
            + (90, 91, 92, 93, 94, 188, 189, 190, 197, 198, 199, 260, 268, 452, 463, 466, 469),
        },
    ),
    "aarch64": (
        0xC00000B7,
        {
            "socket": 198,
            "clone": 220,
            "clone3": 435,
            "refused": (39, 40, 41, 97, 117, 217, 218, 219, 221, 241, 268, 270, 271, 280, 281)
            + (282, 425, 438)
            + (5, 6, 7, 14, 15, 16, 52, 53, 54, 55, 452, 463, 466, 469),
        },
    ),
}


def _seccomp(cuda: bool) -> None:
    """Refuses sockets, new processes and programs, ptrace and its like, io_uring, mounts, keys, chmod."""
    if platform.machine() not in CALLS:
        raise OSError(f"not known for {platform.machine()}")
    lines = _filter(*CALLS[platform.machine()], cuda)
    program = b"".join(struct.pack("HBBI", *line) for line in lines)
    memory = ctypes.create_string_buffer(program)
    head = ctypes.create_string_buffer(
        struct.pack("HxxxxxxP", len(lines), ctypes.addressof(memory))
    )
    _checked(LIBC.prctl(PR_SET_SECCOMP, 2, head, 0, 0))


def _filter(audit: int, calls: dict[str, object], cuda: bool) -> list[Line]:
    refused = calls["refused"]
    assert isinstance(refused, tuple)
    lines: list[Line] = [
        (LOAD, 0, 0, 4),  # the machine; calls of another one are numbered differently
        (EQUAL, 1, 0, audit),
        (RETURN, 0, 0, REFUSE),
        (LOAD, 0, 0, 0),  # the call's number
        (AT_LEAST, 0, 1, 0x40000000),  # x32 on x86_64
        (RETURN, 0, 0, REFUSE),
    ]
    lines += _when(calls["clone3"], [(RETURN, 0, 0, NOT_THERE)])
    for number in refused:
        lines += _when(number, [(RETURN, 0, 0, REFUSE)])
    lines += _when(calls["socket"], _sockets(cuda))
    # threads are made by clone with CLONE_THREAD; anything else would be a process
    thread = [(LOAD, 0, 0, 16), (ANY_BIT, 1, 0, CLONE_THREAD), (RETURN, 0, 0, REFUSE)]
    lines += _when(calls["clone"], [*thread, (RETURN, 0, 0, ALLOW)])
    return [*lines, (RETURN, 0, 0, ALLOW)]


def _sockets(cuda: bool) -> Iterable[Line]:
    if not cuda:
        return [(RETURN, 0, 0, REFUSE)]
    # the driver speaks to its own daemons over Unix sockets
    lines: list[Line] = [(LOAD, 0, 0, 16)]
    for family in (2, 10):  # AF_INET, AF_INET6
        lines += [(EQUAL, 0, 1, family), (RETURN, 0, 0, REFUSE)]
    return [*lines, (RETURN, 0, 0, ALLOW)]


def _when(number: object, then: Iterable[Line]) -> list[Line]:
    """`then` for this call; it must end in RETURN, for the loaded number is gone after it."""
    assert isinstance(number, int)
    body = list(then)
    return [(EQUAL, 0, len(body), number), *body]
