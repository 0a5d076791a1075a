//! System calls as the payload of a real run makes them. `tests/seccomp_refused.rs` tries the filter
//! itself, call by call.

use super::{attack, sandbox};
use crate::support::{Host, Need, World, has};

/// Makes each call and prints its name and what came of it.
const CALLS: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
static void say(const char *name, long result) {
    printf("%s %s\n", name, result < 0 ? strerrorname_np(errno) : "ok");
}
static void family(const char *name, long domain, int type, int protocol) {
    long fd = syscall(SYS_socket, domain, type, protocol);
    say(name, fd);
    if (fd >= 0)
        close(fd);
}
int main(int argc, char **argv) {
    char b[128] = {0};
    if (argc > 1) { /* to be seen with the capabilities of a namespace of one's own */
        family("packet", AF_PACKET, SOCK_RAW, 0);
        family("packet-high", AF_PACKET | 1L << 32, SOCK_RAW, 0);
        return 0;
    }
    say("unknown", syscall(9999));
    say("unknown-high", syscall(0x7fffffff));
    say("io_uring", syscall(425, 1, b));
    say("clone3", syscall(435, b, 8));
    say("keyctl", syscall(SYS_keyctl, 0, -3, 0));
    say("bpf", syscall(SYS_bpf, 0, 0, 0));
    say("perf", syscall(SYS_perf_event_open, 0, 0, -1, -1, 0));
    say("setns", syscall(SYS_setns, -1, 0));
    say("userns", syscall(SYS_unshare, 0x10000000));
    family("uevent", AF_NETLINK, SOCK_RAW, 15);
    family("netfilter", AF_NETLINK, SOCK_RAW, 12);
    family("packet", AF_PACKET, SOCK_RAW, 0);
    family("packet-high", AF_PACKET | 1L << 32, SOCK_RAW, 0);
    family("vsock", 40, SOCK_STREAM, 0);
    family("route", AF_NETLINK, SOCK_RAW, 0);
    family("unix", AF_UNIX, SOCK_STREAM, 0);
    family("inet", AF_INET, SOCK_STREAM, 0);
    int pair[2];
    say("socketpair", socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    say("sendto", sendto(pair[0], b, 1, 0, 0, 0));
    return 0;
}
"#;

fn outcomes(text: &str) -> Vec<(String, String)> {
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.map(|(name, outcome)| (name.to_owned(), outcome.to_owned())).collect()
}

#[test]
fn dangerous_calls_are_refused_before_the_kernel_looks_at_them() {
    let world = World::new();
    let calls = attack(&world, "calls", CALLS);
    let outside = outcomes(&world.outside(&calls).succeeds().stdout());
    let inside = outcomes(&sandbox(&world).exec([&calls]).succeeds().stdout());
    assert_eq!(outside.len(), inside.len());
    let expected = [
        ("io_uring", "ENOSYS"),
        ("clone3", "ENOSYS"),
        ("keyctl", "EPERM"),
        ("bpf", "EPERM"),
        ("perf", "EPERM"),
        ("setns", "EPERM"),
        ("userns", "EPERM"),
        ("uevent", "EAFNOSUPPORT"),
        ("netfilter", "EAFNOSUPPORT"),
        ("packet", "EAFNOSUPPORT"),
        ("packet-high", "EAFNOSUPPORT"),
    ];
    for (name, refused) in expected {
        let of = |all: &[(String, String)]| all.iter().find(|(n, _)| n == name).unwrap().1.clone();
        assert_eq!(of(&inside), refused, "{name}");
        assert_ne!(of(&outside), refused, "the control: {name} gets further without the filter");
    }
}

#[test]
fn a_way_to_the_hypervisor_is_refused_by_the_filter_also_where_the_kernel_has_none() {
    const VSOCK: &str = r#"
    #define _GNU_SOURCE
    #include <errno.h>
    #include <stdio.h>
    #include <string.h>
    #include <sys/socket.h>
    int main(void) {
        puts(socket(40, SOCK_STREAM, 0) < 0 ? strerrorname_np(errno) : "ok");
        puts(socket(40, SOCK_DGRAM, 0) < 0 ? strerrorname_np(errno) : "ok");
        return 0;
    }
    "#;
    let world = World::new();
    world.host(Host::MayChange);
    let vsock = attack(&world, "vsock", VSOCK);
    let report = world.path("report.json");
    let counted = |flags: &[&str]| {
        let run = sandbox(&world).args(flags).arg("--report").arg(&report);
        let said = run.exec([&vsock]).succeeds().stdout();
        let record: serde_json::Value = serde_json::from_str(&world.read("report.json")).unwrap();
        let denied = record["denied"].as_array().unwrap().clone();
        let socket = denied.iter().find(|call| call["name"] == "socket");
        (said, socket.map_or(0, |call| call["count"].as_u64().unwrap()))
    };
    assert_eq!(counted(&[]), ("EAFNOSUPPORT\nEAFNOSUPPORT\n".into(), 2));
    // The control: what a kernel without it answers by itself is not counted.
    assert_eq!(counted(&["--seccomp", "unconfined"]).1, 0);
}

#[test]
fn a_number_that_nobody_knows_answers_as_an_old_kernel_does() {
    let world = World::new();
    let calls = attack(&world, "calls", CALLS);
    let inside = outcomes(&sandbox(&world).exec([&calls]).succeeds().stdout());
    // A kernel that knows the numbers, which answer with something of their own there; of two filters that
    // refuse, the later one answers.
    let known =
        crate::degraded::refusing(&world, &[(9999, libc::EXDEV), (0x7fff_ffff, libc::EXDEV)]);
    let behind =
        |run: crate::support::Invocation| outcomes(&run.under(&known).ends().succeeds().stdout());
    let control = behind(world.program(&calls, [""; 0]));
    let newer = behind(sandbox(&world).args(["--", &calls]));
    for name in ["unknown", "unknown-high"] {
        assert!(inside.contains(&(name.into(), "ENOSYS".into())), "{inside:?}");
        assert!(control.contains(&(name.into(), "EXDEV".into())), "the control: {control:?}");
        assert!(newer.contains(&(name.into(), "ENOSYS".into())), "{newer:?}");
    }
    // And it is not too tight: what programs live by works.
    for name in ["route", "unix", "inet", "socketpair", "sendto"] {
        assert!(inside.contains(&(name.into(), "ok".into())), "{inside:?}");
    }
}

#[test]
fn a_packet_socket_is_refused_also_to_who_has_every_capability_of_its_own_namespace() {
    if !has(Need::FuseOverlayfs) {
        return;
    }
    let world = World::new();
    let calls = attack(&world, "calls", CALLS);
    let outside = world.program("/usr/bin/unshare", ["-Urn", &calls, "packet"]).ends();
    outside.succeeds().stdout_is("packet ok\npacket-high ok\n");
    let all = ["run", "--rm", "--overlay", "fuse", "--user", "root", "--cap-add", "all"];
    world
        .bryo(all)
        .exec([&calls, "packet"])
        .stdout_is("packet EAFNOSUPPORT\npacket-high EAFNOSUPPORT\n");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn the_entries_of_other_architectures_lead_nowhere() {
    const ENTRIES: &str = r#"
    #include <errno.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <sys/wait.h>
    #include <unistd.h>
    int main(void) {
        long r;
        if (!fork()) {
            asm volatile("int $0x80" : "=a"(r) : "a"(20L) : "memory"); /* getpid of i386 */
            puts(r == getpid() ? "int80 entered" : "int80 refused");
            exit(0);
        }
        wait(NULL);
        r = syscall(0x40000000 | 39); /* getpid of x32 */
        puts(r == getpid() || errno == EXDEV ? "x32 entered" : "x32 refused");
        return 0;
    }
    "#;
    let world = World::new();
    let entries = attack(&world, "entries", ENTRIES);
    world.outside(&entries).succeeds().stdout_has("int80 entered");
    sandbox(&world).exec([&entries]).succeeds().stdout_is("int80 refused\nx32 refused\n");
    // Kernels are built without x32 nowadays: a filter answers in the place of one that has it.
    let has_x32 = crate::degraded::refusing(&world, &[(0x4000_0027, libc::EXDEV)]);
    let control = world.program(&entries, [""; 0]).under(&has_x32);
    control.ends().succeeds().stdout_is("int80 entered\nx32 entered\n");
    let run = sandbox(&world).under(&has_x32);
    run.exec([&entries]).succeeds().stdout_is("int80 refused\nx32 refused\n");
}

#[test]
fn a_personality_that_helps_exploits_is_refused() {
    const PERSONALITY: &str = r#"
    #include <errno.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    static const char *try(unsigned long which) {
        return syscall(SYS_personality, which) < 0 ? (errno == EPERM ? "EPERM" : "error") : "ok";
    }
    int main(void) {
        /* asked, PER_LINUX32, no randomisation; READ_IMPLIES_EXEC, MMAP_PAGE_ZERO, PER_SVR4, with high bits */
        unsigned long all[] = {0xffffffff, 8, 0x40000, 0, 0x400000, 0x100000, 1, 1UL << 32 | 0x400000, 0};
        for (int i = 0; i < 9; i++)
            printf("%s ", try(all[i]));
        return 0;
    }
    "#;
    let world = World::new();
    let personality = attack(&world, "personality", PERSONALITY);
    world.outside(&personality).succeeds().stdout_is("ok ok ok ok ok ok ok ok ok ");
    let inside = sandbox(&world).exec([&personality]);
    inside.succeeds().stdout_is("ok ok ok ok EPERM EPERM EPERM EPERM ok ");
}

#[test]
fn the_payload_cannot_trace_or_read_the_memory_of_pid_1() {
    const TRACE: &str = r#"
    #define _GNU_SOURCE
    #include <stdio.h>
    #include <stdlib.h>
    #include <sys/ptrace.h>
    #include <sys/uio.h>
    #include <sys/wait.h>
    #include <unistd.h>
    int main(int argc, char **argv) {
        int own = argc < 2, pid = own ? fork() : atoi(argv[1]);
        if (!pid) { pause(); return 0; }
        char b[8];
        struct iovec to = {b, 8}, from = {(void *)0x400000, 8};
        printf("read %s\n", process_vm_readv(pid, &to, 1, &from, 1, 0) == 8 ? "ok" : "no");
        printf("trace %s\n", ptrace(PTRACE_SEIZE, pid, 0, 0) ? "no" : "ok");
        if (own) { kill(pid, 9); wait(NULL); }
        return 0;
    }
    "#;
    let world = World::new();
    let trace = attack(&world, "trace", TRACE);
    // The control, outside and inside: one's own child can be traced.
    world.outside(&trace).succeeds().stdout_is("read ok\ntrace ok\n");
    sandbox(&world).exec([&trace, "1"]).succeeds().stdout_is("read no\ntrace no\n");
}
