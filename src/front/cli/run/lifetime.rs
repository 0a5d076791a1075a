//! `--name --rm --report`: what stays of a run.

use clap::{Arg, ArgMatches};

use crate::front::cli::error::CliError;
use crate::front::cli::flag::{one, quoted, text, toggle, toggled, value};
use crate::front::cli::surroundings::Surroundings;
use crate::spec::command::Keep;
use crate::spec::{Spec, is_valid_name};

pub(super) const HEADING: &str = "Afterwards";

pub(super) fn flags() -> Vec<Arg> {
    vec![
        value("name", "NAME", "Call the sandbox so"),
        toggle("rm", "Keep nothing: neither its changes nor its record"),
        value("report", "FILE", "Write the whole record as JSON"),
    ]
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
    if let Some(remove) = toggled(matches, "rm", "--rm")? {
        spec.lifetime.keep = if remove { Keep::Nothing } else { Keep::IfWritten };
    }
    if let Some(file) = one(matches, "report") {
        spec.lifetime.report = Some(caller.host_path("--report", file)?);
    }
    Ok(())
}
