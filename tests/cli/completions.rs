//! What shells are told to offer.

use std::process::{Command, Stdio};

use super::Caller;

#[test]
fn completions_exist_for_three_shells_and_parse() {
    let caller = Caller::new();
    let bash = caller.text(&["completions", "bash"]);
    let mut check = Command::new("bash").args(["-n"]).stdin(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut check.stdin.take().unwrap(), bash.as_bytes()).unwrap();
    assert!(check.wait().unwrap().success());
    assert!(bash.contains("if-available") && bash.contains("--nesting"), "{bash}");
    let zsh = caller.text(&["completions", "zsh"]);
    assert!(zsh.starts_with("#compdef bryo"));
    // Also the sandboxes whose network can be shared.
    let modes = |line: &&str| line.contains("'--network=[") || line.contains("'--net=[");
    assert!(zsh.lines().any(|line| modes(&line)));
    for line in zsh.lines().filter(modes) {
        assert!(
            line.ends_with("]:MODE: _bryo_networks none user host bridge pasta slirp4netns' \\"),
            "{line}"
        );
    }
    assert!(zsh.contains("found=(\"$@\" sandbox:${^found} bridge:${^nets})"), "{zsh}");
    assert!(zsh.contains(":NAME|FILE:_bryo_profiles'") && zsh.contains(":_bryo_nets'"), "{zsh}");
    assert!(caller.text(&["completions", "fish"]).contains("complete -c bryo"));
    assert!(caller.failure(&["completions", "tcsh"]).contains("there are none for it"));
    assert!(caller.failure(&["completions"]).contains("cannot go on without"));
}

/// Asks the function of bash for what it offers, call by call.
const OFFERED: &str = r#"
eval "$1"
offered() {
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
    _bryo_live bryo "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
    echo "${COMPREPLY[*]}"
}
# Of the one that stands here for ours.
command() { echo "of-$3"; }
offered bryo run --continue ""
offered bryo run --network ""
offered bryo run --network sandbox : ""
offered bryo run --network sandbox : of-
offered bryo run --network sandbox :
offered bryo run --network bridge :
offered bryo run --network bridge : of-n
offered bryo run --network br
offered bryo run --profile of-
offered bryo network rm ""
offered bryo network connect of-
offered bryo shell --network h
offered bryo stop -s K
offered bryo run --stop-signal US
offered bryo run --restart o
offered bryo ps --filter status=r
offered bryo ps --filter pub
offered bryo stop ""
"#;

#[test]
fn bash_is_offered_what_can_stand_there() {
    let caller = Caller::new();
    let bash = caller.text(&["completions", "bash"]);
    let output = Command::new("bash").args(["-c", OFFERED, "-", &bash]).output().unwrap();
    let expected = "\
of-start
none user host bridge pasta slirp4netns sandbox:of-exec bridge:of-networks
of-exec
of-exec
of-exec
of-networks
of-networks
bridge bridge:of-networks
of-profiles
-f -h --force --help of-networks
of-networks
host
KILL
USR1 USR2
on-failure
status=running status=restarting
publish=
-s -t -h --signal --timeout --time --help of-stop
";
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text, expected, "{}", String::from_utf8_lossy(&output.stderr));
}
