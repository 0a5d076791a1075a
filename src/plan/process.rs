//! Plans the processes themselves: dumpability, host name, session, descriptors, exec.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::draft::Draft;
use super::error::PlanError;
use super::facts::Facts;
use super::stdio;
use super::step::{ProcessStep, Stage};
use crate::spec::order;
use crate::spec::{Command, EnvironmentVariable, SandboxPath, Service, Spec, Text};

/// The host name where the spec names none.
const HOSTNAME: &str = "bryo";

/// Where programs are looked for when the payload has no `PATH`, as execvp(3) does.
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

/// The longest host name of Linux.
const LONGEST_HOSTNAME: usize = 64;

/// The longest argument or variable that execve(2) takes (`MAX_ARG_STRLEN`), its NUL left out.
pub(super) const LONGEST_STRING: usize = 128 * 1024 - 1;

/// The host name inside.
pub(super) fn hostname(spec: &Spec) -> Result<&str, PlanError> {
    let name = spec.hostname.as_deref().unwrap_or(HOSTNAME);
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
    };
    if name.len() <= LONGEST_HOSTNAME && name.split('.').all(is_label) {
        Ok(name)
    } else {
        Err(PlanError::BadHostname(name.to_owned().into()))
    }
}

/// Refuses a command that no exec can take.
pub(super) fn verify_command(command: &Command) -> Result<(), PlanError> {
    verify_strings(&command.argv, &command.environment)
}

/// The same for what any exec is given.
pub(super) fn verify_strings(
    argv: &[Text],
    environment: &[EnvironmentVariable],
) -> Result<(), PlanError> {
    if argv.first().is_none_or(|program| program.as_bytes().is_empty()) {
        return Err(PlanError::EmptyCommand);
    }
    if let Some(long) = argv.iter().find(|text| text.as_bytes().len() > LONGEST_STRING) {
        return Err(PlanError::LongArgument { bytes: long.as_bytes().len() });
    }
    let has_nul = |text: &&Text| text.as_bytes().contains(&0);
    if let Some(bad) = argv.iter().find(has_nul) {
        return Err(PlanError::BadText(bad.clone()));
    }
    for variable in environment {
        let name = variable.name.as_bytes();
        if name.is_empty() || name.contains(&0) || name.contains(&b'=') {
            return Err(PlanError::BadText(variable.name.clone()));
        }
        if has_nul(&&variable.value) {
            return Err(PlanError::BadText(variable.value.clone()));
        }
        // With the sign between them.
        let bytes = name.len() + 1 + variable.value.as_bytes().len();
        if bytes > LONGEST_STRING {
            return Err(PlanError::LongVariable { name: variable.name.clone(), bytes });
        }
    }
    Ok(())
}

/// Appends the payload's steps before it is confined.
pub(super) fn plan_payload(
    spec: &Spec,
    facts: &Facts,
    workdir: SandboxPath,
    draft: &mut Draft,
) -> Result<(), PlanError> {
    let command = &spec.command;
    let foreground = stdio::begins_in_foreground(spec, facts);
    draft.push(Stage::Payload, ProcessStep::ProcessGroup { foreground });
    for (number, stands) in (0..).zip(facts.stdio) {
        let with = stdio::plan_stdio(number, stands, spec)?;
        draft.push(Stage::Payload, ProcessStep::Stdio { number, with });
    }
    let mut keep = command.descriptors.pass.clone();
    keep.retain(|number| *number > 2);
    order::sort(&mut keep);
    keep.dedup();
    draft.push(Stage::Payload, ProcessStep::CloseDescriptors { keep });
    let numbers = spec.lifetime.service.as_ref().map(Service::own_numbers).unwrap_or_default();
    if !numbers.is_empty() {
        draft.push(Stage::Payload, ProcessStep::OwnNumber(numbers));
    }
    let umask = command.umask.unwrap_or(facts.caller.umask) & 0o777;
    draft.push(Stage::Payload, ProcessStep::Umask(umask));
    draft.push(Stage::Payload, ProcessStep::Workdir(workdir));
    Ok(())
}

/// Appends the exec.
pub(super) fn plan_exec(command: &Command, draft: &mut Draft) {
    draft.push(
        Stage::Payload,
        ProcessStep::Exec {
            argv: command.argv.clone(),
            environment: command.environment.clone(),
            search: search(&command.environment),
        },
    );
}

/// The directories of the payload's own `PATH`; an empty one means the current directory.
pub(super) fn search(environment: &[EnvironmentVariable]) -> Vec<Text> {
    let is_path = |name: &Text| name.as_bytes() == b"PATH";
    let path = environment.iter().rev().find(|variable| is_path(&variable.name));
    path.map_or(DEFAULT_PATH, |variable| variable.value.as_bytes())
        .split(|byte| *byte == b':')
        .map(|directory| if directory.is_empty() { b"." } else { directory })
        .map(|directory| Text::from(OsStr::from_bytes(directory).to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_that_no_exec_takes_is_refused_with_its_name() {
        let text = |length: usize| Text::from(OsStr::from_bytes(&vec![b'x'; length]).to_owned());
        let variable = |length| EnvironmentVariable { name: "BIG".into(), value: text(length) };
        let most = LONGEST_STRING;
        let verify =
            |argument, value| verify_strings(&["true".into(), text(argument)], &[variable(value)]);
        assert_eq!(verify(most, most - 4), Ok(()));
        assert_eq!(verify(most + 1, 0), Err(PlanError::LongArgument { bytes: most + 1 }));
        let long = PlanError::LongVariable { name: "BIG".into(), bytes: most + 1 };
        assert_eq!(verify(0, most - 3), Err(long));
    }
}
