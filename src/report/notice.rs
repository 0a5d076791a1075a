//! What the user is told once of a plan.

use crate::plan::step::{Missing, Notice};

use super::quote::shell_quote;
use crate::spec::HostPath;

/// Whether a notice matters to everybody, or only to somebody who asked for details.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Something else is done than was asked for: said also where nobody sits at a terminal.
    Needed,
    /// It changes what one may expect.
    Said,
    /// The record has it.
    Detail,
}

/// How much a notice matters.
pub fn weight(notice: &Notice) -> Weight {
    match notice {
        Notice::Missing(missing) => match missing {
            Missing::Procfs | Missing::Store => Weight::Said,
            Missing::Landlock
            | Missing::LandlockScopes
            | Missing::SeccompNotify
            | Missing::Group
            | Missing::Disk
            | Missing::Disks
            | Missing::Weigher
            | Missing::Controller(_)
            | Missing::ProcessLimit
            | Missing::CoreHandler
            | Missing::UserCounts => Weight::Detail,
        },
        // Where the program failed, the footer says it.
        Notice::SharedNetwork(_)
        | Notice::NoProgram(_)
        | Notice::NamesHidden { .. }
        | Notice::Foreseen(_) => Weight::Detail,
        // A name that is written wrongly hides nothing; a directory of the host was made.
        Notice::LostWorkdir
        | Notice::HidesNothing(_)
        | Notice::PassedOver(_)
        | Notice::PlantedLink { .. }
        | Notice::UnsuitablePlace { .. }
        | Notice::MadeSettings(_)
        | Notice::OwnFileWritten(_)
        | Notice::OwnLimit { .. } => Weight::Needed,
        Notice::LoopbackReachable
        | Notice::LinkedToolchain { .. }
        | Notice::ToolReaches(_)
        | Notice::OpenNetwork(_)
        | Notice::PrivateWorkdir(_)
        | Notice::ReadOnlyWorkdir(_)
        | Notice::NoWorkdir
        | Notice::SecretsToCome(_)
        | Notice::CommandsWritten(_)
        | Notice::Warned(_)
        | Notice::Fuse { .. }
        | Notice::ReadOnlyFile(_)
        | Notice::ForeignIds(_)
        | Notice::Nesting => Weight::Said,
    }
}

/// A notice with what can be done about it, where something can. Those of one kind that come in numbers
/// are said in one sentence: [`warned`].
pub fn sentence(notice: &Notice) -> Option<String> {
    Some(match notice {
        Notice::Warned(_) => return None,
        Notice::PrivateWorkdir(at) if !at.is_root() && at.as_bytes() != b"/run" => {
            format!("{notice}; to share it: --cow {}", shell_quote(at.as_path()))
        }
        Notice::OpenNetwork(_) => format!("{notice}; for some of them alone: --allow HOST"),
        Notice::NamesHidden { named, .. } => {
            format!("{notice}; to show it: --read {}", shell_quote(named.as_path()))
        }
        Notice::OwnFileWritten(path) => {
            format!("{notice}; to keep it as it is: --read {}", shell_quote(path.as_path()))
        }
        _ => notice.to_string(),
    })
}

/// Files that are named, where there are more.
const NAMED: usize = 3;

/// All files that may hold secrets and are visible, in one sentence.
pub fn warned(notices: &[Notice]) -> Option<String> {
    let path = |notice: &Notice| match notice {
        Notice::Warned(path) => Some(path.clone()),
        _ => None,
    };
    let paths: Vec<HostPath> = notices.iter().filter_map(path).collect();
    if paths.is_empty() {
        return None;
    }
    let more = match paths.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let named = &paths[..paths.len().min(NAMED)];
    let shown: Vec<String> = named.iter().map(|path| format!("`{path}`")).collect();
    let flags: Vec<String> =
        named.iter().map(|path| format!("--hide {}", shell_quote(path.as_path()))).collect();
    Some(format!(
        "{}{more} may hold secrets and can be read inside; to hide: {}",
        shown.join(", "),
        flags.join(" ")
    ))
}
