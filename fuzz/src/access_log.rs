//! Lines of an access log hold what strangers sent: each is split into parts of itself or is junk, and what is written anew says the same.

use saqta::replay::line::{Said, Splitter, combined_of_json};

pub fn check(input: &[u8]) {
    let mut splitter = Splitter::default();
    for line in input.split(|byte| *byte == b'\n') {
        let rewritten = combined_of_json(line);
        let text = rewritten.as_deref().unwrap_or(line);
        let Some(parts) = splitter.split(text) else {
            assert!(rewritten.is_none(), "our own line is junk");
            continue;
        };
        let mut ranges = vec![parts.method.clone(), parts.target.clone()];
        for said in [&parts.referer, &parts.agent] {
            if let Said::Is(range) = said {
                ranges.push(range.clone());
            }
        }
        let mut end = 0;
        for range in ranges {
            assert!(
                text.get(range.clone()).is_some(),
                "a part outside of its line"
            );
            assert!(end <= range.start, "parts overlap");
            end = range.end;
        }
        assert!(parts.status <= 999);
        // The day that is remembered changes nothing.
        assert_eq!(Splitter::default().split(text).as_ref(), Some(&parts));
    }
}
