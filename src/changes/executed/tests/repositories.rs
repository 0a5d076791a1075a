//! What git executes that the host's settings name.

use super::{Executed, FileKind, HostPath, Kind, Later, change, tree};

/// The host's tree with files, as `NAME = TEXT`.
fn tree_with(lines: &[&str]) -> (tempfile::TempDir, HostPath) {
    let (files, others): (Vec<&str>, Vec<&str>) =
        lines.iter().partition(|line| line.contains(" = "));
    let (held, root) = tree(&others);
    for line in files {
        let (name, text) = line.split_once(" = ").unwrap();
        let path = root.as_path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    (held, root)
}

fn asks(later: &mut Later, root: &HostPath, path: &str, kind: FileKind) -> Option<Executed> {
    later.executes(&change(&format!("{root}/{path}"), Kind::Changed, kind, 0o644))
}

#[test]
fn what_the_settings_of_the_host_name_is_executed_by_git() {
    let (_held, root) = tree_with(&[
        "w/.git/config = [core]\nhooksPath = util/hooks\n[include]\npath = ../conf/git\n\
         [filter \"x\"]\nclean = sh -c 'bin/clean %f' --with=lib/x\n[diff \"y\"]\ntextconv = conv.py\n\
         [remote \"o\"]\nurl = https://host/a/b\n",
        "w/conf/git = [alias]\nx = !~/aliased/run && ../out/side\n[core]\nfsmonitor = conf/monitor\n",
        "w/conv.py = x",
        "w/util/hooks -> ../real/hooks",
        "w/real -> actual",
        "home/.gitconfig = [core]\nhooksPath = ~/githooks\n[includeIf \"gitdir:/none\"]\npath = inc/a\n",
        "home/inc/a = [merge \"z\"]\ndriver = ./merge %A\n",
    ]);
    let mut later = Later::new(Some(&root.join("home").unwrap()), []);
    for path in [
        "w/util/hooks/pre-commit",
        "w/real/hooks/pre-commit",
        "w/actual/hooks/pre-commit",
        "w/Util/hooks/sub/x",
        "w/conf/git",
        "w/conf/monitor",
        "w/bin/clean",
        "w/lib/x",
        "w/conv.py",
        "home/aliased/run",
        "out/side",
        "w/merge",
        "home/inc/a",
    ] {
        // Something of the repository has to change for it to be found.
        assert_eq!(asks(&mut later, &root, "w/x", FileKind::File), None);
        assert_eq!(asks(&mut later, &root, path, FileKind::File), Some(Executed::Git), "{path}");
    }
    assert_eq!(asks(&mut later, &root, "home/githooks/x", FileKind::File), Some(Executed::Git));
    for link in ["w/util", "w/actual", "home/aliased"] {
        assert_eq!(asks(&mut later, &root, link, FileKind::Link), Some(Executed::Git), "{link}");
    }
    for path in [
        "w/util/hooks.txt",
        "w/util/other",
        "w/bin/clean2",
        "w/util/hooks/x.sample",
        "w/python.py",
        "hooks/pre-commit",
    ] {
        assert_eq!(asks(&mut later, &root, path, FileKind::File), None, "{path}");
    }
    assert_eq!(asks(&mut later, &root, "w/util", FileKind::Directory), None);
}

#[test]
fn a_repository_that_lies_elsewhere_is_followed_to_its_settings_and_hooks() {
    let (_held, root) = tree_with(&[
        "w/.git = gitdir: ../far/store\n",
        "far/store/HEAD = ref: x",
        "far/store/config = [core]\nhooksPath = h\n",
        "far/store/objects",
        "tree/.git = gitdir: ../main/odd/tree\n",
        "main/odd/tree/commondir = ../../common\n",
        "main/common/config = [core]\nhooksPath = checks\n",
        "bare/HEAD = ref: x",
        "bare/objects",
        "bare/config = [core]\nworktree = ../side\nhooksPath = hh\n",
        "notbare/HEAD = x",
    ]);
    let git = Some(Executed::Git);
    for (path, executed) in [
        ("w/h/pre-push", git),
        ("tree/checks/pre-push", git),
        // Found by what lies in them.
        ("far/store/hooks/pre-push", git),
        ("far/store/config", git),
        ("bare/hooks/update", git),
        ("side/hh/pre-commit", None),
        ("bare/description", None),
        ("notbare/hooks/update", None),
        ("main/common/hooks/x", None),
    ] {
        let mut later = Later::default();
        assert_eq!(asks(&mut later, &root, path, FileKind::File), executed, "{path}");
    }
    let mut later = Later::default();
    for (path, executed) in [
        ("bare/description", None),
        ("side/hh/pre-commit", git),
        ("tree/x", None),
        ("main/common/hooks/x", git),
        ("main/common/config", git),
        ("main/odd/tree/config.worktree", git),
    ] {
        assert_eq!(asks(&mut later, &root, path, FileKind::File), executed, "{path}");
    }
}

#[test]
fn repositories_beside_which_the_caller_stands_are_known_whatever_changed() {
    let (_held, root) =
        tree_with(&["all/a/.git/config = [core]\nhooksPath = ../../shared\n", "all/b/x = y"]);
    let mut later = Later::default();
    assert_eq!(asks(&mut later, &root, "shared/pre-commit", FileKind::File), None);
    let mut later = Later::default().with_project(&root.join("all").unwrap());
    let found = asks(&mut later, &root, "shared/pre-commit", FileKind::File);
    assert_eq!(found, Some(Executed::Git));
}

#[test]
fn what_is_no_regular_file_is_not_read_as_settings() {
    let (_held, root) = tree_with(&["w/.git/objects", "w/.git/config -> /dev/zero", "x/y = z"]);
    let pipe = root.as_path().join("x/.git");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
    let mut later = Later::default();
    assert_eq!(asks(&mut later, &root, "w/a", FileKind::File), None);
    assert_eq!(asks(&mut later, &root, "x/y", FileKind::File), None);
}
