//! What integration tests are written with: a world of their own, and sentences about what a run did.
//!
//! ```ignore
//! let world = World::new();
//! world.file("project/a.c", "int a;");
//! world.outside("rm project/a.c; ls project").stdout_is(""); // the control
//! world.sandbox().run("rm a.c").succeeds().stdout_is("");
//! ```
//!
//! # Theory of operation
//! A [`World`] is a home, a project in it, a store, all in one fresh folder. Every program a test
//! starts, `bryo` or not, is started by a *keeper* (`keeper.c`): the reaper of all its descendants. So
//! after each run it is known that no process is left. The world itself looks, when it ends, for
//! mounts, locks and records, and whether the host's tree is as it was.
//!
//! # Decisions
//! * Nothing is left behind is not a test of its own but a part of each test.
//! * Tests run as an ordinary user; as root they stop at once and say how they are run.
//! * What this host lacks is asked with [`has`]; only what [`MAY_BE_MISSING`] lists may be skipped.

mod ended;
mod invocation;
mod leftovers;
mod needs;
mod program;
mod terminal;
mod world;

pub(crate) use ended::Ended;
pub(crate) use invocation::{Invocation, Running, Stdin};
pub(crate) use needs::{
    MAY_BE_MISSING, Need, Overlay, Verdict, has, overlay, overlay_is_one_of, verdict,
};
pub(crate) use program::{bryo, copy};
pub(crate) use terminal::Terminal;
pub(crate) use world::{Host, World};
