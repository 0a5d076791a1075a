//! Groups, set-id files, core dumps.

use super::{attack, sandbox, sandbox_that_writes};
use crate::support::{Host, Need, World, has};

const SET_ID: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void) {
    long how[3] = {O_CREAT | O_WRONLY, 06755, 0};
    umask(0);
    close(open("a", O_CREAT | O_WRONLY, 0755));
    chmod("a", 04755);
    close(open("b", O_CREAT | O_WRONLY, 04755));
    close(creat("c", 06755));
    mknod("d", S_IFREG | 04755, 0);
    syscall(437, AT_FDCWD, "e", how, sizeof how); /* openat2 */
    close(open("f", O_CREAT | O_WRONLY, 0755));
    syscall(452, AT_FDCWD, "f", 02755, 0); /* fchmodat2 */
    int g = open("g", O_CREAT | O_WRONLY, 0755);
    fchmod(g, 04755);
    close(open("h", O_CREAT | O_WRONLY, 0755));
    syscall(SYS_chmod, "h", 1L << 32 | 04755);
    int i = syscall(SYS_open, "i", 1L << 32 | O_CREAT | O_WRONLY, 04755);
    close(open(".", O_TMPFILE | O_WRONLY, 04755));
    return 0;
}
"#;

#[test]
fn a_set_id_file_cannot_be_made_in_a_place_that_is_the_hosts() {
    let world = World::new();
    world.host(Host::MayChange);
    let program = attack(&world, "make", SET_ID);
    let count = "find . -perm /6000 | wc -l";
    let made = world.program("/bin/sh", ["-c", &format!("{program}; {count}")]).ends();
    made.succeeds().stdout_is("9\n");
    for name in ["a", "b", "c", "d", "e", "f", "g", "h", "i"] {
        std::fs::remove_file(world.project().join(name)).unwrap();
    }
    let run = sandbox_that_writes(&world);
    run.run(&format!("{program}; {count}")).stdout_is("0\n");
    world.program("/bin/sh", ["-c", count]).ends().stdout_is("0\n");
}

#[test]
fn the_record_lists_the_supplementary_groups_that_stay() {
    if !has(Need::SupplementaryGroup) {
        return;
    }
    let world = World::new();
    world.host(Host::MayChange);
    let report = world.path("report.json");
    sandbox(&world).arg("--report").arg(&report).run("true").succeeds();
    let text = world.read("report.json");
    let own = rustix::process::getgid();
    for group in rustix::process::getgroups().unwrap().into_iter().filter(|group| *group != own) {
        assert!(text.contains(&group.as_raw().to_string()), "{group:?} in {text}");
    }
}

#[test]
fn the_groups_of_the_caller_are_dropped_when_ids_are_mapped() {
    if !has(Need::SupplementaryGroup) || !has(Need::Subids) {
        return;
    }
    let world = World::new();
    let count = "grep ^Groups: /proc/self/status | wc -w";
    // The control: with one id mapped they stay.
    sandbox(&world).run(count).succeeds().stdout_lacks("1\n");
    sandbox(&world).args(["--ids", "subid"]).run(count).succeeds().stdout_is("1\n");
}

#[test]
fn a_crash_leaves_no_core_and_starts_no_handler() {
    const LIMIT: &str = r#"
    #include <stdio.h>
    #include <sys/resource.h>
    int main(void) {
        struct rlimit l;
        getrlimit(RLIMIT_CORE, &l);
        int raised = l.rlim_max == RLIM_INFINITY || l.rlim_max > 1;
        l.rlim_cur = l.rlim_max = RLIM_INFINITY;
        puts(raised || !setrlimit(RLIMIT_CORE, &l) ? "dumps" : "no dump");
        return 0;
    }
    "#;
    let world = World::new();
    let limit = attack(&world, "limit", LIMIT);
    world.outside(&limit).succeeds().stdout_is("dumps\n");
    sandbox(&world).exec([&limit]).succeeds().stdout_is("no dump\n");
    let crash = "ulimit -c unlimited 2>/dev/null; sh -c 'kill -SEGV $$'; ls | grep core; true";
    sandbox(&world).run(crash).succeeds().stdout_is("");
}
