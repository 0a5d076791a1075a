//! Reading policies: ours and Docker's, and every way in which they can be wrong.

use bryo::plan::seccomp::Arch;
use bryo::spec::Capability;
use bryo::spec::seccomp::{
    Abi32, Action, Argument, Call, Comparison, Errno, KernelVersion, MAX_FILE_BYTES, Nesting,
    Operator, Policy, PolicyError, PolicyVariant, docker, file,
};

fn ours(text: &str) -> Result<Policy, PolicyError> {
    file::parse(text, "test.toml")
}

fn theirs(text: &str) -> Result<Policy, PolicyError> {
    docker::parse(text, "test.json")
}

fn message<T>(result: Result<T, PolicyError>) -> String {
    result.err().map(|error| error.to_string()).unwrap_or_default()
}

const HEAD: &str =
    "name = 'p'\ndefault = 'errno EPERM'\nunknown = 'errno ENOSYS'\nabi32 = 'refuse'\n";

/// A file of ours with one rule.
fn rule(rest: &str) -> String {
    message(ours(&format!("{HEAD}[[rule]]\n{rest}\n")))
}

/// A file of Docker's with one entry.
fn entry(rest: &str) -> String {
    message(theirs(&format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{{{rest}}}]}}"#)))
}

#[test]
fn an_action_and_a_comparison_are_written_as_they_are_read() {
    for text in [
        "allow",
        "errno EPERM",
        "errno 200",
        "notify EAFNOSUPPORT",
        "trap",
        "log",
        "kill-thread",
        "kill",
    ] {
        assert_eq!(text.parse::<Action>().unwrap().to_string(), text);
    }
    for text in ["arg0 == 0x1", "arg5 & 0xff != 0x10", "arg1 <= 0xffffffffffffffff", "arg2 > 0x0"] {
        assert_eq!(text.parse::<Comparison>().unwrap().to_string(), text);
    }
    let octal: Comparison = "arg1 & 0o6000 != 0".parse().unwrap();
    assert_eq!((octal.mask(), octal.value(), octal.operator()), (0xc00, 0, Operator::NotEqual));
    for text in [
        "",
        "arg6 == 1",
        "arg0 = 1",
        "arg0 == ",
        "arg0 & == 1",
        "arg0 == -1",
        "arg0 == +1",
        "arg0 == 0xg",
        "arg0 == 0x10000000000000000",
        "arg0 & 1 == 2",
        "arg0 & 1 < 1",
        "arg0 == 1 arg1 == 1",
        "0 == 1",
        "arg+1 == 1",
    ] {
        assert!(text.parse::<Comparison>().is_err(), "{text}");
    }
    for text in
        ["", "permit", "errno", "errno EWHAT", "errno 0", "errno 4096", "allow EPERM", "Allow"]
    {
        assert!(text.parse::<Action>().is_err(), "{text}");
    }
}

#[test]
fn a_policy_survives_json() {
    for name in ["default", "default-32", "strict", "init", "floor"] {
        let policy = file::builtin(name).unwrap().unwrap();
        let json = serde_json::to_string(&policy).unwrap();
        assert_eq!(serde_json::from_str::<Policy>(&json).unwrap(), policy, "{name}");
    }
    let capabilities = [Capability::from_name("CAP_SYS_ADMIN").unwrap()].into_iter().collect();
    let kernel = KernelVersion::new(6, 12);
    let variant = PolicyVariant { capabilities, kernel, ..PolicyVariant::default() };
    let json = serde_json::to_string(&variant).unwrap();
    assert_eq!(serde_json::from_str::<PolicyVariant>(&json).unwrap(), variant, "{json}");
}

#[test]
fn every_wrong_file_of_ours_is_one_precise_error() {
    let wrong = [
        (ours("nonsense"), "line 1 column"),
        (ours("name = 'p'"), "cannot find `default` in seccomp policy `test.toml`"),
        (ours(&format!("{HEAD}colour = 1\n")), "line 5 column 1: unknown field `colour`"),
        (ours(&format!("{HEAD}extends = 'mine'\n")), "no built-in policy has that name"),
        (ours(&format!("{HEAD}extends = 'floor'\n")), "no built-in policy has that name"),
        (ours(&HEAD.replace("errno EPERM", "deny")), "`deny` is not an action"),
        (ours(&HEAD.replace("'refuse'", "'maybe'")), "unknown variant `maybe`"),
        (ours(&HEAD.replace("'p'", "7")), "invalid type"),
    ];
    for (result, expected) in wrong {
        let text = message(result);
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains('\n'), "{text}");
    }
    let complete = "action = 'allow'\nreason = 'r'";
    assert_eq!(rule(&format!("calls = ['read']\n{complete}")), "");
    for (rest, expected) in [
        ("calls = []\naction = 'allow'\nreason = 'r'", "it names no call"),
        ("calls = ['read']\naction = 'allow'", "missing field `reason`"),
        ("calls = ['read']\naction = 'allow'\nreason = ' '", "it gives no reason"),
        ("calls = ['read']\nargs = ['arg9 == 1']\naction = 'allow'\nreason = 'r'", "arg9"),
        ("calls = ['read']\nonly = { moon = 'full' }\naction = 'allow'\nreason = 'r'", "`moon`"),
        (
            "calls = ['read']\nonly = { capabilities = ['CAP_X'] }\naction = 'allow'\nreason = 'r'",
            "CAP_X",
        ),
    ] {
        assert!(rule(rest).contains(expected), "{}", rule(rest));
    }
    let group = "[[group]]\ntitle = 't'\naction = 'allow'\n[group.calls]\nread = 'r'\n";
    let twice = message(ours(&format!("{HEAD}{group}{group}")));
    assert!(twice.contains("`read` is in another group already"), "{twice}");
}

#[test]
fn what_a_file_says_arrives_escaped_in_a_message() {
    let hostile = "\\u001b]0;title\\u0007\\u202e";
    let texts = [
        message(theirs(&format!(r#"{{"{hostile}":1}}"#))),
        message(theirs(&format!(r#"{{"defaultAction":"{hostile}"}}"#))),
        entry(&format!(r#""names":["read"],"action":"{hostile}""#)),
        entry(&format!(r#""names":["read"],"action":"SCMP_ACT_ERRNO","errno":"{hostile}""#)),
        rule(&format!("calls = ['read']\naction = \"{hostile}\"\nreason = 'r'")),
        message(ours(&format!("{HEAD}extends = \"{hostile}\""))),
        message(ours(&format!("{HEAD}\"{hostile}\" = 1"))),
        message(file::parse("x", "name\u{1b}[2J\u{202e}")),
    ];
    for text in texts {
        assert!(!text.is_empty());
        assert!(text.chars().all(|c| !c.is_control() && c != '\u{202e}'), "{text:?}");
    }
}

#[test]
fn more_than_the_bounds_is_refused() {
    let long = " ".repeat(MAX_FILE_BYTES + 1);
    assert!(message(ours(&long)).contains("more than 1048576"));
    assert!(message(theirs(&long)).contains("more than 1048576"));
    let entries = vec![r#"{"names":["read"],"action":"SCMP_ACT_ERRNO"}"#; 2049].join(",");
    let many = format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{entries}]}}"#);
    assert!(message(theirs(&many)).contains("2049 rules, more than 2048"));
    let names = vec![r#""read""#; 1025].join(",");
    assert!(
        entry(&format!(r#""names":[{names}],"action":"SCMP_ACT_ERRNO""#)).contains("1025 calls")
    );
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(message(theirs(&deep)).contains("cannot parse"));
    assert!(message(ours(&format!("x = {deep}"))).contains("cannot parse"));
}

#[test]
fn a_file_that_extends_a_built_in_one_decides_first() {
    let text = "name = 'mine'\nextends = 'default'\nabi32 = 'kill'\n\
        [[group]]\ntitle = 't'\naction = 'allow'\n[group.calls]\nptrace = 'r'\nioctl = 'every request'\n";
    let policy = ours(text).unwrap();
    let base = file::builtin("default").unwrap().unwrap();
    assert_eq!(
        (policy.default, policy.unknown, policy.abi32),
        (base.default, base.unknown, Abi32::Kill)
    );
    let first = |name: &str| {
        let call = Call::Name(name.to_owned());
        let rule = policy.rules.iter().find(|rule| rule.calls.contains(&call)).unwrap();
        (rule.action, rule.inherited)
    };
    // The base's exceptions for terminals are not reached: a call that is always decided is.
    assert_eq!(first("ioctl"), (Action::Allow, false));
    assert_eq!(first("ptrace"), (Action::Allow, false));
    assert_eq!(first("bpf"), (Action::Notify(Errno::EPERM), true));
}

const DOCKERS_WORDS: &str = r#"{
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
        "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X32"]},
                    {"architecture": "SCMP_ARCH_S390X", "subArchitectures": null}],
        "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "syscalls": [
            {"name": "read", "action": "SCMP_ACT_ALLOW", "comment": "why", "args": null},
            {"names": ["clone"], "action": "SCMP_ACT_ALLOW",
             "args": [{"index": 0, "value": 2114060288, "op": "SCMP_CMP_MASKED_EQ"}],
             "includes": {"caps": ["CAP_SYS_ADMIN"], "arches": ["amd64"], "minKernel": "4.8"},
             "excludes": {"caps": ["CAP_CHOWN"], "arches": ["s390x"], "minKernel": "9.1"}},
            {"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 22, "errno": "EINVAL",
             "args": [{"index": 0, "value": 16, "op": "SCMP_CMP_EQ"},
                      {"index": 0, "value": 17, "op": "SCMP_CMP_GE"}]},
            {"names": ["mount"], "action": "SCMP_ACT_NOTIFY"},
            {"names": ["umount"], "action": "SCMP_ACT_KILL"},
            {"names": ["swapon"], "action": "SCMP_ACT_KILL_PROCESS"},
            {"names": ["swapoff"], "action": "SCMP_ACT_TRAP"},
            {"names": ["reboot"], "action": "SCMP_ACT_LOG"}
        ]}"#;

#[test]
fn dockers_words_become_ours() {
    let policy = theirs(DOCKERS_WORDS).unwrap();
    assert_eq!((policy.default, policy.abi32), (Action::Errno(Errno::ENOSYS), Abi32::Refuse));
    let actions: Vec<String> = policy.rules.iter().map(|rule| rule.action.to_string()).collect();
    // Two comparisons of one argument are two rules, as runc has it.
    let expected = [
        "allow",
        "allow",
        "errno EINVAL",
        "errno EINVAL",
        "notify EPERM",
        "kill-thread",
        "kill",
        "trap",
        "log",
    ];
    assert_eq!(actions, expected);
    assert_eq!(policy.rules[0].reason, "why");
    let zero = Argument::new(0).unwrap();
    let masked = Comparison::new(zero, 0x7e02_0000, Operator::Equal, 0).unwrap();
    assert_eq!(policy.rules[1].args, [masked]);
    let only = &policy.rules[1].only;
    let kept = |name: &str| [Capability::from_name(name).unwrap()].into_iter().collect();
    let variant = |capabilities, kernel| PolicyVariant {
        capabilities,
        kernel: KernelVersion::new(kernel, 1),
        ..PolicyVariant::default()
    };
    let admin = kept("CAP_SYS_ADMIN");
    assert!(only.hold(&variant(admin, 6), Arch::X86_64.docker_name()));
    assert!(!only.hold(&variant(admin, 6), Arch::Aarch64.docker_name()));
    assert!(!only.hold(&variant(admin, 9), "amd64"));
    assert!(!only.hold(&variant(admin.union(kept("CAP_CHOWN")), 6), "amd64"));
    assert!(!only.hold(&variant(kept("CAP_CHOWN"), 6), "amd64"));
}

#[test]
fn every_wrong_file_of_dockers_is_one_precise_error() {
    let read = r#""names":["read"]"#;
    let arg = |text: &str| format!(r#"{read},"action":"SCMP_ACT_ALLOW","args":[{text}]"#);
    let with = |text: &str| format!(r#"{read},"action":"SCMP_ACT_ERRNO",{text}"#);
    for (rest, expected) in [
        (r#""names":["read"]"#.to_owned(), "missing field `action`"),
        (r#""action":"SCMP_ACT_ALLOW""#.to_owned(), "it names no call"),
        (
            format!(r#"{read},"action":"SCMP_ACT_TRACE""#),
            "action `SCMP_ACT_TRACE` is not supported",
        ),
        (format!(r#"{read},"action":"SCMP_ACT_DENY""#), "action `SCMP_ACT_DENY` is not supported"),
        (format!(r#"{read},"action":"SCMP_ACT_ALLOW","errnoRet":1"#), "takes no errno"),
        (with(r#""errnoRet":0"#), "`0` is not an errno"),
        (with(r#""errnoRet":4096"#), "`4096` is not an errno"),
        (with(r#""errnoRet":-1"#), "invalid value"),
        (with(r#""errnoRet":1,"errno":"EINVAL""#), "exclude each other"),
        (with(r#""errno":"EWHAT""#), "`EWHAT` is not an errno"),
        (with(r#""name":"write""#), "`name` and `names` exclude each other"),
        (with(r#""colour":1"#), "unknown field `colour`"),
        (with(r#""includes":{"caps":["CAP_X"]}"#), "`CAP_X` is not a capability"),
        (with(r#""includes":{"minKernel":"4"}"#), "`4` is not a kernel version"),
        (with(r#""excludes":{"minkernel":"4.8"}"#), "unknown field `minkernel`"),
        (arg(r#"{"index":6,"value":1,"op":"SCMP_CMP_EQ"}"#), "argument 6 does not exist"),
        (arg(r#"{"index":0,"value":1,"op":"SCMP_CMP_X"}"#), "`SCMP_CMP_X` is not a comparison"),
        (
            arg(r#"{"index":0,"value":1,"valueTwo":2,"op":"SCMP_CMP_MASKED_EQ"}"#),
            "outside its mask",
        ),
        (arg(r#"{"index":0,"value":-1,"op":"SCMP_CMP_EQ"}"#), "invalid value"),
        (arg(r#"{"index":0,"value":1}"#), "missing field `op`"),
    ] {
        assert!(entry(&rest).contains(expected), "{rest}: {}", entry(&rest));
    }
    for (text, expected) in [
        ("", "EOF"),
        ("[]", "invalid"),
        (r#"{"syscalls":[]}"#, "missing field `defaultAction`"),
        (r#"{"defaultAction":"SCMP_ACT_ALLOW","defaultErrnoRet":1}"#, "takes no errno"),
        (r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_PDP11"]}"#, "PDP11"),
        (r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SOMETHING"]}"#, "SOMETHING"),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/s"}"#,
            "cannot honour `listenerPath`",
        ),
        (r#"{"defaultAction":"SCMP_ACT_ALLOW"} trailing"#, "trailing"),
        (r#"{"defaultAction":"SCMP_ACT_ALLOW","defaultAction":"SCMP_ACT_ALLOW"}"#, "duplicate"),
    ] {
        assert!(message(theirs(text)).contains(expected), "{text}: {}", message(theirs(text)));
    }
}

#[test]
fn whether_a_policy_gives_power_over_mounts_is_told_on_the_safe_side() {
    let admin = Capability::from_name("SYS_ADMIN").unwrap();
    let keeps =
        PolicyVariant { capabilities: [admin].into_iter().collect(), ..PolicyVariant::default() };
    let nests = PolicyVariant { nesting: Nesting::Allow, ..keeps };
    for name in ["default", "strict"] {
        let policy = file::builtin(name).unwrap().unwrap();
        assert!(!policy.may_lift_masks(&keeps), "{name}");
    }
    assert!(file::builtin("default").unwrap().unwrap().may_lift_masks(&nests));
    let rule = |rest: &str| ours(&format!("{HEAD}[[rule]]\n{rest}\nreason = 'x'\n")).unwrap();
    for (rest, lifts) in [
        ("calls = ['read']\naction = 'allow'", false),
        ("calls = ['open_tree']\naction = 'errno EPERM'", false),
        ("calls = ['read', 'open_tree']\naction = 'allow'", true),
        ("calls = ['mount_setattr']\nargs = ['arg2 == 0']\naction = 'log'", true),
        ("calls = ['mount']\nonly = { capabilities = ['CAP_SYS_ADMIN'] }\naction = 'allow'", true),
        ("calls = ['mount']\nonly = { capabilities = ['CAP_CHOWN'] }\naction = 'allow'", false),
    ] {
        assert_eq!(rule(rest).may_lift_masks(&keeps), lifts, "{rest}");
    }
    let allows = theirs(r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[]}"#).unwrap();
    assert!(allows.may_lift_masks(&keeps));
}
