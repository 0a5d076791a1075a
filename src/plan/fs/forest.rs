//! Arranges rules as a tree and drops those that change nothing.
//!
//! A rule hangs on the nearest rule above it. What is hidden where nothing is seen anyway, or seen the
//! same way as what it hangs on, is dropped; what hung on it then hangs on that one.

use super::super::view::{Rule, Rules, View};

/// A place and the places below it that are seen differently.
#[derive(Debug)]
pub(in crate::plan) struct Node<'r> {
    pub(in crate::plan) rule: &'r Rule,
    pub(in crate::plan) children: Vec<Self>,
}

impl Node<'_> {
    /// Whether it, or something below it, can be seen.
    pub(in crate::plan) fn is_seen(&self) -> bool {
        self.rule.view != View::Hidden || self.children.iter().any(Self::is_seen)
    }
}

/// The tree of rules; none when there is no rule for `/`.
pub(in crate::plan) fn forest(rules: &Rules) -> Option<Node<'_>> {
    let mut open: Vec<Node<'_>> = Vec::new();
    for rule in rules.iter() {
        while open.len() > 1 && open.last().is_some_and(|node| !rule.at.is_below(&node.rule.at)) {
            close(&mut open);
        }
        match open.last() {
            Some(above) if changes_nothing(rule, above.rule) => {}
            _ => open.push(Node { rule, children: Vec::new() }),
        }
    }
    while open.len() > 1 {
        close(&mut open);
    }
    open.pop()
}

fn close(open: &mut Vec<Node<'_>>) {
    if open.len() > 1
        && let (Some(done), Some(parent)) = (open.pop(), open.last_mut())
    {
        parent.children.push(done);
    }
}

fn changes_nothing(rule: &Rule, above: &Rule) -> bool {
    let is_same_tree = || {
        rule.at.relative_to(&above.at) == rule.from.relative_to(&above.from)
            && rule.from.starts_with(&above.from)
    };
    match (&rule.view, &above.view) {
        (View::Hidden, View::Skeleton | View::Tmpfs { .. } | View::Private | View::Hidden) => true,
        // The host has the link itself.
        (View::Link(_), _) => above.shows_host(),
        (View::Hidden, View::Own(pseudo)) => *pseudo == super::super::view::Pseudo::Run,
        // One with files of other ids is served differently.
        (View::Cow, View::Cow) if rule.foreign && !above.foreign => false,
        (View::Read | View::System, View::Read | View::System)
        | (View::Cow, View::Cow | View::CowAsRoot)
        | (View::CowAsRoot, View::CowAsRoot)
        | (View::Write, View::Write)
        | (View::Socket, View::Socket)
        | (View::Device, View::Device) => is_same_tree(),
        _ => false,
    }
}
