//! What is said of a change behind its path, in a few words. Pure.

use super::item::Item;
use crate::changes::{Aspect, Change, Executed, FileKind, Kind, Node, Trouble};
use crate::report::amount::size;

/// What is said of a change: what it is or how it differs, and apart from that what has to be watched.
pub(crate) struct Details {
    pub(crate) plain: Vec<String>,
    pub(crate) warnings: Vec<String>,
}

impl Details {
    pub(crate) fn of(item: &Item) -> Self {
        let change = &item.change;
        let mut plain = match (change.kind, &change.was, &change.now) {
            (Kind::Changed, Some(was), Some(now)) => differences(item, was, now),
            (Kind::Deleted, Some(was), _) => vec![described(was)],
            (_, _, Some(now)) => vec![described(now)],
            _ => Vec::new(),
        };
        plain.extend(item.link_of.as_ref().map(|first| format!("the same file as `{first}`")));
        Self { plain, warnings: warnings(change, item.executed) }
    }
}

fn warnings(change: &Change, executed: Option<Executed>) -> Vec<String> {
    let hidden = change.hidden.then_some("the sandbox was not shown what the host has there");
    let stale = change.stale.then_some("changed on the host meanwhile");
    let trouble = change.trouble.map(Trouble::remark);
    let special = change.now.as_ref().and_then(special_bits);
    let executed = executed.map(Executed::remark);
    let all = [hidden, stale, trouble, special, executed];
    all.into_iter().flatten().map(str::to_owned).collect()
}

/// Bits that make a file run as somebody else.
fn special_bits(node: &Node) -> Option<&'static str> {
    match (node.kind, node.mode & 0o6000) {
        (FileKind::File, 0o4000) => Some("set-user-id"),
        (FileKind::File, 0o2000) => Some("set-group-id"),
        (FileKind::File, 0o6000) => Some("set-user-id and set-group-id"),
        _ => None,
    }
}

/// What something is that only one side has.
fn described(node: &Node) -> String {
    match node.kind {
        FileKind::File if node.mode & 0o111 != 0 => {
            format!("{}, executable", size(node.size.unwrap_or(0)))
        }
        FileKind::File => size(node.size.unwrap_or(0)),
        _ => kind(node),
    }
}

fn kind(node: &Node) -> String {
    match (node.kind, &node.target, node.device) {
        (FileKind::File, ..) => "file".to_owned(),
        (FileKind::Directory, ..) => "directory".to_owned(),
        (FileKind::Link, Some(target), _) => format!("link to `{target}`"),
        (FileKind::Link, None, _) => "link".to_owned(),
        (FileKind::Fifo, ..) => "fifo".to_owned(),
        (FileKind::Socket, ..) => "socket".to_owned(),
        (FileKind::Device, _, Some((major, minor))) => format!("device {major}:{minor}"),
        (FileKind::Device, ..) => "device".to_owned(),
    }
}

fn differences(item: &Item, was: &Node, now: &Node) -> Vec<String> {
    let differs = |aspect| item.change.differs.has(aspect);
    let mut said = Vec::new();
    if differs(Aspect::Type) {
        return vec![format!("{} -> {}", kind(was), kind(now))];
    }
    if differs(Aspect::Size) {
        let both = (size(was.size.unwrap_or(0)), size(now.size.unwrap_or(0)));
        // Two sizes that read the same are told by their bytes.
        said.push(if both.0 == both.1 {
            format!("{} -> {} B", was.size.unwrap_or(0), now.size.unwrap_or(0))
        } else {
            format!("{} -> {}", both.0, both.1)
        });
    }
    if differs(Aspect::Target) {
        said.push(format!("{} -> {}", kind(was), kind(now)));
    }
    if differs(Aspect::Content) {
        said.push("content".to_owned());
    }
    if differs(Aspect::Mode) {
        said.push(format!("mode {:04o} -> {:04o}", was.mode, now.mode));
    }
    if differs(Aspect::Owner) {
        let (was, now) = ((was.owner, was.group), (now.owner, now.group));
        said.push(format!("owner {}:{} -> {}:{}", was.0, was.1, now.0, now.1));
    }
    if differs(Aspect::Attributes) {
        said.push("attributes".to_owned());
    }
    if differs(Aspect::Time) && said.is_empty() {
        said.push("time".to_owned());
    }
    if item.may_hide {
        said.push("contents not compared".to_owned());
    }
    said
}
