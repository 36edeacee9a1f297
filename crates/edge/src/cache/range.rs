//! `Range`: which bytes of a complete stored body a client asks for (RFC 9110 §14).
//!
//! A server may always answer the whole; so whatever is malformed, overlapping, in more than eight pieces or longer than the body
//! itself gets exactly that, and the ways to make a server work with a short header end here.

use std::ops::Range;

/// Pieces in one answer. Readers of PDF and video ask for one or two; hundreds is the old Apache-killer.
pub const RANGES_MAX: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spec {
    /// `first-last` and `first-`.
    From { first: u64, last: Option<u64> },
    /// `-length`.
    Last { length: u64 },
}

/// `None` for another unit, a syntax error, or more than [`RANGES_MAX`] pieces: the field is ignored.
pub fn parse(value: &[u8]) -> Option<Vec<Spec>> {
    let value = value.trim_ascii();
    let unit = value.get(..6)?;
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return None;
    }
    let mut specs = Vec::new();
    for item in value[6..]
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|item| !item.is_empty())
    {
        let dash = item.iter().position(|byte| *byte == b'-')?;
        let (first, last) = (&item[..dash], &item[dash + 1..]);
        let spec = match (first.is_empty(), last.is_empty()) {
            (true, true) => return None,
            (true, false) => Spec::Last {
                length: number(last)?,
            },
            (false, true) => Spec::From {
                first: number(first)?,
                last: None,
            },
            (false, false) => {
                let (first, last) = (number(first)?, number(last)?);
                if last < first {
                    return None;
                }
                Spec::From {
                    first,
                    last: Some(last),
                }
            }
        };
        if specs.len() == RANGES_MAX {
            return None;
        }
        specs.push(spec);
    }
    (!specs.is_empty()).then_some(specs)
}

/// A number too large for us is behind the end of every body we hold.
fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0u64, |number, digit| {
        digit.is_ascii_digit().then(|| {
            number
                .saturating_mul(10)
                .saturating_add(u64::from(digit - b'0'))
        })
    })
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    Whole,
    /// In the order asked for, none empty, none overlapping.
    Parts(Vec<Range<usize>>),
    Unsatisfiable,
}

/// What the specs mean for a body of `length` bytes.
pub fn resolve(specs: &[Spec], length: usize) -> Wanted {
    let total = length as u64;
    let mut parts: Vec<Range<usize>> = Vec::new();
    for spec in specs {
        let (first, end) = match *spec {
            Spec::From { first, last } => (
                first,
                last.map_or(total, |last| last.saturating_add(1).min(total)),
            ),
            Spec::Last { length } => (total.saturating_sub(length), total),
        };
        if first >= end {
            continue;
        }
        // Both are at most `length`.
        let part = first as usize..end as usize;
        if parts
            .iter()
            .any(|other| part.start < other.end && other.start < part.end)
        {
            return Wanted::Whole;
        }
        parts.push(part);
    }
    if parts.is_empty() {
        Wanted::Unsatisfiable
    } else {
        Wanted::Parts(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wanted(value: &str, length: usize) -> Wanted {
        parse(value.as_bytes()).map_or(Wanted::Whole, |specs| resolve(&specs, length))
    }

    fn parts(spans: &[(usize, usize)]) -> Wanted {
        Wanted::Parts(spans.iter().map(|(start, end)| *start..*end).collect())
    }

    #[test]
    fn of_ten_bytes() {
        use Wanted::{Unsatisfiable, Whole};
        let table: &[(&str, Wanted)] = &[
            ("bytes=0-1", parts(&[(0, 2)])),
            ("Bytes=0-1", parts(&[(0, 2)])),
            ("bytes=1-", parts(&[(1, 10)])),
            ("bytes=-1", parts(&[(9, 10)])),
            ("bytes=-99", parts(&[(0, 10)])),
            ("bytes=0-99", parts(&[(0, 10)])),
            ("bytes=9-9", parts(&[(9, 10)])),
            ("bytes=0-99999999999999999999999999", parts(&[(0, 10)])),
            ("bytes= 0-1 , 4-5,", parts(&[(0, 2), (4, 6)])),
            ("bytes=4-5,0-1", parts(&[(4, 6), (0, 2)])),
            ("bytes=0-1,50-60", parts(&[(0, 2)])),
            ("bytes=10-", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=99999999999999999999999999-", Unsatisfiable),
            ("bytes=0-5,5-6", Whole),
            ("bytes=0-,0-,0-", Whole),
            (
                "bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7",
                Wanted::Parts((0..8).map(|at| at..at + 1).collect()),
            ),
            ("bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7,8-8", Whole),
            ("bytes=5-4", Whole),
            ("bytes=", Whole),
            ("bytes=-", Whole),
            ("bytes=a-b", Whole),
            ("bytes=0-1;2-3", Whole),
            ("bytes 0-1", Whole),
            ("lines=0-1", Whole),
            ("", Whole),
        ];
        for (value, expected) in table {
            assert_eq!(wanted(value, 10), *expected, "{value}");
        }
        assert_eq!(wanted("bytes=0-", 0), Unsatisfiable);
    }

    proptest! {
        #[test]
        fn any_bytes_parse(value in proptest::collection::vec(any::<u8>(), 0..80), length in 0usize..1000) {
            if let Some(specs) = parse(&value) {
                prop_assert!(specs.len() <= RANGES_MAX);
                resolve(&specs, length);
            }
        }

        /// Every part lies inside the body, none is empty, together they are no longer than it.
        #[test]
        fn parts_lie_inside(value in "bytes=[0-9,-]{0,40}", length in 0usize..1000) {
            if let Wanted::Parts(parts) = wanted(&value, length) {
                prop_assert!(parts.iter().all(|part| part.start < part.end && part.end <= length));
                prop_assert!(parts.iter().map(|part| part.end - part.start).sum::<usize>() <= length);
            }
        }
    }
}
