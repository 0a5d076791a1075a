//! `bryo diff`: what a sandbox changed.
//!
//! # Decisions
//! - Letters as `docker diff` has them: `A` added, `C` changed, `D` deleted.
//! - What people read ends with the digest of what was shown, for `bryo apply --reviewed`. A list alone reads
//!   files for it as long as that costs little; where it does not, it says so.
//! - Changes are written one by one: a layer may hold millions.
//! - A sandbox may run meanwhile. [`Shown::running`] says so; what is shown is what was met.

mod details;
pub(crate) mod item;
mod json;
pub(crate) mod side;
pub(crate) mod text;
pub(crate) mod unified;

use std::io::Write;

use super::error::OpsError;
use super::sweep::sweep;
use crate::changes::{Changes, ChangesError, Kind, Sources};
pub use crate::changes::{Digest, Glob, Later, Selection};
use crate::report::Colour;
use crate::spec::HostPath;
pub use crate::state::HeldState;
use crate::state::record::ChangeCounts;
use crate::state::{SandboxId, Stores, Which};
use item::{Depth, Item, Review};
use text::Totals;

/// How changes are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `A /path`, one per line, escaped; and in a few words what it is.
    List,
    /// The same, each with the lines in which its text differs.
    Content,
    /// The same as a list, with the numbers of lines.
    Stat,
    /// `A /path`, one per line, escaped, and nothing else.
    Status,
    /// Escaped paths, one per line.
    Names,
    /// Paths as they are, each followed by a NUL byte.
    NulNames,
    /// A letter and a path as it is, each followed by a NUL byte.
    NulStatus,
    /// One JSON object.
    Json,
    /// The same, with the lines in which texts differ.
    JsonContent,
}

/// Whether the digest of what is shown is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Whatever it costs.
    Always,
    /// As the form has it.
    Usual,
}

/// What is asked for.
#[derive(Debug)]
pub struct Request<'a> {
    /// Which changes.
    pub selection: &'a Selection,
    /// How they are shown.
    pub form: Form,
    /// Whether with colours.
    pub colour: Colour,
    /// Whether with the digest.
    pub digest: Wanted,
    /// Knows what other programs execute.
    pub later: Later,
}

/// What was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Of which sandbox.
    pub id: SandboxId,
    /// Whether it was running.
    pub running: bool,
    /// Where what it wrote last is, when not in the store all the time.
    pub held: Option<HeldState>,
    /// How many changes.
    pub counts: ChangeCounts,
    /// What they would bring to the host; none when not all of it was read.
    pub digest: Option<Digest>,
    /// Paths that were named and in which nothing changed.
    pub unchanged: Vec<HostPath>,
}

/// Writes the changes of a sandbox: of those that are selected.
pub fn diff(
    stores: &Stores,
    which: Which<'_>,
    request: Request<'_>,
    out: &mut dyn Write,
) -> Result<Shown, OpsError> {
    sweep(stores)?;
    let found = stores.choose(which)?;
    let running = found.is_running()?;
    let record = found.record()?;
    let changes = Changes::open::<OpsError>(&record.layers, |n| Ok(found.open_upper(n)?))?;
    let sources = Sources::open::<OpsError>(&record.layers, |n| Ok(found.open_upper(n)?))?;
    let Request { selection, form, colour, digest, mut later } = request;
    let mut review = Review::new(sources, &mut later, depth(form, digest));
    let mut writer = Writer { form, colour, out, totals: Totals::default() };
    writer.begin(found.id(), running)?;
    let mut unchanged = selection.paths.clone();
    for change in changes.in_background() {
        let change = change?;
        unchanged.retain(|named| !change.path.starts_with(named));
        if !selection.takes(&change.path) {
            continue;
        }
        let path = change.path.clone();
        let looked = review.look_at(change);
        if let Some(item) = looked.map_err(|source| ChangesError::Compare { path, source })? {
            writer.item(&item)?;
        }
    }
    let digest = review.digester.take().map(crate::changes::Digester::finish);
    writer.end(digest)?;
    let held = record.held.map(|held| held.state);
    Ok(Shown { id: found.id(), running, held, counts: writer.totals.counts, digest, unchanged })
}

/// How deep a form looks.
fn depth(form: Form, digest: Wanted) -> Depth {
    match (form, digest) {
        (Form::Status | Form::Names | Form::NulNames | Form::NulStatus, _) => Depth::Outside,
        (Form::List, Wanted::Usual) => Depth::Cheaply,
        (Form::List, Wanted::Always) | (Form::Json, _) => Depth::Wholly,
        (Form::Content | Form::Stat | Form::JsonContent, _) => Depth::Texts,
    }
}

struct Writer<'a> {
    form: Form,
    colour: Colour,
    out: &'a mut dyn Write,
    totals: Totals,
}

impl Writer<'_> {
    fn begin(&mut self, sandbox: SandboxId, running: bool) -> Result<(), OpsError> {
        match self.form {
            Form::Json | Form::JsonContent => json::begin(sandbox, running, self.out),
            _ => Ok(()),
        }
    }

    fn item(&mut self, item: &Item) -> Result<(), OpsError> {
        let first = self.totals.counts.total() == 0;
        match item.change.kind {
            Kind::Added => self.totals.counts.added += 1,
            Kind::Changed => self.totals.counts.changed += 1,
            Kind::Deleted => self.totals.counts.deleted += 1,
        }
        let opens = item.executed.is_some_and(crate::changes::Executed::opens);
        self.totals.opened += u64::from(opens);
        self.totals.executed += u64::from(item.executed.is_some() && !opens);
        let out = &mut self.out;
        match self.form {
            Form::List => writeln!(out, "{}", text::line(item, self.colour)),
            Form::Content => write!(out, "{}", text::with_content(item, self.colour)),
            Form::Stat => {
                let (line, lines) = text::stat(item, self.colour);
                self.totals.lines.added += lines.added;
                self.totals.lines.removed += lines.removed;
                writeln!(out, "{line}")
            }
            Form::Status => writeln!(out, "{} {}", item.change.kind.letter(), item.change.path),
            Form::Names => writeln!(out, "{}", item.change.path),
            Form::NulNames | Form::NulStatus => {
                let letter = [item.change.kind.letter() as u8, 0];
                let letter = if self.form == Form::NulStatus { &letter[..] } else { &[] };
                out.write_all(&[letter, item.change.path.as_bytes(), b"\0"].concat())
            }
            Form::Json | Form::JsonContent => return json::item(item, first, self.out),
        }
        .map_err(OpsError::Write)
    }

    fn end(&mut self, digest: Option<Digest>) -> Result<(), OpsError> {
        match self.form {
            Form::Status | Form::Names | Form::NulNames | Form::NulStatus => return Ok(()),
            Form::Json | Form::JsonContent => return json::end(&self.totals, digest, self.out),
            Form::List | Form::Content | Form::Stat if self.totals.counts.total() == 0 => {
                return Ok(());
            }
            Form::List | Form::Content | Form::Stat => {}
        }
        let summary = text::summary(&self.totals);
        match digest {
            Some(digest) => writeln!(self.out, "{summary}\ndigest {digest}"),
            None => writeln!(self.out, "{summary}\nno digest: {}", self.no_digest()),
        }
        .map_err(OpsError::Write)
    }

    /// Why there is none.
    fn no_digest(&self) -> &'static str {
        match self.form {
            Form::List => "there is much to read; --digest reads it",
            _ => "what was shown changed meanwhile",
        }
    }
}
