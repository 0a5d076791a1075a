//! Hosts that lack something, made for real. The whole text on stderr is asserted.

mod containers;
mod doctor;
mod kernel;
mod missing;
mod names;
mod places;

use crate::support::World;

/// Words that run a command in a user and mount namespace after a shell has changed it there.
fn after(script: &str) -> Vec<String> {
    let script = format!("set -e; {script}; exec \"$@\"");
    // As root inside, whom mount(8) wants; outside it is still the ordinary user.
    ["/usr/bin/unshare", "--user", "--map-root-user", "--mount", "sh", "-c", &script, "sh"]
        .map(str::to_owned)
        .into()
}

/// As [`after`], but the command is run by an ordinary user again, who has no capability there.
pub(crate) fn then_as_user(script: &str) -> Vec<String> {
    let (user, group) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let mut words = after(script);
    words.extend(["/usr/bin/unshare".into(), "--user".into()]);
    words.extend([format!("--map-user={user}"), format!("--map-group={group}")]);
    words
}

/// Runs a program with a filter that answers some calls with an errno: `refuse CALL=ERRNO,… PROGRAM`.
const REFUSE: &str = r#"
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(int argc, char **argv) {
    struct sock_filter program[64] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    };
    unsigned short length = 1;
    for (char *pair = strtok(argv[1], ","); pair && length < 60; pair = strtok(NULL, ",")) {
        unsigned call, errno_wanted;
        if (sscanf(pair, "%u=%u", &call, &errno_wanted) != 2) return 2;
        program[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1);
        program[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | errno_wanted);
    }
    program[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog filter = {length, program};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter)) return 3;
    execv(argv[2], argv + 2);
    return 4;
}
"#;

/// Words that run a command where these calls fail: pairs of a call's number and an errno.
pub(crate) fn refusing(world: &World, calls: &[(libc::c_long, i32)]) -> Vec<String> {
    let refuse = world.c_program("refuse", REFUSE);
    let calls: Vec<String> = calls.iter().map(|(call, errno)| format!("{call}={errno}")).collect();
    [refuse.to_str().unwrap(), &calls.join(",")].map(str::to_owned).into()
}

/// bryo, where a sandbox sees it.
fn bryo(world: &World) -> String {
    let to = world.folder("bin").join("bryo");
    crate::support::copy(&crate::support::bryo(), &to);
    to.display().to_string()
}
