//! `bryo diff --json`.
//!
//! # The form
//! One object. What is only added to it is no new `version`. Names are strings where they are UTF-8 and
//! `{"hex": "…"}` where they are not; characters that mislead a terminal stand as `\u` and their number.
//!
//! | key | value |
//! |---|---|
//! | `version` | 1 |
//! | `sandbox` | its id |
//! | `running` | whether it still runs: what it writes later is not here |
//! | `changes` | a list, sorted by the bytes of the paths |
//! | `counts` | `added`, `changed`, `deleted` |
//! | `digest` | 64 hexadecimal digits for `bryo apply --reviewed`; null when something could not be read |
//!
//! Each change:
//!
//! | key | value |
//! |---|---|
//! | `path` | on the host |
//! | `kind` | `added`, `changed`, `deleted` (a directory with all that is in it) |
//! | `differs` | when changed: of `type size content mode owner time target attributes` those that differ |
//! | `now`, `was` | what the sandbox and the host have there: `type` (`file directory link fifo socket device`), `mode` (octal), `owner`, `group`, `links` unless 1, `size` of files, `target` of links, `device` (major, minor), `modified` |
//! | `hidden` | true when the host has something there, or below, that the sandbox was not shown |
//! | `stale` | true when it has changed on the host since the sandbox started |
//! | `trouble` | `unreadable`, `too-deep`, `forged` |
//! | `layer` | the number of the layer, as in `bryo inspect` |
//! | `executed` | who will execute it, in a word: `shell git ci …`; `writers` or `readers` where it opens to other users |
//! | `same-file-as` | the path of an earlier change that is a hard link of the same file |
//! | `content` | 64 hexadecimal digits, of files; as described in `src/changes/content.rs` |
//! | `attributes` | the payload's own, as a list of `{"name": …, "value": …}`; absent when there are none |
//! | `diff` | with `--content`: the hunks of a unified diff, where both sides are texts |

use std::io::Write;

use serde::Serialize;

use super::item::Item;
use super::side::Side;
use super::text::Totals;
use super::unified::hunks;
use crate::changes::{Attribute, Change, Content, Digest, Executed};
use crate::ops::OpsError;
use crate::spec::text::escape_json;
use crate::spec::{HostPath, Text};
use crate::state::SandboxId;

/// Of the form.
const VERSION: u32 = 1;

/// What stands before the changes, and is one object with them.
#[derive(Serialize)]
struct Head {
    version: u32,
    sandbox: SandboxId,
    running: bool,
}

/// What stands behind them.
#[derive(Serialize)]
struct Tail {
    counts: Counts,
    digest: Option<Digest>,
}

#[derive(Serialize)]
struct Counts {
    added: u64,
    changed: u64,
    deleted: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Line<'a> {
    #[serde(flatten)]
    change: &'a Change,
    #[serde(skip_serializing_if = "Option::is_none")]
    executed: Option<Executed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    same_file_as: Option<&'a HostPath>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<Named>,
    #[serde(skip_serializing_if = "Option::is_none")]
    diff: Option<Text>,
}

#[derive(Serialize)]
struct Named {
    name: Text,
    value: Text,
}

pub(super) fn begin(
    sandbox: SandboxId,
    running: bool,
    out: &mut dyn Write,
) -> Result<(), OpsError> {
    let head = Head { version: VERSION, sandbox, running };
    let head = serde_json::to_string(&head).map_err(OpsError::Json)?;
    // The object goes on where this one ends.
    let open = head.strip_suffix('}').unwrap_or(&head);
    write!(out, "{open},\"changes\":[").map_err(OpsError::Write)
}

pub(super) fn item(item: &Item, first: bool, out: &mut dyn Write) -> Result<(), OpsError> {
    let held = item.held.as_ref();
    let content = match held.map(|held| held.content) {
        Some(Content::Hashed { hash, .. }) => Some(hash.to_string()),
        _ => None,
    };
    let attributes = held.and_then(|held| held.attributes.as_deref()).unwrap_or_default();
    let line = Line {
        change: &item.change,
        executed: item.executed,
        same_file_as: item.link_of.as_ref(),
        content,
        attributes: attributes.iter().map(named).collect(),
        diff: item.sides.as_ref().and_then(diff),
    };
    let text = serde_json::to_string(&line).map_err(OpsError::Json)?;
    let before: &[u8] = if first { b"\n" } else { b",\n" };
    out.write_all(before).map_err(OpsError::Write)?;
    out.write_all(escape_json(&text).as_bytes()).map_err(OpsError::Write)
}

fn named((name, value): &Attribute) -> Named {
    Named { name: text(name.clone()), value: text(value.clone()) }
}

fn text(bytes: Vec<u8>) -> Text {
    use std::os::unix::ffi::OsStringExt as _;
    Text::from(std::ffi::OsString::from_vec(bytes))
}

fn diff((old, new): &(Side, Side)) -> Option<Text> {
    let (old, new) = match (old, new) {
        (Side::Text(old), Side::Text(new)) => (&old[..], &new[..]),
        (Side::Nothing, Side::Text(new)) => (&[][..], &new[..]),
        (Side::Text(old), Side::Nothing) => (&old[..], &[][..]),
        _ => return None,
    };
    let mut out = Vec::new();
    for hunk in hunks(old, new) {
        hunk.raw(&mut out);
    }
    Some(text(out))
}

pub(super) fn end(
    totals: &Totals,
    digest: Option<Digest>,
    out: &mut dyn Write,
) -> Result<(), OpsError> {
    let counts = totals.counts;
    let counts = Counts { added: counts.added, changed: counts.changed, deleted: counts.deleted };
    let tail = serde_json::to_string(&Tail { counts, digest }).map_err(OpsError::Json)?;
    let close = tail.strip_prefix('{').unwrap_or(&tail);
    writeln!(out, "\n],{close}").map_err(OpsError::Write)
}
