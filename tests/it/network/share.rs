//! `--network sandbox:ID`: what two sandboxes in one network share, and what they do not.

use rustix::process::Signal;

use crate::support::{Invocation, Running, World};

/// A sandbox `t` that is up, and stays until it is killed or half a minute has passed.
fn target(world: &World, flags: &[&str], command: &str) -> Running {
    let start = world.bryo(["run", "--rm", "--name", "t"]).args(flags);
    let running = start.start(&format!("{command}; echo up; sleep 30"));
    running.says("up");
    running
}

fn joining(world: &World, flags: &[&str]) -> Invocation {
    world.bryo(["run", "-q", "--rm", "--network", "sandbox:t"]).args(flags)
}

fn end(running: Running) {
    running.kill(Signal::TERM);
    running.ends();
}

/// Listens on the loopback, or on an abstract socket, and says hello once to each that comes.
const SERVE: &str = r#"
import socket, sys, threading
def serve(family, at):
    one = socket.socket(family)
    one.bind(at); one.listen()
    def answer():
        while True:
            peer, _ = one.accept()
            peer.sendall(b"hello"); peer.close()
    threading.Thread(target=answer).start()
serve(socket.AF_INET, ("127.0.0.1", 8000))
serve(socket.AF_UNIX, b"\0bryo-test")
print("up", flush=True)
"#;

/// What a connection to `inet` and to `unix` gives.
const CALL: &str = r#"
import errno, socket, sys
for family, at in ((socket.AF_INET, ("127.0.0.1", 8000)), (socket.AF_UNIX, b"\0bryo-test")):
    one = socket.socket(family)
    try:
        one.connect(at)
        print(one.recv(9).decode())
    except OSError as e:
        print(errno.errorcode[e.errno])
"#;

#[test]
fn one_network_is_shared_and_abstract_sockets_are_not() {
    let world = World::new();
    let serve = world.file("project/serve.py", SERVE);
    let call = world.file("project/call.py", CALL);
    // The control: in one sandbox both are reached.
    let alone = world.bryo(["run", "-q", "--rm"]);
    let both = format!(
        "python3 {} >/tmp/up & until grep -q up /tmp/up; do sleep 0.05; done; python3 {}; kill $!",
        serve.display(),
        call.display()
    );
    alone.run(&both).stdout_is("hello\nhello\n");
    let start = world.bryo(["run", "--rm", "--name", "t"]);
    let running = start.start(&format!("exec python3 {}", serve.display()));
    running.says("up");
    let run = joining(&world, &["--read", world.project().to_str().unwrap()]);
    run.run(&format!("python3 {}", call.display())).succeeds().stdout_is("hello\nEPERM\n");
    end(running);
}

#[test]
fn neither_sees_the_others_processes_or_ids_or_keeps_power() {
    let world = World::new();
    let running = target(&world, &[], "exec 3>&1");
    let look = "set -- /proc/[0-9]*; echo $#; hostname | grep -c '^t$'; grep CapBnd /proc/self/status; \
                cat /proc/sys/user/max_user_namespaces";
    let run = joining(&world, &[]).run(look);
    run.stdout_is("2\n0\nCapBnd:\t0000000000000000\n0\n");
    for (flags, told) in [
        (&["--cap-add", "NET_RAW"][..], "cannot keep a capability in the network of sandbox"),
        (&["--user", "root"], "cannot have other ids than sandbox"),
        (&["--allow", "a.test"], "cannot take both `--allow` and `--network sandbox:t`"),
    ] {
        joining(&world, flags).run("true").refuses_with(&[told]);
    }
    end(running);
    joining(&world, &[]).run("true").refuses_with(&["cannot find a sandbox `t`"]);
}

#[test]
fn what_keeps_a_capability_or_has_the_hosts_network_is_not_joined() {
    let world = World::new();
    for (flags, told) in [
        (&["--network", "host"][..], "it has the host's"),
        (&["--cap-add", "NET_RAW"], "its payload keeps a capability"),
    ] {
        let running = target(&world, flags, "true");
        joining(&world, &[]).run("true").refuses_with(&["cannot share the network", told]);
        end(running);
    }
}

#[test]
fn one_that_joined_is_joined_in_turn_and_an_end_leaves_the_others() {
    let world = World::new();
    let first = target(&world, &[], "true");
    let second = joining(&world, &["--name", "u"]).start("echo in; sleep 30");
    second.says("in");
    let third = || world.bryo(["run", "-q", "--rm", "--network", "container:u"]);
    third().run("cat /proc/net/dev | grep -c lo").succeeds().stdout_is("1\n");
    end(first);
    third().run("echo on").succeeds().stdout_is("on\n");
    end(second);
}

#[test]
fn a_launcher_that_is_killed_while_it_joins_leaves_nothing() {
    let world = World::new();
    let running = target(&world, &[], "true");
    for after in 0..12 {
        let started = joining(&world, &["--name", "u"]).start("sleep 30");
        std::thread::sleep(std::time::Duration::from_millis(after * 4));
        started.kill(Signal::KILL);
        // The world sees what is left of each.
        started.ends();
    }
    joining(&world, &[]).run("set -- /proc/[0-9]*; echo $#").stdout_is("2\n");
    end(running);
    world.bryo(["ps"]).ends().succeeds();
}
