//! A stored page read for the search: whatever the HTML, what is read is bounded text, and reading it again gives the same.

use saqta_edge::search::page::{
    self, DESCRIPTION_BYTES_MAX, PageText, TEXT_BYTES_MAX, TITLE_BYTES_MAX,
};

pub fn check(input: &[u8]) {
    let Some(read) = page::read(input, "/a") else {
        return;
    };
    for (text, bytes_max) in [
        (&read.title, TITLE_BYTES_MAX),
        (&read.description, DESCRIPTION_BYTES_MAX),
        (&read.text, TEXT_BYTES_MAX),
    ] {
        assert!(text.len() <= bytes_max);
        assert!(!text.chars().any(char::is_control) && !text.contains("  "));
        assert_eq!(text.trim(), text);
    }
    assert!(read.title.chars().any(char::is_alphanumeric));

    let plain = format!(
        "<title>{}</title><meta name=description content=\"{}\"><p>{}</p>",
        escaped(&read.title),
        escaped(&read.description),
        escaped(&read.text)
    );
    let again = page::read(plain.as_bytes(), "/a");
    let again = again.as_ref();
    let said = |page: &PageText| {
        (
            page.title.clone(),
            page.description.clone(),
            page.text.clone(),
        )
    };
    assert_eq!(
        again.map(said),
        Some(said(&read)),
        "read again and not the same"
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}
