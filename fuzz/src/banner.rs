//! A marked copy: what was in the page is still there, byte for byte, but for what is switched off.

use saqta_edge::clock::UnixMillis;
use saqta_edge::keep::{banner, reading};
use saqta_edge::plan::Language;

/// Longer than two banners are with the notes of any forms' own.
const ADDED_BYTES_MAX: usize = 1024;

pub fn check(input: &[u8]) {
    let content_type = b"text/html; charset=utf-8";
    let reading = reading::read(input, content_type);
    assert!(reading.title.len() <= reading::TITLE_BYTES_MAX);
    assert!(reading.text.len() <= reading::TEXT_BYTES_MAX);
    let now = UnixMillis(1_750_000_000_000);
    let Some(marked) = banner::mark(input, content_type, now, Language::Kazakh, &|_| true) else {
        return;
    };
    assert!(
        contains(&marked, b"<div role=\"status\""),
        "a copy that does not say so"
    );
    let lower = input.to_ascii_lowercase();
    if contains(&lower, b"form") || contains(&lower, b"srcset") {
        return;
    }
    // Nothing but the banner came in, at one place.
    assert!(marked.len() > input.len() && marked.len() - input.len() <= ADDED_BYTES_MAX);
    if contains(&lower, b"charset") || std::str::from_utf8(input).is_err() {
        return;
    }
    let common = marked.iter().zip(input).take_while(|(a, b)| a == b).count();
    let rest = &input[common..];
    assert!(marked.ends_with(rest), "bytes of the page were changed");
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
