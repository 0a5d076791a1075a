//! Says of each layer what is hidden in it.
//!
//! Masks and shadows let nothing of the host be seen there, and lie below the layer: what an earlier run wrote in such
//! a place would be seen. Where that is so, nobody can tell before the layer is looked at.

use super::super::step::Layer;
use super::super::view::{Rule, Rules, View};
use crate::spec::SandboxPath;

/// Fills in what the rules hide in the layers.
pub(super) fn describe(rules: &Rules, layers: &mut [Layer]) {
    for layer in layers {
        let hidden = rules.iter().filter(|rule| rule.view == View::Hidden);
        layer.hidden = hidden.filter_map(|rule| inside(rule, layer)).collect();
    }
}

/// Where a rule holds in a layer; none where that is another tree's.
fn inside(rule: &Rule, layer: &Layer) -> Option<SandboxPath> {
    if !rule.at.is_below(&layer.at) {
        return None;
    }
    let place = rule.at.moved(&layer.at, &SandboxPath::root())?;
    let is_covered = layer.covered.iter().any(|covered| place.starts_with(covered));
    (!is_covered).then_some(place)
}
