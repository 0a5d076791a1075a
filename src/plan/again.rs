//! Makes a plan one that goes on with the layers of a sandbox that ended.
//!
//! # Theory of operation
//! A layer means something only over the tree it was written over, served as it was served. So a plan is
//! made as for any run, and then held against what the sandbox's record says of its layers: where they are
//! the same, the steps that would make layers take those instead; where they are not, that is an error which
//! names the first difference. Nothing is left out and nothing added silently.
//!
//! The places that were asked for by path must be what they were, too: a payload that writes around one can put a link
//! there, and must not choose what the next run is shown.
//!
//! What may differ: what is mounted over parts of a layer, as that is not in the layer, and what is hidden in it, as
//! long as the layer has nothing there: who takes the layer looks. The record keeps what holds for what is in the layer.

use super::named::{Changed, changed};
use super::step::{Action, Backend, Copied, Layer, Named, Plan, StoreStep};
use crate::spec::{HostPath, IdMode, Ids, SandboxPath, Text};

/// A sandbox that ended, as far as a plan depends on it.
#[derive(Debug, Clone, Copy)]
pub struct Earlier<'a> {
    /// Its id.
    pub sandbox: &'a str,
    /// The store that holds it.
    pub store: &'a HostPath,
    /// Who its payload was.
    pub ids: Ids,
    /// Its layers, by number.
    pub layers: &'a [Layer],
    /// Where the paths led that it named.
    pub named: &'a [Named],
}

/// Why a run cannot go on with the layers of another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AgainError {
    /// This run would write elsewhere.
    #[error(
        "cannot go on with sandbox `{sandbox}`: it is in the store `{store}`, which this run does not use"
    )]
    Store {
        /// Which.
        sandbox: Text,
        /// Its store.
        store: HostPath,
    },
    /// Files in the layer have owners that would be others.
    #[error("cannot go on with sandbox `{sandbox}`: its ids were mapped otherwise")]
    Ids {
        /// Which.
        sandbox: Text,
        /// Whether it had subordinate ids.
        had: IdMode,
    },
    /// It has a layer that this run has not.
    #[error(
        "cannot go on with sandbox `{sandbox}`: it wrote to a layer at `{at}`, where this run has none"
    )]
    Without {
        /// Which.
        sandbox: Text,
        /// Where.
        at: SandboxPath,
    },
    /// This run has a layer that it has not.
    #[error(
        "cannot go on with sandbox `{sandbox}`: this run has a layer at `{at}`, where it had none"
    )]
    Besides {
        /// Which.
        sandbox: Text,
        /// Where.
        at: SandboxPath,
    },
    /// A layer over something else.
    #[error("cannot go on with sandbox `{sandbox}`: its layer at `{at}` lay over something else")]
    Over {
        /// Which.
        sandbox: Text,
        /// Where.
        at: SandboxPath,
    },
    /// A path that it named leads elsewhere.
    #[error(
        "cannot go on with sandbox `{sandbox}`: `{asked}` leads to `{is}` now, and led to `{was}` when it was started"
    )]
    Elsewhere {
        /// Which.
        sandbox: Text,
        /// The path.
        asked: HostPath,
        /// Where it led.
        was: HostPath,
        /// Where it leads.
        is: HostPath,
    },
    /// Something else stands at a path that it named.
    #[error(
        "cannot go on with sandbox `{sandbox}`: `{asked}` is not the directory that it was when it was started, and lies \
         in one that the sandbox writes"
    )]
    Replaced {
        /// Which.
        sandbox: Text,
        /// The path.
        asked: HostPath,
    },
    /// A layer served by somebody else.
    #[error("cannot go on with sandbox `{sandbox}`: its layer at `{at}` was served by {}", named(*had))]
    Backend {
        /// Which.
        sandbox: Text,
        /// Where.
        at: SandboxPath,
        /// By whom.
        had: Backend,
    },
}

fn named(backend: Backend) -> &'static str {
    match backend {
        Backend::Kernel => "the kernel",
        Backend::Fuse => "fuse-overlayfs",
    }
}

impl AgainError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Store { .. } => "is BRYO_STORE set as it was then?".to_owned(),
            Self::Ids { had: IdMode::Subid, .. } => {
                "give --ids subid and --user as then".to_owned()
            }
            Self::Ids { had: IdMode::Single, .. } => "leave out --ids".to_owned(),
            Self::Backend { had: Backend::Fuse, .. } => "add --overlay fuse".to_owned(),
            Self::Backend { had: Backend::Kernel, .. } => "add --overlay kernel".to_owned(),
            Self::Elsewhere { sandbox, asked, .. } | Self::Replaced { sandbox, asked } => format!(
                "what the sandbox wrote may have put it there: look at `{asked}`; put back what was there, or leave \
                 this sandbox and start one anew, as `bryo inspect {sandbox}` tells it was"
            ),
            Self::Without { sandbox, .. }
            | Self::Besides { sandbox, .. }
            | Self::Over { sandbox, .. } => format!(
                "run it from the directory and with the flags of then (profile, --cow, --write, -v, --network): \
                 bryo inspect {sandbox}"
            ),
        }
    }
}

/// The plan that takes the layers of `earlier` where `plan` makes some, for a payload with `ids`.
pub fn plan_again(plan: Plan, ids: Ids, earlier: &Earlier<'_>) -> Result<Plan, AgainError> {
    let sandbox = || Text::from(earlier.sandbox);
    if (ids.mode == IdMode::Subid || earlier.ids.mode == IdMode::Subid) && ids != earlier.ids {
        return Err(AgainError::Ids { sandbox: sandbox(), had: earlier.ids.mode });
    }
    verify_named(&plan.named, earlier)?;
    verify_layers(&plan.layers, earlier)?;
    if plan.store.as_ref() != Some(earlier.store) {
        return Err(AgainError::Store { sandbox: sandbox(), store: earlier.store.clone() });
    }
    let Plan { mut steps, mut layers, store, notices, groups_kept, named } = plan;
    for step in &mut steps {
        let Action::Store(action) = &mut step.action else { continue };
        *action = match action.clone() {
            StoreStep::Open { store } => StoreStep::Take { store, sandbox: sandbox() },
            StoreStep::Layer(number) => StoreStep::LayerAgain(number),
            other @ (StoreStep::Take { .. }
            | StoreStep::Directory { .. }
            | StoreStep::LayerAgain(_)
            | StoreStep::Note { .. }
            | StoreStep::Mask { .. }) => other,
        };
    }
    for (layer, had) in layers.iter_mut().zip(earlier.layers) {
        *layer = merged(layer, had);
    }
    Ok(Plan { steps, layers, store, notices, groups_kept, named })
}

/// Paths have to lead where they led.
fn verify_named(named: &[Named], earlier: &Earlier<'_>) -> Result<(), AgainError> {
    let sandbox = Text::from(earlier.sandbox);
    match changed(earlier.named, named) {
        None => Ok(()),
        Some(Changed::Replaced(was)) => {
            Err(AgainError::Replaced { sandbox, asked: was.asked.clone() })
        }
        Some(Changed::Elsewhere { was, is }) => {
            let (asked, was) = (was.asked.clone(), was.real.clone());
            Err(AgainError::Elsewhere { sandbox, asked, was, is: is.clone() })
        }
    }
}

/// By number, layers have to be the same.
fn verify_layers(layers: &[Layer], earlier: &Earlier<'_>) -> Result<(), AgainError> {
    let sandbox = || Text::from(earlier.sandbox);
    let is_at = |layers: &[Layer], at: &SandboxPath| layers.iter().any(|layer| layer.at == *at);
    for had in earlier.layers {
        if !is_at(layers, &had.at) {
            return Err(AgainError::Without { sandbox: sandbox(), at: had.at.clone() });
        }
    }
    for layer in layers {
        if !is_at(earlier.layers, &layer.at) {
            return Err(AgainError::Besides { sandbox: sandbox(), at: layer.at.clone() });
        }
    }
    for (layer, had) in layers.iter().zip(earlier.layers) {
        let at = layer.at.clone();
        if layer.at != had.at || layer.over != had.over || !agree(&layer.copied, &had.copied) {
            return Err(AgainError::Over { sandbox: sandbox(), at });
        }
        if layer.backend != had.backend {
            return Err(AgainError::Backend { sandbox: sandbox(), at, had: had.backend });
        }
    }
    Ok(())
}

/// Whether no place holds a copy of another file than it held.
fn agree(copied: &[Copied], had: &[Copied]) -> bool {
    let is_other =
        |one: &Copied| had.iter().any(|had| had.path == one.path && had.from != one.from);
    !copied.iter().any(is_other)
}

/// What holds for every run of a layer: its own permission bits, every file that it lay over, and the
/// places that were another tree's in all of them.
fn merged(layer: &Layer, had: &Layer) -> Layer {
    let covered = layer.covered.iter().filter(|place| had.covered.contains(place));
    let mut copied = had.copied.clone();
    copied.extend(layer.copied.iter().filter(|one| !had.copied.contains(one)).cloned());
    Layer { mode: had.mode, covered: covered.cloned().collect(), copied, ..layer.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::step::{LayerNumber, Stage, Step};

    fn layer(at: &str) -> Layer {
        let at = SandboxPath::new(at).unwrap();
        Layer {
            over: Some(at.same_on_host()),
            at,
            backend: Backend::Kernel,
            mode: 0o755,
            covered: Vec::new(),
            copied: Vec::new(),
            hidden: Vec::new(),
        }
    }

    fn plan(layers: Vec<Layer>) -> Plan {
        let store = HostPath::new("/store").unwrap();
        let mut actions = vec![StoreStep::Open { store: store.clone() }];
        actions.extend((0..).zip(&layers).map(|(n, _)| StoreStep::Layer(LayerNumber(n))));
        let step = |action| Step { stage: Stage::Prepare, action: Action::Store(action) };
        let steps = actions.into_iter().map(step).collect();
        Plan { layers, store: Some(store), ..Plan::of_steps(steps) }
    }

    fn again(now: Vec<Layer>, had: &[Layer], ids: Ids) -> Result<Plan, AgainError> {
        let store = HostPath::new("/store").unwrap();
        let earlier =
            Earlier { sandbox: "abc", store: &store, ids: Ids::default(), layers: had, named: &[] };
        plan_again(plan(now), ids, &earlier)
    }

    #[test]
    fn the_same_layers_are_taken_and_none_is_made() {
        let place = |path: &str| SandboxPath::new(path).unwrap();
        let had =
            Layer { mode: 0o700, covered: vec![place("/a"), place("/b")], ..layer("/home/al") };
        let now = Layer { covered: vec![place("/b"), place("/c")], ..layer("/home/al") };
        let plan = again(vec![now], &[had], Ids::default()).unwrap();
        let told: Vec<String> = plan.steps.iter().map(|step| step.action.to_string()).collect();
        assert_eq!(told, ["take sandbox `abc` in the store `/store`", "take layer 0 as it is"]);
        assert_eq!((plan.layers[0].mode, &plan.layers[0].covered[..]), (0o700, &[place("/b")][..]));
    }

    #[test]
    fn whatever_differs_is_named_with_what_to_do() {
        let (home, data) = (layer("/home/al"), layer("/data"));
        let subid = Ids { mode: IdMode::Subid, ..Ids::default() };
        let fuse = Layer { backend: Backend::Fuse, ..home.clone() };
        let over = Layer { over: None, ..home.clone() };
        for (now, had, ids, said) in [
            (
                vec![],
                vec![home.clone()],
                Ids::default(),
                "it wrote to a layer at `/home/al`, where this run has none",
            ),
            (
                vec![home.clone(), data],
                vec![home.clone()],
                Ids::default(),
                "this run has a layer at `/data`",
            ),
            (
                vec![over],
                vec![home.clone()],
                Ids::default(),
                "its layer at `/home/al` lay over something else",
            ),
            (vec![home.clone()], vec![fuse], Ids::default(), "was served by fuse-overlayfs"),
            (vec![home.clone()], vec![home.clone()], subid, "its ids were mapped otherwise"),
        ] {
            let error = again(now, &had, ids).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
            assert!(!error.hint().is_empty());
        }
        let elsewhere = Plan { store: None, ..plan(vec![home.clone()]) };
        let store = HostPath::new("/store").unwrap();
        let earlier = Earlier {
            sandbox: "abc",
            store: &store,
            ids: Ids::default(),
            layers: &[home],
            named: &[],
        };
        let error = plan_again(elsewhere, Ids::default(), &earlier).unwrap_err();
        assert!(matches!(error, AgainError::Store { .. }));
    }
}
