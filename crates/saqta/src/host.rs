//! Host names as the operator writes them and as they arrive on the wire.
//!
//! A newsroom under .қаз writes its name in its own letters; a browser sends `xn--80ao21a`. Both are accepted here and become
//! the wire's form, so that nothing later compares two spellings. Letters are lowered and encoded (RFC 3492) label by label. We
//! carry no normalisation tables: a name typed with combining marks, which a registrar would first compose, is turned down with
//! the remedy to paste the registrar's `xn--` form, rather than becoming a host no reader ever asks for.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::problem::Place;

/// RFC 1035 §2.3.4, in wire form.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// What is wrong with a host, and what to write.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HostFault {
    pub(crate) what: String,
    pub(crate) remedy: String,
}

/// A host and where it was written, for questions that compare two.
#[derive(Debug, Clone)]
pub(crate) struct PlacedHost {
    pub(crate) host: String,
    pub(crate) place: Place,
}

/// To lower case, punycode, brackets round IPv6: as `Host` carries it, without a port.
pub(crate) fn parse(text: &str) -> Result<String, HostFault> {
    let shown = shown(text);
    let fault = |what: &str, remedy: String| {
        Err(HostFault {
            what: format!("the host {shown} {what}"),
            remedy,
        })
    };
    if text.is_empty() {
        return Err(HostFault {
            what: "a host is empty".into(),
            remedy: "write the name readers type, such as news.example".into(),
        });
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        let name = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        return fault(
            &format!("begins with {}://", shown_plain(scheme)),
            format!("write the name alone: {}", shown_plain(name)),
        );
    }
    if let Some((name, _)) = text.split_once('/') {
        return fault(
            "has a path",
            format!("write the name alone: {}", shown_plain(name)),
        );
    }
    if text.contains('*') {
        return fault(
            "has a wildcard, which is not supported",
            "write each name in full, or any_host = true to answer all of them".into(),
        );
    }
    if text.contains(char::is_whitespace) {
        return fault(
            "has a space in it",
            "write each name as a text of its own: [\"a.example\", \"b.example\"]".into(),
        );
    }
    let bare_v6 = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    if let Ok(address) = bare_v6.parse::<Ipv6Addr>() {
        return Ok(format!("[{address}]"));
    }
    if let Some((name, port)) = text.rsplit_once(':') {
        return fault(
            &format!("has a port ({})", shown_plain(port)),
            format!(
                "write {}: a host answers on every port we listen on",
                shown_plain(name)
            ),
        );
    }
    if let Some(name) = text.strip_suffix('.') {
        return fault("ends with a dot", format!("write {}", shown_plain(name)));
    }
    let mut labels = Vec::new();
    for label in text.split('.') {
        match wire_label(label) {
            Ok(label) => labels.push(label),
            Err(why) => return fault(why, "write the name as the registrar shows it, in letters, digits and hyphens or as xn--…".into()),
        }
    }
    // RFC 3986 §3.2.2: what ends in a number is read as an IPv4 address.
    let all_digits = |label: &String| label.bytes().all(|b| b.is_ascii_digit());
    let name = labels.join(".");
    if labels.last().is_some_and(all_digits) && name.parse::<Ipv4Addr>().is_err() {
        return fault(
            "looks like an address but is none",
            "write four numbers from 0 to 255, such as 203.0.113.7".into(),
        );
    }
    if name.len() > NAME_BYTES_MAX {
        return fault(
            "is longer than 253 bytes",
            "write the name as the registrar shows it".into(),
        );
    }
    Ok(name)
}

fn wire_label(label: &str) -> Result<String, &'static str> {
    if label.is_empty() {
        return Err("has an empty part between two dots");
    }
    // Bounds the work of encoding; any label this long fails below as well.
    if label.len() > 4 * LABEL_BYTES_MAX {
        return Err("has a part longer than 63 bytes");
    }
    let lower = label.to_lowercase();
    if !lower
        .chars()
        .all(|c| c.is_alphanumeric() || c == '-' || c == '_')
    {
        return Err("has a sign that no host name has");
    }
    if lower.starts_with('-') || lower.ends_with('-') {
        return Err("has a part that begins or ends with a hyphen");
    }
    let wire = if lower.is_ascii() {
        lower
    } else {
        format!(
            "xn--{}",
            punycode(&lower).ok_or("has a part that cannot be encoded")?
        )
    };
    if wire.len() > LABEL_BYTES_MAX {
        return Err("has a part longer than 63 bytes");
    }
    Ok(wire)
}

/// RFC 3492 §6.3 with the parameters of §5. `None` on overflow, which labels of our length do not reach.
fn punycode(label: &str) -> Option<String> {
    const BASE: u32 = 36;
    const T_MIN: u32 = 1;
    const T_MAX: u32 = 26;
    const SKEW: u32 = 38;
    const DAMP: u32 = 700;
    const BIAS_FIRST: u32 = 72;
    const CODE_FIRST: u32 = 128;

    fn adapt(delta: u32, points: u32, first: bool) -> u32 {
        let mut delta = if first { delta / DAMP } else { delta / 2 };
        delta += delta / points;
        let mut k = 0;
        while delta > (BASE - T_MIN) * T_MAX / 2 {
            delta /= BASE - T_MIN;
            k += BASE;
        }
        k + (BASE - T_MIN + 1) * delta / (delta + SKEW)
    }
    fn digit(value: u32) -> Option<char> {
        char::from_u32(if value < 26 {
            u32::from(b'a') + value
        } else {
            u32::from(b'0') + value - 26
        })
    }

    let mut output: String = label.chars().filter(char::is_ascii).collect();
    let basic = u32::try_from(output.len()).ok()?;
    if basic > 0 {
        output.push('-');
    }
    let points: Vec<u32> = label.chars().map(u32::from).collect();
    let total = u32::try_from(points.len()).ok()?;
    let (mut code, mut delta, mut bias, mut handled) = (CODE_FIRST, 0u32, BIAS_FIRST, basic);
    while handled < total {
        let next = points
            .iter()
            .copied()
            .filter(|point| *point >= code)
            .min()?;
        delta = delta.checked_add((next - code).checked_mul(handled + 1)?)?;
        code = next;
        for point in &points {
            if *point < code {
                delta = delta.checked_add(1)?;
            }
            if *point == code {
                let mut rest = delta;
                let mut k = BASE;
                loop {
                    let threshold = k.saturating_sub(bias).clamp(T_MIN, T_MAX);
                    if rest < threshold {
                        break;
                    }
                    output.push(digit(threshold + (rest - threshold) % (BASE - threshold))?);
                    rest = (rest - threshold) / (BASE - threshold);
                    k += BASE;
                }
                output.push(digit(rest)?);
                bias = adapt(delta, handled + 1, handled == basic);
                delta = 0;
                handled += 1;
            }
        }
        delta = delta.checked_add(1)?;
        code = code.checked_add(1)?;
    }
    Some(output)
}

/// The operator's own words in quotes, short, without control characters.
pub(crate) fn shown(text: &str) -> String {
    format!("\"{}\"", shown_plain(text))
}

pub(crate) fn shown_plain(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 80;
    let mut shown: String = text
        .chars()
        .take(SHOWN_CHARS_MAX)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn punycode_of_rfc_3492_section_7_1() {
        let table = [
            ("他们为什么不说中文", "ihqwcrb4cv8a8dqg056pqjye"),
            (
                "почемужеонинеговорятпорусски",
                "b1abfaaepdrnnbgefbadotcwatmq2g4l",
            ),
            ("3年b組金八先生", "3b-ww4c5e180e575a65lsy2b"),
            ("bücher", "bcher-kva"),
        ];
        for (label, encoded) in table {
            assert_eq!(punycode(label).as_deref(), Some(encoded), "{label}");
        }
    }

    #[test]
    fn hosts_become_their_wire_form() {
        let table = [
            ("news.example", "news.example"),
            ("NEWS.Example", "news.example"),
            ("localhost", "localhost"),
            ("жаңалық.қаз", "xn--80aaqw4fuxvb.xn--80ao21a"),
            ("ЖАҢАЛЫҚ.ҚАЗ", "xn--80aaqw4fuxvb.xn--80ao21a"),
            ("xn--80ao21a", "xn--80ao21a"),
            ("203.0.113.7", "203.0.113.7"),
            ("2001:DB8::1", "[2001:db8::1]"),
            ("[2001:db8::1]", "[2001:db8::1]"),
            ("web_1.internal", "web_1.internal"),
        ];
        for (text, wire) in table {
            assert_eq!(parse(text), Ok(wire.into()), "{text}");
        }
    }

    #[test]
    fn faults_say_what_to_write() {
        let table = [
            (
                "",
                "a host is empty",
                "write the name readers type, such as news.example",
            ),
            (
                "https://news.example/",
                "the host \"https://news.example/\" begins with https://",
                "write the name alone: news.example",
            ),
            (
                "news.example/kk",
                "the host \"news.example/kk\" has a path",
                "write the name alone: news.example",
            ),
            (
                "*.news.example",
                "the host \"*.news.example\" has a wildcard, which is not supported",
                "write each name in full, or any_host = true to answer all of them",
            ),
            (
                "news.example:8080",
                "the host \"news.example:8080\" has a port (8080)",
                "write news.example: a host answers on every port we listen on",
            ),
            (
                "news.example.",
                "the host \"news.example.\" ends with a dot",
                "write news.example",
            ),
            (
                "a.example b.example",
                "the host \"a.example b.example\" has a space in it",
                "write each name as a text of its own: [\"a.example\", \"b.example\"]",
            ),
            (
                "203.0.113.700",
                "the host \"203.0.113.700\" looks like an address but is none",
                "write four numbers from 0 to 255, such as 203.0.113.7",
            ),
        ];
        for (text, what, remedy) in table {
            assert_eq!(
                parse(text),
                Err(HostFault {
                    what: what.into(),
                    remedy: remedy.into()
                }),
                "{text}"
            );
        }
        // й typed as и and a combining breve: composed by registrars, not by us.
        for text in [
            "и\u{306}од.қаз",
            "a..b",
            "-a.example",
            "a!.example",
            &"a".repeat(64),
            &"a.".repeat(127),
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_stable_wire_form(text in "\\PC{0,80}") {
            if let Ok(wire) = parse(&text) {
                prop_assert!(wire.is_ascii() && wire.len() <= NAME_BYTES_MAX);
                prop_assert_eq!(parse(&wire), Ok(wire.clone()));
            }
        }
    }
}
