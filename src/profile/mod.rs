//! Profiles: TOML files that say what a kind of payload may do, and extend each other.
//!
//! # Theory of operation
//! `read` turns a file into [`Settings`], in which everything may be missing. [`Library`] finds a
//! profile and those it extends, puts them in one row (each once, what is extended before what
//! extends it, several parents in the order they are named) and merges the row from the left.
//! [`Settings::finish`] then fills what nobody said with the strictest value.
//!
//! A profile that does not say what it extends extends `default`; `extends = []` begins with
//! nothing: an empty root, no variables, no network.
//!
//! # The merge rule of each field
//!
//! | field | rule |
//! |---|---|
//! | `description` | never inherited |
//! | `extends` | decides the row, see above |
//! | `hostname`, `umask` | the later one wins |
//! | `[ids] user mode` | the later one wins |
//! | `[root] base overlay workdir home read-only tmpfs-size shm-size` | the later one wins |
//! | `[network] mode allow-all allow-any-sni rate` | the later one wins |
//! | `[network] refuse allow deny dns dns-search dns-option add-host publish` | union; where a rule that allows and one that denies meet, denied |
//! | `[confine] landlock seccomp notify nesting` | the later one wins |
//! | `[limits] processes processes-need timeout memory memory-swap memory-high cpus cpu-weight cpuset-cpus io-weight io-max cgroup cgroup-need disk disk-need` | the later one wins |
//! | `[health] disable command interval timeout start-period start-interval retries` | the later one wins |
//! | `[paths] read write cow hide tmpfs socket device toolchain` | union; one place has one access, the later one wins |
//! | `[paths] secrets hidden warned moved` | union |
//! | `[environment] pass` | union |
//! | `[environment] set` | union by name, the later value wins |
//! | `[confine] capabilities` | union |
//! | `[limits] ulimits` | union by resource, the later one wins |
//! | `[remove]` | takes entries out of the lists above, as they came from the profiles before; the same profile's own entries stay |
//!
//! The rule is associative (`tests/profile_merge.rs`), so it does not matter in which steps a row is
//! merged.
//!
//! # Not here
//! Where user profiles are (`front` reads the environment), flags (`front`), matching of patterns
//! against files (`host`).
//!
//! # Decisions
//! - A user profile with the name of a built-in one is an error: silently it would change what
//!   `bryo run` does, and ignoring it would surprise too.
//! - Nothing is picked up from the current directory: a project that was downloaded would choose its
//!   own sandbox.
//! - The later profile may be weaker than the one it extends, in every field: a profile is the user's
//!   decision, and a field that could only become stricter would push people to write everything anew.

pub mod builtin;
mod embedded;
pub mod error;
mod fields;
pub mod group;
pub mod health;
pub mod library;
mod merge;
pub mod moved;
pub mod network;
mod read;
pub mod render;
pub mod settings;
pub mod stored;
pub mod value;
pub mod variable;

pub use error::ProfileError;
pub use library::{Library, Origin, Reference, Resolved};
pub use read::{MAX_SIZE, parse_profile, problems};
pub use settings::{Settings, Wanted};
