//! A sandbox that ended and runs again: moved to where those that run are, its layers as they are.
//!
//! # Theory of operation
//! It is locked and its record says how it ended. Moved with one rename, it is what a sweep takes for one
//! whose launcher was killed between its last record and its last move, and moves back: so until the record
//! of the new run is written, an interruption loses nothing.

use rustix::fs::{AtFlags, Mode, fstat, mkdirat, renameat, statat};
use rustix::io::Errno;

use super::directory;
use super::error::StateError;
use super::layer::{Made, Names};
use super::record::{EarlierRun, LayerRecord, Record};
use super::sandbox::{LayerDirectories, SandboxDirectory};
use super::spare;
use super::store::Place;
use super::timestamp::Timestamp;
use crate::plan::step::{Backend, Layer, LayerNumber};
use crate::spec::SandboxPath;
use crate::spec::order;

impl SandboxDirectory {
    /// Makes it one that runs.
    pub fn run_again(mut self) -> Result<Self, StateError> {
        let (id, to) = (self.id(), Place::Live.name());
        let failed = |source| StateError::Move { id, to, source };
        if self.place == Place::Kept {
            let kept = self.store().open_place(Place::Kept).map_err(failed)?;
            let kept = kept.ok_or(failed(Errno::NOENT))?;
            renameat(&kept, id.as_str(), &self.store().0.live, id.as_str()).map_err(failed)?;
            self.place = Place::Live;
        }
        self.made = fstat(self.descriptor()).map_err(failed)?;
        Ok(self)
    }

    /// For another run by the same launcher, which has held it all the time.
    #[must_use]
    pub fn for_another_run(mut self) -> Self {
        self.layers.clear();
        self
    }

    /// Takes the directories of a layer as they are. The mark is told only where the layer is empty: what
    /// is in one was written over a host of before.
    pub fn take_layer(
        &mut self,
        number: LayerNumber,
        layer: &Layer,
    ) -> Result<LayerDirectories, StateError> {
        let failed = |source| StateError::Layer { id: self.id(), number, source };
        let names = Names::new(number, layer.backend);
        let Some(upper) = self.open_upper(number)? else { return self.make_layer(number, layer) };
        if layer.backend == Backend::Kernel {
            spare::clear_work(self.descriptor(), &names.work).map_err(failed)?;
        }
        match mkdirat(self.descriptor(), &names.work, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(failed(error)),
        }
        let is = statat(self.descriptor(), &names.upper, AtFlags::SYMLINK_NOFOLLOW);
        let is_plain = is.map_err(failed)?.st_mode & 0o7777 == layer.mode & 0o7777;
        // One that cannot be read is not known to be empty.
        let is_empty = is_plain && directory::is_empty(&upper).unwrap_or(false);
        let mark = layer.over.as_ref().filter(|_| is_empty).map(|over| self.mark(over));
        let mark = mark.unwrap_or_default();
        let (upper, work) =
            (self.place_of(number, &names.upper)?, self.place_of(number, &names.work)?);
        self.layers.push(Made { names, mode: layer.mode & 0o7777 });
        Ok(LayerDirectories { upper, work, mark })
    }
}

impl Record {
    /// The record of a run that goes on with the layers of another, which `old` tells of.
    ///
    /// What was said of a place when the layer came to have something there (`has`: the host's is not seen through it)
    /// holds on; of all others it is what holds for the new run. A mark is the first one, as the layer holds what
    /// was written since.
    #[must_use]
    pub fn after(mut self, mut old: Self, has: impl Fn(LayerNumber, &SandboxPath) -> bool) -> Self {
        let began = old.continued.unwrap_or(old.created);
        let apart = old.was_apart();
        let layers = (0..).map(LayerNumber).zip(self.layers.into_iter().zip(old.layers));
        let after = |(number, (new, old)): (LayerNumber, (LayerRecord, LayerRecord))| {
            new.after(old, |place| has(number, place))
        };
        self.layers = layers.map(after).collect();
        old.earlier.push(EarlierRun {
            apart,
            began,
            from: old.from,
            profile: old.spec.profile,
            argv: old.spec.command.argv,
            outcome: old.outcome,
        });
        let too_many = old.earlier.len().saturating_sub(Self::MOST_EARLIER);
        old.earlier.drain(..too_many);
        Self {
            id: old.id,
            name: old.name,
            created: old.created,
            continued: Some(Timestamp::now()),
            earlier: old.earlier,
            ..self
        }
    }
}

impl LayerRecord {
    fn after(self, old: Self, has: impl Fn(&SandboxPath) -> bool) -> Self {
        let held_on = |new: Vec<SandboxPath>, old: Vec<SandboxPath>| {
            let old = old.into_iter().filter(|place| has(place));
            let mut all: Vec<_> = new.into_iter().filter(|place| !has(place)).chain(old).collect();
            order::sort(&mut all);
            all
        };
        let masked = held_on(self.masked, old.masked);
        let shown = match (self.shown, old.shown) {
            (Some(new), Some(old)) => Some(held_on(new, old)),
            (new, old) => new.or(old),
        };
        let (mark, root) = (self.mark.or(old.mark), self.root.or(old.root));
        Self { layer: self.layer, masked, shown, mark, root }
    }
}
