//! The built-in profiles as `build.rs` left them: merged, and quick to read.

use super::library::Resolved;
use super::stored::decode;

/// A built-in profile with everything it extends.
pub(super) fn resolved(name: &str) -> Option<Resolved> {
    let default = include_str!(concat!(env!("OUT_DIR"), "/profile-default"));
    let text = match name {
        "default" => default,
        "strict" => include_str!(concat!(env!("OUT_DIR"), "/profile-strict")),
        "build" => include_str!(concat!(env!("OUT_DIR"), "/profile-build")),
        "agent" => include_str!(concat!(env!("OUT_DIR"), "/profile-agent")),
        _ => return None,
    };
    decode(text, default)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Settings;
    use crate::profile::builtin::NAMES;
    use crate::profile::library::resolve_builtin;

    #[test]
    fn what_was_stored_is_what_the_files_say() {
        for name in NAMES {
            let stored = resolved(name).unwrap();
            let mut read = resolve_builtin(name).unwrap();
            read.settings.forget_removals();
            let paths = &mut read.settings.paths;
            for list in [&mut paths.secrets, &mut paths.hidden, &mut paths.warned] {
                list.entries.sort();
            }
            assert!(read.idle == Settings::default(), "{name} removes what is not there");
            assert!(stored.name == read.name && stored.row == read.row, "{name}");
            assert!(stored.settings.finish() == read.settings.finish(), "{name}");
        }
    }

    #[test]
    fn what_is_no_profile_is_none() {
        for text in ["", "{}", "\n", "x\nsy", "{\"name\": 5}\ns/x"] {
            assert!(decode(text, "").is_none(), "{text:?}");
        }
    }
}
