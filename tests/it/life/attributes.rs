//! `--disk SIZE` and access lists: a tmpfs keeps them in memory that it does not count.

use super::applies;
use crate::support::{Need, World, has};

/// Gives directories, as many as it can make, access lists, as long as they may be, and files that inherit one. Prints
/// what the kernel keeps for that, how many it made, and the entries of a list.
const TAKE: &str = r"
import errno, os, struct, sys
NOBODY = 0xffffffff
def attribute(users):
    entries = [(1, 7, NOBODY)] + [(2, 7, os.getuid())] * users + [(n, 7, NOBODY) for n in (4, 16, 32)]
    return struct.pack('<I', 2) + b''.join(struct.pack('<HHI', *entry) for entry in entries)
def give(path, kind, users):
    try: os.setxattr(path, 'system.posix_acl_' + kind, attribute(users)); return True
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.E2BIG): raise
def kept(users): return 1 << (28 + 8 * (users + 4) - 1).bit_length()
where, taken, made = sys.argv[1] + '/lists', 0, 0
os.mkdir(where)
users = next((n for n in (8187, 4000, 1000, 500, 120, 57, 56, 10) if give(where, 'access', n)), 0)
give(where, 'default', users)
try:
    while made < 300:
        path, directory, made = '%s/%d' % (where, made), made % 3, made + 1
        if directory: os.mkdir(path); taken += 1024 + 2 * kept(users)
        else: os.close(os.open(path, os.O_CREAT, 0o777)); taken += 1024 + kept(users)
        give(path, 'access', users)
        if directory: give(path, 'default', users)
except OSError as error:
    if error.errno != errno.ENOSPC: raise
print(taken, made, users + 4)
";

/// What [`TAKE`] prints, of a run with flags, in a place.
fn take(world: &World, flags: &[&str], place: &str) -> (u64, u64, u64) {
    world.file("project/take.py", TAKE);
    let script = format!("exec python3 take.py {place}");
    let ended = world.sandbox().arg("--rm").args(flags).run(&script).succeeds();
    let stdout = ended.stdout();
    let mut numbers = stdout.split_whitespace().map(|number| number.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap(), numbers.next().unwrap())
}

#[test]
fn access_lists_are_within_the_size_wherever_they_are_and_whatever_filter_is_chosen() {
    if !applies() || !has(Need::HeldLayers) {
        return;
    }
    let world = World::new();
    // The control: they come on top of a size, a hundred times as many bytes.
    let (taken, made, entries) = take(&world, &["--tmpfs", "/tmp:256k"], "/tmp");
    assert!(taken > 48 << 20 && made == 300 && entries > 8000, "{taken} {made} {entries}");
    let policy = world
        .file("own.toml", "name = 'own'\ndefault = 'allow'\nunknown = 'allow'\nabi32 = 'allow'\n");
    let docker = world.file("docker.json", r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[]}"#);
    let (policy, docker) = (policy.to_str().unwrap(), docker.to_str().unwrap());
    for place in ["/tmp", ".", "/dev/shm", "/run"] {
        let (taken, made, entries) = take(&world, &["--disk", "1m"], place);
        assert!(
            taken <= 1 << 20 && made > 100 && entries == 60,
            "{place} {taken} {made} {entries}"
        );
    }
    for filter in ["strict", "unconfined", policy, docker] {
        let (taken, _, entries) = take(&world, &["--disk", "1m", "--seccomp", filter], "/tmp");
        assert!(taken <= 1 << 20 && entries == 60, "{filter} {taken} {entries}");
    }
    let (taken, _, entries) = take(&world, &["--disk", "8m", "--tmpfs", "/tmp:1m"], "/tmp");
    assert!(taken <= 1 << 20 && entries == 60, "{taken} {entries}");
}

/// Sets an attribute by each call there is, with a value of so many bytes; prints what each answers.
const SET: &str = r"
import ctypes, os, platform, struct, sys
libc, value = ctypes.CDLL(None, use_errno=True), b'x' * int(sys.argv[1])
fd = os.open('/tmp/file', os.O_CREAT | os.O_RDWR)
def said(number, *arguments):
    ctypes.set_errno(0)
    libc.syscall(number, *arguments)
    return str(ctypes.get_errno())
place = ctypes.create_string_buffer(value)
arguments = struct.pack('QII', ctypes.addressof(place), len(value), 0)
x86 = platform.machine() == 'x86_64'
long = ctypes.c_long
print(said(188 if x86 else 5, b'/tmp/file', b'user.a', value, long(len(value)), 0),
      said(189 if x86 else 6, b'/tmp/file', b'user.b', value, long(len(value)), 0),
      said(190 if x86 else 7, fd, b'user.c', value, long(len(value)), 0),
      said(463, -100, b'/tmp/file', 0, b'user.d', arguments, long(16)),
      said(425, 0, 0))
";

#[test]
fn a_long_attribute_is_refused_by_whichever_call_and_a_short_one_is_set() {
    const ENOSPC: i32 = libc::ENOSPC;
    const ENOSYS: i32 = libc::ENOSYS;
    if !applies() || !has(Need::HeldLayers) {
        return;
    }
    let world = World::new();
    world.file("project/set.py", SET);
    let set = |flags: &[&str], size: u64| {
        let script = format!("exec python3 set.py {size}");
        let flags = [&["--rm", "--seccomp", "unconfined"], flags].concat();
        world.sandbox().args(flags).run(&script).succeeds().stdout()
    };
    // The control: each does what it is for. (The last two are as new as the kernel.)
    let control = set(&[], 485);
    assert!(control.starts_with("0 0 0 ") && !control.contains(&ENOSPC.to_string()), "{control}");
    let refused = format!("{ENOSPC} {ENOSPC} {ENOSPC} {ENOSYS} {ENOSYS}\n");
    assert_eq!(set(&["--disk", "1m"], 485), refused);
    assert_eq!(set(&["--disk", "1m"], 484), format!("0 0 0 {ENOSYS} {ENOSYS}\n"));
}

#[test]
fn what_is_started_later_sets_no_long_attribute_either() {
    if !applies() || !has(Need::HeldLayers) {
        return;
    }
    let world = World::new();
    world.file("project/set.py", SET);
    let running = world
        .sandbox()
        .args(["--rm", "--name", "n", "--disk", "1m"])
        .start("echo up; exec sleep 100");
    running.says("up");
    let exec = |size: &str| {
        world.bryo(["exec", "n", "python3", "set.py", size]).ends().succeeds().stdout()
    };
    assert!(exec("485").starts_with(&format!("{} ", libc::ENOSPC)));
    assert!(exec("484").starts_with("0 "));
    world.bryo(["stop", "-t", "0", "n"]).ends().succeeds();
    running.ends();
}

#[test]
fn a_layer_with_a_long_access_list_is_not_gone_on_with_in_memory() {
    if !applies() || !has(Need::HeldLayers) {
        return;
    }
    let world = World::new();
    world.keeps(1);
    let list = "import os, struct
entries = [(1, 7, 2**32 - 1)] + [(2, 7, os.getuid())] * 57 + [(n, 7, 2**32 - 1) for n in (4, 16, 32)]
value = struct.pack('<I', 2) + b''.join(struct.pack('<HHI', *entry) for entry in entries)
os.mkdir('short'); os.mkdir('long')
os.setxattr('short', 'system.posix_acl_access', value[:12] + value[20:])
os.setxattr('long', 'system.posix_acl_access', value)";
    world.file("project/list.py", list);
    let run = |flags: &[&str], script: &str| {
        world.sandbox().args(["--name", "n"]).args(flags).run(script)
    };
    run(&[], "exec python3 list.py").succeeds();
    run(&["--disk", "1m"], "echo never").stdout_is("").refuses_with(&[
        "cannot enforce `--disk`: what the sandbox wrote before has an access list or an attribute that is too long",
        "run it without `--disk`, or drop that: `bryo discard` takes paths",
    ]);
    run(&[], "rmdir long").succeeds();
    let length = "print(len(__import__('os').getxattr('short', 'system.posix_acl_access')))";
    run(&["--disk", "1m"], &format!("exec python3 -c \"{length}\"")).succeeds().stdout_is("484\n");
}
