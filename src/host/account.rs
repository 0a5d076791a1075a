//! The numbers of an account, by its name.
//!
//! # Decisions
//! - The files alone are asked, as for most ids ([`passwd`](super::passwd)): who has accounts of a directory service
//!   knows that, and can write the number.

use super::bounded::{self, FILE};
use super::passwd::{GROUP, id, parse_groups, parse_users, read_passwd};

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    /// These.
    Ids {
        /// Of the user.
        uid: u32,
        /// Of the group.
        gid: u32,
    },
    /// No account has that name.
    NoUser,
    /// No group has that name.
    NoGroup,
    /// The files cannot be read.
    Unreadable,
}

/// The numbers of a user, by name or number, and of a group where one is named; of the user's own otherwise.
pub fn numbers(user: &str, group: Option<&str>) -> Numbers {
    let groups = bounded::read_optional(GROUP, FILE).map(Option::unwrap_or_default);
    match (read_passwd(), groups) {
        (Ok(passwd), Ok(groups)) => find(user, group, &passwd, &groups),
        _ => Numbers::Unreadable,
    }
}

fn find(user: &str, group: Option<&str>, passwd: &[u8], groups: &[u8]) -> Numbers {
    let found = id(user.as_bytes()).map(|uid| (uid, None)).or_else(|| {
        let mut users = parse_users(passwd);
        let found = users.find(|known| known.name == user.as_bytes());
        found.map(|user| (user.uid, user.gid))
    });
    let Some((uid, own)) = found else { return Numbers::NoUser };
    let gid = match group {
        None => own.or(Some(uid)),
        Some(group) => id(group.as_bytes()).or_else(|| {
            let mut groups = parse_groups(groups);
            groups.find(|known| known.name == group.as_bytes()).map(|group| group.gid)
        }),
    };
    gid.map_or(Numbers::NoGroup, |gid| Numbers::Ids { uid, gid })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] =
        b"# x\nal:x:1000:1007:Al:/home/al:/bin/sh\nodd:x:1001:none::/:/bin/sh\n+nis::::::\n";
    const GROUPS: &[u8] = b"al:x:1007:\nvideo:x:44:al\n";

    #[test]
    fn a_name_is_the_numbers_of_its_line() {
        let find = |user, group| find(user, group, PASSWD, GROUPS);
        let ids = |uid, gid| Numbers::Ids { uid, gid };
        assert_eq!(find("al", None), ids(1000, 1007));
        assert_eq!(find("al", Some("video")), ids(1000, 44));
        assert_eq!(find("al", Some("5")), ids(1000, 5));
        assert_eq!(find("7", Some("video")), ids(7, 44));
        assert_eq!(find("odd", None), ids(1001, 1001), "as for a number");
        for nobody in ["a", "ala", "", "x", "# x", "+nis", "al\n"] {
            assert_eq!(find(nobody, None), Numbers::NoUser, "{nobody}");
        }
        assert_eq!(find("al", Some("audio")), Numbers::NoGroup);
        assert_eq!(find("al", Some("")), Numbers::NoGroup);
    }
}
