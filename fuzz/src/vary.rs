//! `Vary`: a stored response answers the request it was made for, and readers it tells apart never share a fetch.

use http::{HeaderMap, HeaderName, HeaderValue};
use saqta_edge::cache::key::Keyring;
use saqta_edge::cache::vary::{self, Selection};

/// Three messages of `name: value` lines, parted by empty lines: the response, the request it answers, another request.
pub fn check(input: &[u8]) {
    let mut messages = [HeaderMap::new(), HeaderMap::new(), HeaderMap::new()];
    let mut message = 0;
    for line in input.split(|byte| *byte == b'\n') {
        if line.is_empty() {
            message = (message + 1) % messages.len();
        } else if let Some((name, value)) = field(line) {
            messages[message].append(name, value);
        }
    }
    let [response, asked, other] = messages;

    let names = vary::names(&response);
    let Some(selection) = Selection::of(&response, &asked) else {
        assert!(names.is_none());
        return;
    };
    let mut names = names.unwrap_or_default();
    names.retain(|name| !vary::is_always_alike(name));
    assert_eq!(selection.is_empty(), names.is_empty());
    assert!(selection.matches(&asked), "not for the request it answers");

    let keyring = Keyring::default();
    let flight = selection.flight(&keyring, &asked);
    assert_ne!(flight, 0);
    assert_eq!(flight, selection.flight(&keyring, &asked));

    let same = names.iter().all(|name| {
        let lines = |request: &HeaderMap| request.get_all(name).iter().cloned().collect::<Vec<_>>();
        lines(&asked) == lines(&other)
    });
    if same {
        assert!(
            selection.matches(&other),
            "told apart by what it does not vary on"
        );
        assert_eq!(flight, selection.flight(&keyring, &other));
    }
    if flight == selection.flight(&keyring, &other) {
        assert!(
            selection.matches(&other),
            "one fetch for two that must be told apart"
        );
    }
    // Presence can't be negotiated away, but for the one field that is compared by what it means.
    for name in &names {
        if asked.contains_key(name) != other.contains_key(name) {
            let negotiated = *name == http::header::ACCEPT_LANGUAGE;
            assert!(
                negotiated || !selection.matches(&other),
                "absent is not the same as empty"
            );
        }
    }
}

fn field(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = HeaderName::from_bytes(&line[..colon]).ok()?;
    let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
    Some((name, value))
}
