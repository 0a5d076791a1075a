//! Trees that fuse-overlayfs serves, whichever pass this is: what the plan chooses it for, what it must
//! not show, and what its death means.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::net::UnixListener;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Host, Invocation, Need, Overlay, Running, World, has, overlay_is_one_of};

/// These tests name the overlay themselves, so one pass of them is enough.
fn applies() -> bool {
    overlay_is_one_of(&[Overlay::Fuse]) && has(Need::FuseOverlayfs)
}

fn fuse(world: &World) -> Invocation {
    world.bryo(["run", "--overlay", "fuse"])
}

/// The fuse-overlayfs processes of a run: children of its launcher.
fn servers(running: &Running) -> Vec<Pid> {
    let launcher = running.pid().as_raw_nonzero();
    let children = std::fs::read_to_string(format!("/proc/{launcher}/task/{launcher}/children"));
    let children = children.unwrap();
    let is_server = |pid: &&str| {
        std::fs::read_to_string(format!("/proc/{pid}/comm"))
            .is_ok_and(|name| name == "fuse-overlayfs\n")
    };
    let pids = children.split_whitespace().filter(is_server);
    pids.map(|pid| Pid::from_raw(pid.parse().unwrap()).unwrap()).collect()
}

#[test]
fn a_tree_of_another_group_is_served_by_fuse_overlayfs_and_can_be_written() {
    if !applies() || !has(Need::SupplementaryGroup) {
        return;
    }
    let world = World::new();
    let own = rustix::process::getgid();
    let group = rustix::process::getgroups().unwrap().into_iter().find(|one| *one != own).unwrap();
    world.file("project/theirs", "theirs\n");
    world.folder("project/shared");
    for (path, mode) in [("project/shared", 0o2775), ("project/theirs", 0o664), ("project", 0o2775)]
    {
        chown(world.path(path), None, Some(group.as_raw())).unwrap();
        std::fs::set_permissions(world.path(path), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let run = world
        .bryo(["run"])
        .run("echo ours >>theirs && cat theirs && echo new >shared/new && ls shared");
    run.succeeds().stdout_is("theirs\nours\nnew\n");
    assert_eq!(std::fs::metadata(world.project()).unwrap().mode() & 0o7777, 0o2775);
    // The set-group-id bits that fuse-overlayfs loses are no change of the payload's.
    let project = world.project();
    let expected = format!("A {0}/shared/new\nC {0}/theirs\n", project.display());
    world.bryo(["diff", "--name-status"]).ends().succeeds().stdout_is(&expected);
    world.keeps(1);
}

#[test]
fn root_over_the_tree_of_the_host_writes_below_usr() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.keeps(1);
    let script = "id -u; echo x >/usr/bin/written && stat -c %u /usr/bin/written /etc/passwd; \
                  rm /usr/bin/env && ! env 2>/dev/null; cat /etc/shadow; true";
    let run = world.bryo(["run", "--user", "root"]).run(script);
    run.succeeds().stdout_is("0\n0\n0\n");
    assert!(!std::path::Path::new("/usr/bin/written").exists());
    assert!(std::path::Path::new("/usr/bin/env").exists());
    let expected = "D /usr/bin/env\nA /usr/bin/written\n";
    world.bryo(["diff", "--name-status"]).ends().succeeds().stdout_is(expected);
}

#[test]
fn a_secret_stays_hidden_when_what_is_around_it_is_moved() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.file(".ssh/id_ed25519", "THE KEY");
    world.file(".config/gh/hosts.yml", "THE KEY");
    world.file(".config/plain", "seen");
    let script = "cd; cat .ssh/id_ed25519 .config/gh/hosts.yml; cat .config/plain; \
                  mv .config moved; cat moved/gh/hosts.yml; mkdir -p .config/gh .ssh; cat .config/gh/* .ssh/*; \
                  rm -rf .ssh .config moved; mkdir .ssh; cat .ssh/*; grep -r 'THE KEY' . ; true";
    world.outside("cat .ssh/id_ed25519 .config/gh/hosts.yml").stdout_is("THE KEYTHE KEY");
    fuse(&world).run(script).succeeds().stdout_is("seen");
    world.keeps(1);
}

#[test]
fn the_store_is_not_below_the_home_that_it_serves() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.keeps(1);
    let script = "cd; echo x >y; find . -name 'record*' -o -name upper -o -name work; ls -d .local/share/bryo/*";
    fuse(&world).run(script).fails().stdout_is("");
    let found = world.outside("find .local/share/bryo -name upper");
    found.stdout_has("/layer-0/upper");
}

#[test]
fn a_socket_and_a_fifo_in_the_project_lead_nowhere() {
    if !applies() {
        return;
    }
    let world = World::new();
    let listener = UnixListener::bind(world.path("project/socket")).unwrap();
    listener.set_nonblocking(true).unwrap();
    let connect = world.c_program(
        "connect",
        r#"
        #include <stdio.h>
        #include <sys/socket.h>
        #include <sys/un.h>
        int main(void) {
            struct sockaddr_un to = {AF_UNIX, "socket"};
            int s = socket(AF_UNIX, SOCK_STREAM, 0);
            puts(connect(s, (struct sockaddr *)&to, sizeof to) ? "refused" : "reached");
        }
        "#,
    );
    let connect = connect.to_str().unwrap();
    world.outside(&format!("cd project; {connect}")).stdout_is("reached\n");
    listener.accept().unwrap();
    fuse(&world).run(connect).succeeds().stdout_is("refused\n");
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn the_payload_cannot_reach_the_server() {
    if !applies() {
        return;
    }
    let world = World::new();
    // Whatever number it has outside, it has none inside: not to signal, not to look at.
    let inside = fuse(&world).run("kill -KILL -1; cat /proc/[0-9]*/comm; echo on >file; cat file");
    inside.stdout_lacks("fuse-overlayfs").stdout_has("on");
    world.keeps(1);
}

#[test]
fn a_killed_server_ends_the_run_with_an_error() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.keeps(1);
    let running = fuse(&world).start("echo before >file; sync file; echo up; sleep 1000");
    running.says("up");
    for server in servers(&running) {
        kill_process(server, Signal::KILL).unwrap();
    }
    running.ends().exits_with(125);
    world.bryo(["ps", "-a"]).ends().succeeds().stdout_has("died");
    world.bryo(["inspect"]).ends().succeeds().stdout_has("server-lost");
}

#[test]
fn a_server_that_hangs_does_not_keep_a_run_beyond_its_time() {
    if !applies() {
        return;
    }
    let world = World::new();
    let run = fuse(&world).args(["--timeout", "5s"]);
    let running = run.start("echo up; until test -e nothing; do ls >/dev/null; done");
    running.says("up");
    for server in servers(&running) {
        kill_process(server, Signal::STOP).unwrap();
    }
    running.ends().exits_with(124);
}

#[test]
fn a_killed_launcher_leaves_no_server() {
    if !applies() {
        return;
    }
    let world = World::new();
    let running = fuse(&world).start("echo up; sleep 1000");
    running.says("up");
    assert_eq!(servers(&running).len(), 1);
    running.kill(Signal::KILL);
    // The bench looks for processes that are left.
    running.ends().dies_of(9);
    world.bryo(["ps", "-a"]).ends().succeeds();
}

#[test]
fn a_run_that_wrote_nothing_leaves_nothing() {
    if !applies() {
        return;
    }
    let world = World::new();
    fuse(&world).run("cat /dev/null; ls").succeeds();
    world.bryo(["ps", "-a", "-q"]).ends().succeeds().stdout_is("");
}

#[test]
fn what_was_written_last_is_there_after_the_run() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.keeps(1);
    let script = "yes 0123456789abcde | head -c 33554432 >big; kill -9 $$";
    fuse(&world).run(script).exits_with(128 + 9);
    let count = "cat .local/share/bryo/kept/*/layer-0/upper/project/big | cksum; yes 0123456789abcde | head -c 33554432 | cksum";
    let sums = world.outside(count);
    let sums = sums.stdout();
    let (written, expected) = sums.split_once('\n').unwrap();
    assert_eq!(written, expected.trim_end());
}

/// Its mode cannot be changed there, and what `chmod` leaves is a file: no word of the payload's.
#[test]
fn what_is_left_of_a_pipe_that_cannot_be_copied_takes_no_pipes_place() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.host(Host::MayChange);
    world.outside("cd project && mkfifo one two meant gone").succeeds();
    let run = fuse(&world).run(
        "chmod 600 one two; echo x >two; rm meant gone; : >meant; echo n >new; stat -c %F one two",
    );
    run.stdout_is("regular empty file\nregular file\n");
    let diff = world.bryo(["diff"]).ends().succeeds();
    let left = "left by fuse-overlayfs, which cannot copy what the host has there";
    assert_eq!(diff.stdout().matches(left).count(), 2, "{}", diff.stdout());
    world.bryo(["export", "-o", "../out.tar"]).ends().exits_with(1).stderr_has("one`: left by");
    for also in ["-y", "--theirs"] {
        let told = world.bryo(["apply", also]).ends().exits_with(1);
        told.stdout_has("refused: ").stdout_has("2 stay").stderr_has("bryo discard SANDBOX PATH");
    }
    let types = "cd project; stat -c '%n %F' *";
    let expected = "meant regular empty file\nnew regular file\none fifo\ntwo fifo\n";
    world.outside(types).stdout_is(expected);
    world.bryo(["discard", "./one", "./two"]).ends().succeeds();
    world.outside(types).stdout_is(expected);
}
