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

/// Fails where a key or a word of the list is not read. What can follow `KEY=` is the command's own to test.
#[cfg(test)]
pub fn assert_all_are_read<T>(
    keys: &[Key],
    read: impl Fn(&str) -> Result<T, crate::profile::value::ValueError>,
) {
    use crate::profile::value::ValueError;
    for typed in completions(keys) {
        let read = read(&typed).err();
        let is_known = !matches!(read, Some(ValueError::UnknownChoice { .. }));
        assert!(is_known && (typed.ends_with('=') || read.is_none()), "{typed}: {read:?}");
    }
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
