//! Processes that want to live on, or to be too many; private places filled.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{attack, sandbox};
use crate::support::{Host, World};

/// Leaves the parent, the session and the process group, and waits for a signal.
const RUN_AWAY: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
int main(void) {
    int ready[2];
    char byte;
    pipe(ready);
    if (!fork()) {
        setsid();
        if (!fork()) {
            for (int s = 1; s < 65; s++)
                signal(s, SIG_IGN);
            for (int fd = 0; fd < 3; fd++)
                close(fd);
            write(ready[1], "x", 1);
            for (;;)
                pause();
        }
        _exit(0);
    }
    read(ready[0], &byte, 1);
    puts("away");
    return 0;
}
"#;

#[test]
fn a_process_that_forks_twice_into_a_new_session_ends_with_the_run() {
    let world = World::new();
    let away = attack(&world, "away", RUN_AWAY);
    // The control: the keeper sees it where nothing ends it.
    let left = catch_unwind(AssertUnwindSafe(|| _ = world.program(&away, [""; 0]).ends()));
    let told = left.unwrap_err().downcast_ref::<String>().cloned().unwrap_or_default();
    assert!(told.contains("left processes") && told.contains("away"), "{told}");
    sandbox(&world).exec([&away]).succeeds().stdout_is("away\n");
    let run = sandbox(&world).args(["--timeout", "1s"]);
    run.run(&format!("{away}; sleep 100")).exits_with(124);
}

#[test]
fn a_fork_bomb_is_bounded() {
    const BOMB: &str = r#"
    #include <signal.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <sys/wait.h>
    #include <unistd.h>
    int main(int argc, char **argv) {
        int most = atoi(argv[1]), n = 0;
        setpgid(0, 0);
        for (; n < most; n++) {
            int pid = fork();
            if (pid < 0)
                break;
            if (!pid) { pause(); _exit(0); }
        }
        puts(n < most ? "stopped" : "exploded");
        fflush(stdout);
        signal(SIGTERM, SIG_IGN);
        kill(0, SIGTERM);
        while (wait(NULL) > 0)
            ;
        return 0;
    }
    "#;
    let world = World::new();
    let bomb = attack(&world, "bomb", BOMB);
    world.program(&bomb, ["200"]).ends().succeeds().stdout_is("exploded\n");
    let run = sandbox(&world).args(["--pids-limit", "100"]);
    run.exec([&bomb, "200"]).succeeds().stdout_is("stopped\n");
    // One that was not asked for a limit has one.
    sandbox(&world).exec([&bomb, "200"]).succeeds().stdout_is("exploded\n");
    sandbox(&world).exec([&bomb, "4200"]).succeeds().stdout_is("stopped\n");
}

/// Changes the limits of a process, and of itself; says how that went.
const LIMIT: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv) {
    long pid = atol(argv[1]);
    struct rlimit old, own = {64, 64}, none = {0, 0};
    printf("%s ", prlimit(pid, RLIMIT_NOFILE, NULL, &old) ? strerrorname_np(errno) : "read");
    printf("%s ", prlimit(pid, RLIMIT_NOFILE, &none, NULL) ? strerrorname_np(errno) : "set");
    long high = pid | 1L << 32;
    printf("%s ", syscall(SYS_prlimit64, high, RLIMIT_CPU, &none, NULL) ? strerrorname_np(errno) : "set");
    printf("%s\n", prlimit(getpid(), RLIMIT_NOFILE, &own, NULL) ? strerrorname_np(errno) : "set");
    return 0;
}
"#;

/// Has the kernel send SIGUSR1 to a process whenever a pipe can be read.
const SIGIO: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv) {
    int pid = atoi(argv[1]), fds[2];
    int owners[] = {pid, -pid};
    for (int i = 0; i < 2; i++) {
        pipe(fds);
        int no = fcntl(fds[0], F_SETOWN, owners[i]);
        printf("%s ", no ? strerrorname_np(errno) : "owned");
        struct f_owner_ex ex = {i ? F_OWNER_PGRP : F_OWNER_TID, pid};
        if (no && fcntl(fds[0], F_SETOWN_EX, &ex) == 0)
            printf("owned after all ");
        fcntl(fds[0], F_SETSIG, SIGUSR1);
        fcntl(fds[0], F_SETFL, O_ASYNC);
        write(fds[1], "x", 1);
    }
    puts("done");
    return 0;
}
"#;

#[test]
fn the_kernel_sends_no_signal_to_the_outside_for_the_payload() {
    let world = World::new();
    let sigio = attack(&world, "sigio", SIGIO);
    world.host(Host::MayChange);
    let victim = "trap 'echo got >got; echo got' USR1; echo ready; while :; do sleep 0.05; done";
    let running = world.program("/bin/sh", ["-c", victim]).starts();
    running.says("ready");
    let pid = running.pid().as_raw_nonzero().to_string();
    for network in ["none", "host"] {
        let run = sandbox(&world).args(["--network", network]);
        run.exec([&sigio, &pid]).succeeds().stdout_is("ESRCH ESRCH done\n");
    }
    // It looks for signals more often than that.
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(!world.exists("project/got"));
    // The control: from outside it gets one.
    world.program(&sigio, [&pid]).ends().succeeds().stdout_has("owned");
    running.says("got");
    assert!(world.exists("project/got"));
    running.kill(rustix::process::Signal::KILL);
    running.ends().dies_of(9);
}

#[test]
fn the_limits_of_init_are_not_the_payloads_to_change() {
    let world = World::new();
    let limit = attack(&world, "limit", LIMIT);
    let run = |flags: &[&str]| sandbox(&world).args(flags).exec([&limit, "1"]);
    run(&[]).succeeds().stdout_is("read EPERM EPERM set\n");
    world.file("project/docker.json", r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}"#);
    run(&["--seccomp", "./docker.json"]).succeeds().stdout_is("read EPERM EPERM set\n");
    // The control: without the filter it is among the payload's own, and ends of it.
    let lost = run(&["--seccomp", "unconfined"]);
    assert!(lost.stdout().starts_with("read set set"), "{lost}");
}

#[test]
fn a_private_place_holds_what_it_may_and_no_more() {
    let world = World::new();
    let fill = "for at in /tmp /dev/shm; do \
                head -c 3000000 /dev/zero 2>/dev/null >$at/x && echo filled $at; done; true";
    sandbox(&world).run(fill).stdout_is("filled /tmp\nfilled /dev/shm\n");
    let run = sandbox(&world).args(["--tmpfs", "/tmp:2m", "--shm-size", "2m"]);
    run.run(&fill.replace("2>/dev/null ", "")).stdout_is("");
}

#[test]
fn the_payload_cannot_signal_what_is_outside() {
    let world = World::new();
    let running = world.program("/bin/sh", ["-c", "echo here; exec sleep 100"]).starts();
    running.says("here");
    let pid = running.pid().as_raw_nonzero();
    // The control: who has its number can.
    world.outside(&format!("kill -0 {pid} && echo there")).stdout_is("there\n");
    for network in ["none", "host"] {
        let run = sandbox(&world).args(["--network", network]);
        run.run(&format!("kill -KILL {pid} -{pid} 2>/dev/null && echo killed; kill -KILL 1; true"))
            .stdout_is("");
    }
    running.kill(rustix::process::Signal::KILL);
    running.ends().dies_of(9);
}
