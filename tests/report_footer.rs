//! What a run says at its end.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the exceptions for tests do not reach helper functions of integration tests"
)]

use std::path::PathBuf;

use bryo::front::cli::run::{Kind, parse};
use bryo::front::cli::surroundings::Surroundings;
use bryo::front::cli::usage::Asked;
use bryo::plan::Plan;
use bryo::plan::step::{Missing, Notice};
use bryo::plan::traffic::{NetworkLoss, Protocol, Refused, Traffic};
use bryo::report::footer::steps;
use bryo::report::{Detail, Kept, Look, footer};
use bryo::spec::limits::Resource;
use bryo::spec::net::{Capture, HostName, NetworkName, Rule};
use bryo::spec::{HostPath, Network, Rlimit};
use bryo::state::id::SandboxId;
use bryo::state::launcher::Launcher;
use bryo::state::record::{
    Beginning, ChangeCounts, DeniedCall, Exit, MemoryKills, Outcome, Record,
};
use bryo::state::timestamp::Timestamp;
use bryo::state::{Enforced, Held, HeldState};

fn record() -> Record {
    let caller = Surroundings {
        environment: ["HOME", "SECRET", "TOKEN", "SHLVL"].map(|n| (n.into(), "/x".into())).into(),
        workdir: Some(PathBuf::from("/x")),
    };
    let words = ["--timeout", "90s", "--memory", "64m", "true"].map(Into::into);
    let Ok(Asked::For(run)) = parse(Kind::Run, &words, &caller) else { panic!() };
    let plan = Plan::of_steps(Vec::new());
    let beginning = Beginning {
        from: None,
        launcher: Launcher::this().unwrap(),
        spec: &run.spec,
        target: None,
        plan: &plan,
        marks: &[],
        published: &[],
    };
    let id = SandboxId::parse(b"0123456789ab").unwrap();
    let mut record = Record::begin(id, Timestamp::now(), beginning);
    ended(&mut record, Exit::Code(0));
    record
}

fn ended(record: &mut Record, exit: Exit) {
    record.outcome = Outcome::Exited { ended: Timestamp::now(), duration_us: 1, exit };
}

fn said(record: &Record, kept: Kept) -> String {
    footer(record, kept, Detail::Usual, &Look::plain())
}

fn denied(name: &str, count: u64) -> DeniedCall {
    DeniedCall { name: name.to_owned(), number: 1, count, errno: 1 }
}

#[test]
fn a_network_that_was_lost_is_told() {
    let mut record = record();
    for (loss, text) in [
        (NetworkLoss::Killed(9), "ended early: its netstack was killed by signal 9"),
        (NetworkLoss::Exited(1), "ended early: its netstack failed with status 1"),
        (NetworkLoss::Holder, "ended early: the process that holds it did"),
        (
            NetworkLoss::Uplink,
            "lost its way out: its netstack ended early; it has one again once all sandboxes on it have ended",
        ),
        (NetworkLoss::Unfinished, "was cut off at its end: what was sent last may not have left"),
    ] {
        record.network_loss = Some(loss);
        assert_eq!(said(&record, Kept::No), format!("bryo: the network of this run {text}\n"));
    }
}

#[test]
fn nothing_to_say_is_nothing_said() {
    let mut record = record();
    assert_eq!(said(&record, Kept::Yes), "");
    record.changes = Some(ChangeCounts::default());
    record.notices.push(Notice::Missing(Missing::Landlock));
    assert_eq!(said(&record, Kept::No), "");
    assert!(footer(&record, Kept::No, Detail::All, &Look::plain()).contains("no Landlock"));
    // Where nobody sits at a terminal, only what is not as it was asked for.
    record.notices.push(Notice::LostWorkdir);
    assert_eq!(
        footer(&record, Kept::Yes, Detail::Least, &Look::plain()),
        "bryo: the current directory was removed or cannot be entered; the payload starts in `/`\n"
    );
}

#[test]
fn changes_come_with_the_command_that_shows_them() {
    let mut record = record();
    record.changes = Some(ChangeCounts { added: 12, changed: 1, deleted: 0, at_least: false });
    assert_eq!(
        said(&record, Kept::Yes),
        "bryo: 12 added, 1 changed paths in its layer; to see: bryo diff 0123456789ab; to keep: bryo apply 0123456789ab\n"
    );
    record.name = Some("mine".to_owned());
    record.changes = Some(ChangeCounts { added: 0, changed: 0, deleted: 1, at_least: true });
    assert_eq!(
        said(&record, Kept::Yes),
        "bryo: at least 1 deleted path in its layer; to see: bryo diff mine; to keep: bryo apply mine\n"
    );
    assert!(said(&record, Kept::No).ends_with("which is gone\n"));
    assert_eq!(said(&record, Kept::AndApplied), "", "what becomes of it is told by apply");
}

#[test]
fn refused_calls_come_with_the_flag_that_allows_them() {
    let mut record = record();
    record.denied =
        vec![denied("bpf", 3), denied("mount", 1), denied("unshare", 2), denied("ioctl", 1)];
    assert_eq!(
        said(&record, Kept::Yes),
        "bryo: refused system calls: mount, unshare (2 times), to allow: --nesting; bpf (3 times), \
         to allow: --seccomp unconfined; ioctl\n"
    );
    record.denied = (0..9).map(|n| denied(&format!("call{n}"), 1)).collect();
    assert!(said(&record, Kept::Yes).ends_with("; and 3 more: bryo inspect 0123456789ab\n"));
}

#[test]
fn a_failing_run_says_how_many_variables_were_not_passed() {
    let mut record = record();
    ended(&mut record, Exit::Code(2));
    assert_eq!(
        said(&record, Kept::Yes),
        "bryo: 2 variables of yours not passed; to pass one: -e NAME\n"
    );
    ended(&mut record, Exit::Timeout);
    assert_eq!(said(&record, Kept::Yes), "bryo: stopped after 1 min 30 s: its time was over\n");
}

#[test]
fn names_in_a_notice_are_escaped_and_commands_quoted() {
    let mut record = record();
    record.notices.push(Notice::Warned(HostPath::new("/x/a \x1b[2J$(id)").unwrap()));
    assert_eq!(
        said(&record, Kept::Yes),
        "bryo: `/x/a \\u{1b}[2J$(id)` may hold secrets and can be read inside; to hide: \
         --hide $'/x/a \\033[2J$(id)'\n"
    );
}

#[test]
fn files_that_may_hold_secrets_share_one_line() {
    let mut record = record();
    record.notices =
        (0..5).map(|n| Notice::Warned(HostPath::new(format!("/x/.env.{n}")).unwrap())).collect();
    assert_eq!(
        said(&record, Kept::Yes),
        "bryo: `/x/.env.0`, `/x/.env.1`, `/x/.env.2` and 2 more may hold secrets and can be read inside; \
         to hide: --hide /x/.env.0 --hide /x/.env.1 --hide /x/.env.2\n"
    );
}

#[test]
fn what_the_network_refused_has_its_flag() {
    let refused =
        |name: Option<&str>, address: Option<&str>, port, allow: Option<&str>, count| Refused {
            name: name.map(|name| HostName::parse(name).unwrap()),
            address: address.map(|address| address.parse().unwrap()),
            protocol: if port == Some(443) { Protocol::Udp } else { Protocol::Tcp },
            port,
            reason: "no rule\x1b[2J allows it".to_owned(),
            allow: allow.map(|rule| Rule::parse(rule).unwrap()),
            count,
        };
    let mut record = record();
    record.traffic = Some(Traffic {
        refused: vec![
            refused(Some("a.test"), None, None, Some("a.test"), 2),
            refused(None, Some("2001:db8::1"), Some(443), Some("[2001:db8::1]:443/udp"), 1),
            refused(Some("b.test"), None, Some(80), None, 1),
        ],
        more: 5,
        ..Traffic::default()
    });
    assert_eq!(
        said(&record, Kept::No),
        "bryo: refused connections: a.test (no rule\\u{1b}[2J allows it, 2 times), to allow: \
         --allow a.test; [2001:db8::1]:443/udp (no rule\\u{1b}[2J allows it), to allow: --allow \
         '[2001:db8::1]:443/udp'; b.test:80 (no rule\\u{1b}[2J allows it); and 5 more\n"
    );
    let network = NetworkName::new("lab").unwrap();
    record.spec.network = Network::Bridge(network);
    record.traffic.as_mut().unwrap().more = 0;
    assert!(said(&record, Kept::No).ends_with("; flags are of `bryo network create`, for `lab`\n"),);
    record.spec.network = Network::None;
    record.traffic =
        Some(Traffic { used: vec![Rule::parse("a.test:443").unwrap()], ..Traffic::default() });
    assert_eq!(said(&record, Kept::No), "");
    record.spec.egress.learn = true;
    assert_eq!(said(&record, Kept::No), "bryo: this run used: --allow a.test:443\n");
    let least = footer(&record, Kept::No, Detail::Least, &Look::plain());
    assert_eq!(least, "bryo: this run used: --allow a.test:443\n");

    record.spec.egress.learn = false;
    let file = HostPath::new("/x/pack\x1bets").unwrap();
    record.spec.egress.capture = Some(Capture { file, most: 1000 });
    record.traffic = Some(Traffic { not_captured: 7, ..Traffic::default() });
    assert_eq!(
        said(&record, Kept::No),
        "bryo: `/x/pack\\u{1b}ets` is full: 7 packets are not in it; --pcap-size sets how much it takes\n"
    );
}

#[test]
fn what_the_store_cannot_hold_of_a_layer_is_told_at_any_detail() {
    let mut record = record();
    ended(&mut record, Exit::Code(0));
    let mut held = Held::in_memory(4096);
    (held.state, held.left_out) = (HeldState::Kept, 2);
    held.first_left_out = Some("d/\u{1b}[2Jhuge".into());
    record.held = Some(held.clone());
    let told = "bryo: 2 files or attributes are not in its layer, as the store's file system cannot hold that: \
                `d/\\u{1b}[2Jhuge`\n";
    assert_eq!(said(&record, Kept::Yes), told);
    assert_eq!(footer(&record, Kept::Yes, Detail::Least, &Look::plain()), told);
    held.left_out = 0;
    record.held = Some(held);
    assert_eq!(said(&record, Kept::Yes), "");
}

#[test]
fn memory_that_ran_out_is_told_with_its_limit_and_the_flag() {
    let mut record = record();
    ended(&mut record, Exit::OutOfMemory);
    record.memory_kills = Some(MemoryKills { count: 1, own_limit: true });
    assert_eq!(
        said(&record, Kept::No),
        "bryo: 1 process was killed: the memory reached its limit of 64.0 MiB; to give more: --memory SIZE\n"
    );
    record.memory_kills = Some(MemoryKills { count: 2, own_limit: false });
    assert_eq!(
        said(&record, Kept::No),
        "bryo: 2 processes were killed: the memory of this machine, or of a group above, ran out\n"
    );
    record.memory_kills = Some(MemoryKills { count: 0, own_limit: false });
    ended(&mut record, Exit::Code(0));
    assert_eq!(said(&record, Kept::No), "");
}

#[test]
fn a_limit_that_was_reached_is_told_where_it_is_known() {
    let mut record = record();
    let limit = |soft, hard| Rlimit { resource: Resource::Cpu, soft: Some(soft), hard: Some(hard) };
    ended(&mut record, Exit::Signal(24));
    assert_eq!(said(&record, Kept::No), "", "SIGXCPU of somebody else's");
    record.spec.limits.rlimits = vec![limit(1, 3)];
    assert_eq!(
        said(&record, Kept::No),
        "bryo: ended by SIGXCPU: it had used 1 s of processor time; to give more: --ulimit cpu=SECONDS\n"
    );
    ended(&mut record, Exit::Signal(9));
    assert_eq!(said(&record, Kept::No), "", "it was told before, and went on");
    record.spec.limits.rlimits = vec![limit(2, 2)];
    let killed = said(&record, Kept::No);
    assert!(killed.contains("killed by SIGKILL, as is who uses more than 2 s"), "{killed}");
    assert!(killed.ends_with("--ulimit cpu=2:3\n"), "{killed}");
    ended(&mut record, Exit::Code(0));
    assert_eq!(said(&record, Kept::No), "");
    record.held = Some(Held { full: true, ..Held::in_memory(1 << 20) });
    assert_eq!(
        said(&record, Kept::No),
        "bryo: it ended with nothing left of the 1.0 MiB of --disk; to give more: --disk SIZE\n"
    );
}

#[test]
fn set_id_bits_have_no_flag_and_that_is_said() {
    let mut record = record();
    record.denied = vec![denied("fchmodat", 1)];
    assert_eq!(
        said(&record, Kept::No),
        "bryo: refused system calls: fchmodat (no flag gives set-id bits; leave them out of the mode: chmod 0755)\n"
    );
}

#[test]
fn the_steps_are_told_in_their_order_with_what_was_read_back() {
    let mut record = record();
    record.enforced = vec![
        Enforced { step: 4, title: "clone\n".into(), detail: None },
        Enforced { step: 12, title: "Landlock".into(), detail: Some("ABI 7".into()) },
    ];
    record.watched = vec!["end it after 90 s".into()];
    assert_eq!(
        steps(&record),
        "bryo:    4  clone\\n\nbryo:   12  Landlock: ABI 7\nbryo:       end it after 90 s\n"
    );
}
