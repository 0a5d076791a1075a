//! The report for people.

use std::fmt::Write as _;

use crate::report::{Colour, Look};

use super::{Finding, Report, State};

/// Column at which details begin.
const DETAILS: usize = 34;
/// What a terminal has at least.
const NARROWEST: usize = 30;
/// Columns below which details stand on lines of their own.
const BESIDE: usize = 60;
/// Column at which they begin there.
const BELOW: usize = 4;

/// One finding after the other, then what follows.
pub fn render_text(report: &Report, look: &Look) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        render(&mut text, finding, look);
    }
    text.push('\n');
    let last = match (report.default_run_works, costs(report)) {
        (false, _) if report.in_sandbox => {
            "No default run works in this sandbox. The run around it has to be given what is said above."
        }
        (true, 0) => "A default run works here, and nothing is missing.",
        (true, _) => "A default run works here. What is missing costs what is said above.",
        (false, _) => {
            "No default run works here. `bryo doctor --fix-script` prints what an administrator can do."
        }
    };
    wrap(&mut text, "", last, width(look));
    text
}

/// Lines are broken on a terminal and nowhere else, so that a file can be searched.
fn width(look: &Look) -> usize {
    look.width.map_or(usize::MAX, |width| width.max(NARROWEST))
}

fn costs(report: &Report) -> usize {
    report.findings.iter().filter(|finding| finding.cost.is_some()).count()
}

fn render(text: &mut String, finding: &Finding, look: &Look) {
    let width = width(look);
    let word = format!("{:<8}", finding.state.name());
    let word = match (look.colour, finding.state) {
        (Colour::No, _) => word,
        (Colour::Yes, State::Ok) => format!("\u{1b}[32m{word}\u{1b}[0m"),
        (Colour::Yes, State::Unknown) => format!("\u{1b}[2m{word}\u{1b}[0m"),
        (Colour::Yes, State::Missing) => format!("\u{1b}[33m{word}\u{1b}[0m"),
        (Colour::Yes, State::Broken) => format!("\u{1b}[31;1m{word}\u{1b}[0m"),
    };
    let margin = if width < BESIDE { BELOW } else { DETAILS };
    if width < BESIDE {
        _ = writeln!(text, "{word}  {}", finding.title);
        wrap(text, &" ".repeat(margin), &finding.detail, width);
    } else {
        wrap(text, &format!("{word}  {:<24}", finding.title), &finding.detail, width);
    }
    let indent = " ".repeat(margin);
    if let Some(cost) = &finding.cost {
        wrap(text, &indent, &format!("cost: {cost}"), width);
    }
    match &finding.remedy {
        Some(remedy) if remedy.is_a_sentence() => {
            wrap(text, &indent, &format!("fix:  {}", remedy.command), width);
        }
        // Never broken: it is to be copied.
        Some(remedy) => _ = writeln!(text, "{indent}fix:  {}", remedy.command),
        None => {}
    }
}

/// Writes `begin` and `words` behind it; lines go on below where those began.
fn wrap(text: &mut String, begin: &str, words: &str, width: usize) {
    text.push_str(begin);
    let margin = match begin.chars().count() {
        // Also with a colour in it.
        DETAILS.. => DETAILS,
        narrower => narrower,
    };
    let mut column = margin;
    for (number, word) in words.split(' ').enumerate() {
        let length = word.chars().count();
        if number > 0 && column + 1 + length > width {
            text.push('\n');
            text.push_str(&" ".repeat(margin));
            column = margin;
        } else if number > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
    }
    text.push('\n');
}
