//! A resolved profile in a form that is read quickly: how the built-in ones are compiled in.
//!
//! # Theory of operation
//! The first line is JSON: everything but the long lists. Each line after it is one entry of a list,
//! with the list's letter before it. TOML with its comments takes half a millisecond to read and merge,
//! JSON of everything a fifth of that, this a tenth: a run that takes four milliseconds in all has no
//! half to spare. The long lists are in order: what they name is put in order by every run. A list that is the
//! one of `default` stands there alone: `=` and its letter say so.
//!
//! # Not here
//! Where the text is: `build.rs` writes it, `embedded` holds it.

use serde::{Deserialize, Serialize};

use crate::spec::order;
use crate::spec::rootfs::{Access, Pattern};

use super::library::{Origin, Resolved};
use super::settings::{PathEntry, Settings};

/// Everything but the long lists.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    name: String,
    description: Option<String>,
    row: Vec<String>,
    settings: Settings,
}

/// The long lists of a profile, taken out of it.
struct Lists {
    requests: Vec<PathEntry>,
    secrets: Vec<Pattern>,
    hidden: Vec<Pattern>,
    warned: Vec<Pattern>,
    pass: Vec<String>,
    moved: Vec<String>,
}

impl Lists {
    fn take(settings: &mut Settings) -> Self {
        let paths = &mut settings.paths;
        Self {
            requests: std::mem::take(&mut paths.requests.entries),
            secrets: std::mem::take(&mut paths.secrets.entries),
            hidden: std::mem::take(&mut paths.hidden.entries),
            warned: std::mem::take(&mut paths.warned.entries),
            moved: std::mem::take(&mut paths.moved.entries),
            pass: std::mem::take(&mut settings.environment.pass.entries),
        }
    }

    fn put(self, settings: &mut Settings) {
        let paths = &mut settings.paths;
        paths.requests.entries = self.requests;
        paths.secrets.entries = self.secrets;
        paths.hidden.entries = self.hidden;
        paths.warned.entries = self.warned;
        paths.moved.entries = self.moved;
        settings.environment.pass.entries = self.pass;
    }
}

impl Lists {
    /// Adds what a line says.
    fn read(&mut self, line: &str) -> Option<()> {
        let (letter, entry) = line.split_at_checked(1)?;
        let pattern = || Pattern::new(entry).ok();
        match letter.as_bytes()[0] {
            TOOLCHAIN => {
                self.requests.push(PathEntry { path: pattern()?, access: Access::Toolchain });
            }
            SECRET => self.secrets.push(pattern()?),
            HIDDEN => self.hidden.push(pattern()?),
            WARNED => self.warned.push(pattern()?),
            PASS => self.pass.push(entry.to_owned()),
            MOVED => self.moved.push(entry.to_owned()),
            _ => return None,
        }
        Some(())
    }
}

/// The letter of a toolchain, by far the most frequent request; the others stand in the head.
const TOOLCHAIN: u8 = b't';
const SECRET: u8 = b's';
const HIDDEN: u8 = b'h';
const WARNED: u8 = b'w';
const PASS: u8 = b'e';
const MOVED: u8 = b'm';
/// Before the letter of a list: it is that of `default`.
const SHARED: u8 = b'=';

/// Writes a resolved built-in profile; `default` is that profile, written, and empty for itself. An entry with a
/// line break cannot be written: none has one.
pub fn encode(resolved: &Resolved, default: &str) -> Result<String, serde_json::Error> {
    let mut settings = resolved.settings.clone();
    settings.forget_removals();
    let mut lists = Lists::take(&mut settings);
    let is_toolchain = |entry: &PathEntry| entry.access == Access::Toolchain;
    let (toolchain, others) = lists.requests.drain(..).partition(is_toolchain);
    let toolchain: Vec<PathEntry> = toolchain;
    settings.paths.requests.entries = others;
    let head = Head {
        name: resolved.name.clone(),
        description: resolved.description.clone(),
        row: resolved.row.clone(),
        settings,
    };
    let mut text = serde_json::to_string(&head)?;
    let mut add = |letter: u8, entry: &dyn std::fmt::Display| {
        text.push('\n');
        text.push(char::from(letter));
        text.push_str(&entry.to_string());
    };
    for entry in &toolchain {
        add(TOOLCHAIN, &entry.path);
    }
    let Lists { secrets, hidden, warned, .. } = &mut lists;
    for (letter, patterns) in [(SECRET, secrets), (HIDDEN, hidden), (WARNED, warned)] {
        order::sort(patterns);
        for pattern in patterns {
            add(letter, pattern);
        }
    }
    for (letter, names) in [(PASS, &lists.pass), (MOVED, &lists.moved)] {
        for name in names {
            add(letter, name);
        }
    }
    Ok(share(text, default))
}

/// The lines of one list.
fn lines_of(text: &str, letter: u8) -> impl Iterator<Item = &str> {
    text.split('\n').skip(1).filter(move |line| line.as_bytes().first() == Some(&letter))
}

/// Leaves out the lists that are those of `default`.
fn share(text: String, default: &str) -> String {
    [TOOLCHAIN, SECRET, HIDDEN, WARNED, PASS, MOVED].into_iter().fold(text, |text, letter| {
        if lines_of(&text, letter).next().is_none()
            || !lines_of(&text, letter).eq(lines_of(default, letter))
        {
            return text;
        }
        let is_other = |line: &&str| line.as_bytes().first() != Some(&letter);
        let mut others: Vec<&str> = text.split('\n').filter(is_other).collect();
        let mark = format!("{}{}", char::from(SHARED), char::from(letter));
        others.push(&mark);
        others.join("\n")
    })
}

/// Reads what [`encode`] wrote; none when it is something else.
pub fn decode(text: &str, default: &str) -> Option<Resolved> {
    let (head, lines) = text.split_once('\n').unwrap_or((text, ""));
    let Head { name, description, row, mut settings } =
        serde_json::from_slice(head.as_bytes()).ok()?;
    let mut lists = Lists::take(&mut settings);
    for line in lines.split('\n').filter(|line| !line.is_empty()) {
        match line.as_bytes() {
            [SHARED, letter] => lines_of(default, *letter).try_for_each(|line| lists.read(line))?,
            _ => lists.read(line)?,
        }
    }
    lists.put(&mut settings);
    // `embedded`'s test holds that no built-in profile removes what is not there.
    let idle = Settings::default();
    Some(Resolved {
        name,
        description,
        origin: Origin::Builtin,
        row,
        settings,
        idle,
        passed_over: Vec::new(),
    })
}
