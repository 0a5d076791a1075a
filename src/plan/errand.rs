//! What a process of bryo's own does in a sandbox that runs, in place of a program: the halves of `bryo cp` that
//! are inside; and where a copy goes.
//!
//! # Theory of operation
//! [`place`] is the table of `docker cp`. The side that has the destination looks at it, and the table says what
//! becomes of the source there. Where the answer is [`Placing::Under`], that place is looked at and asked about again.

use serde::{Deserialize, Serialize};

use crate::spec::Text;

/// One errand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Errand {
    /// Writes an archive of what is at a path to descriptor 1.
    Pack {
        /// Relative ones begin at the root.
        path: Text,
        /// Whether a link at its end is followed.
        follow: bool,
        /// What it is called in the archive; `.` for a directory of which the content alone is wanted. None for its own name.
        name: Option<Text>,
        /// What is kept.
        keep: Keep,
    },
    /// Reads an archive from descriptor 0, and puts what it holds there.
    Unpack {
        /// Relative ones begin at the root.
        path: Text,
        /// What comes.
        source: Source,
        /// What is kept.
        keep: Keep,
    },
}

/// What a copy keeps, besides content, links, and times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// Permissions, as far as the mask of who receives it leaves them.
    Some,
    /// All permissions but set-id bits, hard links, `user.` attributes, and owners where they may be given.
    All,
}

/// What is copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Source {
    /// What it is.
    pub kind: SourceKind,
    /// The last part of its path; none where that says nothing, as of `/`.
    pub name: Option<Text>,
}

/// What kind of thing is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceKind {
    /// A file, or a link.
    File,
    /// A directory.
    Directory,
    /// What is in a directory: its path ended in `/.`.
    Contents,
    /// An archive from elsewhere.
    Stream,
}

/// What stands at a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing, in a directory that is there.
    Nothing,
    /// A directory.
    Directory,
    /// Anything else.
    File,
}

/// Where a copy goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placing {
    /// To the destination itself: it is made, or replaced.
    Itself,
    /// Below it, under the name of the source.
    Under,
    /// Into it: a directory gets what a directory holds.
    Into,
}

/// Why a copy cannot go where it was asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum PlaceError {
    /// The destination ends in a slash, and is not there.
    #[error("no such directory")]
    NoDirectory,
    /// A file stands where the path says that there is a directory, or an archive needs one.
    #[error("it is no directory")]
    NotDirectory,
    /// A file there is not replaced by a directory.
    #[error("a directory does not replace a file")]
    OverFile,
    /// Nor the other way round.
    #[error("a file does not replace a directory")]
    OverDirectory,
}

/// The table. `slash`: the destination was written with a slash, or `/.`, at its end.
pub fn place(kind: SourceKind, standing: Standing, slash: bool) -> Result<Placing, PlaceError> {
    match (kind, standing) {
        (SourceKind::Stream, Standing::Nothing) => Err(PlaceError::NoDirectory),
        (SourceKind::Stream, Standing::File) => Err(PlaceError::NotDirectory),
        (SourceKind::Stream | SourceKind::Contents, Standing::Directory) => Ok(Placing::Into),
        (SourceKind::File, Standing::Nothing) if slash => Err(PlaceError::NoDirectory),
        (SourceKind::File, Standing::File) if slash => Err(PlaceError::NotDirectory),
        (SourceKind::File | SourceKind::Directory, Standing::Directory) => Ok(Placing::Under),
        (SourceKind::File, Standing::File)
        | (SourceKind::File | SourceKind::Directory | SourceKind::Contents, Standing::Nothing) => {
            Ok(Placing::Itself)
        }
        (SourceKind::Directory | SourceKind::Contents, Standing::File) => Err(PlaceError::OverFile),
    }
}

/// The table for what is to go under the name of the source.
pub fn place_under(kind: SourceKind, standing: Standing) -> Result<Placing, PlaceError> {
    match (kind, standing) {
        (SourceKind::File, Standing::Directory) => Err(PlaceError::OverDirectory),
        (SourceKind::Directory, Standing::Directory) => Ok(Placing::Into),
        _ => place(kind, standing, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `docs.docker.com/reference/cli/docker/container/cp`, line by line.
    #[test]
    fn copies_go_where_docker_puts_them() {
        use PlaceError::{NoDirectory, NotDirectory, OverDirectory, OverFile};
        use Placing::{Into, Itself, Under};
        use SourceKind as K;
        use Standing as S;
        for (kind, standing, slash, expected) in [
            (K::File, S::Nothing, false, Ok(Itself)),
            (K::File, S::Nothing, true, Err(NoDirectory)),
            (K::File, S::File, false, Ok(Itself)),
            (K::File, S::File, true, Err(NotDirectory)),
            (K::File, S::Directory, false, Ok(Under)),
            (K::File, S::Directory, true, Ok(Under)),
            (K::Directory, S::Nothing, false, Ok(Itself)),
            (K::Directory, S::Nothing, true, Ok(Itself)),
            (K::Directory, S::File, false, Err(OverFile)),
            (K::Directory, S::Directory, false, Ok(Under)),
            (K::Contents, S::Nothing, false, Ok(Itself)),
            (K::Contents, S::File, false, Err(OverFile)),
            (K::Contents, S::Directory, false, Ok(Into)),
            (K::Stream, S::Directory, false, Ok(Into)),
            (K::Stream, S::Nothing, false, Err(NoDirectory)),
            (K::Stream, S::File, false, Err(NotDirectory)),
        ] {
            assert_eq!(place(kind, standing, slash), expected, "{kind:?} {standing:?} {slash}");
        }
        assert_eq!(place_under(K::File, S::Directory), Err(OverDirectory));
        assert_eq!(place_under(K::File, S::File), Ok(Itself));
        assert_eq!(place_under(K::Directory, S::Directory), Ok(Into));
        assert_eq!(place_under(K::Directory, S::File), Err(OverFile));
        assert_eq!(place_under(K::Directory, S::Nothing), Ok(Itself));
    }
}
