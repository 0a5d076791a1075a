//! `bryo cp`.

use std::ffi::OsStr;
use std::io::{IsTerminal as _, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use clap::builder::ValueParser;
use clap::{Arg, ArgMatches, Command};

use crate::ops::cp::{Keep, Told};
use crate::ops::cp::{Outside, Wanted, Way, copy};
use crate::report::{Failure, Look, amount};
use crate::spec::Text;
use crate::spec::text::escape;

use super::error::CliError;
use super::flag::{is_set, one, quoted, switch};
use super::output::Answer;
use super::surroundings::split_once;

/// The status when something was left out.
const INCOMPLETE: u8 = 1;
/// A copy that takes longer shows how far it is, so often.
const LONG: Duration = Duration::from_secs(1);
const OFTEN: Duration = Duration::from_millis(200);

/// `bryo cp`, as clap knows it.
pub fn command() -> Command {
    let word = |id, name, help| {
        Arg::new(id).value_name(name).help(help).value_parser(ValueParser::os_string())
    };
    Command::new("cp")
        .about("Copy files out of a sandbox, or into one")
        .override_usage(
            "bryo cp [FLAGS] SANDBOX:PATH DEST\n       bryo cp [FLAGS] SOURCE SANDBOX:PATH",
        )
        .arg(
            switch(
                "archive",
                "Keep all permissions, hard links and `user.` attributes, and owners inside where they may be given",
            )
            .short('a'),
        )
        .arg(
            switch("follow-link", "Copy what a link at the end of the source leads to, and not the link")
                .short('L'),
        )
        .arg(switch("quiet", "Show no progress; so without a terminal too").short('q'))
        .arg(word("source", "SOURCE", "A path, SANDBOX:PATH, or `-`: a tar archive from standard input"))
        .arg(word("dest", "DEST", "A path, SANDBOX:PATH, or `-`: a tar archive to standard output"))
        .after_help(AFTER)
}

const AFTER: &str = "\
PATH is seen from inside; a relative one begins at the root. A directory is copied into one that is there, under its \
own name; `DIR/.` means what is in it. A destination that is not there is made, but not the directories above. \
A name of yours with a colon in it begins with `./`.

No set-id bits, devices, sockets or pipes are copied: each is told, and the status is 1. What comes out is yours, with \
your umask. Of a sandbox that has ended, what it changed is copied, by the paths of `bryo diff`.

  bryo cp build:/work/out.tar.gz .     a file out of the sandbox `build`
  bryo cp src/. build:/work/src        what is in src
  bryo cp build:/work - | tar t        a tar archive";

/// Answers `bryo cp`.
pub fn answer(matches: &ArgMatches) -> Result<Answer, Failure> {
    let wanted = read(matches).map_err(|error| Failure::new(&error))?;
    let mut shown = Shown::new(is_set(matches, "quiet"));
    let copied = copy(&wanted, &mut |bytes| shown.show(bytes));
    shown.clear();
    let told = match copied {
        Err(error) if error.is_broken_pipe() => return Ok(Answer::text("")),
        copied => copied.map_err(|error| Failure::new(&error))?,
    };
    shown.end(&told);
    tell(&told);
    let code = if told.left.is_empty() { 0 } else { INCOMPLETE };
    Ok(Answer::text("").with_code(code))
}

fn read(matches: &ArgMatches) -> Result<Wanted, CliError> {
    let example = "as in `bryo cp NAME:/path .`, or `bryo cp FILE NAME:/path`";
    let word = |id, what| one(matches, id).ok_or(CliError::Missing { what, example });
    let (source, dest) = (word("source", "a source")?, word("dest", "a destination")?);
    if let Some((flag, _)) =
        [("SOURCE", source), ("DEST", dest)].iter().find(|(_, word)| word.is_empty())
    {
        return Err(CliError::Unusable {
            flag,
            value: Text::default(),
            why: "it is empty",
            instead: "the directory you are in is `.`",
        });
    }
    let (way, (sandbox, inside), outside) = match (side(source), side(dest)) {
        (Side::Inside(sandbox, path), Side::Outside(to)) => (Way::Out, (sandbox, path), to),
        (Side::Outside(from), Side::Inside(sandbox, path)) => (Way::In, (sandbox, path), from),
        (Side::Inside(..), Side::Inside(..)) => {
            return Err(CliError::Refused {
                flag: format!("{} {}", quoted(source), quoted(dest)),
                why: "both are in sandboxes",
                instead: "copy to a directory of yours first, or pipe: `bryo cp ONE:/path - | bryo cp - OTHER:/path`",
            });
        }
        (Side::Outside(_), Side::Outside(_)) => {
            return Err(CliError::Missing { what: "a sandbox: `SANDBOX:PATH`", example });
        }
    };
    if sandbox.as_bytes().is_empty() || inside.as_bytes().is_empty() {
        return Err(CliError::Missing { what: "a sandbox and a path: `SANDBOX:PATH`", example });
    }
    let at_terminal = match (&outside, way) {
        (Outside::Path(_), _) => false,
        (Outside::Stream, Way::Out) => std::io::stdout().is_terminal(),
        (Outside::Stream, Way::In) => std::io::stdin().is_terminal(),
    };
    if at_terminal {
        return Err(CliError::Missing {
            what: "a file or a pipe: an archive is nothing for a terminal",
            example,
        });
    }
    let keep = if is_set(matches, "archive") { Keep::All } else { Keep::Some };
    let follow = is_set(matches, "follow-link");
    Ok(Wanted { sandbox, inside, outside, way, follow, keep })
}

enum Side {
    Inside(Text, Text),
    Outside(Outside),
}

/// As Docker reads them: what begins with `/` or `.` is a path of the host, whatever follows.
fn side(word: &OsStr) -> Side {
    if word == "-" {
        return Side::Outside(Outside::Stream);
    }
    let is_path = word.as_bytes().starts_with(b"/") || word.as_bytes().starts_with(b".");
    match split_once(word, b':').filter(|_| !is_path) {
        Some((sandbox, path)) => Side::Inside(Text::from(sandbox), Text::from(path)),
        None => Side::Outside(Outside::Path(Text::from(word))),
    }
}

/// How far a copy is, on a terminal.
struct Shown {
    begun: Instant,
    last: Option<Instant>,
    is_wanted: bool,
}

impl Shown {
    fn new(quiet: bool) -> Self {
        let is_wanted = !quiet && std::io::stderr().is_terminal();
        Self { begun: Instant::now(), last: None, is_wanted }
    }

    fn show(&mut self, bytes: u64) {
        let now = Instant::now();
        let is_time = self.last.map_or(now - self.begun >= LONG, |last| now - last >= OFTEN);
        if self.is_wanted && is_time {
            self.last = Some(now);
            write(&format!("\rbryo: {} copied\x1b[K", amount::size(bytes)));
        }
    }

    fn clear(&self) {
        if self.last.is_some() {
            write("\r\x1b[K");
        }
    }

    fn end(&self, told: &Told) {
        if self.is_wanted && told.bytes > 0 {
            write(&format!("bryo: {} copied\n", amount::size(told.bytes)));
        }
    }
}

/// Says what is not in it.
fn tell(told: &Told) {
    let look = Look::of_stderr();
    let mut text = String::new();
    for left in &told.left {
        let name = left.name.as_bytes();
        let name = escape(name.strip_prefix(b"./").unwrap_or(name));
        text.push_str(&look.paragraph("bryo: ", &format!("`{name}`: {}", left.why.remark())));
    }
    if told.more > 0 {
        let more = amount::count(told.more, "more was", "more were");
        text.push_str(&look.paragraph("bryo: ", &format!("{more} left out, or in part")));
    }
    write(&text);
}

/// There is nobody left to tell that stderr is closed.
fn write(text: &str) {
    std::io::stderr().lock().write_all(text.as_bytes()).unwrap_or_default();
}
