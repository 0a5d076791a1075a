//! What can be wrong with a command line.

use std::io;

use crate::ops::asked::AskedError;
use crate::profile::ProfileError;
use crate::profile::value::ValueError;
use crate::report::Explain;
use crate::spec::Text;
use crate::spec::seccomp::PolicyError;

/// What is wrong with a command line.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// No such command.
    #[error("cannot find a command named `{name}`")]
    UnknownCommand {
        /// As typed.
        name: Text,
        /// The nearest there is.
        nearest: Option<&'static str>,
        /// The whole line, for a shell, when it may have been meant as a program.
        program: String,
    },
    /// A program, and no command.
    #[error("cannot go on without a command")]
    NoCommand {
        /// The program and its arguments, for a shell.
        program: String,
    },
    /// A flag where a command is expected.
    #[error("cannot take `{flag}` before a command")]
    FlagBeforeCommand {
        /// As typed.
        flag: Text,
    },
    /// No such command below another.
    #[error("cannot find a command named `{command} {word}`")]
    NoSubcommand {
        /// The other.
        command: String,
        /// As typed.
        word: Text,
        /// The nearest there is.
        nearest: Option<String>,
        /// All of them.
        known: String,
    },
    /// No such flag.
    #[error("cannot find a flag `{flag}` of `{command}`")]
    UnknownFlag {
        /// As typed.
        flag: Text,
        /// Of which command.
        command: String,
        /// The nearest there is.
        nearest: Option<String>,
    },
    /// A flag that other tools have and this one does not, on purpose or not yet.
    #[error("cannot take `{flag}`: {why}")]
    Refused {
        /// Which.
        flag: String,
        /// Why.
        why: &'static str,
        /// What to do instead.
        instead: &'static str,
    },
    /// A flag without its value.
    #[error("cannot take `{0}` without a value")]
    MissingValue(String),
    /// A value for a flag that has none.
    #[error("cannot take a value for `{0}`")]
    UnexpectedValue(String),
    /// A flag that counts once.
    #[error("cannot take `{0}` twice")]
    Repeated(String),
    /// Something that has to be there is not.
    #[error("cannot go on without {what}")]
    Missing {
        /// What, with its article.
        what: &'static str,
        /// An example.
        example: &'static str,
    },
    /// A word of a command is missing.
    #[error("cannot go on without {word}")]
    MissingWord {
        /// Which, as the help names it.
        word: String,
        /// Of which command.
        command: String,
    },
    /// A word too many.
    #[error("cannot use `{0}`: nothing more is expected here")]
    Unexpected(Text),
    /// A value that cannot be.
    #[error("cannot take `{value}` for `{flag}`")]
    BadValue {
        /// For which flag.
        flag: &'static str,
        /// As typed.
        value: Text,
        /// Why.
        #[source]
        source: ValueError,
    },
    /// A value that cannot be, for a reason of this flag alone.
    #[error("cannot take `{value}` for `{flag}`: {why}")]
    Unusable {
        /// For which flag.
        flag: &'static str,
        /// As typed.
        value: Text,
        /// Why.
        why: &'static str,
        /// What to write instead.
        instead: &'static str,
    },
    /// A network, and not how it is used.
    #[error("cannot take `{0}` for `--network`: it is the name of a network, and no mode")]
    BareNetwork(String),
    /// Bytes where text is needed.
    #[error("cannot take `{value}` for `{flag}`: it is not UTF-8")]
    NotUtf8 {
        /// For which flag.
        flag: &'static str,
        /// As typed.
        value: Text,
    },
    /// Two flags that want different things.
    #[error("cannot take both `{one}` and `{other}`")]
    Contradiction {
        /// One.
        one: String,
        /// The other.
        other: String,
    },
    /// A flag that means something only with another.
    #[error("cannot take `{flag}` without `{needs}`")]
    Alone {
        /// Which.
        flag: &'static str,
        /// The other.
        needs: &'static str,
    },
    /// Something the profile forbids.
    #[error("cannot take `{flag}` with the profile `{profile}`")]
    ProfileRefuses {
        /// Which.
        flag: String,
        /// The profile.
        profile: String,
    },
    /// A path that cannot be followed.
    #[error("cannot resolve `{path}` for `{flag}`")]
    Unresolvable {
        /// For which flag.
        flag: &'static str,
        /// As typed.
        path: Text,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file a flag names cannot be read.
    #[error("cannot read `{path}` for `{flag}`")]
    Unreadable {
        /// For which flag.
        flag: &'static str,
        /// Which.
        path: Text,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A line of an environment file.
    #[error("cannot use `{path}`, line {line}")]
    BadLine {
        /// Which file.
        path: Text,
        /// Which line, from 1.
        line: usize,
        /// Why.
        #[source]
        source: ValueError,
    },
    /// A file that is reached through a link which an earlier payload may have planted.
    #[error(transparent)]
    Asked(#[from] AskedError),
    /// A policy of system calls.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A profile.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// Somebody is to choose, and there is no terminal.
    #[error("cannot ask for each change: this is no terminal")]
    NobodyToChoose,
    /// A question, and nobody to answer it.
    #[error("cannot ask before something is lost: this is no terminal")]
    NobodyToAsk {
        /// The flag that answers it.
        flag: &'static str,
    },
    /// stdout took nothing.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
}

/// A command that is not shown whole is not shown: a part of it would do something else.
const LINE: usize = 200;

impl Explain for CliError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownCommand { name, nearest, program } => {
                Some(elsewhere(name).map_or_else(|| meant(*nearest, program), str::to_owned))
            }
            Self::NoCommand { program } => Some(meant(None, program)),
            Self::FlagBeforeCommand { flag } => {
                Some(format!("flags belong to a command, write them after it: `bryo run {flag} …`"))
            }
            Self::NoSubcommand { command, nearest: Some(nearest), .. } => {
                Some(format!("did you mean `bryo {command} {nearest}`?"))
            }
            Self::NoSubcommand { known, .. } => Some(format!("there are: {known}")),
            Self::UnknownFlag { nearest: Some(nearest), .. } => {
                Some(format!("did you mean `{nearest}`?"))
            }
            Self::UnknownFlag { command, .. } => Some(format!(
                "`{command} --help` lists the flags; flags of the program itself stand after its name"
            )),
            Self::Refused { instead, .. } | Self::Unusable { instead, .. } => {
                (!instead.is_empty()).then(|| (*instead).to_owned())
            }
            Self::MissingWord { command, .. } => {
                Some(format!("`{command} --help` shows what is expected"))
            }
            Self::Missing { example, .. } => Some((*example).to_owned()),
            Self::BadValue { source, .. } | Self::BadLine { source, .. } => source.hint(),
            Self::BareNetwork(name) => Some(format!("write `--network bridge:{name}`")),
            Self::NobodyToChoose => Some(
                "name paths instead: bryo apply src/; --dry-run shows what would be done"
                    .to_owned(),
            ),
            Self::NobodyToAsk { flag } => Some(format!("{flag} goes on, --dry-run shows what")),
            Self::Contradiction { .. } => Some("keep one of the two".to_owned()),
            Self::ProfileRefuses { profile, .. } => {
                Some(format!("`bryo profile show {profile}` says why; another may allow it"))
            }
            Self::Asked(error) => error.hint(),
            Self::Policy(error) => error.hint().map(str::to_owned),
            Self::Profile(error) => error.hint(),
            Self::MissingValue(_)
            | Self::UnexpectedValue(_)
            | Self::Repeated(_)
            | Self::Unexpected(_)
            | Self::NotUtf8 { .. }
            | Self::Alone { .. }
            | Self::Unresolvable { .. }
            | Self::Unreadable { .. }
            | Self::Output(_) => None,
        }
    }
}

/// What is here in the place of a command of Docker's.
fn elsewhere(name: &Text) -> Option<&'static str> {
    Some(match name.as_bytes() {
        b"build" | b"buildx" | b"commit" | b"history" | b"image" | b"images" | b"import"
        | b"load" | b"login" | b"logout" | b"pull" | b"push" | b"rmi" | b"save" | b"search"
        | b"tag" => {
            "images are not there yet: `bryo run --rootfs DIR` runs in a directory that holds an unpacked one"
        }
        b"volume" => "there are no named volumes yet: `bryo run -v ./DIR:/PLACE` shows a directory",
        b"container" => {
            "leave `container` out: `bryo ps`, `bryo rm`; `bryo help` lists the commands"
        }
        b"create" => "`bryo run -d --name NAME` starts one that `bryo stop` and `bryo start` take",
        b"info" => {
            "`bryo doctor` tells what this machine offers, `bryo system df` what sandboxes take"
        }
        b"update" => {
            "limits hold from the start on: `bryo run --name NAME` goes on with other ones"
        }
        b"compose" | b"swarm" => {
            "there is no daemon that would keep several: `bryo generate systemd` makes units"
        }
        b"list" | b"ls" => "did you mean `bryo ps`? `bryo help` lists the commands",
        _ => return None,
    })
}

/// What may have been meant by a word that is no command.
fn meant(nearest: Option<&str>, program: &str) -> String {
    match nearest {
        Some(nearest) => format!("did you mean `bryo {nearest}`? `bryo help` lists the commands"),
        None if !program.is_empty() && program.len() <= LINE => format!(
            "to run a program, write `bryo run -- {program}`; `bryo help` lists the commands"
        ),
        None => "to run a program, write `bryo run -- PROGRAM`; `bryo help` lists the commands"
            .to_owned(),
    }
}
