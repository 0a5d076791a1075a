//! `--network pasta` and `--network slirp4netns`: what the programs reach, what they do not, and how they end.

use rustix::process::{Pid, Signal, kill_process};

use super::{inside, on_bed, tries};
use crate::netstack::{holds, on_host};
use crate::support::{Host, Invocation, Need, Running, World, has};

const TOOLS: [&str; 2] = ["pasta", "slirp4netns"];

/// Each that is installed.
fn tools() -> impl Iterator<Item = &'static str> {
    TOOLS.into_iter().filter(|tool| has(Need::NetworkTool(tool)))
}

fn sandbox(world: &World, tool: &str) -> Invocation {
    let args = ["run", "--rm", "-w", "/", "--dns", "198.51.100.53", "--network", tool, "--read"];
    world.bryo(args).arg(world.folder("shown"))
}

#[test]
fn a_program_connects_the_sandbox_and_keeps_the_hosts_loopback_closed() {
    for tool in tools() {
        let network = format!("--network {tool}");
        let got = inside(&network, "get 198.51.100.7 80 good.test + look good.test");
        assert_eq!(got, "served good.test\n198.51.100.7\n", "{tool}");
        // Said at each start: what the machine reaches is reached.
        let private = inside(&network, "get 10.9.9.9 80 inward.test");
        assert_eq!(private, "served inward.test\n", "{tool}");
    }
    // A service at every address of the host, on its loopback too.
    let loopback = "get 127.0.0.1 80 x";
    assert_eq!(tries(None, loopback).0, "served x\n", "the control");
    for tool in tools() {
        let attacks = match tool {
            // The gateway, the name server that is turned off, and an alias of loopback.
            "slirp4netns" => {
                "get 127.0.0.1 80 x + get 10.0.2.2 80 x + get 10.0.2.3 80 x + get 0.0.0.0 80 x"
            }
            // The gateway, and the address of the host that the sandbox has itself.
            _ => "get 127.0.0.1 80 x + get 198.51.100.1 80 x + get ::1 80 x + get 0.0.0.0 80 x",
        };
        assert_eq!(inside(&format!("--network {tool}"), attacks), "refused\n".repeat(4), "{tool}");
    }
}

#[test]
fn a_socket_bound_to_the_interface_reaches_no_loopback_of_the_host() {
    for tool in tools() {
        let heard = |to: &str| {
            let (said, _) = on_bed(|bryo, scripts| {
                let payload = format!("python3 {scripts}/payload.py");
                format!(
                    "{payload} hears 7777 60 & until grep -qi :1e61 /proc/net/udp6; do sleep 0.1; done; \
                     {bryo} run -q --rm --dns 198.51.100.53 --network {tool} -- {payload} '{to}' >/dev/null; \
                     {payload} end 7777 >/dev/null; wait $!"
                )
            });
            said
        };
        // The control: another address that is this host's alone, as the program does not close it.
        let own = heard("bound 192.0.2.1 7777");
        assert_eq!(own, "tcp ::ffff:192.0.2.1\nudp ::ffff:192.0.2.1\n", "{tool}");
        let loopback = heard("bound 127.0.0.1 7777 + bound 127.1.2.3 7777 + bound ::1 7777");
        assert_eq!(loopback, "\n", "{tool}");
    }
}

#[test]
fn what_it_would_not_keep_is_refused_and_nothing_starts() {
    let world = World::new();
    for tool in tools() {
        let run = |flags: &[&str]| sandbox(&world, tool).args(flags).run("echo started");
        for flags in [
            &["--allow", "good.test"][..],
            &["--deny", "evil.test"],
            &["--learn-network"],
            &["--pcap", "packets"],
            &["--net-rate", "10M"],
            &["-p", "8080:80"],
            // They could take away what keeps loopback closed, or go past it.
            &["--cap-add", "NET_ADMIN"],
            &["--cap-add", "NET_RAW", "--user", "root"],
            &["--dns", "198.51.100.54:5353"],
        ] {
            run(flags).refuses_with(&["--network user"]);
        }
        let told = sandbox(&world, tool).args(["--profile", "agent"]).run("echo started");
        told.refuses_with(&[tool, "agent"]);
    }
}

/// A run on a host with a peer, whose payload is up and stays so, and the program that connects it.
fn connected(world: &World, tool: &str, payload: &str) -> (Running, Pid) {
    connected_with(world, tool, &[], payload)
}

fn connected_with(world: &World, tool: &str, flags: &[&str], payload: &str) -> (Running, Pid) {
    let sandbox = sandbox(world, tool).args(flags).arg("--report").arg(world.path("report.json"));
    let running = on_host(world, sandbox).args(["--", "python3", "-c", payload]).starts();
    running.says("connected");
    let program = below(running.pid(), tool).unwrap();
    (running, program)
}

/// The program, a process below the one that was started; Debian's `pasta` is called after its processor.
fn below(process: Pid, tool: &str) -> Option<Pid> {
    let children = format!("/proc/{0}/task/{0}/children", process.as_raw_nonzero());
    let children = std::fs::read_to_string(children).ok()?;
    let name = if tool == "pasta" { "pass" } else { tool };
    children.split_whitespace().find_map(|child| {
        let comm = std::fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
        let child = Pid::from_raw(child.parse().ok()?)?;
        if comm.starts_with(name) || comm.starts_with(tool) {
            Some(child)
        } else {
            below(child, tool)
        }
    })
}

/// Connects again and again, says that it could, and with what status it could not any more.
const CONNECTS: &str = r"
import socket, sys, time
for n in range(600):
    s = socket.socket()
    s.settimeout(20)
    try:
        s.connect(('198.51.100.1', 8080))
        if n == 0: print('connected', flush=True)
    except OSError:
        sys.exit(7)
    time.sleep(0.05)
";

#[test]
fn a_payload_goes_on_without_the_program_and_the_end_tells() {
    for tool in tools() {
        let world = World::new();
        world.host(Host::MayChange);
        let (running, program) = connected(&world, tool, CONNECTS);
        kill_process(program, Signal::KILL).unwrap();
        running.ends().exits_with(7);
        let record = world.read("report.json");
        assert!(record.contains(r#""killed": 9"#), "{record}");
    }
}

#[test]
fn a_run_that_is_not_to_outlive_the_program_is_ended_with_it() {
    for tool in tools() {
        let world = World::new();
        world.host(Host::MayChange);
        let sleeps = "print('connected', flush=True); import time; time.sleep(60)";
        let flags = ["--on-network-loss", "end"];
        let (running, program) = connected_with(&world, tool, &flags, sleeps);
        kill_process(program, Signal::KILL).unwrap();
        running.ends().exits_with(125);
        let record = world.read("report.json");
        assert!(record.contains(r#""exit": "network-lost""#), "{record}");
    }
}

#[test]
fn a_connection_that_was_made_ends_with_the_program() {
    for tool in tools() {
        let world = World::new();
        world.host(Host::MayChange);
        let (running, program) = connected(&world, tool, &holds(&["198.51.100.1"]));
        kill_process(program, Signal::KILL).unwrap();
        running.ends().succeeds().stdout_is("connected\nECONNABORTED\nwithin\n");
    }
}

#[test]
fn the_program_ends_with_the_launcher_whoever_kills_it() {
    for tool in tools() {
        for signal in [Signal::KILL, Signal::TERM] {
            let world = World::new();
            world.host(Host::MayChange);
            let (running, program) = connected(&world, tool, CONNECTS);
            let launcher = parent(program);
            kill_process(launcher, signal).unwrap();
            running.ends();
            // Who comes next puts away what a launcher left that was killed.
            world.bryo(["run", "--rm", "--", "true"]).ends().succeeds();
            // That no process is left, every world makes sure of.
            assert!(!is_alive(program), "{tool} outlives its launcher");
        }
    }
}

fn parent(of: Pid) -> Pid {
    let status = std::fs::read_to_string(format!("/proc/{}/status", of.as_raw_nonzero())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
    Pid::from_raw(line.trim().parse().unwrap()).unwrap()
}

fn is_alive(process: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}
