//! `Range`: a short field never makes a long answer, and no part lies outside the body.

use saqta_edge::cache::range::{self, RANGES_MAX, Spec, Wanted};

/// The first two bytes are the length of the body, the rest is the field.
pub fn check(input: &[u8]) {
    let Some((length, field)) = input.split_first_chunk() else {
        return;
    };
    let length = usize::from(u16::from_be_bytes(*length));
    let Some(specs) = range::parse(field) else {
        return;
    };
    assert!((1..=RANGES_MAX).contains(&specs.len()));
    assert_eq!(
        range::parse(written(&specs).as_bytes()),
        Some(specs.clone())
    );

    match range::resolve(&specs, length) {
        Wanted::Whole => assert!(specs.len() > 1, "one part that overlaps itself"),
        Wanted::Unsatisfiable => {}
        Wanted::Parts(parts) => {
            assert!((1..=specs.len()).contains(&parts.len()));
            let mut owner = vec![false; length];
            for part in parts {
                assert!(!part.is_empty());
                for at in part {
                    assert!(!owner[at], "byte {at} goes out twice");
                    owner[at] = true;
                }
            }
        }
    }
}

fn written(specs: &[Spec]) -> String {
    let parts: Vec<_> = specs
        .iter()
        .map(|spec| match spec {
            Spec::From {
                first,
                last: Some(last),
            } => format!("{first}-{last}"),
            Spec::From { first, last: None } => format!("{first}-"),
            Spec::Last { length } => format!("-{length}"),
        })
        .collect();
    format!("bytes={}", parts.join(","))
}
