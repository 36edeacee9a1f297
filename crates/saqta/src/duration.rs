//! Spans of time as people write them: `500ms`, `40s`, `2m`, `1h`.

use std::time::Duration;

/// # Errors
/// A sentence saying how to write it.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let unit_at = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (count, unit) = text.split_at(unit_at);
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        "d" => return Err("write days in hours (ms, s, m or h are known), such as 24h".into()),
        _ => return Err(how_to_write(count)),
    };
    count
        .parse::<u64>()
        .ok()
        .and_then(|count| count.checked_mul(unit_ms))
        .map(Duration::from_millis)
        .ok_or_else(|| how_to_write(""))
}

fn how_to_write(count: &str) -> String {
    match count {
        "" => "write a whole number and its unit (ms, s, m or h), such as 500ms, 40s or 2m".into(),
        count => format!("write the unit (ms, s, m or h) after the number, such as {count}s"),
    }
}

/// The shortest way to write it that [`parse`] reads back.
pub(crate) fn write(duration: Duration) -> String {
    let ms = duration.as_millis();
    match ms {
        0 => "0s".into(),
        _ if ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        _ if ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        _ if ms.is_multiple_of(1000) => format!("{}s", ms / 1000),
        _ => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_people_write() {
        let table = [
            ("500ms", Some(500)),
            ("40s", Some(40_000)),
            ("2m", Some(120_000)),
            ("1h", Some(3_600_000)),
            ("0s", Some(0)),
            ("", None),
            ("40", None),
            ("s", None),
            ("-1s", None),
            ("1.5s", None),
            ("40 s", None),
            ("40S", None),
            ("2d", None),
            ("1m30s", None),
            ("99999999999999999999s", None),
            ("18446744073709551615h", None),
        ];
        for (text, ms) in table {
            assert_eq!(parse(text).ok().map(|d| d.as_millis()), ms, "{text:?}");
        }
    }

    #[test]
    fn a_number_alone_is_told_its_unit() {
        assert_eq!(
            parse("40").unwrap_err(),
            "write the unit (ms, s, m or h) after the number, such as 40s"
        );
        assert!(parse("2d").unwrap_err().ends_with("24h"));
    }

    proptest! {
        #[test]
        fn written_then_read_is_the_same(ms in 0u64..10_000_000_000) {
            let duration = Duration::from_millis(ms);
            prop_assert_eq!(parse(&write(duration)), Ok(duration));
        }
    }
}
