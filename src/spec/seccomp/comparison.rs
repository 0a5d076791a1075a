//! A condition on one argument, and its spelling: `arg1 & 0xffffffff == 0x5412`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Which argument: 0 to 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Argument(u8);

impl Argument {
    /// `None` above 5: no call has more.
    pub const fn new(index: u64) -> Option<Self> {
        #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
        if index < 6 { Some(Self(index as u8)) } else { None }
    }

    /// 0 to 5.
    pub const fn index(self) -> u8 {
        self.0
    }
}

/// How the argument and the value relate; unsigned, 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    /// Equal after the mask was applied to the argument.
    Equal,
    /// Not equal after the mask was applied to the argument.
    NotEqual,
    /// Less.
    Less,
    /// Less or equal.
    LessOrEqual,
    /// Greater.
    Greater,
    /// Greater or equal.
    GreaterOrEqual,
}

/// `argument & mask operator value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Comparison {
    argument: Argument,
    mask: u64,
    operator: Operator,
    value: u64,
}

/// A comparison that cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAComparison {
    /// Not of the form.
    #[error("`{0}` is not a comparison (`arg0 & 0xffffffff == 1`)")]
    Form(String),
    /// Bits of the value outside the mask: it could never hold, or always.
    #[error("the value has bits outside the mask")]
    OutsideMask,
    /// A mask beside `<`, `<=`, `>`, `>=`.
    #[error("a mask goes with `==` and `!=` only")]
    MaskedOrder,
}

impl Comparison {
    /// Compares under a mask; `u64::MAX` for the whole argument.
    pub fn new(
        argument: Argument,
        mask: u64,
        operator: Operator,
        value: u64,
    ) -> Result<Self, NotAComparison> {
        let order = !matches!(operator, Operator::Equal | Operator::NotEqual);
        if order && mask != u64::MAX {
            return Err(NotAComparison::MaskedOrder);
        }
        if value & !mask != 0 {
            return Err(NotAComparison::OutsideMask);
        }
        Ok(Self { argument, mask, operator, value })
    }

    /// Which argument.
    pub fn argument(self) -> Argument {
        self.argument
    }

    /// Bits of the argument that count.
    pub fn mask(self) -> u64 {
        self.mask
    }

    /// How it is compared.
    pub fn operator(self) -> Operator {
        self.operator
    }

    /// With what.
    pub fn value(self) -> u64 {
        self.value
    }

    /// Whether it holds for an argument.
    pub fn holds(self, argument: u64) -> bool {
        match self.operator {
            Operator::Equal => argument & self.mask == self.value,
            Operator::NotEqual => argument & self.mask != self.value,
            Operator::Less => argument < self.value,
            Operator::LessOrEqual => argument <= self.value,
            Operator::Greater => argument > self.value,
            Operator::GreaterOrEqual => argument >= self.value,
        }
    }
}

const OPERATORS: [(&str, Operator); 6] = [
    ("==", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

impl fmt::Display for Comparison {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "arg{}", self.argument.0)?;
        if self.mask != u64::MAX {
            write!(out, " & {:#x}", self.mask)?;
        }
        let word = OPERATORS.iter().find(|(_, operator)| *operator == self.operator);
        write!(out, " {} {:#x}", word.map_or("", |(word, _)| word), self.value)
    }
}

impl From<Comparison> for String {
    fn from(comparison: Comparison) -> Self {
        comparison.to_string()
    }
}

impl FromStr for Comparison {
    type Err = NotAComparison;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || NotAComparison::Form(text.chars().take(64).collect());
        let words: Vec<&str> = text.split_whitespace().collect();
        let (argument, mask, operator, value) = match words.as_slice() {
            [argument, operator, value] => (argument, None, operator, value),
            [argument, "&", mask, operator, value] => (argument, Some(mask), operator, value),
            _ => return Err(wrong()),
        };
        let index = argument.strip_prefix("arg").and_then(parse_number).ok_or_else(wrong)?;
        let argument = Argument::new(index).ok_or_else(wrong)?;
        let mask = match mask {
            None => u64::MAX,
            Some(mask) => parse_number(mask).ok_or_else(wrong)?,
        };
        let known = OPERATORS.iter().find(|(word, _)| word == operator);
        let operator = known.map(|(_, operator)| *operator).ok_or_else(wrong)?;
        Self::new(argument, mask, operator, parse_number(value).ok_or_else(wrong)?)
    }
}

impl TryFrom<String> for Comparison {
    type Error = NotAComparison;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// Decimal, `0x` or `0o`; no sign (`from_str_radix` takes a `+`), no separators.
fn parse_number(text: &str) -> Option<u64> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x', ..] => (&text[2..], 16),
        [b'0', b'o', ..] => (&text[2..], 8),
        _ => (text, 10),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    u64::from_str_radix(digits, radix).ok()
}
