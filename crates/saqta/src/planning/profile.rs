//! What a site's pages are made with: the profile's name, and the operator's lists beside it.

use std::time::Duration;

use saqta_edge::profile::{Own, Profile, System};

use super::{at, at_most, choice, span};
use crate::host::shown;
use crate::problem::{Place, Problems};
use crate::settings::{Texts, Written};

/// A site has a handful of each; every cookie of every request is compared with all of them.
const NAMES_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 128;
/// The Alps have four.
const LANGUAGES_MAX: usize = 8;

/// The part of a `[[site]]` that says what its pages are made with.
pub(super) struct ProfileSettings {
    pub(super) profile: Option<Written<String>>,
    pub(super) lifetime: Option<Written<Duration>>,
    pub(super) languages: Option<Texts>,
    pub(super) session_cookies: Option<Texts>,
    pub(super) keyed_cookies: Option<Texts>,
    pub(super) ignored_cookies: Option<Texts>,
    pub(super) private_paths: Option<Texts>,
    pub(super) content_parameters: Option<Texts>,
    pub(super) ignored_parameters: Option<Texts>,
    pub(super) obey_no_store: Option<Written<bool>>,
}

type Placed = Vec<(String, Place)>;

pub(super) fn profile(written: ProfileSettings, problems: &mut Problems) -> Profile {
    let systems = System::ALL.map(|system| (system.name(), system));
    let system = choice(problems, "profile", written.profile, &systems);
    let lifetime = written.lifetime.map(|lifetime| {
        span(
            problems,
            "lifetime",
            Some(lifetime),
            Duration::from_secs(60),
            // Longer than a day nobody would see a correction.
            Duration::from_secs(1)..=Duration::from_secs(24 * 3600),
        )
    });
    let mut cookies = |key, texts| names(key, texts, "a cookie", &COOKIE, problems);
    let lists = [
        (
            "session_cookies",
            cookies("session_cookies", written.session_cookies),
        ),
        (
            "keyed_cookies",
            cookies("keyed_cookies", written.keyed_cookies),
        ),
        (
            "ignored_cookies",
            cookies("ignored_cookies", written.ignored_cookies),
        ),
    ];
    in_one_list_only(&lists, problems);
    let mut parameters = |key, texts| names(key, texts, "a parameter", &PARAMETER, problems);
    let chosen = [
        (
            "content_parameters",
            parameters("content_parameters", written.content_parameters),
        ),
        (
            "ignored_parameters",
            parameters("ignored_parameters", written.ignored_parameters),
        ),
    ];
    in_one_list_only(&chosen, problems);
    let private_paths = names(
        "private_paths",
        written.private_paths,
        "a path",
        &PATH,
        problems,
    );
    let [session_cookies, keyed_cookies, ignored_cookies] = lists.map(|(_, list)| plain(list));
    let [content_parameters, ignored_parameters] = chosen.map(|(_, list)| plain(list));
    Profile {
        system,
        own: Own {
            session_cookies,
            keyed_cookies,
            ignored_cookies,
            private_paths: plain(private_paths),
            content_parameters,
            ignored_parameters,
            languages: languages(written.languages, problems),
            lifetime,
            obey_no_store: written.obey_no_store.is_some_and(|obey| obey.value),
        },
    }
}

/// What may stand in a list, and what to write instead.
struct Kind {
    fits: fn(&str) -> bool,
    remedy: &'static str,
}

const COOKIE: Kind = Kind {
    fits: |name| {
        name.bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"=;,\"*".contains(&byte))
    },
    remedy: "write its name as browsers send it, such as \"my_session\", or the beginning of several and a star: \"my_*\"",
};

const PARAMETER: Kind = Kind {
    fits: |name| {
        name.bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"=&?#\"*".contains(&byte))
    },
    remedy: "write its name alone, such as \"from\", or the beginning of several and a star: \"from_*\"",
};

const PATH: Kind = Kind {
    fits: |path| {
        path.starts_with('/')
            && path
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"?#\"*".contains(&byte))
    },
    remedy: "write it from its first slash, such as \"/members\", or with all below it: \"/members/*\"",
};

fn names(
    key: &'static str,
    texts: Option<Texts>,
    what: &str,
    kind: &Kind,
    problems: &mut Problems,
) -> Placed {
    let Some(texts) = texts else {
        return Vec::new();
    };
    at_most(
        &texts,
        key,
        NAMES_MAX,
        "write the beginning of several and a star: \"my_*\"",
        problems,
    );
    let mut names = Placed::new();
    for Written { value, place } in texts.value.into_iter().take(NAMES_MAX) {
        let name = value.strip_suffix('*').unwrap_or(&value);
        if name.is_empty() || name == "/" && value.ends_with('*') {
            problems.add(
                place,
                format!("{} in `{key}` means every one", shown(&value)),
                kind.remedy,
            );
        } else if value.len() > NAME_BYTES_MAX || !(kind.fits)(name) {
            problems.add(
                place,
                format!("{} in `{key}` is not {what}", shown(&value)),
                kind.remedy,
            );
        } else {
            names.push((value, place));
        }
    }
    names
}

/// A name means one thing.
fn in_one_list_only(lists: &[(&'static str, Placed)], problems: &mut Problems) {
    let mut seen: Vec<(&str, &str, Place)> = Vec::new();
    for (key, list) in lists {
        for (name, place) in list {
            match seen.iter().find(|(known, ..)| known == name) {
                Some((_, other, first)) => problems.add(
                    *place,
                    format!(
                        "{} is in `{key}` and in `{other}` ({})",
                        shown(name),
                        at(*first)
                    ),
                    "take one of the two out",
                ),
                None => seen.push((name, key, *place)),
            }
        }
    }
}

fn languages(texts: Option<Texts>, problems: &mut Problems) -> Vec<String> {
    let Some(texts) = texts else {
        return Vec::new();
    };
    at_most(
        &texts,
        "languages",
        LANGUAGES_MAX,
        "shorten the list",
        problems,
    );
    let mut languages: Vec<String> = Vec::new();
    for Written { value, place } in texts.value.into_iter().take(LANGUAGES_MAX) {
        let tag = value.to_ascii_lowercase();
        let fits = (2..=16).contains(&tag.len())
            && tag
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && tag.as_bytes()[0].is_ascii_alphabetic();
        if tag == "kz" {
            problems.add(
                place,
                "\"kz\" in `languages` is a country: browsers call Kazakh kk",
                "write languages = [\"kk\", …]",
            );
        } else if !fits {
            problems.add(
                place,
                format!("{} in `languages` is not a language", shown(&value)),
                "write the tags browsers use: languages = [\"kk\", \"ru\", \"en\"]",
            );
        } else if languages.contains(&tag) {
            problems.add(
                place,
                format!("{} is in `languages` twice", shown(&value)),
                "take one out",
            );
        } else {
            languages.push(tag);
        }
    }
    languages
}

fn plain(list: Placed) -> Vec<String> {
    list.into_iter().map(|(name, _)| name).collect()
}
