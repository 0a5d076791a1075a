#!/usr/bin/env python3
"""Writes which functions a start of bryo runs, in the order in which it first does.

    BRYO_LINK_MAP=/tmp/bryo.map cargo build --release
    sudo scripts/start-order.py --user "$USER" /tmp/bryo.map target/release/bryo > /tmp/order && cp /tmp/order scripts/start.order

Every process of a default run stops at the beginning of each function that it enters for the first time, until it
executes something else. The linker's map tells where functions begin.
"""

import argparse
import ctypes
import os
import pwd
import re
import signal
import sys

TRACEME, PEEKUSER, POKEUSER, CONT, DETACH, SETOPTIONS = 0, 3, 6, 7, 17, 0x4200
# Fork, vfork, clone, exec; and what is left ends with us.
OPTIONS = 2 | 4 | 8 | 16 | 0x100000
EXEC, RIP = 4, 16 * 8
WALL = 0x40000000

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def functions(path):
    """Where functions begin in a linker map of lld, each with the name by which its section is moved."""
    row = re.compile(r"\s*[0-9a-f]+\s+[0-9a-f]+\s+[0-9a-f]+\s+\d+ {9}\S.*:\((\.\w+)\.?([^)]*)\)$")
    symbol = re.compile(r"\s*([0-9a-f]+)\s+[0-9a-f]+\s+([0-9a-f]+)\s+\d+ {17}(.+)$")
    found, section = {}, None
    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            line = line.rstrip("\n")
            if match := row.match(line):
                section = [match[2]] if match[1] == ".text" else None
            elif section and (match := symbol.match(line)) and int(match[2], 16):
                # Where the compiler gave a function a section, that has its name, which the map says in plain.
                section[0] = section[0] or match[3]
                found[int(match[1], 16)] = section[0]
    return found


def child(user, command):
    """Becomes `command`, traced."""
    who = pwd.getpwnam(user)
    os.initgroups(user, who.pw_gid)
    os.setgid(who.pw_gid)
    os.setuid(who.pw_uid)
    os.chdir(who.pw_dir)
    null = os.open("/dev/null", os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    libc.ptrace(TRACEME, 0, None, None)
    os.execve(command[0], command, {"HOME": who.pw_dir, "USER": user, "PATH": "/usr/bin:/bin"})


def base_of(pid, binary):
    """Where the binary begins in a process."""
    with open(f"/proc/{pid}/maps", encoding="utf-8") as lines:
        for line in lines:
            if line.rstrip().endswith(os.path.basename(binary)):
                return int(line.split("-")[0], 16)
    raise SystemExit(f"{binary} is not mapped")


def entered(user, binary, arguments, names):
    """The names of the functions that a run enters, in order."""
    first = os.fork()
    if first == 0:
        try:
            child(user, [binary, *arguments])
        finally:
            os._exit(1)
    os.waitpid(first, 0)
    libc.ptrace(SETOPTIONS, first, None, OPTIONS)
    base, original, seen, known = base_of(first, binary), {}, {}, {first}
    with open(f"/proc/{first}/mem", "r+b", buffering=0) as memory:
        for address in names:
            original[address] = os.pread(memory.fileno(), 1, base + address)
            os.pwrite(memory.fileno(), b"\xcc", base + address)
    libc.ptrace(CONT, first, None, None)
    while known:
        pid, status = os.waitpid(-1, WALL)
        if not os.WIFSTOPPED(status):
            known.discard(pid)
            continue
        number, event = os.WSTOPSIG(status), status >> 16
        if event == EXEC:
            libc.ptrace(DETACH, pid, None, None)
            known.discard(pid)
            continue
        new = pid not in known
        known.add(pid)
        address = libc.ptrace(PEEKUSER, pid, RIP, None) - base - 1
        if number == signal.SIGTRAP and event == 0 and address in original:
            seen.setdefault(names[address])
            with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
                os.pwrite(memory.fileno(), original[address], base + address)
            libc.ptrace(POKEUSER, pid, RIP, base + address)
        passed = None if new or number in (signal.SIGTRAP, signal.SIGSTOP) else number
        libc.ptrace(CONT, pid, None, passed)
    return list(seen)


def main():
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--user", required=True)
    parser.add_argument("map")
    parser.add_argument("binary")
    options = parser.parse_args()
    order = entered(options.user, os.path.abspath(options.binary), ["run", "--", "/bin/true"], functions(options.map))
    print(len(order), "functions", file=sys.stderr)
    print("\n".join(order))


if __name__ == "__main__":
    main()
