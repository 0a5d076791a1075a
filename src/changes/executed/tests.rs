//! What is marked, and what is not.

mod repositories;

use super::*;
use crate::changes::Aspects;
use crate::plan::step::LayerNumber;
use crate::state::Timestamp;

fn change(path: &str, kind: Kind, now: FileKind, mode: u32) -> Change {
    let time = Timestamp::from_parts(1, 0);
    let node = Node {
        kind: now,
        mode,
        owner: 1000,
        group: 1000,
        links: 1,
        inode: (1, 1),
        size: Some(0),
        data: 0,
        target: None,
        device: None,
        modified: time,
        changed: time,
    };
    Change {
        path: HostPath::new(path).unwrap(),
        kind,
        differs: Aspects::default(),
        now: (kind != Kind::Deleted).then_some(node),
        was: None,
        hidden: false,
        stale: false,
        trouble: None,
        layer: LayerNumber(0),
    }
}

fn later() -> Later {
    let path = |path| HostPath::new(path).unwrap();
    Later::new(Some(&path("/home/al")), [path("/opt/tools"), HostPath::root()])
}

fn of(path: &str) -> Option<Executed> {
    later().executes(&change(path, Kind::Changed, FileKind::File, 0o644))
}

#[test]
fn what_others_execute_is_known_wherever_it_lies() {
    for (path, executed) in [
        ("/home/al/.bashrc", Executed::Shell),
        ("/srv/x/.profile", Executed::Shell),
        ("/home/al/.config/fish/conf.d/x.fish", Executed::Shell),
        ("/home/al/.config/autostart/x.desktop", Executed::Session),
        ("/home/al/x.desktop", Executed::Session),
        ("/home/al/.gitconfig", Executed::Git),
        // `.profile` and `.bashrc` have these read, whatever their mode.
        ("/home/al/.cargo/env", Executed::Shell),
        ("/home/al/.local/bin/env", Executed::Shell),
        ("/home/al/.config/starship.toml", Executed::Shell),
        ("/home/al/.ssh/config.d/work", Executed::Ssh),
        ("/w/rust-toolchain.toml", Executed::Build),
        ("/w/.git/config", Executed::Git),
        ("/w/.git/hooks/pre-commit", Executed::Git),
        ("/w/.git/modules/a/b/config", Executed::Git),
        ("/w/.git/modules/a/hooks/post-checkout", Executed::Git),
        ("/w/.git/worktrees/a/config.worktree", Executed::Git),
        // It says whose configuration and hooks are used.
        ("/w/.git/worktrees/a/commondir", Executed::Git),
        ("/w/.git/modules/a/commondir", Executed::Git),
        ("/w/a.git/commondir", Executed::Git),
        ("/w/a.git/config.worktree", Executed::Git),
        ("/w/a.git/info/attributes", Executed::Git),
        ("/w/.git/worktrees/a/rebase-merge/git-rebase-todo", Executed::Git),
        // A bare repository of any name, which `git status` in it obeys.
        ("/w/docs/HEAD", Executed::Git),
        ("/w/a.git/docs/HEAD", Executed::Git),
        ("/w/a.git/config", Executed::Git),
        ("/w/a.git/hooks/update", Executed::Git),
        ("/w/sub/.git", Executed::Git),
        ("/w/.git/rebase-merge/git-rebase-todo", Executed::Git),
        ("/w/.husky/pre-push", Executed::Git),
        ("/w/.envrc", Executed::Environment),
        ("/w/.vscode/tasks.json", Executed::Editor),
        ("/w/a.code-workspace", Executed::Editor),
        ("/home/al/.config/nvim/lua/x/y.lua", Executed::Editor),
        ("/w/.claude/settings.json", Executed::Agent),
        ("/w/AGENTS.md", Executed::Agent),
        ("/w/.github/workflows/ci.yml", Executed::Ci),
        ("/w/.gitlab-ci.yml", Executed::Ci),
        ("/w/.cargo/config.toml", Executed::Packages),
        ("/home/al/.local/lib/python3.11/site-packages/x.py", Executed::Interpreter),
        ("/w/evil.pth", Executed::Interpreter),
        ("/var/spool/cron/crontabs/al", Executed::Cron),
        ("/home/al/.config/systemd/user/x.service", Executed::Systemd),
        ("/home/al/.ssh/authorized_keys", Executed::Ssh),
        ("/etc/profile.d/x.sh", Executed::System),
        ("/home/al/.config/bryo/profiles/mine.toml", Executed::Bryo),
    ] {
        assert_eq!(of(path), Some(executed), "{path}");
    }
}

#[test]
fn letter_case_does_not_hide_a_path_from_a_file_system_that_ignores_it() {
    assert_eq!(of("/w/.GIT/Hooks/pre-commit"), Some(Executed::Git));
    assert_eq!(of("/home/al/.BashRC"), Some(Executed::Shell));
}

#[test]
fn what_nobody_executes_is_not_marked() {
    for path in [
        "/w/src/main.rs",
        "/w/a/config",
        "/w/hooks/pre-commit",
        "/w/x.git/hooks/pre-commit.sample",
        "/w/.git/hooks/pre-commit.sample",
        "/w/.git/objects/ab/cdef",
        "/w/.git/HEAD",
        "/w/.git/logs/HEAD",
        "/w/.git/refs/remotes/origin/HEAD",
        "/w/.git/modules/a/HEAD",
        "/w/.git/info/exclude",
        "/w/info/attributes",
        "/w/src/head.rs",
        "/w/x.bashrc",
        "/w/bashrc",
        "/w/git/config",
        "/w/etc/passwd",
        "/w/x.vscode/tasks.json",
        "/w/authorized_keys",
        "/home/al/bin/readme",
        "/w/.vscodex/tasks.json",
        "/w/.config/bryox/y",
        "/w/Makefile",
        "/w/package.json",
    ] {
        assert_eq!(of(path), None, "{path}");
    }
}

#[test]
fn build_descriptions_count_when_they_are_new() {
    for name in ["Makefile", "build.rs", "package.json", "setup.py"] {
        let path = format!("/w/{name}");
        let with = |kind| later().executes(&change(&path, kind, FileKind::File, 0o644));
        assert_eq!(with(Kind::Added), Some(Executed::Build));
        assert_eq!(with(Kind::Changed), None);
        let mut swapped = change(&path, Kind::Changed, FileKind::Link, 0o777);
        swapped.differs.set(Aspect::Type, true);
        assert_eq!(later().executes(&swapped), Some(Executed::Build));
    }
}

#[test]
fn a_link_in_the_place_of_a_directory_that_is_looked_in_is_marked() {
    for (path, executed) in [
        ("/w/.git", Executed::Git),
        ("/w/.git/hooks", Executed::Git),
        ("/home/al/.config/systemd", Executed::Systemd),
        ("/home/al/.config/systemd/user", Executed::Systemd),
        ("/w/.vscode", Executed::Editor),
    ] {
        let with = |now, mode| later().executes(&change(path, Kind::Added, now, mode));
        let marked = with(FileKind::Link, 0o777);
        // The link of `user` lies in a directory that says it already.
        assert_eq!(marked, Some(executed), "{path}");
        assert_eq!(with(FileKind::Directory, 0o755), None, "{path}");
    }
    let plain = change("/w/docs", Kind::Added, FileKind::Link, 0o777);
    assert_eq!(later().executes(&plain), None);
    assert!(later().executes(&change("/h/.config", Kind::Added, FileKind::Link, 0o777)).is_some());
}

#[test]
fn commands_are_what_can_be_executed_where_commands_are_looked_for() {
    for directory in ["/home/al/bin", "/opt/tools", "/home/bo/.local/bin", "/w/node_modules/.bin"] {
        let path = format!("{directory}/ls");
        let with = |now, mode| later().executes(&change(&path, Kind::Added, now, mode));
        assert_eq!(with(FileKind::File, 0o755), Some(Executed::Command), "{path}");
        assert_eq!(with(FileKind::Link, 0o777), Some(Executed::Command), "{path}");
        assert_eq!(with(FileKind::File, 0o644), None, "{path}");
    }
}

/// Directories whose names differ by letter case alone follow each other when a payload wants it.
#[test]
fn what_was_found_of_one_directory_is_not_said_of_another() {
    let mut later = later();
    let mut ask = |path| later.executes(&change(path, Kind::Added, FileKind::File, 0o755));
    assert_eq!(ask("/home/al/BIN/ls"), None);
    assert_eq!(ask("/home/al/bin/ls"), Some(Executed::Command));
    assert_eq!(ask("/home/al/bin2/ls"), None);
}

#[test]
fn what_is_deleted_executes_nothing() {
    let gone = change("/home/al/.bashrc", Kind::Deleted, FileKind::File, 0o644);
    assert_eq!(later().executes(&gone), None);
}

#[test]
fn rules_are_written_in_small_letters_and_each_once() {
    let all: Vec<&str> =
        FILES.iter().chain(BELOW).flat_map(|(_, list)| list.split_whitespace()).collect();
    for rule in all.iter().copied().chain(NEW.split_whitespace()) {
        assert_eq!(rule, rule.to_ascii_lowercase());
        assert!(!rule.ends_with('/') && !rule.is_empty(), "{rule}");
    }
    let mut sorted = all.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), all.len());
}

/// The host's tree in a directory: links as `NAME -> TARGET`, directories with a slash at the end.
fn tree(lines: &[&str]) -> (tempfile::TempDir, HostPath) {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    for line in lines {
        if let Some((name, target)) = line.split_once(" -> ") {
            std::fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(target, root.join(name)).unwrap();
        } else {
            std::fs::create_dir_all(root.join(line)).unwrap();
        }
    }
    (directory, HostPath::new(&root).unwrap())
}

#[test]
fn what_a_link_of_the_home_leads_to_is_executed_under_the_links_name() {
    let (_held, home) = tree(&[
        ".bashrc -> dot/bashrc",
        ".zshrc -> far/zshrc",
        "far -> files/far",
        ".config/fish/config.fish -> ../../dot/fish/config.fish",
        ".config/nvim -> ../dot/nvim",
        ".ssh/config -> ../dot/missing/ssh",
        ".vimrc -> .vimrc",
        ".profile -> /proc/self/cwd/../..",
        "notes -> dot/notes",
    ]);
    let mut later = Later::new(Some(&home), []);
    let mut ask = |path: &str, now| {
        later.executes(&change(&format!("{home}/{path}"), Kind::Changed, now, 0o644))
    };
    for (path, executed) in [
        ("dot/bashrc", Executed::Shell),
        // Each place on the way.
        ("far/zshrc", Executed::Shell),
        ("files/far/zshrc", Executed::Shell),
        ("dot/fish/config.fish", Executed::Shell),
        ("dot/nvim/lua/x.lua", Executed::Editor),
        ("dot/missing/ssh", Executed::Ssh),
    ] {
        assert_eq!(ask(path, FileKind::File), Some(executed), "{path}");
    }
    // A link in the place of a directory on the way leads elsewhere.
    assert!(ask("dot", FileKind::Link).is_some());
    assert!(ask("dot/fish", FileKind::Link).is_some());
    for path in ["dot/other", "dot/bashrc2", "dot/notes", "dot/nvim2/x", "files/zshrc"] {
        assert_eq!(ask(path, FileKind::File), None, "{path}");
    }
    assert_eq!(ask("files/other", FileKind::Link), None);
    assert_eq!(ask("dot", FileKind::Directory), None);
}

#[test]
fn what_a_link_of_a_repository_leads_to_is_executed_under_the_links_name() {
    let (_held, root) = tree(&[
        "w/.git/hooks/pre-commit -> ../../scripts/pc",
        "w/.git/hooks/pre-push -> ../../../shared/push",
        "w/.envrc -> conf/envrc",
        "w/sub/deep",
        "hooked/.git",
        "hooked/.git/hooks -> ../hooks",
        "plain/.envrc -> conf/envrc",
    ]);
    let with = |mut later: Later, path: &str| {
        later.executes(&change(&format!("{root}/{path}"), Kind::Changed, FileKind::File, 0o644))
    };
    for (path, executed) in [
        ("w/scripts/pc", Executed::Git),
        ("w/conf/envrc", Executed::Environment),
        ("hooked/hooks/post-merge", Executed::Git),
    ] {
        assert_eq!(with(Later::default(), path), Some(executed), "{path}");
    }
    for path in ["w/scripts/other", "plain/conf/envrc", "shared/push"] {
        assert_eq!(with(Later::default(), path), None, "{path}");
    }
    // Where the caller stands is looked at whatever changed.
    let standing = |at: &str| Later::default().with_project(&root.join(at).unwrap());
    assert_eq!(with(standing("w"), "shared/push"), Some(Executed::Git));
    assert_eq!(with(standing("plain"), "plain/conf/envrc"), Some(Executed::Environment));
}

#[test]
fn repositories_are_found_in_whichever_order_changes_come() {
    let (_held, root) = tree(&["a/.git", "a/.envrc -> x/e", "b/.git", "b/.envrc -> x/e"]);
    let mut later = Later::default();
    for path in ["a/x/y/z", "b/x/e", "a/x/e", "b/x/y/z", "a/x/e"] {
        let change = change(&format!("{root}/{path}"), Kind::Added, FileKind::File, 0o644);
        let expected = path.ends_with("/e").then_some(Executed::Environment);
        assert_eq!(later.executes(&change), expected, "{path}");
    }
}
