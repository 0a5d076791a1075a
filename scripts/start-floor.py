#!/usr/bin/env python3
"""What the kernel alone takes for a start, beside bryo and bubblewrap: the part that no change of bryo's can make faster.

    scripts/start-floor.py BRYO [STARTS]      as an ordinary user; needs strace, gcc, bwrap

One start of `BRYO run -- /bin/true` is traced. A program of `start-floor.c` and the traced calls that make its tree does the
same, and nothing else. Then all are started in turns, one of each, and the lower quartile of each is printed.
"""

import os
import re
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
CALL = re.compile(r"^(\w+)\((.*)\)\s+= (-?\d+)", re.S)
NEW_USER, NEW_NET = 0x10000000, 0x40000000
# Strings keep their commas.
COMMA = re.compile(r', (?=(?:[^"]*"[^"]*")*[^"]*$)')
BWRAP = "bwrap --ro-bind / / --unshare-all --proc /proc --dev /dev /bin/true".split()


def calls(file):
    """The calls of one process: name, arguments as one text, result."""
    with open(file, encoding="latin-1") as lines:
        return [(m[1], m[2], int(m[3])) for m in map(CALL.match, lines) if m]


def traced(bryo, folder):
    """The calls of init, and those of the payload, of one start."""
    # Who traces has to be privileged over what makes itself untraceable: in a user namespace around both.
    privileged = ["unshare", "--map-current-user", "--keep-caps"]
    trace = ["strace", "-ff", "-qq", "-v", "-s", "65536", "-X", "raw", "-o", f"{folder}/trace"]
    ordinary = ["setpriv", "--ambient-caps=-all", "--inh-caps=-all"]
    subprocess.run([*privileged, *trace, *ordinary, bryo, "run", "--", "/bin/true"], check=True)
    processes = {int(name.split(".")[1]): calls(f"{folder}/{name}") for name in os.listdir(folder) if name.startswith("trace.")}
    for made in processes.values():
        for name, arguments, result in made:
            flags = re.search(r"flags=(0x[0-9a-f]+)", arguments)
            if name == "clone3" and flags and int(flags[1], 16) & NEW_USER:
                init = processes.pop(result)
                payload = next(p for p in processes.values() if any(c[0] == "landlock_restrict_self" for c in p))
                return init, payload
    sys.exit("start-floor: no process of the trace was cloned into a user namespace")


class Tree:
    """Calls of init as C."""

    def __init__(self, folder):
        self.folder = folder
        self.layers = set()
        self.lines = []

    def path(self, quoted):
        """A path of this run's layer becomes one of ours."""
        found = re.search(r"/live/[0-9a-f]+/((?:upper|work)-\d+)", quoted)
        if not found:
            return quoted
        self.layers.add(found[1])
        return f'"{self.folder}/{found[1]}"'

    def add(self, name, arguments, result):
        at = lambda n: "AT_FDCWD" if n == "-100" else f"F[{n}]"
        a = COMMA.split(arguments)
        keep = f"F[{result}] = " if result >= 0 else ""
        field = lambda key: (re.search(key + r"=(\w+)", arguments) or ["", "0"])[1]
        one = {
            "openat2": lambda: f"{keep}open2({at(a[0])}, {self.path(a[1])}, {field('flags')}, {field('mode')}, {field('resolve')});",
            "openat": lambda: f"{keep}openat({at(a[0])}, {a[1]}, {a[2]}, {a[3] if len(a) > 3 else 0});",
            "open_tree": lambda: f"{keep}syscall(SYS_open_tree, {at(a[0])}, {a[1]}, {a[2]});",
            "mount_setattr": lambda: f"attributes({at(a[0])}, {a[2]}, {field('attr_set')}, {field('attr_clr')}, {field('propagation')});",
            "move_mount": lambda: f'must(syscall(SYS_move_mount, {at(a[0])}, "", {at(a[2])}, "", {a[4]}), "move_mount");',
            "fsopen": lambda: f"{keep}syscall(SYS_fsopen, {a[0]}, {a[1]});",
            "fsmount": lambda: f"{keep}syscall(SYS_fsmount, {at(a[0])}, {a[1]}, {a[2]});",
            "fsconfig": lambda: self.option(at(a[0]), a),
            "close": lambda: f"close({at(a[0])});",
            "fcntl": lambda: f"{keep}fcntl({at(a[0])}, F_DUPFD_CLOEXEC, 3);",
            "mkdirat": lambda: f"mkdirat({at(a[0])}, {a[1]}, {a[2]});",
            "mknodat": lambda: f"mknodat({at(a[0])}, {a[1]}, {a[2]}, 0);",
            "linkat": lambda: f"linkat({at(a[0])}, {a[1]}, {at(a[2])}, {a[3]}, 0);",
            "symlinkat": lambda: f"symlinkat({a[0]}, {at(a[1])}, {a[2]});",
            "write": lambda: f"write({at(a[0])}, {a[1]}, {a[2]});",
            "fchmod": lambda: f"fchmod({at(a[0])}, {a[1]});",
            "fchdir": lambda: f'must(fchdir({at(a[0])}), "fchdir");',
            "chdir": lambda: f"chdir({a[0]});",
            "pivot_root": lambda: 'must(syscall(SYS_pivot_root, ".", "."), "pivot_root");',
            "umount2": lambda: f"umount2({a[0]}, {a[1]});",
            "sethostname": lambda: f"sethostname({a[0]}, {a[1]});",
            "setns": lambda: 'must(setns(network, CLONE_NEWNET), "setns");',
            "wait4": lambda: "waitpid(helper, NULL, __WCLONE);",
            "setsid": lambda: "setsid();",
        }.get(name)
        if one:
            self.lines.append("\t" + one())

    def option(self, mount, a):
        value = a[3]
        name = a[2].strip('"')
        numbers = re.findall(r"/proc/self/fd/(\d+)", value)
        if not numbers:
            return f'must(syscall(SYS_fsconfig, {mount}, {a[1]}, {a[2]}, {value}, {a[4]}), "fsconfig {name}");'
        form = re.sub(r"fd/\d+", "fd/%d", value)
        given = ", ".join(f"F[{n}]" for n in numbers)
        return f'snprintf(text, sizeof text, {form}, {given}); must(syscall(SYS_fsconfig, {mount}, {a[1]}, {a[2]}, text, 0), "fsconfig {name}");'


def source(init, payload, folder):
    """The text of tree.h."""
    tree = Tree(folder)
    begun = False
    for call in init:
        begun = begun or call[0] == "sethostname"
        if call[0] == "clone3":
            break
        if begun:
            tree.add(*call)
    for layer in tree.layers:
        os.makedirs(f"{folder}/{layer}")
    length = lambda process: re.search(r"len=(\d+)", next(c[1] for c in process if c[0] == "seccomp"))[1]
    rules, opened = [], ""
    for name, arguments, _ in payload:
        if name == "open":
            opened = COMMA.split(arguments)[0]
        if name == "landlock_add_rule":
            access = re.search(r"allowed_access=(\w+)", arguments)[1]
            rules.append(f"\trule(ruleset, {opened}, {access});")
    handled = next(re.search(r"handled_access_fs=(\w+)", c[1])[1] for c in payload if "handled_access_fs" in c[1])
    cleaned = []
    for work in sorted(layer for layer in tree.layers if layer.startswith("work")):
        inner = f"{folder}/{work}/work"
        cleaned += [f'\tchmod("{inner}{below}", 0700);' for below in ("", "/incompat", "/incompat/volatile")]
        cleaned += [f'\tunlink("{inner}/incompat/volatile/dirty");']
        cleaned += [f'\trmdir("{inner}{below}");' for below in ("/incompat/volatile", "/incompat", "")]
    return "\n".join([
        f"#define INIT_FILTER {length(init)}",
        "static void make_tree(pid_t helper)", "{", *tree.lines, "}",
        "static void restrict_payload(void)", "{",
        f"\tunsigned long handled = {handled};",
        '\tint ruleset = must(syscall(SYS_landlock_create_ruleset, &handled, sizeof handled, 0), "ruleset");',
        *rules,
        '\tmust(syscall(SYS_landlock_restrict_self, ruleset, 0), "landlock");',
        "\tclose(ruleset);", f"\tfilter({length(payload)});", "}",
        "static void forget_layers(void)", "{", *cleaned, "}", "",
    ])


def compiled(folder, name, *files):
    program = f"{folder}/{name}"
    subprocess.run(["gcc", "-O2", "-static", "-w", "-I", folder, "-o", program, *files], check=True)
    return program


def main():
    if len(sys.argv) < 2 or os.geteuid() == 0:
        sys.exit(__doc__)
    bryo, starts = os.path.abspath(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 400
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="start-floor-") as folder:
        subprocess.run([bryo, "run", "--", "/bin/true"], check=True)
        with open(f"{folder}/tree.h", "w", encoding="latin-1") as tree:
            tree.write(source(*traced(bryo, folder), folder))
        sides = {
            "bryo run": [bryo, "run", "--", "/bin/true"],
            "its kernel calls alone": [compiled(folder, "floor", f"{HERE}/start-floor.c")],
            "bwrap --unshare-all": BWRAP,
            "clone3 + exec, static": [compiled(folder, "clone3", f"{HERE}/../tests/bench/clone3-exec.c"), "/bin/true"],
        }
        times = {name: [] for name in sides}
        for turn in range(starts):
            for name in sorted(sides, reverse=turn % 2 == 0):
                begun = time.perf_counter()
                pid = os.posix_spawn(sides[name][0] if "/" in sides[name][0] else f"/usr/bin/{sides[name][0]}", sides[name], os.environ)
                _, status = os.waitpid(pid, 0)
                times[name].append(time.perf_counter() - begun)
                if status:
                    sys.exit(f"start-floor: {name} failed")
        quartile = {name: sorted(taken)[starts // 4] * 1e3 for name, taken in times.items()}
        for name, taken in quartile.items():
            print(f"{name:24} {taken:6.2f} ms   {taken / quartile['bwrap --unshare-all']:.2f} × bwrap")


main()
