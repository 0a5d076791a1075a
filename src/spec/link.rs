//! What stands in a symbolic link, name by name.

use std::ffi::OsString;
use std::path::{Component, Path};

/// The names of a link's target in their order, `..` among them: what it climbs from is known only where the names before
/// it led.
pub fn names(target: &Path) -> Vec<OsString> {
    let name = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    };
    target.components().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_in_their_order_and_what_stays_in_place_is_left_out() {
        for (target, expected) in [
            ("/a/b", &["a", "b"][..]),
            ("./a/./b//c/", &["a", "b", "c"]),
            ("../a/../../b", &["..", "a", "..", "..", "b"]),
            (".", &[]),
            ("/", &[]),
        ] {
            assert_eq!(names(Path::new(target)), expected, "{target}");
        }
    }
}
