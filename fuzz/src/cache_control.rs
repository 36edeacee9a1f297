//! `Cache-Control` and `CDN-Cache-Control`: whatever an origin writes, nothing that forbids reuse is overlooked.

use http::{HeaderMap, HeaderValue};
use saqta_edge::cache::control::{self, Control, SECONDS_MAX, Scope, Seconds};

pub fn check(input: &[u8]) {
    let one = control::parse(input);
    assert_bounded(&one);
    assert_eq!(
        control::parse(&input.to_ascii_uppercase()),
        one,
        "case matters"
    );
    assert_forbids_what_anyone_can_see(input, &one);

    if let Some(targeted) = control::parse_targeted(input) {
        assert!(targeted.targeted);
        assert_bounded(&targeted);
    }

    // The same line in a message; then cut in two lines, which say together whatever either says.
    if let Some(whole) = fields([input]) {
        assert_eq!(Control::of(&whole), one);
    }
    let middle = input.len() / 2;
    let (first, second) = input.split_at(middle);
    if let Some(both) = fields([first, second]) {
        let both = Control::of(&both);
        for part in [control::parse(first), control::parse(second)] {
            assert!(
                both.no_store || !part.no_store,
                "no-store of one line is lost"
            );
            assert!(both.must_revalidate || !part.must_revalidate);
            assert!(both.private != Scope::Absent || part.private == Scope::Absent);
            assert!(both.no_cache != Scope::Absent || part.no_cache == Scope::Absent);
            if let Some(seconds) = part.max_age.cautious() {
                assert!(both.max_age.cautious().is_some_and(|both| both <= seconds));
            }
            if let Some(seconds) = part.s_maxage.cautious() {
                assert!(both.s_maxage.cautious().is_some_and(|both| both <= seconds));
            }
        }
    }
}

fn fields<const N: usize>(lines: [&[u8]; N]) -> Option<HeaderMap> {
    let mut fields = HeaderMap::new();
    for line in lines {
        fields.append("cache-control", HeaderValue::from_bytes(line).ok()?);
    }
    Some(fields)
}

fn assert_bounded(control: &Control) {
    for seconds in [
        control.max_age,
        control.s_maxage,
        control.stale_while_revalidate,
        control.stale_if_error,
        control.min_fresh,
        control.max_stale.unwrap_or_default(),
    ] {
        if let Seconds::Of(seconds) = seconds {
            assert!(seconds <= SECONDS_MAX);
        }
    }
}

/// The plainest reading there is: cut at every comma and semicolon. Quotes make it wrong, so lines with any are left out.
fn assert_forbids_what_anyone_can_see(input: &[u8], control: &Control) {
    if input.iter().any(|byte| matches!(byte, b'"' | b'\\')) {
        return;
    }
    for word in input.split(|byte| matches!(byte, b',' | b';')) {
        let text = String::from_utf8_lossy(word).to_ascii_lowercase();
        match text.trim_matches([' ', '\t']).as_bytes() {
            b"no-store" => assert!(control.no_store),
            b"no-cache" => assert!(control.no_cache.is_whole()),
            b"private" => assert!(control.private.is_whole()),
            b"must-revalidate" => assert!(control.must_revalidate),
            b"max-age=0" => assert_eq!(control.max_age.cautious(), Some(0)),
            _ => {}
        }
    }
}
