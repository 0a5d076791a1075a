//! The keys of `--filter`: each command that has the flag lists them once, for what it reads, for what its errors name,
//! and for what a shell completes.

/// A key, and the words that its value is one of; no words where it is something else.
pub type Key = (&'static str, &'static [&'static str]);

/// The first parts of a list of pairs, as a list of their own.
pub const fn words<T, const N: usize>(pairs: &[(&'static str, T)]) -> [&'static str; N] {
    let mut words = [""; N];
    let mut at = 0;
    while at < N {
        words[at] = pairs[at].0;
        at += 1;
    }
    words
}

/// What can be typed behind `--filter`: `KEY=WORD`, and `KEY=` where any value can follow.
pub fn completions(keys: &[Key]) -> impl Iterator<Item = String> {
    keys.iter().flat_map(|(key, words)| {
        let any = words.is_empty().then(|| format!("{key}="));
        any.into_iter().chain(words.iter().map(move |word| format!("{key}={word}")))
    })
}

/// The keys and words of a list that a command does not read. What can follow `KEY=` is the command's own to test.
#[cfg(test)]
pub fn unread<T>(
    keys: &[Key],
    read: impl Fn(&str) -> Result<T, crate::profile::value::ValueError>,
) -> Vec<String> {
    use crate::profile::value::ValueError;
    let is_unread = |typed: &String| {
        let error = read(typed).err();
        let is_unknown = matches!(error, Some(ValueError::UnknownChoice { .. }));
        is_unknown || (error.is_some() && !typed.ends_with('='))
    };
    completions(keys).filter(is_unread).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_behind_their_key_and_other_values_are_left_open() {
        let keys: [Key; 2] = [("state", &["on", "off"]), ("name", &[])];
        assert_eq!(words::<_, 2>(&keys), ["state", "name"]);
        let typed: Vec<String> = completions(&keys).collect();
        assert_eq!(typed, ["state=on", "state=off", "name="]);
    }
}
