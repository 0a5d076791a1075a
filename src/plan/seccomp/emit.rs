//! From decisions to instructions.
//!
//! # Theory of operation
//! Classic BPF only jumps forward, so code is made from its end: every target exists before the jump
//! to it, its distance is known, and one that a conditional jump's 8 bits cannot hold gets a
//! trampoline right behind the jump. Ranges become a balanced tree of `>=`; a single number inside
//! an otherwise equal range costs one `==`. Equal leaves and returns are shared.
//!
//! An argument is two 32-bit words. A word whose mask is 0 is not looked at; a word that the
//! accumulator still holds is not loaded again.

use std::collections::{BTreeMap, HashMap};

use super::lower::{ArchBlock, Check, Decision, Lowered};
use crate::spec::seccomp::{Action, Comparison, Operator};

/// One instruction, `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip when the test holds.
    pub jt: u8,
    /// Instructions to skip when it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// Loads a word of `struct seccomp_data`.
pub(super) const LOAD: u16 = 0x20;
/// Masks the accumulator.
pub(super) const AND: u16 = 0x54;
/// Jumps always.
pub(super) const JUMP: u16 = 0x05;
/// Jumps if equal.
pub(super) const IF_EQUAL: u16 = 0x15;
/// Jumps if greater.
pub(super) const IF_GREATER: u16 = 0x25;
/// Jumps if greater or equal.
pub(super) const IF_AT_LEAST: u16 = 0x35;
/// Jumps if any bit is set.
pub(super) const IF_ANY: u16 = 0x45;
/// Ends the program.
pub(super) const RETURN: u16 = 0x06;

/// Offsets in `struct seccomp_data`; words of arguments are little endian on every [`super::Arch`].
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

/// The value a program returns for an action (`linux/seccomp.h`).
pub const fn return_value(action: Action) -> u32 {
    match action {
        Action::Allow => 0x7fff_0000,
        Action::Log => 0x7ffc_0000,
        Action::Notify(_) => 0x7fc0_0000,
        Action::Errno(errno) => 0x0005_0000 | errno.number() as u32,
        Action::Trap => 0x0003_0000,
        Action::KillThread => 0,
        Action::KillProcess => 0x8000_0000,
    }
}

/// The whole program.
pub fn emit(lowered: &Lowered) -> Vec<Instruction> {
    emit_before(lowered, &[])
}

/// The program with another behind it, which gets every call that is handed on.
pub fn emit_before(lowered: &Lowered, tail: &[Instruction]) -> Vec<Instruction> {
    let mut assembler = Assembler {
        code: tail.iter().rev().copied().collect(),
        tail: tail.len().checked_sub(1),
        ..Assembler::default()
    };
    let mut entry = assembler.answer(Some(lowered.foreign));
    for block in lowered.blocks.iter().rev() {
        let body = assembler.block(block);
        entry = assembler.branch(IF_EQUAL, block.arch.token(), body, entry);
    }
    assembler.load(ARCH, entry);
    assembler.code.reverse();
    assembler.code
}

/// An index into the reversed code.
type Position = usize;

#[derive(Default)]
struct Assembler {
    /// Last instruction first.
    code: Vec<Instruction>,
    /// Where calls that are handed on go.
    tail: Option<Position>,
    returns: BTreeMap<u32, Position>,
    leaves: HashMap<Vec<u8>, Position>,
}

/// One half of an argument.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Word {
    offset: u32,
    mask: u32,
    value: u32,
}

impl Assembler {
    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> Position {
        self.code.push(Instruction { code, jt, jf, k });
        self.code.len() - 1
    }

    /// How many instructions the next one would have to skip.
    fn distance(&self, target: Position) -> usize {
        self.code.len() - target - 1
    }

    /// A copy of a return, or a jump.
    fn trampoline(&mut self, target: Position) -> Position {
        let there = self.code[target];
        if there.code == RETURN {
            self.returns.insert(there.k, self.code.len());
            return self.push(RETURN, 0, 0, there.k);
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a program has at most 4,096 instructions"
        )]
        let distance = self.distance(target) as u32;
        self.push(JUMP, 0, 0, distance)
    }

    fn branch(&mut self, code: u16, k: u32, mut yes: Position, mut no: Position) -> Position {
        if yes == no {
            return yes;
        }
        loop {
            match (u8::try_from(self.distance(yes)), u8::try_from(self.distance(no))) {
                (Ok(jt), Ok(jf)) => return self.push(code, jt, jf, k),
                (Err(_), _) => yes = self.trampoline(yes),
                (Ok(_), Err(_)) => no = self.trampoline(no),
            }
        }
    }

    /// Makes `next` the instruction that the next one falls through to.
    fn fall_to(&mut self, next: Position) {
        if next + 1 != self.code.len() {
            self.trampoline(next);
        }
    }

    fn load(&mut self, offset: u32, next: Position) -> Position {
        self.fall_to(next);
        self.push(LOAD, 0, 0, offset)
    }

    fn answer(&mut self, action: Option<Action>) -> Position {
        let action = match (action, self.tail) {
            (None, Some(tail)) => return tail,
            (None, None) => Action::Allow,
            (Some(action), _) => action,
        };
        let value = return_value(action);
        if let Some(position) = self.returns.get(&value) {
            return *position;
        }
        let position = self.push(RETURN, 0, 0, value);
        self.returns.insert(value, position);
        position
    }

    fn block(&mut self, block: &ArchBlock) -> Position {
        let tree = self.tree(&block.ranges);
        self.load(NUMBER, tree)
    }

    fn tree(&mut self, ranges: &[(u32, Decision)]) -> Position {
        match ranges {
            [] => self.answer(None),
            [(_, decision)] => self.decision(decision),
            [(_, outer), (number, inner), (end, other)]
                if outer == other && number.checked_add(1) == Some(*end) =>
            {
                let no = self.decision(outer);
                let yes = self.decision(inner);
                self.branch(IF_EQUAL, *number, yes, no)
            }
            _ => {
                let middle = ranges.len() / 2;
                let above = self.tree(&ranges[middle..]);
                let below = self.tree(&ranges[..middle]);
                self.branch(IF_AT_LEAST, ranges[middle].0, above, below)
            }
        }
    }

    fn decision(&mut self, decision: &Decision) -> Position {
        if decision.checks.is_empty() {
            return self.answer(decision.otherwise);
        }
        let key = format!("{decision:?}").into_bytes();
        if let Some(position) = self.leaves.get(&key) {
            return *position;
        }
        let position = self.checks(&decision.checks, decision.otherwise, None);
        self.leaves.insert(key, position);
        position
    }

    /// `held` is the offset of the word in the accumulator, where it is known on every way in.
    fn checks(
        &mut self,
        checks: &[Check],
        otherwise: Option<Action>,
        held: Option<u32>,
    ) -> Position {
        let Some((first, rest)) = checks.split_first() else { return self.answer(otherwise) };
        let after = match first.all.as_slice() {
            [only] => holds_after(*only, held),
            _ => None,
        };
        let no = self.checks(rest, otherwise, after);
        let yes = self.answer(first.action);
        self.all(&first.all, yes, no, held)
    }

    fn all(
        &mut self,
        comparisons: &[Comparison],
        yes: Position,
        no: Position,
        held: Option<u32>,
    ) -> Position {
        let Some((first, rest)) = comparisons.split_first() else { return yes };
        let yes = self.all(rest, yes, no, holds_after(*first, held));
        self.compare(*first, yes, no, held)
    }

    fn compare(
        &mut self,
        comparison: Comparison,
        yes: Position,
        no: Position,
        held: Option<u32>,
    ) -> Position {
        match comparison.operator() {
            Operator::Equal => self.equal(comparison, yes, no, held),
            Operator::NotEqual => self.equal(comparison, no, yes, held),
            Operator::Less => self.below(comparison, IF_AT_LEAST, yes, no),
            Operator::GreaterOrEqual => self.below(comparison, IF_AT_LEAST, no, yes),
            Operator::LessOrEqual => self.below(comparison, IF_GREATER, yes, no),
            Operator::Greater => self.below(comparison, IF_GREATER, no, yes),
        }
    }

    fn equal(
        &mut self,
        comparison: Comparison,
        yes: Position,
        no: Position,
        held: Option<u32>,
    ) -> Position {
        let [low, high] = words(comparison);
        let lower_held = if high.mask == 0 { held } else { None };
        let yes = self.word_equal(low, yes, no, lower_held);
        self.word_equal(high, yes, no, held)
    }

    fn word_equal(
        &mut self,
        word: Word,
        yes: Position,
        no: Position,
        held: Option<u32>,
    ) -> Position {
        let Word { offset, mask, value } = word;
        let test = match (mask, value) {
            (0, _) => return yes,
            (u32::MAX, _) => self.branch(IF_EQUAL, value, yes, no),
            (_, 0) => self.branch(IF_ANY, mask, no, yes),
            _ if mask.is_power_of_two() => self.branch(IF_ANY, mask, yes, no),
            _ => {
                let test = self.branch(IF_EQUAL, value, yes, no);
                self.fall_to(test);
                self.push(AND, 0, 0, mask)
            }
        };
        if held == Some(offset) { test } else { self.load(offset, test) }
    }

    /// `beyond` is the test on the lower word that means *not below*.
    fn below(
        &mut self,
        comparison: Comparison,
        beyond: u16,
        yes: Position,
        no: Position,
    ) -> Position {
        let [low, high] = words(comparison);
        let test = self.branch(beyond, low.value, no, yes);
        let lower = self.load(low.offset, test);
        let same = self.branch(IF_EQUAL, high.value, lower, no);
        let test = self.branch(IF_AT_LEAST, high.value, same, yes);
        self.load(high.offset, test)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "each half is meant")]
fn words(comparison: Comparison) -> [Word; 2] {
    let offset = ARGUMENTS + 8 * u32::from(comparison.argument().index());
    let (mask, value) = (comparison.mask(), comparison.value());
    [
        Word { offset, mask: mask as u32, value: value as u32 },
        Word { offset: offset + 4, mask: (mask >> 32) as u32, value: (value >> 32) as u32 },
    ]
}

/// What the accumulator holds after a comparison, whichever way it ended.
fn holds_after(comparison: Comparison, held: Option<u32>) -> Option<u32> {
    if !matches!(comparison.operator(), Operator::Equal | Operator::NotEqual) {
        return None;
    }
    match words(comparison).map(|word| (word.offset, word.mask, word.value)) {
        [(_, 0, _), (_, 0, _)] => held,
        [(offset, mask, value), (_, 0, _)] | [(_, 0, _), (offset, mask, value)] => {
            let masked = mask != u32::MAX && value != 0 && !mask.is_power_of_two();
            (!masked).then_some(offset)
        }
        _ => None,
    }
}
