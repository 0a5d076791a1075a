//! Places on networks: addresses and aliases that are asked for, sandboxes that are connected while they run; and what
//! comes of many of them at once.

use std::thread;

use super::bridge::{CALL, SERVE, end, internal, member, network, script, server};
use crate::support::{Running, World};

/// A network whose addresses are known.
fn lab(world: &World) {
    let range = ["--subnet", "10.98.1.0/24", "--ip-range", "10.98.1.64/26"];
    network(
        world,
        &[&["create", "--internal", "--subnet6", "fd98:1:2:3::/64"][..], &range, &["lab"]].concat(),
    );
}

/// One on `network` that answers, with flags.
fn serving(world: &World, network: &str, flags: &[&str]) -> Running {
    // Written while another runs it would be a change of the host's tree.
    let serve = if world.exists("shown/serve.py") {
        world.path("shown/serve.py").display().to_string()
    } else {
        script(world, "serve.py", super::bridge::SERVE)
    };
    let running = member(world, network).args(flags).start(&format!("exec python3 {serve}"));
    running.says("up");
    running
}

/// Starts the holder of a network where there is none, which goes on.
fn connect(world: &World, words: &[&str]) {
    world.bryo(["network", "connect"]).args(words).leaves().ends().succeeds();
}

#[test]
fn an_address_that_was_asked_for_is_had_and_nobody_elses() {
    let world = World::new();
    lab(&world);
    let call = script(&world, "call.py", CALL);
    let at = ["--name", "web", "--ip", "10.98.1.7", "--ip6", "fd98:1:2:3::7"];
    let running = serving(&world, "lab", &at);
    let ask = format!("python3 {call} web 10.98.1.7 fd98:1:2:3::7; hostname -I");
    let other = member(&world, "lab").run(&ask);
    let told = other.stdout();
    assert!(told.starts_with("hello\nhello\nhello\n10.98.1.64 "), "{told}");
    for (flags, told) in [
        (["--ip", "10.98.1.7"], "cannot have `10.98.1.7` on the network `lab`: it is taken"),
        (["--ip", "10.98.1.1"], "cannot have `10.98.1.1` on the network `lab`: it is taken"),
        (["--ip", "10.98.2.7"], "it is no address of a member of it"),
        (["--ip", "10.98.1.255"], "it is no address of a member of it"),
        (["--ip", "127.0.0.1"], "it is no address of a member of it"),
        (
            ["--ip6", "fd98:1:2:3::7"],
            "cannot have `fd98:1:2:3::7` on the network `lab`: it is taken",
        ),
        (["--ip6", "fd99::7"], "it is no address of a member of it"),
        (["--ip", "fd98:1:2:3::9"], "it is no address of IPv4"),
        (["--ip6", "10.98.1.9"], "it is no address of IPv6"),
    ] {
        member(&world, "lab").args(flags).run("true").refuses_with(&[told]);
    }
    let alone = world.bryo(["run", "-q", "--rm", "--ip", "10.98.1.9", "--", "true"]).ends();
    alone.refuses_with(&["only a network that several sandboxes share has places to choose"]);
    end(running);
    // Who has it next gets what is for it, and starts anew.
    let again = serving(&world, "lab", &["--ip", "10.98.1.7", "--name", "next"]);
    member(&world, "lab")
        .run(&format!("python3 {call} 10.98.1.7 fd98:1:2:3::7; echo"))
        .stdout_has("hello\n")
        .stdout_lacks("hello\nhello");
    end(again);
    network(&world, &["rm", "lab"]);
}

#[test]
fn an_alias_is_everybodys_who_asks_for_it_and_a_name_is_nobodys_but_its_own() {
    let world = World::new();
    lab(&world);
    internal(&world, "two");
    let call = script(&world, "call.py", CALL);
    let one =
        serving(&world, "lab", &["--name", "a", "--network-alias", "pool", "--ip", "10.98.1.7"]);
    let two = serving(&world, "lab", &["--name", "b", "--net-alias", "Pool.", "--ip", "10.98.1.8"]);
    let ask =
        format!("getent ahostsv4 pool | awk '{{print $1}}' | sort -u; python3 {call} pool POOL");
    member(&world, "lab").run(&ask).stdout_is("10.98.1.7\n10.98.1.8\nhello\nhello\n");
    member(&world, "two")
        .run(&format!("python3 {call} pool a"))
        .stdout_is("no such name\nno such name\n");
    let shown = network(&world, &["inspect", "lab"]);
    assert_eq!(shown.matches("\"pool\"").count(), 2, "{shown}");
    for flags in [["--network-alias", "a"], ["--network-alias", "B"], ["--name", "pool"]] {
        member(&world, "lab").args(flags).run("true").refuses_with(&["a sandbox on it is called"]);
    }
    for odd in [
        "",
        "a b",
        "a\nb",
        "\u{1b}[2J",
        "a..b",
        "127.1",
        "0x7f000001",
        "localhost",
        "x.localhost",
        "é",
        "*.test",
    ] {
        let refused = member(&world, "lab").args(["--network-alias", odd]).run("true");
        refused.refuses_with(&["for `--network-alias`"]).stderr_lacks("\u{1b}");
    }
    // Who started the holder ends last: to the bench it is a process that it left.
    end(two);
    member(&world, "lab")
        .run("getent ahostsv4 pool | awk '{print $1}' | sort -u")
        .stdout_is("10.98.1.7\n");
    end(one);
    member(&world, "lab").run(&format!("python3 {call} pool")).stdout_is("no such name\n");
    network(&world, &["prune", "-f"]);
}

#[test]
fn a_sandbox_that_runs_is_connected_and_disconnected() {
    let world = World::new();
    lab(&world);
    internal(&world, "one");
    let call = script(&world, "call.py", CALL);
    let running = server(&world, "one", "web");
    let ask =
        |of: &str, names: &str| member(&world, of).run(&format!("python3 {call} {names}")).stdout();
    assert!(!ask("lab", "web 10.98.1.9").contains("hello"));
    connect(&world, &["--ip", "10.98.1.9", "--alias", "db", "lab", "web"]);
    assert_eq!(ask("lab", "web db 10.98.1.9"), "hello\nhello\nhello\n");
    assert_eq!(ask("one", "web db"), "hello\nno such name\n");
    // It is no way from one to the other.
    assert!(!ask("one", "10.98.1.9").contains("hello"));
    let inside = world.bryo([
        "exec",
        "web",
        "sh",
        "-c",
        "ls /sys/class/net 2>/dev/null; cat /proc/net/dev | grep -c eth",
    ]);
    assert!(inside.ends().stdout().ends_with("2\n"));
    let again = world.bryo(["network", "connect", "lab", "web"]).ends();
    again.refuses_with(&["cannot connect sandbox `web` to the network `lab`: it is on it"]);
    world.bryo(["network", "rm", "lab"]).ends().refuses_with(&["1 sandbox is on it"]);
    network(&world, &["disconnect", "lab", "web"]);
    assert_eq!(ask("lab", "web"), "no such name\n");
    assert_eq!(ask("one", "web"), "hello\n");
    world.bryo(["network", "disconnect", "lab", "web"]).ends().refuses_with(&["it is not on it"]);
    // The one it came with, too; and then the other alone.
    connect(&world, &["lab", "web"]);
    network(&world, &["disconnect", "one", "web"]);
    assert_eq!(ask("one", "web"), "no such name\n");
    assert_eq!(ask("lab", "web"), "hello\n");
    let since = ["events", "--since", "1h", "--until", "1ms", "-f", "event=network_connect"];
    let words = [&since[..], &["-f", "event=network_disconnect"]].concat();
    let told = world.bryo(words).ends().succeeds().stdout();
    assert_eq!(told.lines().count(), 4, "{told}");
    for (line, words) in told.lines().zip([
        &["network_connect", "web", "network=lab", "address=10.98.1.9"][..],
        &["network_disconnect", "web", "network=lab"],
        &["network_connect", "network=lab", "address=10.98.1."],
        &["network_disconnect", "network=one"],
    ]) {
        assert!(words.iter().all(|word| line.contains(word)), "{told}");
    }
    end(running);
    let mut gone = network(&world, &["prune", "-f"]);
    gone.push_str(&network(&world, &["prune", "-f"]));
    assert_eq!(gone, "lab\none\n");
}

#[test]
fn what_cannot_be_connected_is_told_why() {
    let world = World::new();
    internal(&world, "n");
    let alone = world
        .bryo(["run", "-q", "--rm", "--name", "alone", "-w", "/"])
        .start("echo up; exec sleep 60");
    alone.says("up");
    let told = world.bryo(["network", "connect", "n", "alone"]).ends();
    told.refuses_with(&[
        "cannot connect sandbox `alone` to the network `n`: it was started with `--network none`",
        "`bryo run --network bridge:n`",
    ]);
    for (words, told) in [
        (&["connect", "n", "nobody"][..], "nobody"),
        (&["connect", "--ip", "x", "n", "alone"], "cannot take `x` for `--ip`"),
        (&["disconnect", "n", "alone"], "it is not on it"),
        (&["disconnect", "gone", "alone"], "cannot find a network `gone`"),
        (&["rm", "gone"], "cannot find a network `gone`"),
        (&["create", "-d", "bridge", "x"], "every network is a bridge"),
        (
            &["create", "--subnet", "10.97.0.0/24", "--ip-range", "10.96.0.0/24", "x"],
            "is no part of its addresses",
        ),
    ] {
        world.bryo(["network"]).args(words).ends().refuses_with(&[told]);
    }
    end(alone);
    // From two networks of one range it could send to the one as a member of the other.
    for name in ["x", "y"] {
        network(&world, &["create", "--internal", "--subnet", "10.97.0.0/24", name]);
    }
    let running = server(&world, "x", "web");
    let overlap = world.bryo(["network", "connect", "y", "web"]).leaves().ends();
    overlap.refuses_with(&["it is on `x`, which has the same addresses"]);
    end(running);
    assert_eq!(network(&world, &["rm", "-f", "x", "gone", "y", "n"]), "x\ny\nn\n");
}

#[test]
fn networks_that_a_sandbox_was_connected_with_are_its_again_when_it_is_started_again() {
    let world = World::new();
    lab(&world);
    for name in ["one", "two"] {
        internal(&world, name);
    }
    let (call, serve) = (script(&world, "call.py", CALL), script(&world, "serve.py", SERVE));
    let words =
        ["run", "-q", "-d", "--name", "web", "-w", "/", "--network", "bridge:one", "--read"];
    let web = world.bryo(words).arg(world.folder("shown")).args(["--", "python3", &serve]);
    web.leaves().ends().succeeds();
    connect(&world, &["--ip", "10.98.1.9", "--alias", "db", "lab", "web"]);
    connect(&world, &["two", "web"]);
    let finds = |network: &str, names: &str| {
        let ask = format!(
            "for n in {names}; do until python3 {call} $n | grep hello; do sleep 0.1; done; done"
        );
        let hellos = "hello\n".repeat(names.split(' ').count());
        member(&world, network).leaves().run(&ask).stdout_is(&hellos);
    };
    finds("one", "web");
    finds("lab", "web db 10.98.1.9");
    world.bryo(["restart", "-t", "0", "web"]).leaves().ends().succeeds().stderr_is("");
    finds("lab", "web db 10.98.1.9");
    finds("two", "web");
    // Given up, it stays given up; and what is not there any more keeps nobody from being started.
    network(&world, &["disconnect", "two", "web"]);
    world.bryo(["stop", "-t", "0", "web"]).ends().succeeds();
    network(&world, &["rm", "lab", "two"]);
    internal(&world, "two");
    world.bryo(["start", "web"]).leaves().ends().succeeds();
    finds("one", "web");
    let shown = network(&world, &["inspect", "two"]);
    assert!(shown.contains("\"members\": []"), "{shown}");
    // Once it runs, who connects it may take its time.
    let since = ["events", "--since", "1h", "-f", "event=network_connect"];
    let events = world.bryo(since).starts();
    events.says("error=cannot find a network `lab`, network=lab");
    end(events);
    world.bryo(["rm", "-f", "web"]).ends().succeeds();
    network(&world, &["rm", "one", "two"]);
}

#[test]
fn what_is_wrong_with_the_words_is_told_of_them() {
    let world = World::new();
    network(&world, &["create", "--internal", "--subnet", "10.97.0.0/24", "n"]);
    let range = |range| ["create", "--subnet", "10.98.0.0/24", "--ip-range", range, "x"];
    for (words, told) in [
        (&["disconnect"][..], ["<NETWORK>", "`bryo network disconnect --help`"]),
        (&["connect", "n"], ["<SANDBOX>", "`bryo network connect --help`"]),
        (&["rm", "--soon", "n"], ["`--soon` of `bryo network rm`", "`bryo network rm --help`"]),
        (&["rm", "gone"], ["cannot find a network `gone`", "`bryo network ls` lists all"]),
        (&["inspect", "gone"], ["cannot find a network `gone`", "`bryo network ls` lists all"]),
        (&["rm", ""], ["cannot take `` for `NETWORK`: it is not the name of a network", "letters"]),
        (&range("10.98.1.0/28"), ["is no part of its addresses", "is a part of `--subnet`"]),
        (&range("fd00::/64"), ["is none of IPv4", "has the one that goes with the other"]),
        (&range("10.98.0.1/32"), ["besides the gateway", "or another `--gateway`"]),
        (&range("10.98.0.255/32"), ["besides the gateway", "are nobody's"]),
        (
            &["create", "--ip-range", "10.98.0.0/28", "x"],
            ["cannot take `--ip-range` without `--subnet`", ""],
        ),
    ] {
        world.bryo(["network"]).args(words).ends().refuses_with(&told);
    }
    world.bryo(["help", "network", "create", "x"]).ends().refuses_with(&["cannot use `x`"]);
    for words in [["network", "create", "help"], ["network", "help", "create"]] {
        world.bryo(words).ends().succeeds().stdout_has("--ip-range <RANGE>");
    }
    network(&world, &[&range("10.98.0.8/30")[..4], &["10.98.0.7/32", "one"]].concat());
    let running = server(&world, "one", "web");
    let spent = ["every address of its `--ip-range` is taken", "`--ip ADDRESS` takes one"];
    member(&world, "one").run("true").refuses_with(&spent);
    member(&world, "one").args(["--ip", "10.98.0.9"]).run("true").succeeds();
    let leave = ["network", "disconnect", "n", "web"];
    let absent = [
        "cannot disconnect sandbox `web` from the network `n`: it is not on it",
        "`bryo network inspect n`",
    ];
    world.bryo(leave).ends().refuses_with(&absent);
    network(&world, &["disconnect", "-f", "n", "web"]);
    end(running);
    network(&world, &["rm", "n", "one"]);
}

#[test]
fn the_list_has_what_is_asked_for() {
    let world = World::new();
    network(&world, &["create", "--internal", "--label", "of=a", "a"]);
    network(&world, &["create", "--label", "of=b", "--subnet", "10.97.0.0/24", "b"]);
    assert_eq!(network(&world, &["ls", "-q"]), "a\nb\n");
    assert_eq!(network(&world, &["ls", "-q", "--filter", "label=of=b"]), "b\n");
    assert_eq!(network(&world, &["ls", "-q", "-f", "internal=true", "-f", "dangling=true"]), "a\n");
    assert_eq!(network(&world, &["ls", "-q", "--filter", "dangling=false"]), "");
    let format = "{{.Name}} {{.Subnet}} {{.Labels}}";
    assert_eq!(
        network(&world, &["ls", "-f", "name=b", "--format", format]),
        "b 10.97.0.0/24 of=b\n"
    );
    assert!(network(&world, &["inspect", "b"]).contains("\"of\": \"b\""));
    let half = world.bryo(["network", "inspect", "a", "gone"]).ends();
    half.exits_with(125).stderr_has("cannot find a network `gone`").stdout_has("\"name\": \"a\"");
    // What is left of one that was being made or removed is none, and in nobody's way.
    let left = world.store().join("networks/left");
    std::fs::create_dir(&left).unwrap();
    assert_eq!(network(&world, &["ls", "-q"]), "a\nb\n");
    world.bryo(["network", "rm", "left"]).ends().refuses_with(&["cannot find a network `left`"]);
    member(&world, "left").run("true").refuses_with(&["cannot find a network `left`"]);
    network(&world, &["create", "left"]);
    network(&world, &["rm", "left"]);
    std::fs::create_dir(&left).unwrap();
    assert_eq!(network(&world, &["prune", "-f"]), "a\nb\n");
    assert!(!left.exists());
}

/// What may be told to somebody in a storm.
const EXPECTED: [&str; 9] = [
    "cannot find a network",
    "there is one",
    "is on it",
    "are on it",
    "is not running",
    "a sandbox on it is called",
    "cannot find a sandbox",
    "it is not on it",
    "it was disconnected meanwhile",
];

#[test]
fn a_storm_of_commands_ends_with_answers_and_leaves_nothing() {
    let world = World::new();
    let steady = {
        internal(&world, "steady");
        server(&world, "steady", "steady")
    };
    let commands: [&[&str]; 6] = [
        &["network", "create", "--internal", "n"],
        &[
            "run",
            "-q",
            "--rm",
            "-w",
            "/",
            "--network",
            "bridge:n",
            "--network-alias",
            "x",
            "--",
            "true",
        ],
        &["network", "connect", "n", "steady"],
        &["network", "disconnect", "n", "steady"],
        &["network", "rm", "n"],
        &["network", "ls"],
    ];
    thread::scope(|scope| {
        for first in 0..4 {
            let (world, commands) = (&world, &commands);
            scope.spawn(move || {
                for turn in 0..12 {
                    let one = world.bryo(commands[(first + turn) % commands.len()]).leaves();
                    let ended = one.ends();
                    let (told, code) = (ended.stderr(), ended.status.code());
                    let is_expected =
                        code == Some(0) || EXPECTED.iter().any(|words| told.contains(words));
                    assert!(is_expected, "{ended}");
                }
            });
        }
    });
    end(steady);
    network(&world, &["rm", "-f", "n", "steady"]);
    assert_eq!(network(&world, &["ls", "-q"]), "");
}
