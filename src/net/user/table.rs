//! Flows by their key, and by a token that a kernel's event can carry.
//!
//! A token names a place and how often it was used before, so that an event about a flow that is gone
//! finds nothing, whoever took its place.

use std::collections::HashMap;
use std::hash::Hash;

/// Names one flow of a table, as long as it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token {
    /// Where.
    pub place: u32,
    /// How often the place was used before; 30 bits.
    pub age: u32,
}

impl Token {
    /// As the low bits of an event's number: 62 bits.
    pub fn bits(self) -> u64 {
        u64::from(self.age & 0x3fff_ffff) << 32 | u64::from(self.place)
    }

    /// The token in an event's number.
    pub fn from_bits(bits: u64) -> Self {
        let place = u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(0);
        let age = u32::try_from(bits >> 32 & 0x3fff_ffff).unwrap_or(0);
        Self { place, age }
    }
}

#[derive(Debug)]
struct Place<K, F> {
    age: u32,
    flow: Option<(K, F)>,
}

/// A bounded set of flows.
#[derive(Debug)]
pub struct Table<K, F> {
    by_key: HashMap<K, u32>,
    places: Vec<Place<K, F>>,
    free: Vec<u32>,
    most: usize,
}

impl<K: Hash + Eq + Copy, F> Table<K, F> {
    /// For at most so many.
    pub fn new(most: usize) -> Self {
        Self { by_key: HashMap::new(), places: Vec::new(), free: Vec::new(), most }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Whether there is no room for another.
    pub fn is_full(&self) -> bool {
        self.len() >= self.most
    }

    /// The flow of a key.
    pub fn find(&self, key: &K) -> Option<Token> {
        let place = *self.by_key.get(key)?;
        let age = self.places.get(usize::try_from(place).ok()?)?.age;
        Some(Token { place, age })
    }

    /// Where the next flow will be.
    pub fn next(&self) -> Token {
        match self.free.last() {
            Some(&place) => {
                let age = usize::try_from(place).ok().and_then(|at| self.places.get(at));
                Token { place, age: age.map_or(0, |place| place.age) }
            }
            None => Token { place: u32::try_from(self.places.len()).unwrap_or(u32::MAX), age: 0 },
        }
    }

    /// Adds a flow, at [`Self::next`]. The key must be new, and the table not full.
    pub fn insert(&mut self, key: K, flow: F) -> Token {
        let token = self.next();
        if self.free.pop().is_none() {
            self.places.push(Place { age: 0, flow: None });
        }
        if let Some(place) = self.at(token) {
            place.flow = Some((key, flow));
        }
        self.by_key.insert(key, token.place);
        token
    }

    fn at(&mut self, token: Token) -> Option<&mut Place<K, F>> {
        let place = self.places.get_mut(usize::try_from(token.place).ok()?)?;
        (place.age == token.age).then_some(place)
    }

    /// The flow of a token, if it is still that one.
    pub fn get(&mut self, token: Token) -> Option<&mut F> {
        self.at(token)?.flow.as_mut().map(|(_, flow)| flow)
    }

    /// The same, only to look at it.
    pub fn peek(&self, token: Token) -> Option<&F> {
        let place = self.places.get(usize::try_from(token.place).ok()?)?;
        let held = place.flow.as_ref().filter(|_| place.age == token.age);
        held.map(|(_, flow)| flow)
    }

    /// Takes a flow out.
    pub fn remove(&mut self, token: Token) -> Option<F> {
        let place = self.at(token)?;
        let (key, flow) = place.flow.take()?;
        place.age = place.age.wrapping_add(1) & 0x3fff_ffff;
        self.by_key.remove(&key);
        self.free.push(token.place);
        Some(flow)
    }

    /// All of them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Token, &mut F)> {
        (0..).zip(&mut self.places).filter_map(|(place, held)| {
            let token = Token { place, age: held.age };
            held.flow.as_mut().map(|(_, flow)| (token, flow))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_outlives_its_flow_and_finds_nothing() {
        let mut table = Table::new(2);
        let first = table.insert("a", 1);
        assert_eq!(table.find(&"a"), Some(first));
        assert_eq!(table.get(first), Some(&mut 1));
        assert_eq!(table.remove(first), Some(1));
        assert_eq!(table.get(first), None);
        assert_eq!(table.remove(first), None);
        assert_eq!(table.find(&"a"), None);
        assert!(table.is_empty());
        let second = table.insert("b", 2);
        assert_eq!(second.place, first.place);
        assert_eq!(table.get(first), None);
        assert_eq!(table.get(second), Some(&mut 2));
        assert_eq!(Token::from_bits(second.bits()), second);
        table.insert("c", 3);
        assert!(table.is_full());
        let all: Vec<i32> = table.iter_mut().map(|(_, flow)| *flow).collect();
        assert_eq!(all, [2, 3]);
    }
}
