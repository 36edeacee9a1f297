//! Lists of names that are asked about each parameter of each request of a flood.
//!
//! A name is compared with those of its letter alone. They are sorted when the program is built, so that the lists themselves stay as people
//! read them.

/// Names; one that ends in `*` stands for every name that begins so.
#[derive(Debug)]
pub(super) struct Names {
    by_letter: &'static [&'static str],
    /// Where those of each letter begin in `by_letter`, and where the last ones end.
    starts: [usize; LETTERS + 1],
}

/// Of the alphabet, large and small alike, and one for whatever else a name begins with.
const LETTERS: usize = 27;

/// The one place where a list becomes [`Names`].
macro_rules! names {
    ($($name:literal),* $(,)?) => {{
        const LISTED: &[&str] = &[$($name),*];
        const BY_LETTER: [&str; LISTED.len()] = $crate::profile::names::by_letter(LISTED);
        $crate::profile::names::Names::of(&BY_LETTER)
    }};
}
pub(super) use names;

impl Names {
    /// Use [`names!`].
    pub(super) const fn of(by_letter: &'static [&'static str]) -> Self {
        let mut starts = [0; LETTERS + 1];
        let (mut letter, mut at) = (0, 0);
        while letter < LETTERS {
            starts[letter] = at;
            while at < by_letter.len() && letter_of(by_letter[at].as_bytes()[0]) == letter {
                at += 1;
            }
            letter += 1;
        }
        starts[LETTERS] = at;
        Self { by_letter, starts }
    }

    pub(super) fn have(&self, name: &[u8]) -> bool {
        self.alike(name)
            .iter()
            .any(|pattern| matches(pattern, name))
    }

    /// Of a name in lower case, `_` for a dot.
    pub(super) fn have_folded(&self, name: &[u8]) -> bool {
        self.alike(name)
            .iter()
            .any(|pattern| matches_folded(pattern, name))
    }

    fn alike(&self, name: &[u8]) -> &'static [&'static str] {
        name.first().map_or(&[], |first| {
            let letter = letter_of(*first);
            &self.by_letter[self.starts[letter]..self.starts[letter + 1]]
        })
    }
}

pub(super) const fn by_letter<const N: usize>(listed: &[&'static str]) -> [&'static str; N] {
    let mut sorted = [""; N];
    let (mut letter, mut placed) = (0, 0);
    while letter < LETTERS {
        let mut at = 0;
        while at < N {
            if letter_of(listed[at].as_bytes()[0]) == letter {
                sorted[placed] = listed[at];
                placed += 1;
            }
            at += 1;
        }
        letter += 1;
    }
    sorted
}

const fn letter_of(first: u8) -> usize {
    match first {
        b'a'..=b'z' => (first - b'a') as usize,
        b'A'..=b'Z' => (first - b'A') as usize,
        _ => LETTERS - 1,
    }
}

pub(super) fn matches(pattern: &str, name: &[u8]) -> bool {
    match pattern.as_bytes() {
        [prefix @ .., b'*'] => name.starts_with(prefix),
        whole => name == whole,
    }
}

pub(super) fn matches_folded(pattern: &str, name: &[u8]) -> bool {
    let (pattern, is_prefix) = match pattern.as_bytes() {
        [prefix @ .., b'*'] => (prefix, true),
        whole => (whole, false),
    };
    let fold = |byte: u8| match byte {
        b'.' => b'_',
        byte => byte.to_ascii_lowercase(),
    };
    (name.len() == pattern.len() || is_prefix && name.len() > pattern.len())
        && pattern
            .iter()
            .zip(name)
            .all(|(one, other)| fold(*one) == *other)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    static NAMES: Names = names![
        "zebra",
        "utm_*",
        "a",
        "Itemid",
        "_ga",
        "hsCta*",
        "saqta-*",
        "openid.*",
        "oauth_*",
        "ab",
        "1st",
        "пример",
        "p",
        "SAMLResponse",
    ];

    #[test]
    fn what_is_listed_is_had_and_the_rest_is_not() {
        for listed in NAMES.by_letter {
            assert!(
                NAMES.have(listed.trim_end_matches('*').as_bytes()),
                "{listed}"
            );
        }
        let table: [(&str, bool, bool); 12] = [
            ("", false, false),
            ("A", false, false),
            ("abc", false, false),
            ("utm_", true, true),
            ("utm_source", true, true),
            ("UTM_source", false, false),
            ("itemid", false, true),
            ("Itemid", true, false),
            ("openid.mode", true, false),
            ("openid_mode", false, true),
            ("samlresponse", false, true),
            ("ш", false, false),
        ];
        for (name, had, had_folded) in table {
            assert_eq!(NAMES.have(name.as_bytes()), had, "{name}");
            assert_eq!(NAMES.have_folded(name.as_bytes()), had_folded, "{name}");
        }
        assert!(!names![].have(b"a"));
    }

    proptest! {
        #[test]
        fn a_list_by_letters_is_the_list(name in "[a-zA-Z_.1п]{0,3}(bra|m_source|temid|Response)?") {
            let name = name.as_bytes();
            prop_assert_eq!(NAMES.have(name), NAMES.by_letter.iter().any(|listed| matches(listed, name)));
            let folded = NAMES.by_letter.iter().any(|listed| matches_folded(listed, name));
            prop_assert_eq!(NAMES.have_folded(name), folded);
        }
    }
}
