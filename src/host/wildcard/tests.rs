//! Patterns, held against real folders.

use std::os::unix::fs::symlink;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::plan::facts::Workdir;

struct Tree {
    _dir: tempfile::TempDir,
    root: PathBuf,
    caller: Caller,
}

impl Tree {
    /// A home with these files; a name that ends with a slash is a directory.
    fn new(files: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(dir.path()).unwrap();
        for file in files {
            let path = root.join(file);
            if file.ends_with('/') {
                std::fs::create_dir_all(path).unwrap();
            } else {
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, "").unwrap();
            }
        }
        let caller = Caller {
            uid: rustix::process::geteuid().as_raw(),
            home: HostPath::new(&root).ok(),
            workdir: Workdir::At(HostPath::new(&root).unwrap()),
            ..Caller::default()
        };
        Self { _dir: dir, root, caller }
    }

    fn expand(&self, patterns: &[&str]) -> Matches {
        let patterns: Vec<Pattern> = patterns.iter().map(|p| Pattern::new(p).unwrap()).collect();
        let mut resolver = Resolver::default();
        let mut expander = Expander::new(&self.caller, &mut resolver);
        expander.expand(&patterns, Sought::Secrets).unwrap()
    }

    fn relative(&self, path: &HostPath) -> String {
        path.as_path().strip_prefix(&self.root).unwrap().display().to_string()
    }

    fn there(&self, patterns: &[&str]) -> Vec<String> {
        self.expand(patterns).there.iter().map(|m| self.relative(&m.path)).collect()
    }

    fn absent(&self, patterns: &[&str]) -> Vec<String> {
        self.expand(patterns).absent.iter().map(|path| self.relative(path)).collect()
    }
}

#[test]
fn wildcards_match_within_one_name_and_leading_dots_too() {
    let tree = Tree::new(&[".bash_history", ".x_history", "a/b/key", "a/c/key", "a/key", "z/"]);
    assert_eq!(tree.there(&["~/*_history"]), [".bash_history", ".x_history"]);
    assert_eq!(tree.there(&["~/a/*/key"]), ["a/b/key", "a/c/key"]);
    assert_eq!(tree.there(&["./?"]), ["a", "z"]);
    assert_eq!(tree.there(&["~/nothing*"]), Vec::<String>::new());
}

#[test]
fn what_lies_below_another_match_is_left_out() {
    let tree = Tree::new(&[".ssh/id", ".ssh-x", "a"]);
    assert_eq!(tree.there(&["~/.ssh/id", "~/.ssh", "~/.ssh*", "~/.ssh"]), [".ssh", ".ssh-x"]);
}

#[test]
fn a_literal_that_is_not_there_is_told_unless_it_cannot_appear() {
    let tree = Tree::new(&["file", "d/"]);
    assert_eq!(
        tree.absent(&["~/.ssh", "~/d/e/f", "~/file/below", "~/gone*", "~/.ssh"]),
        [".ssh", "d/e/f"]
    );
    assert_eq!(tree.absent(&["~/d", "~/d/x"]), Vec::<String>::new());
}

#[test]
fn links_of_parents_are_followed_and_the_last_is_not() {
    let tree = Tree::new(&["real/secret", "dots/ssh/id"]);
    symlink("real", tree.root.join("link")).unwrap();
    symlink("dots/ssh", tree.root.join(".ssh")).unwrap();
    symlink("/dev/null", tree.root.join(".history")).unwrap();
    assert_eq!(tree.there(&["~/link/secret"]), ["real/secret"]);
    assert_eq!(tree.there(&["~/link/s*"]), ["real/secret"]);
    // The keys are hidden under both names, /dev/null is not.
    assert_eq!(tree.there(&["~/.ssh"]), [".ssh", "dots/ssh"]);
    assert_eq!(tree.there(&["~/.history"]), [".history"]);
    let found = tree.expand(&["~/.history"]);
    assert_eq!(found.there[0].kind, Kind::Link("/dev/null".into()));
}

#[test]
fn a_link_to_the_home_does_not_hide_it() {
    let tree = Tree::new(&["x"]);
    symlink(".", tree.root.join(".ssh")).unwrap();
    assert_eq!(tree.there(&["~/.ssh"]), [".ssh"]);
}

#[test]
fn who_stands_where_the_link_of_a_secret_leads_stands_in_a_secret() {
    let mut tree = Tree::new(&["dots/ssh/id"]);
    symlink("dots/ssh", tree.root.join(".ssh")).unwrap();
    tree.caller.workdir = Workdir::At(HostPath::new(tree.root.join("dots/ssh")).unwrap());
    assert_eq!(tree.there(&["~/.ssh"]), [".ssh", "dots/ssh"]);
    let mut resolver = Resolver::default();
    let mut expander = Expander::new(&tree.caller, &mut resolver);
    let pattern = [Pattern::new("~/.ssh").unwrap()];
    let others = expander.expand(&pattern, Sought::Others).unwrap();
    assert_eq!(others.there.len(), 1, "a place of another kind gives way: {others:?}");
}

#[test]
fn without_a_home_its_patterns_match_nothing() {
    let mut tree = Tree::new(&["x"]);
    tree.caller.home = None;
    assert_eq!(tree.expand(&["~/x", "~/*", "~/gone"]), Matches::default());
}

#[test]
fn the_matcher_knows_stars_and_question_marks() {
    for (pattern, name) in [
        ("*", ""),
        ("*", ".x"),
        ("a*b*c", "axxbxxbc"),
        ("?", "x"),
        ("*.?", "a.b.c"),
        ("**", "x"),
        ("", ""),
    ] {
        assert!(matches(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
    }
    for (pattern, name) in [("?", ""), ("a*b", "abc"), ("a", "b"), ("*x", "xy"), ("", "x")] {
        assert!(!matches(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
    }
}

/// The definition, in exponential time.
fn matches_by_definition(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((b'*', rest)) => {
            (0..=name.len()).any(|taken| matches_by_definition(rest, &name[taken..]))
        }
        Some((first, rest)) => name.split_first().is_some_and(|(n, more)| {
            (*first == b'?' || first == n) && matches_by_definition(rest, more)
        }),
    }
}

proptest! {
    #[test]
    fn the_matcher_is_what_it_is_defined_to_be(pattern in "[ab*?]{0,8}", name in "[ab]{0,8}") {
        prop_assert_eq!(
            matches(pattern.as_bytes(), name.as_bytes()),
            matches_by_definition(pattern.as_bytes(), name.as_bytes())
        );
    }
}
