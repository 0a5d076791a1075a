//! Overlays served by the real program, as an ordinary user.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};

use super::End;
use crate::launch::wire::FromSandbox;
use crate::launch::{LaunchError, Running};
use crate::plan::step::{Action, FsStep, Lower, ScratchEntry, Upper};
use crate::spec::{HostPath, Text};
use crate::sys::clone::{self, Cloned};
use crate::sys::errno::Errno;
use crate::sys::event::Poller;
use crate::sys::pidfd::Exit;
use crate::sys::signal::SignalNumber;
use crate::sys::testing::{alone, ordinary_user};
use crate::sys::{pidfd, socket};
use bed::{Bed, at};

mod bed;

/// The number of the process behind a pidfd.
fn pid_of(pidfd: BorrowedFd<'_>) -> u32 {
    let info = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let info = std::fs::read_to_string(info).unwrap();
    info.lines().find_map(|line| line.strip_prefix("Pid:\t")).unwrap().parse().unwrap()
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap()
}

const EXITED: FromSandbox = FromSandbox::Exited { code: 0 };
/// How long a server may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn what_is_written_is_in_the_upper_when_the_server_has_ended() {
    alone(module_path!(), "what_is_written_is_in_the_upper_when_the_server_has_ended", || {
        ordinary_user();
        let bed = Bed::new();
        std::fs::write(bed.lower("old"), "of the host").unwrap();
        let (printed, last, ends) =
            bed.run("cat old; echo changed >old; echo fresh >new; mkdir d; echo x >d/e; exit 7");
        assert_eq!((printed.as_str(), last), ("of the host", FromSandbox::Exited { code: 7 }));
        assert_eq!(ends, [End::Complete]);
        assert_eq!(read(bed.lower("old")), "of the host");
        assert_eq!(read(bed.upper("old")), "changed\n");
        assert_eq!(read(bed.upper("new")), "fresh\n");
        assert_eq!(read(bed.upper("d/e")), "x\n");
    });
}

#[test]
fn what_is_still_cached_when_the_payload_is_killed_is_written() {
    alone(module_path!(), "what_is_still_cached_when_the_payload_is_killed_is_written", || {
        ordinary_user();
        let bed = Bed::new();
        let script = "yes 0123456789abcde | head -c 16777216 >big; echo done; kill -9 $$";
        let (printed, last, ends) = bed.run(script);
        assert_eq!((printed.as_str(), last), ("done\n", FromSandbox::Killed { signal: 9 }));
        assert_eq!(ends, [End::Complete]);
        let big = std::fs::read(bed.upper("big")).unwrap();
        assert_eq!(big.len(), 16_777_216);
        assert!(big.chunks(16).all(|chunk| chunk == b"0123456789abcde\n"));
    });
}

#[test]
fn a_hidden_file_stays_hidden_whatever_is_done_around_it() {
    alone(module_path!(), "a_hidden_file_stays_hidden_whatever_is_done_around_it", || {
        ordinary_user();
        let script = "cat top dir/secret; ls -R .; mv dir moved; cat moved/secret; mkdir dir; cat dir/secret; \
                      echo mine >moved/secret; rm moved/secret; cat moved/secret; \
                      ln -s nothing top; rm top; cat top; : >top; rm top; cat top; mkdir top; rmdir top; cat top; \
                      rm -rf dir moved; mkdir dir; cat dir/secret; ln dir/secret hard; cat hard; ls -R .; true";
        let prepare = |bed: &Bed| {
            std::fs::create_dir(bed.lower("dir")).unwrap();
            std::fs::write(bed.lower("top"), "SECRET").unwrap();
            std::fs::write(bed.lower("dir/secret"), "SECRET").unwrap();
            std::fs::write(bed.lower("dir/keep"), "seen").unwrap();
        };
        let mut bed = Bed::new();
        prepare(&bed);
        bed.mask = vec![
            ScratchEntry::Directory { path: at("/dir"), mode: 0o755 },
            ScratchEntry::Whiteout { path: at("/dir/secret") },
            ScratchEntry::Whiteout { path: at("/top") },
        ];
        let (printed, last, ends) = bed.run(&format!("cat dir/keep; {script}"));
        assert_eq!((last, ends.as_slice()), (EXITED, &[End::Complete][..]));
        assert!(printed.starts_with("seen"), "{printed}");
        assert!(!printed.contains("SECRET"), "{printed}");
        assert!(!printed.contains("secret") && !printed.contains("top"), "{printed}");
        let control = Bed::new();
        prepare(&control);
        assert!(control.run(script).0.starts_with("SECRETSECRET"));
    });
}

#[test]
fn sockets_and_fifos_of_the_host_lead_nowhere() {
    alone(module_path!(), "sockets_and_fifos_of_the_host_lead_nowhere", || {
        ordinary_user();
        let bed = Bed::new();
        let listener = UnixListener::bind(bed.lower("socket")).unwrap();
        listener.set_nonblocking(true).unwrap();
        nix::unistd::mkfifo(&bed.lower("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let flags = OFlags::RDWR | OFlags::NONBLOCK;
        let mut fifo =
            std::fs::File::from(rustix::fs::open(bed.lower("fifo"), flags, Mode::empty()).unwrap());
        let connect = "use Socket; socket(S, AF_UNIX, SOCK_STREAM, 0); \
                       print connect(S, pack_sockaddr_un('socket')) ? 'reached' : 'not reached'";
        let script = format!(
            "test -S socket && test -p fifo || exit 1; perl -e \"{connect}\"; timeout 0.3 sh -c 'echo leaked >fifo'; true"
        );
        let (printed, last, _) = bed.run(&script);
        assert_eq!((printed.as_str(), last), ("not reached", EXITED));
        assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        let mut bytes = [0; 8];
        assert_eq!(fifo.read(&mut bytes).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        // What would have been seen.
        let _connected = UnixStream::connect(bed.lower("socket")).unwrap();
        listener.accept().unwrap();
        std::fs::write(bed.lower("fifo"), "leaked").unwrap();
        assert_eq!(fifo.read(&mut bytes).unwrap(), 6);
    });
}

#[test]
fn the_server_is_confined_and_sees_its_layers_alone() {
    alone(module_path!(), "the_server_is_confined_and_sees_its_layers_alone", || {
        ordinary_user();
        let bed = Bed::new();
        let running = bed.launch("exec sleep 1000").unwrap();
        let server = format!("/proc/{}", pid_of(running.servers[0].pidfd()));
        let status = read(format!("{server}/status"));
        for line in
            ["Name:\tfuse-overlayfs", "NoNewPrivs:\t1", "Seccomp:\t2", "CapBnd:\t000000008000001b"]
        {
            assert!(status.lines().any(|found| found == line), "no `{line}` in:\n{status}");
        }
        let limits = read(format!("{server}/limits"));
        assert!(limits.lines().any(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.starts_with(&["Max", "address", "space", "4294967296", "4294967296"])
        }));
        let names = |directory: String| {
            let entries = std::fs::read_dir(directory).unwrap();
            entries
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect::<BTreeSet<_>>()
        };
        let root = names(format!("{server}/root"));
        let planned = ["etc", "layer", "lib", "lib32", "lib64", "libx32", "lower", "proc", "usr"];
        assert!(root.iter().all(|name| planned.contains(&name.as_str())), "{root:?}");
        assert_eq!(names(format!("{server}/root/lower")), ["0", "1"].map(str::to_owned).into());
        assert_eq!(names(format!("{server}/root/proc")), ["self", "sys"].map(str::to_owned).into());
        let table = read(format!("{server}/mountinfo"));
        let writable: Vec<&str> = table
            .lines()
            .filter(|line| line.split(' ').nth(5).unwrap().starts_with("rw"))
            .collect();
        assert_eq!(writable.len(), 1, "{table}");
        assert_eq!(writable[0].split(' ').nth(4), Some("/layer"));
        let namespace =
            |process: &str, kind: &str| std::fs::read_link(format!("{process}/ns/{kind}")).unwrap();
        for kind in ["user", "net", "mnt"] {
            assert_ne!(namespace(&server, kind), namespace("/proc/self", kind), "{kind}");
        }
        end(running, End::Complete);
    });
}

/// Kills the sandbox; its servers are to end so.
fn end(mut running: Running, expected: End) {
    pidfd::send_signal(&running.pidfd, SignalNumber::KILL).unwrap();
    pidfd::wait(&running.pidfd).unwrap();
    drop(running.namespaces);
    assert_eq!(running.servers.pop().unwrap().end(PATIENCE), Ok(expected));
    assert_eq!(pidfd::wait_any(pidfd::Changes::Ended), Err(Errno::ECHILD));
}

#[test]
fn the_payload_does_not_see_the_server() {
    alone(module_path!(), "the_payload_does_not_see_the_server", || {
        ordinary_user();
        let bed = Bed::new();
        let (printed, ..) = bed.run("set /proc/[0-9]*; echo $#; cat /proc/[0-9]*/comm");
        assert!(printed.starts_with("2\n") && !printed.contains("fuse-overlayfs"), "{printed}");
    });
}

#[test]
fn a_killed_server_fails_the_payload_and_is_told() {
    alone(module_path!(), "a_killed_server_fails_the_payload_and_is_told", || {
        ordinary_user();
        let bed = Bed::new();
        let script = "echo up; while echo x >f; do sleep 0.02; done 2>&1; cat f 2>&1; echo over; exec sleep 1000";
        let mut running = bed.launch(script).unwrap();
        let mut output =
            BufReader::new(std::fs::File::from(running.relays.pop().unwrap().end)).lines();
        assert_eq!(output.next().unwrap().unwrap(), "up");
        pidfd::send_signal(running.servers[0].pidfd(), SignalNumber::KILL).unwrap();
        let rest: Vec<String> =
            output.map_while(Result::ok).take_while(|line| line != "over").collect();
        let gone = ["not connected", "connection abort"];
        assert!(gone.iter().any(|words| rest[0].contains(words)), "{rest:?}");
        assert_eq!(rest.len(), 2, "{rest:?}");
        let exit = Exit::Signal { number: SignalNumber::KILL, core: false };
        end(running, End::Failed { at: Text::from("/work"), exit, said: Text::from("") });
    });
}

#[test]
fn a_server_that_does_not_start_is_an_error_with_its_own_words() {
    alone(module_path!(), "a_server_that_does_not_start_is_an_error_with_its_own_words", || {
        ordinary_user();
        let mut bed = Bed::new();
        for (program, expected) in [
            ("/usr/bin/false", "nothing"),
            ("/usr/no-such-program", "cannot open the program: ENOENT (no such file or directory)"),
            ("/usr/bin/env", "fuse-overlayfs: invalid option -- 'f'"),
        ] {
            program.clone_into(&mut bed.program);
            let error = bed.launch("true").unwrap_err();
            let LaunchError::Server { said, .. } = &error else { panic!("{error:?}") };
            assert!(
                said.to_string().contains(expected) || expected.contains(&said.to_string()),
                "{error}"
            );
            assert_eq!(pidfd::wait_any(pidfd::Changes::Ended), Err(Errno::ECHILD));
        }
    });
}

#[test]
fn the_server_dies_with_the_launcher() {
    alone(module_path!(), "the_server_dies_with_the_launcher", || {
        ordinary_user();
        let bed = Bed::new();
        let (ours, theirs) = socket::pair().unwrap();
        let Cloned::Parent { pidfd: launcher, .. } = clone::fork().unwrap() else {
            let running = bed.launch("exec sleep 1000").unwrap();
            let fds = [running.pidfd.as_fd(), running.servers[0].pidfd()];
            socket::send(&theirs, b"up", &fds).unwrap();
            loop {
                std::thread::park();
            }
        };
        drop(theirs);
        let (_, fds) = socket::receive(&ours, &mut [0; 8]).unwrap();
        assert_eq!(fds.len(), 2);
        pidfd::send_signal(&launcher, SignalNumber::KILL).unwrap();
        pidfd::wait(&launcher).unwrap();
        for fd in &fds {
            let mut poller = Poller::new();
            poller.readable((), fd.as_fd());
            assert_eq!(poller.wait(Some(Duration::from_secs(5))).unwrap().len(), 1, "it lives on");
        }
    });
}

#[test]
fn an_upper_in_memory_and_no_upper_at_all() {
    alone(module_path!(), "an_upper_in_memory_and_no_upper_at_all", || {
        ordinary_user();
        let mut bed = Bed::new();
        std::fs::write(bed.lower("old"), "old").unwrap();
        bed.upper = Some(Upper::Scratch { number: 0, mode: 0o755 });
        let script = "echo new >new && rm old && mkdir d && rmdir d && ls";
        assert_eq!(bed.run(script), ("new\n".to_owned(), EXITED, vec![End::Complete]));
        bed.upper = None;
        let (printed, last, ends) = bed.run("cat old; echo new >new || ls; : ");
        assert_eq!((printed.as_str(), last, ends), ("oldold\n", EXITED, vec![End::Complete]));
        assert!(bed.lower("old").exists() && !bed.upper("new").exists());
    });
}

#[test]
fn root_over_the_tree_of_the_host_writes_below_usr() {
    alone(module_path!(), "root_over_the_tree_of_the_host_writes_below_usr", || {
        ordinary_user();
        let mut bed = Bed::new();
        bed.inside = (0, 0);
        bed.squash = Some((0, 0));
        bed.lower = Some(HostPath::new("/").unwrap());
        let script = "stat -c '%u %g' usr usr/bin/env; echo x >usr/written && cat usr/written; echo x >>etc/passwd; \
                      rm -r usr/share/doc/base-files; test -e usr/share/doc/base-files || echo gone; \
                      cat etc/shadow 2>/dev/null || echo refused";
        let (printed, last, ends) = bed.run(script);
        assert_eq!((printed.as_str(), last), ("0 0\n0 0\nx\ngone\nrefused\n", EXITED));
        assert_eq!(ends, [End::Complete]);
        assert_eq!(read(bed.upper("usr/written")), "x\n");
        assert!(read(bed.upper("etc/passwd")).ends_with("\nx\n"));
        assert!(
            !Path::new("/usr/written").exists() && Path::new("/usr/share/doc/base-files").exists()
        );
    });
}

#[test]
fn a_lower_layer_on_another_mount_than_planned_is_refused() {
    alone(module_path!(), "a_lower_layer_on_another_mount_than_planned_is_refused", || {
        ordinary_user();
        let bed = Bed::new();
        let mut plan = bed.plan("true");
        for step in &mut plan.steps {
            if let Action::Fs(FsStep::Overlay { lower, .. }) = &mut step.action {
                for lower in lower {
                    if let Lower::Host { mount, .. } = lower {
                        *mount += 1_000_000;
                    }
                }
            }
        }
        let Err(LaunchError::Step { source, .. }) = bed.launch_plan(&plan) else {
            panic!("it started")
        };
        assert_eq!(source.errno, Errno::ESTALE);
        assert_eq!(pidfd::wait_any(pidfd::Changes::Ended), Err(Errno::ECHILD));
    });
}
