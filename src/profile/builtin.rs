//! The profiles that are compiled in, as they were written.

/// Their names, in the order they are listed.
pub const NAMES: [&str; 4] = ["default", "strict", "build", "agent"];

/// The text of one, with its comments.
pub fn source(name: &str) -> Option<&'static str> {
    match name {
        "default" => Some(include_str!("../../profiles/default.toml")),
        "strict" => Some(include_str!("../../profiles/strict.toml")),
        "build" => Some(include_str!("../../profiles/build.toml")),
        "agent" => Some(include_str!("../../profiles/agent.toml")),
        _ => None,
    }
}
