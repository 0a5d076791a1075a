//! How much a sandbox costs, as ratios against other tools measured in the same minutes.
//!
//!     make bench                      all rows; fails when an aim is missed
//!     make bench ARGS='--json FILE'   the same, also as JSON
//!     make bench ARGS='--print-only'  never fails because of an aim
//!     make bench ARGS='start'         only rows whose name contains this
//!
//! # Theory of operation
//! Each row has sides: bryo, and what it is compared with. They are run in turns, many times, and the
//! medians are compared: what the machine does meanwhile hits all sides. Absolute times depend on the
//! machine and hold no aim; sizes do.
//!
//! # Decisions
//! No benchmark library: what is measured are whole processes, and what counts is the ratio.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that prints a table, and its progress"
)]

mod apart;
mod apply;
mod crowd;
mod loops;
mod memory;
mod network;
mod project;
mod review;
mod row;
mod size;
mod start;
mod tools;

use std::process::ExitCode;

use row::Row;
use tools::Tools;

/// What was asked on the command line.
struct Request {
    json: Option<String>,
    print_only: bool,
    filter: String,
}

fn parse(arguments: impl Iterator<Item = String>) -> Result<Request, String> {
    let mut request = Request { json: None, print_only: false, filter: String::new() };
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => request.json = Some(arguments.next().ok_or("--json needs a file")?),
            "--print-only" => request.print_only = true,
            // cargo bench passes this on.
            "--bench" => {}
            flag if flag.starts_with('-') => return Err(format!("there is no flag `{flag}`")),
            filter => filter.clone_into(&mut request.filter),
        }
    }
    Ok(request)
}

/// The groups of rows, by name.
type Group = (&'static str, fn(&Tools) -> Vec<Row>);

const GROUPS: &[Group] = &[
    ("size", size::rows),
    ("start", start::rows),
    ("loops", loops::rows),
    ("memory", memory::rows),
    ("crowd", crowd::rows),
    ("apart", apart::rows),
    ("project", project::rows),
    ("apply", apply::rows),
    ("review", review::rows),
];

fn run(request: &Request) -> Result<bool, String> {
    let tools = Tools::find()?;
    println!("{}", tools.versions());
    let mut rows = Vec::new();
    let groups = GROUPS.iter().chain(network::GROUPS);
    for (name, group) in groups.filter(|(name, _)| name.contains(&request.filter)) {
        eprintln!("bench: {name}");
        for row in group(&tools) {
            println!("{row}");
            rows.push(row);
        }
    }
    if rows.is_empty() {
        return Err(format!("no rows are named `{}`", request.filter));
    }
    if let Some(file) = &request.json {
        let json = serde_json::json!({
            "versions": tools.versions(),
            "rows": rows.iter().map(Row::json).collect::<Vec<_>>(),
        });
        std::fs::write(file, format!("{json:#}\n"))
            .map_err(|e| format!("cannot write `{file}`: {e}"))?;
    }
    let missed: Vec<String> = rows.iter().flat_map(Row::missed).collect();
    for text in &missed {
        println!("MISSED: {text}");
    }
    println!("{} rows, {} aims missed", rows.len(), missed.len());
    Ok(missed.is_empty() || request.print_only)
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)).and_then(|request| run(&request)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(text) => {
            eprintln!("bench: {text}");
            ExitCode::FAILURE
        }
    }
}
