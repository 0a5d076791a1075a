//! Sockets and FIFOs of the host: whoever listens there acts for whoever connects.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::{attack, home_is_a_copy, sandbox, sandbox_that_writes};
use crate::support::{Host, Need, World, has};

/// Connects to a name, abstract when it begins with `@`.
const CONNECT: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        struct sockaddr_un to = {AF_UNIX};
        size_t length = strlen(argv[i]);
        strncpy(to.sun_path, argv[i], sizeof to.sun_path - 1);
        if (to.sun_path[0] == '@')
            to.sun_path[0] = 0;
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        int no = fd < 0 || connect(fd, (void *)&to, offsetof(struct sockaddr_un, sun_path) + length);
        puts(no ? "refused" : "connected");
    }
    return 0;
}
"#;

/// A socket's path is at most 107 bytes: the world's may be long, so it is reached from where it lies.
fn listen(world: &World, folder: &str) -> UnixListener {
    UnixListener::bind(world.folder(folder).join("s")).unwrap()
}

#[test]
fn a_socket_of_the_host_is_inert_in_every_tree_and_with_every_network() {
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    let _listeners = ["project", "kept", "shown"].map(|folder| listen(&world, folder));
    let connect = attack(&world, "connect", CONNECT);
    let to = ["s", "../kept/s", "../shown/s"];
    let all = || [connect.as_str()].into_iter().chain(to);
    let control = world.program(&connect, to).in_folder(world.project());
    control.ends().succeeds().stdout_is("connected\nconnected\nconnected\n");
    let shown = world.path("shown");
    for network in ["none", "host"] {
        if network == "host" && !has(Need::Landlock(6)) {
            continue;
        }
        let run = sandbox(&world).args(["--network", network, "--read"]).arg(&shown);
        run.exec(all()).stdout_is("refused\nrefused\nrefused\n");
        let run = sandbox(&world).args(["--network", network, "--read-only"]);
        run.exec(all()).stdout_lacks("connected");
    }
    // Named, one is opened and the others stay shut.
    let run = sandbox(&world).arg("--socket").arg(world.path("kept/s"));
    run.exec(all()).stdout_is("refused\nconnected\nrefused\n");
}

#[test]
fn a_socket_in_a_system_directory_is_not_there() {
    let world = World::new();
    let connect = attack(&world, "connect", CONNECT);
    // Where docker.sock, D-Bus and the agents are: any socket of this machine below /run or /tmp.
    let folder = tempfile::Builder::new().prefix("b").tempdir_in("/tmp").unwrap();
    let _listener = UnixListener::bind(folder.path().join("s")).unwrap();
    let path = folder.path().join("s");
    let path = path.to_str().unwrap();
    world.program(&connect, [path]).ends().stdout_is("connected\n");
    sandbox(&world).exec([&connect, path]).stdout_is("refused\n");
    sandbox(&world).args(["--socket", path]).exec([&connect, path]).stdout_is("connected\n");
}

#[test]
fn an_abstract_socket_of_the_host_is_unreachable_with_every_network() {
    if !has(Need::Landlock(6)) {
        return;
    }
    let world = World::new();
    let connect = attack(&world, "connect", CONNECT);
    let name = format!("bryo-test-{}", world.home().file_name().unwrap().to_str().unwrap());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let name = format!("@{name}");
    world.program(&connect, [&name]).ends().stdout_is("connected\n");
    for network in ["none", "host"] {
        let run = sandbox(&world).args(["--network", network]);
        run.exec([&connect, &name]).stdout_is("refused\n");
    }
}

#[test]
fn what_is_written_into_a_fifo_of_the_host_arrives_nowhere() {
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    let fifos = ["project/f", "kept/f", "shown/f"].map(|path| {
        let path = world.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
        let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        OpenOptions::new().read(true).custom_flags(nonblocking).open(&path).unwrap()
    });
    let write = "for f in f ../kept/f ../shown/f; do \
                 timeout 1 sh -c \"echo written >$f\" 2>/dev/null; done; true";
    let arrived = || {
        let read = |mut fifo: &std::fs::File| {
            let mut buffer = [0; 64];
            fifo.read(&mut buffer).unwrap_or(0)
        };
        fifos.iter().map(read).collect::<Vec<_>>()
    };
    world.host(Host::MayChange); // the times of the FIFOs, by the control
    // Somebody reads there, so nothing waits.
    world.program("/bin/sh", ["-c", &write.replace("timeout 1 ", "")]).ends();
    assert_eq!(arrived(), [8, 8, 8], "the control");
    let shown = world.path("shown");
    sandbox(&world).arg("--read").arg(&shown).run(write).succeeds();
    assert_eq!(arrived(), [0, 0, 0]);
}

#[test]
fn a_listener_inside_is_not_seen_outside() {
    // The other direction: an abstract name taken inside is free outside.
    const LISTEN: &str = r#"
    #include <stddef.h>
    #include <stdio.h>
    #include <sys/socket.h>
    #include <sys/un.h>
    int main(void) {
        struct sockaddr_un at = {AF_UNIX, "\0bryo-test-taken"};
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        int no = bind(fd, (void *)&at, offsetof(struct sockaddr_un, sun_path) + 16) || listen(fd, 1);
        puts(no ? "refused" : "listens");
        fflush(stdout);
        getchar();
        return 0;
    }
    "#;
    let world = World::new();
    let listen = attack(&world, "listen", LISTEN);
    let connect = attack(&world, "connect", CONNECT);
    let wait = || {
        let (read, write) = std::io::pipe().unwrap();
        let read = std::fs::File::from(std::os::fd::OwnedFd::from(read));
        (crate::support::Stdin::File(read), write)
    };
    let try_it = || world.program(&connect, ["@bryo-test-taken"]).ends();
    let (stdin, held) = wait();
    let running = sandbox(&world).stdin(stdin).args(["--", &listen]).starts();
    running.says("listens");
    try_it().stdout_is("refused\n");
    drop(held);
    running.ends().succeeds();
    // The control, afterwards as the other passes use the same name.
    let (stdin, held) = wait();
    let running = world.program(&listen, [] as [&str; 0]).stdin(stdin).starts();
    running.says("listens");
    try_it().stdout_is("connected\n");
    drop(held);
    running.ends().succeeds();
}

/// Binds a relative name in a directory, and listens until its input ends. With `again` it first does so once and takes
/// that away, as a service does that is started again.
const SERVE: &str = r#"
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
int main(int argc, char **argv) {
    struct sockaddr_un at = {AF_UNIX, "relative"};
    if (chdir(argv[1]))
        return 1;
    for (int again = 0; again < 2; again++) {
        unlink(at.sun_path);
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        if (bind(fd, (void *)&at, sizeof at) || listen(fd, 8))
            return 2;
        puts(again ? "anew" : "listens");
        fflush(stdout);
        getchar();
    }
    return 0;
}
"#;

#[test]
fn a_socket_in_a_read_tree_is_inert_whatever_its_name_and_whenever_it_is_made() {
    let world = World::new();
    world.host(Host::MayChange); // the socket itself
    std::fs::create_dir_all(world.path("shown")).unwrap();
    let (serve, connect) = (attack(&world, "serve", SERVE), attack(&world, "connect", CONNECT));
    let (read, write) = std::io::pipe().unwrap();
    let read = std::fs::File::from(std::os::fd::OwnedFd::from(read));
    let shown = world.path("shown");
    let service = world.program(&serve, [&shown]).stdin(crate::support::Stdin::File(read)).starts();
    service.says("listens");
    let by_name = [connect.as_str(), "../shown/relative"];
    let control = || world.program(&connect, [by_name[1]]).in_folder(world.project()).ends();
    control().stdout_is("connected\n");
    let sandbox = || sandbox(&world).arg("--read").arg(&shown);
    sandbox().exec(by_name).stdout_is("refused\n");
    // While it runs the service is started again: what was there when the sandbox was made is gone.
    let (read, held) = std::io::pipe().unwrap();
    let read = std::fs::File::from(std::os::fd::OwnedFd::from(read));
    let twice = format!("\"$0\" {0}; echo first; read x; \"$0\" {0}", by_name[1]);
    let running = sandbox().stdin(crate::support::Stdin::File(read));
    let running = running.args(["--", "/bin/sh", "-c", &twice, &connect]).starts();
    running.says("first");
    (&write).write_all(b"\n").unwrap();
    service.says("anew");
    control().stdout_is("connected\n");
    (&held).write_all(b"\n").unwrap();
    running.ends().stdout_is("refused\nfirst\nrefused\n");
    drop(write);
    service.ends().succeeds();
}

#[test]
fn a_directory_is_given_as_devices_below_dev_alone() {
    let world = World::new();
    let connect = attack(&world, "connect", CONNECT);
    let _listener = listen(&world, "shown");
    let control = world.program(&connect, ["../shown/s"]).in_folder(world.project());
    control.ends().stdout_is("connected\n");
    let run = sandbox(&world).arg("--device").arg(world.path("shown"));
    run.exec([&connect, "../shown/s"])
        .exits_with(125)
        .stderr_has("devices are in those below `/dev`");
    let run = sandbox(&world).args(["--device", "/dev/pts"]);
    run.exec(["/bin/true"]).exits_with(125).stderr_has("every sandbox has its own");
}

#[test]
fn a_socket_of_a_relative_name_is_covered_where_the_host_is_written() {
    let world = World::new();
    let (serve, connect) = (attack(&world, "serve", SERVE), attack(&world, "connect", CONNECT));
    let folder = world.project().join("run");
    std::fs::create_dir(&folder).unwrap();
    let (read, write) = std::io::pipe().unwrap();
    let read = std::fs::File::from(std::os::fd::OwnedFd::from(read));
    let service =
        world.program(&serve, [&folder]).stdin(crate::support::Stdin::File(read)).starts();
    service.says("listens");
    let control = world.program(&connect, ["run/relative"]).in_folder(world.project());
    control.ends().stdout_is("connected\n");
    let run = sandbox_that_writes(&world).exec([connect.as_str(), "run/relative"]);
    run.stdout_is("refused\n");
    let volume = format!("{}:/mnt/r", folder.display());
    let run = sandbox(&world).args(["-v", &volume]).exec([connect.as_str(), "/mnt/r/relative"]);
    run.stdout_is("refused\n");
    // What nobody of that name listens at is the payload's to remove.
    world.file("project/stale/kept", "");
    drop(UnixListener::bind(world.path("project/stale/other")).unwrap());
    sandbox_that_writes(&world).run("rm stale/other").succeeds();
    drop(write);
    service.ends().succeeds();
}
