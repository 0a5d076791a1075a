//! Which changes are meant: at or below some paths, and not what a pattern excludes.
//!
//! # Patterns
//! As in a `.gitignore`, without its exceptions: `*` stands for any bytes of a name, `?` for one, `[…]` for one of
//! several, `**` for any number of directories, `\` makes the next character mean itself. A pattern without
//! a slash before its end is held against every name of a path, one with a slash against the path from the
//! given directory on, or from the root when it begins with one. What lies below a match matches too.
//!
//! # Decisions
//! Every pattern means something; an open `[` means itself. Matching takes time in proportion to pattern
//! times name, whatever a payload calls its files.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::spec::HostPath;

/// Which changes are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// These and what lies below; everything when there is none.
    pub paths: Vec<HostPath>,
    /// But not what one of these matches.
    pub exclude: Vec<Glob>,
}

impl Selection {
    /// Whether a path is meant.
    pub fn takes(&self, path: &HostPath) -> bool {
        let named = self.paths.is_empty() || self.paths.iter().any(|named| path.starts_with(named));
        named && !self.exclude.iter().any(|glob| glob.matches(path))
    }

    /// Whether everything is meant.
    pub fn is_everything(&self) -> bool {
        self.paths.is_empty() && self.exclude.is_empty()
    }
}

/// A pattern of paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    /// None when it is held against every single name.
    base: Option<HostPath>,
    names: Vec<Vec<u8>>,
}

impl Glob {
    /// Reads a pattern; one with a slash in it is meant from `base` on. None when no name stands in it.
    pub fn new(pattern: &OsStr, base: &HostPath) -> Option<Self> {
        let bytes = pattern.as_bytes();
        let split = bytes.split(|byte| *byte == b'/');
        let names: Vec<Vec<u8>> =
            split.filter(|name| !matches!(*name, b"" | b".")).map(<[u8]>::to_vec).collect();
        if names.is_empty() {
            return None;
        }
        let inner = bytes.iter().position(|byte| *byte == b'/').filter(|at| at + 1 < bytes.len());
        let base = match (bytes.first(), inner) {
            (Some(b'/'), _) => Some(HostPath::root()),
            (_, Some(_)) => Some(base.clone()),
            (_, None) => None,
        };
        Some(Self { base, names })
    }

    /// Whether it matches a path, or a directory above it.
    pub fn matches(&self, path: &HostPath) -> bool {
        let Some(base) = &self.base else {
            return path.names().any(|name| matches_name(&self.names[0], name.as_bytes()));
        };
        let Some(rest) = path.relative_to(base) else { return false };
        let names: Vec<&[u8]> = rest.iter().map(OsStr::as_bytes).collect();
        (1..=names.len()).any(|end| matches_names(&self.names, &names[..end]))
    }
}

/// Goes through a pattern and a text, where one kind of piece stands for any number of pieces: what was
/// taken for it last grows when the rest does not fit, and nothing before it has to be tried again.
fn matches_with<P, T>(
    pattern: &[P],
    text: &[T],
    is_any: impl Fn(&P) -> bool,
    fits: impl Fn(&P, &T) -> bool,
) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut again = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(piece) if is_any(piece) => {
                again = Some((p, t));
                p += 1;
                continue;
            }
            Some(piece) if fits(piece, &text[t]) => {
                p += 1;
                t += 1;
                continue;
            }
            _ => {}
        }
        let Some((star, begin)) = again else { return false };
        again = Some((star, begin + 1));
        p = star + 1;
        t = begin + 1;
    }
    pattern[p..].iter().all(is_any)
}

fn matches_names(pattern: &[Vec<u8>], names: &[&[u8]]) -> bool {
    matches_with(pattern, names, |piece| piece == b"**", |piece, name| matches_name(piece, name))
}

fn matches_name(pattern: &[u8], name: &[u8]) -> bool {
    let pieces = pieces(pattern);
    matches_with(
        &pieces,
        name,
        |piece| matches!(piece, Piece::Any),
        |piece, byte| piece.fits(*byte),
    )
}

/// A piece of the pattern of one name.
#[derive(Debug)]
enum Piece<'a> {
    Any,
    One,
    Byte(u8),
    /// What stands between the brackets, and whether it is meant the other way round.
    Class(&'a [u8], bool),
}

impl Piece<'_> {
    fn fits(&self, byte: u8) -> bool {
        match self {
            Self::Any | Self::One => true,
            Self::Byte(wanted) => *wanted == byte,
            Self::Class(class, inverted) => in_class(class, byte) != *inverted,
        }
    }
}

fn in_class(mut class: &[u8], byte: u8) -> bool {
    while let Some((&first, rest)) = class.split_first() {
        let (last, rest) = match rest {
            [b'-', last, rest @ ..] => (*last, rest),
            rest => (first, rest),
        };
        if (first..=last).contains(&byte) {
            return true;
        }
        class = rest;
    }
    false
}

fn pieces(pattern: &[u8]) -> Vec<Piece<'_>> {
    let mut pieces = Vec::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        pieces.push(match byte {
            b'*' => Piece::Any,
            b'?' => Piece::One,
            b'\\' => match after.split_first() {
                Some((&next, after)) => {
                    rest = after;
                    Piece::Byte(next)
                }
                None => Piece::Byte(b'\\'),
            },
            b'[' => match class(after) {
                Some((class, after)) => {
                    rest = after;
                    class
                }
                None => Piece::Byte(b'['),
            },
            byte => Piece::Byte(byte),
        });
    }
    pieces
}

/// What stands in brackets, and what follows them. A `]` that comes first is one of its bytes.
fn class(text: &[u8]) -> Option<(Piece<'_>, &[u8])> {
    let inverted = matches!(text.first(), Some(b'!' | b'^'));
    let text = if inverted { &text[1..] } else { text };
    let end = text.iter().skip(1).position(|byte| *byte == b']')? + 1;
    Some((Piece::Class(&text[..end], inverted), &text[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> HostPath {
        HostPath::new(text).unwrap()
    }

    fn glob(pattern: &str) -> Glob {
        Glob::new(OsStr::new(pattern), &path("/home/al/w")).unwrap()
    }

    #[test]
    fn patterns_match_as_in_gitignore() {
        for (pattern, inside, yes) in [
            ("*.o", "/home/al/w/a/b.o", true),
            ("*.o", "/home/al/w/b.o/c", true),
            ("*.o", "/home/al/w/b.oo", false),
            ("target", "/home/al/w/x/target/y", true),
            ("target/", "/home/al/w/target/y", true),
            ("a/b", "/home/al/w/a/b/c", true),
            ("a/b", "/home/al/w/x/a/b", false),
            ("./a", "/home/al/w/a", true),
            ("./a", "/home/al/w/x/a", false),
            ("/home/*/w", "/home/al/w/z", true),
            ("/home", "/home", true),
            ("/w", "/home/al/w", false),
            ("a/**/z", "/home/al/w/a/z", true),
            ("a/**/z", "/home/al/w/a/b/c/z", true),
            ("a/**/z", "/home/al/w/a/b/c/y", false),
            ("**/z", "/home/al/w/b/z", true),
            ("a/*/z", "/home/al/w/a/b/c/z", false),
            ("?[a-c]x", "/home/al/w/1bx", true),
            ("?[!a-c]x", "/home/al/w/1bx", false),
            ("[]]", "/home/al/w/]", true),
            ("[a", "/home/al/w/[a", true),
            ("[", "/home/al/w/[", true),
            (r"\*", "/home/al/w/*", true),
            (r"\*", "/home/al/w/a", false),
            ("*", "/x", true),
        ] {
            assert_eq!(glob(pattern).matches(&path(inside)), yes, "{pattern} {inside}");
        }
        for nothing in ["", "/", "./", "//."] {
            assert_eq!(Glob::new(OsStr::new(nothing), &path("/x")), None);
        }
    }

    #[test]
    fn a_name_made_to_be_hard_to_match_takes_no_longer() {
        let began = std::time::Instant::now();
        let hard = glob(&"*a".repeat(100));
        assert!(!hard.matches(&path(&format!("/{}b", "a".repeat(254)))));
        let deep = glob(&format!("{}x", "**/a/".repeat(40)));
        assert!(!deep.matches(&path(&format!("/home/al/w{}", "/a".repeat(1500)))));
        assert!(began.elapsed().as_secs() < 5);
    }

    #[test]
    fn a_selection_takes_what_is_named_and_not_excluded() {
        let everything = Selection::default();
        assert!(everything.takes(&path("/x")) && everything.is_everything());
        let some = Selection { paths: vec![path("/a/b")], exclude: vec![glob("*.o")] };
        assert!(some.takes(&path("/a/b")) && some.takes(&path("/a/b/c")));
        assert!(!some.takes(&path("/a/bc")) && !some.takes(&path("/a/b/c.o")));
    }
}
