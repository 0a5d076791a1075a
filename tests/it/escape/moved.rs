//! Secrets where a variable of the caller's leads.

use std::os::unix::fs::symlink;

use super::{home_is_a_copy, sandbox};
use crate::support::World;

const MARK: &str = "the-mark-of-a-secret";

/// A variable, what it holds (`~` is the home), and where a secret then is below the home.
const LED: [(&str, &str, &str); 20] = [
    ("XDG_CONFIG_HOME", "~/conf", "conf/gh/hosts.yml"),
    ("XDG_DATA_HOME", "~/data", "data/keyrings/login.keyring"),
    ("XDG_STATE_HOME", "~/state/", "state/bash/history"),
    ("XDG_CACHE_HOME", "~/./cache", "cache/huggingface/token"),
    ("XDG_CONFIG_HOME", "~", "gh/hosts.yml"),
    ("CARGO_HOME", "~/cargo", "cargo/credentials.toml"),
    ("GNUPGHOME", "~/keys", "keys/private-keys-v1.d/one.key"),
    ("GNUPGHOME", "~/link-to-keys", "keys/private-keys-v1.d/one.key"),
    ("DOCKER_CONFIG", "docker", "project/docker/config.json"),
    ("KUBECONFIG", "~/project/one:~/two", "project/one"),
    ("KUBECONFIG", "~/one:~/two:", "two"),
    ("NETRC", "netrc", "project/netrc"),
    ("AWS_SHARED_CREDENTIALS_FILE", "../aws", "aws"),
    ("GOOGLE_APPLICATION_CREDENTIALS", "./key.json", "project/key.json"),
    ("HISTFILE", "~/typed", "typed"),
    ("KUBECONFIG", "/proc/self/cwd/kube", "project/kube"),
    ("KUBECONFIG", "/proc/thread-self/cwd/../kube:/dev/null", "kube"),
    ("GNUPGHOME", "/proc/self/root~/keys", "keys/private-keys-v1.d/one.key"),
    ("NETRC", "/dev/fd/../cwd/netrc", "project/netrc"),
    ("CLAUDE_CONFIG_DIR", "~/assistant", "assistant/.credentials.json"),
];

#[test]
fn a_secret_is_hidden_where_a_variable_says_that_it_is() {
    if !home_is_a_copy() {
        return;
    }
    for (variable, value, secret) in LED {
        let world = World::new();
        symlink("keys", world.path("link-to-keys")).unwrap();
        world.file(secret, MARK);
        let value = value.replace('~', world.home().to_str().unwrap());
        let attack = format!("cat ~/{secret}; grep -rl {MARK} ~ 2>/dev/null; true");
        // The control: without the variable it is a file like any other.
        sandbox(&world).run(&attack).stdout_has(MARK);
        let run = sandbox(&world).env("BRYO_STORE", world.store()).env(variable, &value);
        run.run(&attack).stdout_is("");
    }
}

#[test]
fn a_variable_that_leads_nowhere_changes_nothing() {
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    world.file("project/shown", MARK);
    let long = "/x".repeat(3000);
    for value in
        ["", "/", "//", "/dev/null", "/dev/fd/0", "/nowhere/at/all", "../../gone/../x", &long]
    {
        for variable in ["KUBECONFIG", "GNUPGHOME", "XDG_CONFIG_HOME", "HISTFILE"] {
            let run = sandbox(&world).env(variable, value);
            run.run("cat ~/project/shown /dev/null").succeeds().stdout_is(MARK);
        }
    }
}

#[test]
fn a_secret_elsewhere_is_opened_by_its_name_and_what_one_stands_in_is_refused() {
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    let config = world.file("project/kube", MARK);
    let run = |world: &World| sandbox(world).env("KUBECONFIG", &config);
    run(&world).args(["--read", "./kube"]).run("cat kube").succeeds().stdout_is(MARK);
    // All of the current directory is a secret: nobody meant that.
    let refused = sandbox(&world).env("DOCKER_CONFIG", world.project()).run("cat kube");
    refused.refuses_with(&["secret", "as the variable `DOCKER_CONFIG` says", "--read"]);
    // Also where links lead to it: the variable's own, and one of the command line's.
    symlink("project", world.path("way")).unwrap();
    let refused = sandbox(&world).env("DOCKER_CONFIG", world.path("way")).run("cat kube");
    refused.refuses_with(&["secret", "as the variable `DOCKER_CONFIG` says", "--read"]);
    symlink(&config, world.path("project/link")).unwrap();
    let refused = run(&world).args(["--read", "./link"]).run("cat link");
    refused.refuses_with(&[
        "leads to",
        "as the variable `KUBECONFIG` says",
        "name it without the link",
    ]);
    // What is a secret anyway is one by no variable.
    world.file(".ssh/key", MARK);
    let refused = run(&world).in_folder(world.path(".ssh")).run("cat key");
    refused.refuses_with(&["secret", "--read"]).stderr_lacks("variable");
}

#[test]
fn a_variable_that_leads_to_the_systems_programs_is_refused_by_its_name() {
    let world = World::new();
    for place in ["/usr", "/usr/bin", "/bin", "/proc/self/root/usr"] {
        let refused = sandbox(&world).env("GNUPGHOME", place).run("true");
        refused.refuses_with(&[
            "the variable `GNUPGHOME`",
            "programs need it",
            "unset `GNUPGHOME`",
        ]);
    }
    // The control: without it, or with one beside it.
    sandbox(&world).run("true").succeeds();
    sandbox(&world).env("GNUPGHOME", "/usr/nothing").run("true").succeeds();
}
