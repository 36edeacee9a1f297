//! A likeness: the same from any pieces, blind to comments, and never so blind that text is lost.

use saqta_edge::likeness::{self, Reading, is_plain_pair, of};

const HTML: &[u8] = b"text/html";

/// The first line is the pair it was asked with, the rest the page.
pub fn check(input: &[u8]) {
    let (pair, body) = match input.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&input[..at], &input[at + 1..]),
        None => (&[][..], input),
    };
    let pair = is_plain_pair(pair).then_some(pair);
    for kind in [HTML, b"application/json", b"image/png"] {
        let whole = of(kind, pair, body);
        assert_eq!(whole, of(kind, pair, body), "not the same twice");
        let mut reading = Reading::new(kind, pair);
        body.iter()
            .for_each(|byte| reading.push(std::slice::from_ref(byte)));
        assert_eq!(reading.finish(), whole, "other pieces, another page");
    }
    assert_comments_do_not_count(body, pair);
    assert_text_counts(body, pair);
}

/// Before everything, where no tag or script is open yet.
fn assert_comments_do_not_count(body: &[u8], pair: Option<&[u8]>) {
    let commented = [b"<!-- 14:32:05 <script> -->", body].concat();
    assert_eq!(of(HTML, pair, &commented), of(HTML, pair, body));
}

/// Before everything, so that no comment and no slot hides it.
fn assert_text_counts(body: &[u8], pair: Option<&[u8]>) {
    let [one, other] = [b"one \n".as_slice(), b"two \n"].map(|word| {
        let page = [word, body].concat();
        of(HTML, pair, &page)
    });
    if let (Some(one), Some(other)) = (one, other) {
        assert!(one.differs_from(other), "a word is lost");
        assert!(!one.is_proof_with(other));
    }
    // Anything longer than a page has none.
    assert_eq!(
        of(HTML, pair, body).is_none(),
        body.len() as u64 > likeness::PAGE_BYTES_MAX
    );
}
