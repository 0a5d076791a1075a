//! `--name --continue --rm --report --apply-on-success`: what stays of a run.

use clap::{Arg, ArgMatches};

use crate::front::cli::error::CliError;
use crate::front::cli::flag::{
    is_set, not_both, one, quoted, switch, text, toggle, toggled, value,
};
use crate::front::cli::surroundings::Surroundings;
use crate::spec::command::Keep;
use crate::spec::{Spec, is_valid_name};

pub(super) const HEADING: &str = "Afterwards";

pub(super) fn flags() -> Vec<Arg> {
    vec![
        value(
            "name",
            "NAME",
            "Call the sandbox so; with a name that one has, go on with its layer",
        ),
        value("continue", "SANDBOX", "Go on with the layer of a sandbox that ended"),
        toggle("rm", "Keep nothing: neither its changes nor its record"),
        value("report", "FILE", "Write the whole record as JSON"),
        switch("apply-on-success", "After status 0, as `bryo apply`; 125 where something stays"),
    ]
}

/// Whether what it changed is applied when it succeeds.
pub(super) fn applies(matches: &ArgMatches) -> bool {
    is_set(matches, "apply-on-success")
}

pub(super) fn apply(
    matches: &ArgMatches,
    spec: &mut Spec,
    caller: &Surroundings,
) -> Result<(), CliError> {
    if let Some(value) = one(matches, "name") {
        let name = text("--name", value)?;
        if !is_valid_name(name) {
            return Err(CliError::Unusable {
                flag: "--name",
                value: quoted(name),
                why: "it is not a name",
                instead: "letters, digits, `_`, `.` and `-`, at most 63, beginning with a letter or digit",
            });
        }
        spec.name = Some(name.to_owned());
    }
    not_both(matches, "name", "continue")?;
    if let Some(wanted) = one(matches, "continue") {
        spec.lifetime.continues = Some(text("--continue", wanted)?.into());
    }
    if let Some(remove) = toggled(matches, "rm", "--rm")? {
        spec.lifetime.keep = if remove { Keep::Nothing } else { Keep::IfWritten };
    }
    if spec.lifetime.continues.is_some() && spec.lifetime.keep == Keep::Nothing {
        let (one, other) = ("--continue".to_owned(), "--rm".to_owned());
        return Err(CliError::Contradiction { one, other });
    }
    if applies(matches) && spec.lifetime.keep == Keep::Nothing {
        return Err(CliError::Contradiction {
            one: "--apply-on-success".to_owned(),
            other: "--rm".to_owned(),
        });
    }
    if let Some(file) = one(matches, "report") {
        if file == "-" {
            return Err(CliError::Unusable {
                flag: "--report",
                value: quoted(file),
                why: "standard output is the program's",
                instead: "name a file; one that is called so is `./-`",
            });
        }
        spec.lifetime.report = Some(caller.file("--report", file)?);
    }
    Ok(())
}
