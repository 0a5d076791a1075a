//! Somebody at a terminal: asked for each change, and shown how far it is.
//!
//! # Decisions
//! - Questions and the bar go to stderr, so that what comes of it can go into a pipe.
//! - An answer that is none, Enter alone too, is told which there are and asked again, as git does; the end of
//!   the input is `quit`.
//! - `quit` does what was said yes to so far, after one more question; nothing else is done.
//! - A directory that is new is asked about before what is in it. A no to it is a no to all of that.
//! - A yes to a conflict is for that path alone; so is one to what other programs execute.
//! - `all` is about a directory with everything below it, as git's is about a file with all its parts; what is in
//!   doubt in it is asked about all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{self, BufRead as _, Write as _};
use std::time::{Duration, Instant};

use crate::ops::OpsError;
use crate::ops::apply::{
    Choices, Chosen, Conflict, ExecutedLater, Item, Offer, Person, Resolve, Why,
};
use crate::report::Look;
use crate::report::amount::count;
use crate::spec::HostPath;

/// How long an apply lasts before a bar is drawn, and how often.
const PATIENCE: Duration = Duration::from_millis(500);
const PACE: Duration = Duration::from_millis(100);
const BAR: usize = 30;

/// Somebody at a terminal.
pub(super) struct Terminal {
    manner: Manner,
    begun: Instant,
    drawn: Option<Instant>,
}

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Nothing.
    Silent,
    /// Whether all of it, or change by change.
    Offer,
    /// Change by change.
    Each,
}

/// An answer about one change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reply {
    Yes,
    No,
    Diff,
    Quit,
    Directory,
    List,
    Help,
}

impl Terminal {
    /// Asks about each change; first whether all are wanted, if `offers`.
    pub(super) fn new(offers: bool) -> Self {
        Self::with(if offers { Manner::Offer } else { Manner::Each })
    }

    /// Asks nothing.
    pub(super) fn silent() -> Self {
        Self::with(Manner::Silent)
    }

    fn with(manner: Manner) -> Self {
        Self { manner, begun: Instant::now(), drawn: None }
    }

    /// All of it, each, or nothing.
    fn offer(offer: &Offer<'_>) -> Result<Manner, OpsError> {
        let number = |length: usize| count(length as u64, "change", "changes");
        let (todo, stay) = (number(offer.plan.actions.len()), offer.plan.left.len());
        let rest =
            if stay > 0 { format!(", {stay} would stay in the layer") } else { String::new() };
        loop {
            let line = ask(&format!("Apply {todo}{rest}? [y]es, [c]hoose, [q]uit: "))?;
            match line.as_deref() {
                Some("y" | "yes") => return Ok(Manner::Silent),
                Some("c" | "choose" | "i") => return Ok(Manner::Each),
                Some("q" | "quit" | "n" | "no") | None => return Err(OpsError::Quit),
                Some(_) => say("y  all of it\nc  ask for each change\nq  nothing\n")?,
            }
        }
    }

    fn each(offer: &mut Offer<'_>) -> Result<Choices, OpsError> {
        let look = Look::of_stderr();
        let mut answers = Answers::default();
        let items = offer.items;
        for (number, item) in items.iter().enumerate() {
            let path = &item.change.path;
            if item.excluded || !offer.choices.selected.holds(&item.change) {
                continue;
            }
            if answers.denied.iter().any(|denied| path.is_below(denied)) {
                continue;
            }
            let why = offer.plan.left.iter().find(|left| left.change == number).map(|l| &l.why);
            if let Some(Why::Refused(refusal)) = why {
                say(&look.paragraph("", &format!("{path}: {refusal}: it stays")))?;
                continue;
            }
            if answers.everything_in.iter().any(|all| path.is_below(all)) && why.is_none() {
                answers.take(item, None);
                continue;
            }
            let reply = loop {
                match Self::question(item, why)? {
                    Reply::Diff => {
                        let text = offer.diff(&item.change, look.colour)?;
                        say(&text)?;
                    }
                    Reply::List => say(&answers.list(&items[number..], offer))?,
                    Reply::Help => say(HELP)?,
                    reply => break reply,
                }
            };
            match reply {
                Reply::Quit => break,
                Reply::No => answers.deny(item),
                Reply::Directory => {
                    let is_directory = item.layer.is_some_and(|layer| layer.is_directory());
                    let directory = if is_directory { Some(path.clone()) } else { path.parent() };
                    answers.everything_in.extend(directory);
                    answers.take(item, why);
                }
                _ => answers.take(item, why),
            }
        }
        answers.choices(offer.choices)
    }

    fn question(item: &Item, why: Option<&Why>) -> Result<Reply, OpsError> {
        let letter = item.change.kind.letter();
        let path = &item.change.path;
        let remark = match why {
            Some(Why::Above(_)) | None => String::new(),
            Some(why) => format!("  ({why})"),
        };
        let what = match why {
            Some(Why::Conflict(Conflict::NoDirectory)) => "drop the sandbox's",
            Some(Why::Conflict(_)) => "take the sandbox's side",
            _ => "apply",
        };
        let line = ask(&format!("{letter} {path}{remark}\n  {what}? [y,n,d,a,l,q,?] "))?;
        Ok(match line.as_deref() {
            Some("y" | "yes") => Reply::Yes,
            Some("n" | "no") => Reply::No,
            Some("d" | "diff") => Reply::Diff,
            Some("a" | "all") => Reply::Directory,
            Some("l" | "list") => Reply::List,
            Some("q" | "quit") | None => Reply::Quit,
            Some(_) => Reply::Help,
        })
    }
}

const HELP: &str = "\
y  yes, this one
n  no, it stays in the layer
d  show in which lines it differs
a  yes, and to all that follows in the same directory and below it (of a directory: in it);
   what is in doubt is still asked about
l  list what was said yes to so far, and what is still to come
q  quit: ask no more; what was said yes to can still be applied
";

/// What was said so far.
#[derive(Default)]
struct Answers {
    taken: BTreeSet<HostPath>,
    later: BTreeSet<HostPath>,
    settled: BTreeMap<HostPath, Resolve>,
    denied: Vec<HostPath>,
    everything_in: Vec<HostPath>,
}

impl Answers {
    fn take(&mut self, item: &Item, why: Option<&Why>) {
        let path = &item.change.path;
        self.taken.insert(path.clone());
        // A conflict in a file that is executed later is told as a conflict alone: one yes is for both.
        if item.executed_later.is_some() && why.is_some() {
            self.later.insert(path.clone());
        }
        let settled = match why {
            // There is no place to put it.
            Some(Why::Conflict(Conflict::NoDirectory)) => Resolve::Ours,
            Some(Why::Conflict(_)) => Resolve::Theirs,
            _ => return,
        };
        self.settled.insert(path.clone(), settled);
    }

    /// What was chosen, and what comes from this one on.
    fn list(&self, rest: &[Item], offer: &Offer<'_>) -> String {
        let mut text = String::new();
        let mut line = |mark: char, path: &HostPath| {
            // Writing to a string cannot fail.
            writeln!(text, "{mark} {path}").unwrap_or_default();
        };
        self.taken.iter().for_each(|path| line('y', path));
        let is_asked = |item: &&Item| {
            let path = &item.change.path;
            let is_denied = self.denied.iter().any(|denied| path.is_below(denied));
            !item.excluded && !is_denied && offer.choices.selected.holds(&item.change)
        };
        rest.iter().filter(is_asked).for_each(|item| line('?', &item.change.path));
        text
    }

    fn deny(&mut self, item: &Item) {
        if item.layer.is_some_and(|layer| layer.is_directory()) {
            self.denied.push(item.change.path.clone());
        }
    }

    fn choices(self, asked: &Choices) -> Result<Choices, OpsError> {
        if self.taken.is_empty() {
            return Err(OpsError::Quit);
        }
        let question =
            format!("Apply {}? [y/N] ", count(self.taken.len() as u64, "change", "changes"));
        match ask(&question)?.as_deref() {
            Some("y" | "yes") => {}
            _ => return Err(OpsError::Quit),
        }
        let executed_later = match &asked.executed_later {
            ExecutedLater::Allow => ExecutedLater::Allow,
            _ => ExecutedLater::AllowThese(self.later),
        };
        Ok(Choices {
            selected: Chosen::Exactly(self.taken),
            conflicts: asked.conflicts,
            settled: self.settled,
            executed_later,
        })
    }
}

impl Person for Terminal {
    fn choose(&mut self, offer: &mut Offer<'_>) -> Result<Option<Choices>, OpsError> {
        if offer.plan.actions.is_empty() && offer.plan.left.is_empty() {
            return Ok(None);
        }
        let manner = if self.manner == Manner::Offer { Self::offer(offer)? } else { self.manner };
        let choices = if manner == Manner::Each { Some(Self::each(offer)?) } else { None };
        self.begun = Instant::now();
        Ok(choices)
    }

    fn progress(&mut self, done: usize, all: usize) {
        let now = Instant::now();
        let since = self.drawn.unwrap_or(self.begun);
        let wait = if self.drawn.is_some() { PACE } else { PATIENCE };
        if now.duration_since(since) < wait || all == 0 {
            return;
        }
        self.drawn = Some(now);
        let filled = (done * BAR / all).min(BAR);
        let bar = format!("{}{}", "#".repeat(filled), ".".repeat(BAR - filled));
        // A bar that cannot be drawn is no reason to stop.
        write!(io::stderr(), "\r[{bar}] {done} of {all} ").unwrap_or_default();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            write!(io::stderr(), "\r\x1b[K").unwrap_or_default();
        }
    }
}

fn say(text: &str) -> Result<(), OpsError> {
    io::stderr().write_all(text.as_bytes()).map_err(OpsError::Write)
}

/// The answer to a question, in small letters; none at the end of the input.
fn ask(question: &str) -> Result<Option<String>, OpsError> {
    say(question)?;
    let mut line = Vec::new();
    let read = io::stdin().lock().read_until(b'\n', &mut line).map_err(OpsError::Write)?;
    Ok((read > 0).then(|| String::from_utf8_lossy(&line).trim().to_ascii_lowercase()))
}
