//! Answers, for as long as they hold.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::answer::Answer;
use crate::spec::net::HostName;

/// Most answers that are kept.
const MOST: usize = 512;

/// Answers by name and type.
#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: HashMap<(HostName, u16), (Answer, Instant)>,
}

impl Cache {
    /// An answer that still holds, and for how many seconds.
    pub(super) fn get(&self, name: &HostName, kind: u16, now: Instant) -> Option<(Answer, u32)> {
        let (answer, end) = self.entries.get(&(name.clone(), kind))?;
        let left = end.saturating_duration_since(now).as_secs();
        let left = u32::try_from(left).ok().filter(|left| *left > 0)?;
        Some((answer.clone(), left))
    }

    /// Keeps an answer. When there are too many, those that have ended go; when none has, all go.
    pub(super) fn put(&mut self, name: &HostName, kind: u16, answer: &Answer, now: Instant) {
        if answer.ttl == 0 {
            return;
        }
        if self.entries.len() >= MOST {
            self.entries.retain(|_, (_, end)| *end > now);
        }
        if self.entries.len() >= MOST {
            self.entries.clear();
        }
        let end = now + Duration::from_secs(answer.ttl.into());
        self.entries.insert((name.clone(), kind), (answer.clone(), end));
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::Code;
    use super::*;

    #[test]
    fn an_answer_is_kept_as_long_as_it_holds_and_there_is_room() {
        let (mut cache, start) = (Cache::default(), Instant::now());
        let name = |n: usize| HostName::parse(&format!("a{n}.test")).unwrap();
        let answer = Answer::nothing(Code::NoError, 10);
        cache.put(&name(0), 1, &answer, start);
        assert_eq!(cache.get(&name(0), 1, start), Some((answer.clone(), 10)));
        assert_eq!(cache.get(&name(0), 28, start), None);
        let later = start + Duration::from_secs(9);
        assert_eq!(cache.get(&name(0), 1, later), Some((answer.clone(), 1)));
        assert_eq!(cache.get(&name(0), 1, later + Duration::from_secs(1)), None);
        for n in 0..5000 {
            cache.put(&name(n), 1, &answer, later);
            assert!(cache.entries.len() <= MOST);
        }
        assert!(cache.get(&name(4999), 1, later).is_some());
        cache.put(&name(0), 2, &Answer::nothing(Code::NoError, 0), later);
        assert_eq!(cache.get(&name(0), 2, later), None);
    }
}
