//! One line of an access log: combined, common, either behind a virtual host's name, or JSON of Caddy or nginx.
//!
//! Servers write what clients sent, so anything may stand between the quotes. A line that cannot be split into its parts is
//! *junk*; a line whose request makes no sense is a request that makes no sense.

use std::borrow::Cow;
use std::hash::{BuildHasher, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;

use jiff::civil;
use saqta_detect::look::Field;

/// A line split into parts. Ranges are of the line's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Seconds since 1970, UTC.
    pub at_s: u64,
    /// The same as the log's clock showed it.
    pub local_s: i64,
    pub source: IpAddr,
    pub method: Range<usize>,
    pub target: Range<usize>,
    /// 9, 10, 11, 20; 0 when the request does not say.
    pub version: u8,
    pub status: u16,
    pub referer: Said,
    pub agent: Said,
}

/// What the log says of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// This format does not write it down.
    Nothing,
    Absent,
    Is(Range<usize>),
}

impl Said {
    pub fn field<'a>(&self, line: &'a [u8]) -> Field<'a> {
        match self {
            Self::Nothing => Field::Unknown,
            Self::Absent => Field::Absent,
            Self::Is(range) => line.get(range.clone()).map_or(Field::Unknown, Field::Is),
        }
    }
}

/// `Jan 12 06:25:43 web nginx:` has five, and some daemons add a word.
const PREFIX_WORDS_MAX: usize = 6;

/// Splits lines. Remembers the last time it read: a busy second has many lines.
#[derive(Debug, Default)]
pub struct Splitter {
    last: Option<([u8; 26], (i64, u64))>,
}

impl Splitter {
    /// `None`: junk.
    pub fn split(&mut self, line: &[u8]) -> Option<Line> {
        let open = memchr::memchr(b'[', line)?;
        let close = open + memchr::memchr(b']', &line[open..])?;
        let (local_s, at_s) = self.time(&line[open + 1..close])?;
        let source = source(&line[..open])?;
        let request = quoted(line, close + 1)?;
        let (method, target, version) = request_line(line, &request);
        let after = &line[request.end + 1..];
        let status = number(first_word(after)?).filter(|status| *status <= 999)?;
        let mut at = request.end + 1;
        let mut next = || {
            let found = quoted(line, at)?;
            at = found.end + 1;
            Some(found)
        };
        let said = |range: Option<Range<usize>>| match range {
            None => Said::Nothing,
            Some(range) if matches!(&line[range.clone()], b"-" | b"") => Said::Absent,
            Some(range) => Said::Is(range),
        };
        let (referer, agent) = (next(), next());
        Some(Line {
            at_s,
            local_s,
            source,
            method,
            target,
            version,
            status: status as u16,
            referer: said(referer),
            agent: said(agent),
        })
    }

    /// `24/Feb/2016:13:12:00 -0700`, or `@` and seconds since 1970.
    fn time(&mut self, text: &[u8]) -> Option<(i64, u64)> {
        if let Some(seconds) = text.strip_prefix(b"@") {
            let seconds: u64 = std::str::from_utf8(seconds).ok()?.parse().ok()?;
            return Some((seconds as i64, seconds));
        }
        let whole: Option<[u8; 26]> = text.try_into().ok();
        if let (Some(whole), Some((held, time))) = (whole, self.last)
            && held == whole
        {
            return Some(time);
        }
        let day: [u8; 11] = text.get(..11)?.try_into().ok()?;
        let days = days(&day)?;
        let two = |at: usize, most: i64| {
            let value = number(text.get(at..at + 2)?)? as i64;
            (value <= most).then_some(value)
        };
        let local = days * 86_400 + two(12, 23)? * 3_600 + two(15, 59)? * 60 + two(18, 60)?;
        let offset = match text.get(21..26) {
            Some(zone) => {
                let seconds = two(22, 23)? * 3_600 + two(24, 59)? * 60;
                if zone[0] == b'-' { -seconds } else { seconds }
            }
            None => 0,
        };
        let time = (local, u64::try_from(local - offset).ok()?);
        self.last = whole.map(|whole| (whole, time));
        Some(time)
    }
}

fn days(day: &[u8; 11]) -> Option<i64> {
    const MONTHS: [&[u8; 3]; 12] = [
        b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov",
        b"Dec",
    ];
    let month = MONTHS.iter().position(|name| name[..] == day[3..6])? + 1;
    let date = civil::Date::new(
        number(&day[7..])? as i16,
        month as i8,
        number(&day[..2])? as i8,
    )
    .ok()?;
    Some(date.duration_since(civil::date(1970, 1, 1)).as_hours() / 24)
}

/// The client is the word before ` - user [`, which a virtual host's name or what syslog writes first may precede. Names are taken for
/// addresses nobody has.
fn source(before: &[u8]) -> Option<IpAddr> {
    let mut words = before
        .split(|byte| *byte == b' ')
        .filter(|word| !word.is_empty());
    let first = words.next()?;
    let address = |word: &[u8]| match dotted(word) {
        Some(address) => Some(address.into()),
        None => std::str::from_utf8(word).ok()?.parse::<IpAddr>().ok(),
    };
    let further = words.take(PREFIX_WORDS_MAX);
    if let Some(address) = address(first).or_else(|| further.filter_map(address).next()) {
        return Some(address);
    }
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_:".contains(byte);
    if !first.iter().all(is_name) {
        return None;
    }
    let mut hasher = foldhash::quality::FixedState::with_seed(1).build_hasher();
    hasher.write(first);
    let high = 0xfd00_u128 << 112;
    Some(IpAddr::V6(Ipv6Addr::from_bits(
        high | u128::from(hasher.finish()) << 48,
    )))
}

/// `192.0.2.7`, as nearly every line begins.
fn dotted(word: &[u8]) -> Option<Ipv4Addr> {
    let (mut octets, mut at, mut digits) = ([0_u8; 4], 0, 0);
    for byte in word {
        match byte {
            b'0'..=b'9' if digits == 0 || octets[at] > 0 => {
                octets[at] = octets[at].checked_mul(10)?.checked_add(byte - b'0')?;
                digits += 1;
            }
            b'.' if digits > 0 && at < 3 => (at, digits) = (at + 1, 0),
            _ => return None,
        }
    }
    (at == 3 && digits > 0).then(|| octets.into())
}

/// What stands between the next quotes; a backslash keeps the one after it from ending it.
fn quoted(line: &[u8], from: usize) -> Option<Range<usize>> {
    let rest = line.get(from..)?;
    let start = match rest {
        [b' ', b'"', ..] => from + 2,
        _ => from + memchr::memchr(b'"', rest)? + 1,
    };
    let mut at = start;
    loop {
        let end = at + memchr::memchr2(b'"', b'\\', line.get(at..)?)?;
        if line[end] == b'"' {
            return Some(start..end);
        }
        at = end + 2;
    }
}

/// Method, target, version of a request line; all of it is the method when it is none.
fn request_line(line: &[u8], request: &Range<usize>) -> (Range<usize>, Range<usize>, u8) {
    let text = &line[request.clone()];
    let nowhere = request.end..request.end;
    let Some(space) = memchr::memchr(b' ', text) else {
        return (request.clone(), nowhere, 0);
    };
    let method = request.start..request.start + space;
    let rest = method.end + 1..request.end;
    let (end, version) = match memchr::memrchr(b' ', &line[rest.clone()]) {
        Some(last) => match &line[rest.start + last + 1..rest.end] {
            b"HTTP/1.1" => (rest.start + last, 11),
            b"HTTP/1.0" => (rest.start + last, 10),
            b"HTTP/2.0" | b"HTTP/2" => (rest.start + last, 20),
            b"HTTP/3.0" | b"HTTP/3" => (rest.start + last, 30),
            b"" => (rest.start + last, 0),
            _ => (rest.end, 0),
        },
        None => (rest.end, 9),
    };
    (method, rest.start..end, version)
}

fn first_word(text: &[u8]) -> Option<&[u8]> {
    text.split(|byte| *byte == b' ')
        .find(|word| !word.is_empty())
}

fn number(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || digits.len() > 9 {
        return None;
    }
    digits.iter().try_fold(0_u32, |value, digit| {
        digit
            .is_ascii_digit()
            .then(|| value * 10 + u32::from(digit - b'0'))
    })
}

/// An entry in JSON, written as a combined line. `None`: junk.
pub fn combined_of_json(line: &[u8]) -> Option<Vec<u8>> {
    caddys(line).or_else(|| nginxs(line))?.combined()
}

/// What an entry in JSON says, whoever wrote it.
struct Entry<'a> {
    /// As the log's clock shows it, and UTC.
    time: (i64, u64),
    source: Cow<'a, str>,
    /// Such as `GET / HTTP/1.1`.
    request: String,
    status: u16,
    /// `None`: not written down. Empty: absent.
    referer: Option<String>,
    agent: Option<String>,
}

impl Entry<'_> {
    fn combined(&self) -> Option<Vec<u8>> {
        let source = match self.source.parse::<SocketAddr>() {
            Ok(peer) => peer.ip(),
            Err(_) => self.source.parse().ok()?,
        };
        if self.status > 999 {
            return None;
        }
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let mut line = format!(
            "{source} - - [{}] \"{}\" {} -",
            bracketed(self.time)?,
            quoted(&self.request),
            self.status
        );
        // They are known by their order. Where a log has only the second, the first is absent from each of its lines: that tells none from another.
        let in_order = match (&self.referer, &self.agent) {
            (None, None) => vec![],
            (referer, None) => vec![referer],
            (referer, agent) => vec![referer, agent],
        };
        for said in in_order {
            let said = said.as_deref().filter(|said| !said.is_empty());
            line.push_str(&format!(" \"{}\"", quoted(said.unwrap_or("-"))));
        }
        Some(line.into_bytes())
    }
}

/// Between the brackets: `@` and seconds where the log shows UTC, else its clock and how far that is ahead.
fn bracketed((local_s, at_s): (i64, u64)) -> Option<String> {
    let ahead = local_s - i64::try_from(at_s).ok()?;
    if ahead == 0 {
        return Some(format!("@{at_s}"));
    }
    if ahead.abs() >= 86_400 || ahead % 60 != 0 {
        return None;
    }
    let local = jiff::Timestamp::from_second(local_s).ok()?;
    let (sign, minutes) = (if ahead < 0 { '-' } else { '+' }, ahead.abs() / 60);
    Some(format!(
        "{} {sign}{:02}{:02}",
        local.strftime("%d/%b/%Y:%H:%M:%S"),
        minutes / 60,
        minutes % 60
    ))
}

/// A time in JSON: a number since 1970, or text.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Moment<'a> {
    Number(f64),
    Text(#[serde(borrow)] Cow<'a, str>),
}

impl Moment<'_> {
    /// As the log's clock shows it, and UTC.
    fn read(&self) -> Option<(i64, u64)> {
        match self {
            Self::Number(number) => since_1970(*number),
            Self::Text(text) => moment(text),
        }
    }
}

/// Seconds, milliseconds or nanoseconds: nobody's log is of the year 5000.
fn since_1970(number: f64) -> Option<(i64, u64)> {
    let per_second = match number {
        0.0..1e11 => 1.0,
        1e11..1e14 => 1e3,
        1e17..1e20 => 1e9,
        _ => return None,
    };
    let seconds = (number / per_second) as u64;
    Some((seconds as i64, seconds))
}

/// `24/Feb/2016:13:12:00 -0700`, `2016-02-24T13:12:00-07:00`, `2016/02/24 20:12:00`, `1456344720.123`.
fn moment(text: &str) -> Option<(i64, u64)> {
    if let Ok(number) = text.parse() {
        return since_1970(number);
    }
    if text.as_bytes().get(2) == Some(&b'/') {
        return Splitter::default().time(text.as_bytes());
    }
    let dashed = text.replacen('/', "-", 2);
    let pieces = jiff::fmt::temporal::Pieces::parse(&dashed).ok()?;
    let local = pieces.date().to_datetime(pieces.time()?);
    let local_s = local
        .duration_since(civil::datetime(1970, 1, 1, 0, 0, 0, 0))
        .as_secs();
    // What names no zone is UTC, as with Caddy.
    let ahead = pieces.to_numeric_offset().map_or(0, |zone| zone.seconds());
    Some((local_s, u64::try_from(local_s - i64::from(ahead)).ok()?))
}

/// Caddy's: `{"ts":1646861401.5,"request":{"remote_ip":…,"method":…,"uri":…,"proto":…,"headers":{…}},"status":200}`.
fn caddys(line: &[u8]) -> Option<Entry<'_>> {
    #[derive(serde::Deserialize)]
    struct Written<'a> {
        #[serde(borrow)]
        ts: Moment<'a>,
        status: u16,
        #[serde(borrow)]
        request: Request<'a>,
    }
    #[derive(serde::Deserialize)]
    struct Request<'a> {
        #[serde(borrow)]
        client_ip: Option<Cow<'a, str>>,
        #[serde(borrow)]
        remote_ip: Option<Cow<'a, str>>,
        #[serde(borrow)]
        remote_addr: Option<Cow<'a, str>>,
        #[serde(borrow, default)]
        proto: Cow<'a, str>,
        #[serde(borrow)]
        method: Cow<'a, str>,
        #[serde(borrow)]
        uri: Cow<'a, str>,
        /// A filter may have taken them out.
        headers: Option<Headers>,
    }
    #[derive(serde::Deserialize)]
    struct Headers {
        #[serde(rename = "User-Agent", default)]
        agent: Vec<String>,
        #[serde(rename = "Referer", default)]
        referer: Vec<String>,
    }
    let Written {
        ts,
        status,
        request,
    } = serde_json::from_slice(line).ok()?;
    let first = |values: Vec<String>| values.into_iter().next().unwrap_or_default();
    let (referer, agent) = request
        .headers
        .map(|headers| (first(headers.referer), first(headers.agent)))
        .unzip();
    Some(Entry {
        time: ts.read()?,
        // Behind another proxy the client is who that says it is.
        source: request
            .client_ip
            .or(request.remote_ip)
            .or(request.remote_addr)?,
        request: format!("{} {} {}", request.method, request.uri, request.proto),
        status,
        referer,
        agent,
    })
}

/// nginx writes the JSON it is told to; these are the names of its variables, and what else is common. `x_forwarded_for` is not among them: what a
/// client sent there may be anything.
fn nginxs(line: &[u8]) -> Option<Entry<'_>> {
    const TIME: &[&str] = &[
        "time_iso8601",
        "time_local",
        "msec",
        "@timestamp",
        "timestamp",
        "time",
        "ts",
    ];
    const SOURCE: &[&str] = &[
        "remote_addr",
        "client_ip",
        "remote_ip",
        "clientip",
        "client",
    ];
    const METHOD: &[&str] = &["request_method", "method"];
    const PATH: &[&str] = &["uri", "url", "path"];
    const QUERY: &[&str] = &["args", "query_string"];
    const PROTOCOL: &[&str] = &["server_protocol", "protocol", "proto"];
    const STATUS: &[&str] = &["status", "status_code"];
    const REFERER: &[&str] = &["http_referer", "http_referrer", "referer", "referrer"];
    const AGENT: &[&str] = &["http_user_agent", "user_agent", "agent"];
    let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(line).ok()?;
    let text = |names: &[&str]| {
        names.iter().find_map(|name| match fields.get(*name)? {
            serde_json::Value::String(text) => Some(text.clone()),
            serde_json::Value::Number(number) => Some(number.to_string()),
            _ => None,
        })
    };
    let request = text(&["request"]).or_else(|| {
        let target = text(&["request_uri"]).or_else(|| {
            let path = text(PATH)?;
            match text(QUERY).filter(|query| !matches!(query.as_str(), "" | "-")) {
                Some(query) if !path.contains('?') => Some(format!("{path}?{query}")),
                _ => Some(path),
            }
        })?;
        let protocol = text(PROTOCOL).unwrap_or_default();
        Some(format!("{} {target} {protocol}", text(METHOD)?))
    })?;
    Some(Entry {
        time: moment(&text(TIME)?)?,
        source: text(SOURCE)?.into(),
        request,
        status: text(STATUS)?.parse().ok()?,
        referer: text(REFERER),
        agent: text(AGENT),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &[u8]) -> Option<String> {
        let line = Splitter::default().split(text)?;
        let part =
            |range: &Range<usize>| String::from_utf8_lossy(&text[range.clone()]).into_owned();
        let said = |said: &Said| match said {
            Said::Nothing => "?".to_owned(),
            Said::Absent => "-".to_owned(),
            Said::Is(range) => part(range),
        };
        Some(format!(
            "{} {} {} {} {} {} {} | {} | {}",
            line.at_s,
            line.local_s,
            line.source,
            part(&line.method),
            part(&line.target),
            line.version,
            line.status,
            said(&line.referer),
            said(&line.agent)
        ))
    }

    #[test]
    fn lines_are_split() {
        let table = [
            (
                r#"203.0.113.7 - - [24/Feb/2016:13:12:00 -0700] "POST /wp-login.php HTTP/1.0" 200 3771 "-" "Mozilla/5.0 (X11)""#,
                "1456344720 1456319520 203.0.113.7 POST /wp-login.php 10 200 | - | Mozilla/5.0 (X11)",
            ),
            (
                r#"203.0.113.7 - Aru B [24/Feb/2016:13:12:00 +0000] "GET /?s=a b HTTP/1.1" 200 - "https://t.me/" """#,
                "1456319520 1456319520 203.0.113.7 GET /?s=a b 11 200 | https://t.me/ | -",
            ),
            (
                r#"::1 - - [01/Jan/1970:00:00:01 +0000] "GET / HTTP/1.1" 304 0"#,
                "1 1 ::1 GET / 11 304 | ? | ?",
            ),
            (
                r#"news.kz:443 203.0.113.7 - - [01/Jan/1970:00:00:01 +0000] "GET / HTTP/2.0" 200 5 "-" "-""#,
                "1 1 203.0.113.7 GET / 20 200 | - | -",
            ),
            (
                r#"203.0.113.7 - - [01/Jan/1970:00:00:01] "GET /old" 200 5"#,
                "1 1 203.0.113.7 GET /old 9 200 | ? | ?",
            ),
            // What is no request is one that makes no sense.
            (
                r#"203.0.113.7 - - [01/Jan/1970:00:00:01 +0000] "\x16\x03\x01" 400 0 "-" "-""#,
                r"1 1 203.0.113.7 \x16\x03\x01  0 400 | - | -",
            ),
            (
                r#"203.0.113.7 - - [01/Jan/1970:00:00:01 +0000] "" 408 0 "-" "-""#,
                "1 1 203.0.113.7   0 408 | - | -",
            ),
            (
                r#"Jan 12 06:25:43 web nginx: 203.0.113.7 - - [01/Jan/1970:00:00:01 +0000] "GET / HTTP/1.1" 200 0 "-" "b""#,
                r#"1 1 203.0.113.7 GET / 11 200 | - | b"#,
            ),
            // A quote that a client sent ends nothing.
            (
                r#"203.0.113.7 - - [01/Jan/1970:00:00:01 +0000] "GET /\"x HTTP/1.1" 200 0 "-" "a \" 999 b""#,
                r#"1 1 203.0.113.7 GET /\"x 11 200 | - | a \" 999 b"#,
            ),
        ];
        for (line, expected) in table {
            assert_eq!(told(line.as_bytes()).as_deref(), Some(expected), "{line}");
        }
    }

    #[test]
    fn dotted_is_what_the_library_reads() {
        for word in [
            "0.0.0.0",
            "255.255.255.255",
            "192.0.2.7",
            "1.2.3",
            "1.2.3.4.5",
            "256.1.1.1",
            "1..2.3",
            "01.2.3.4",
            "00.1.2.3",
            ".1.2.3",
            "1.2.3.",
            "1.2.3.4 ",
            "",
            "a.b.c.d",
            "2001:db8::1",
            "1.2.3.1000",
        ] {
            assert_eq!(dotted(word.as_bytes()), word.parse().ok(), "{word}");
        }
    }

    #[test]
    fn junk_is_junk() {
        for line in [
            "",
            "203.0.113.7",
            "203.0.113.7 - - [24/Feb/2016:13:12:00 -0700]",
            "203.0.113.7 - - [31/Feb/2016:13:12:00 -0700] \"GET / HTTP/1.1\" 200 0",
            "203.0.113.7 - - [24/Foo/2016:13:12:00 -0700] \"GET / HTTP/1.1\" 200 0",
            "203.0.113.7 - - [24/Feb/2016:25:12:00 -0700] \"GET / HTTP/1.1\" 200 0",
            "203.0.113.7 - - [24/Feb/1969:13:12:00 -0700] \"GET / HTTP/1.1\" 200 0",
            "203.0.113.7 - - [24/Feb/2016:13:12:00 -0700] \"GET / HTTP/1.1 200 0",
            "203.0.113.7 - - [24/Feb/2016:13:12:00 -0700] \"GET / HTTP/1.1\" OK 0",
            "203.0.113.7 - - [24/Feb/2016:13:12:00 -0700] \"GET / HTTP/1.1\"",
            "\u{1}\u{2} - - [24/Feb/2016:13:12:00 -0700] \"GET / HTTP/1.1\" 200 0",
        ] {
            assert_eq!(told(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn entries_in_json_are_lines() {
        let table: [(&str, Option<&str>); 18] = [
            (
                r#"{"ts":1,"request":{"remote_ip":"10.0.0.1","client_ip":"203.0.113.7","method":"GET","uri":"/"},"status":200}"#,
                Some("1 1 203.0.113.7 GET / 0 200 | ? | ?"),
            ),
            (
                r#"{"level":"info","ts":1646861401.5,"request":{"remote_ip":"203.0.113.7","remote_port":"41342","proto":"HTTP/2.0","method":"GET","host":"news.kz","uri":"/?a=1\u0026b=2","headers":{"User-Agent":["say \"x\""],"Referer":["https://t.me/"]}},"status":200,"size":12}"#,
                Some(
                    r#"1646861401 1646861401 203.0.113.7 GET /?a=1&b=2 20 200 | https://t.me/ | say \"x\""#,
                ),
            ),
            (
                r#"{"ts":1,"request":{"remote_addr":"[2001:db8::1]:443","method":"GET","uri":"/","headers":{}},"status":404}"#,
                Some("1 1 2001:db8::1 GET / 0 404 | - | -"),
            ),
            // Caddy's `time_format`: iso8601 (the server's zone), rfc3339, wall and common_log (UTC), unix_milli_float, unix_nano.
            (
                r#"{"ts":"2016-02-24T13:12:00.500-0700","request":{"remote_ip":"::1","method":"GET","uri":"/"},"status":200}"#,
                Some("1456344720 1456319520 ::1 GET / 0 200 | ? | ?"),
            ),
            (
                r#"{"ts":"2016-02-24T20:12:00Z","request":{"remote_ip":"::1","method":"GET","uri":"/"},"status":200}"#,
                Some("1456344720 1456344720 ::1 GET / 0 200 | ? | ?"),
            ),
            (
                r#"{"ts":"2016/02/24 20:12:00.123","request":{"remote_ip":"::1","method":"GET","uri":"/"},"status":200}"#,
                Some("1456344720 1456344720 ::1 GET / 0 200 | ? | ?"),
            ),
            (
                r#"{"ts":"24/Feb/2016:20:12:00 +0000","request":{"remote_ip":"::1","method":"GET","uri":"/"},"status":200}"#,
                Some("1456344720 1456344720 ::1 GET / 0 200 | ? | ?"),
            ),
            (
                r#"{"ts":1456344720123.5,"request":{"remote_ip":"::1","method":"GET","uri":"/"},"status":200}"#,
                Some("1456344720 1456344720 ::1 GET / 0 200 | ? | ?"),
            ),
            (
                r#"{"ts":1456344720123456789,"request":{"remote_ip":"::1","method":"GET","uri":"/"},"status":200}"#,
                Some("1456344720 1456344720 ::1 GET / 0 200 | ? | ?"),
            ),
            (
                r#"{"ts":1,"request":{"method":"GET","uri":"/"},"status":404}"#,
                None,
            ),
            (
                r#"{"ts":-1,"request":{"remote_ip":"::1","method":"GET","uri":"/"},"status":404}"#,
                None,
            ),
            (
                r#"{"ts":1,"request":{"remote_ip":"::1","method":"GET","uri":"/"},"status":1000}"#,
                None,
            ),
            // nginx, as it is told to.
            (
                r#"{"time_iso8601":"2016-02-24T13:12:00-07:00","remote_addr":"203.0.113.7","request":"GET /?s=a HTTP/1.1","status":"200","http_referer":"","http_user_agent":"Mozilla/5.0 (X11)"}"#,
                Some("1456344720 1456319520 203.0.113.7 GET /?s=a 11 200 | - | Mozilla/5.0 (X11)"),
            ),
            (
                r#"{"time":"24/Feb/2016:13:12:00 -0700","client":"203.0.113.7","method":"POST","uri":"/a","args":"b=1","protocol":"HTTP/2.0","status":302,"referrer":"https://t.me/"}"#,
                Some("1456344720 1456319520 203.0.113.7 POST /a?b=1 20 302 | https://t.me/ | ?"),
            ),
            (
                r#"{"msec":"1456344720.123","remote_addr":"203.0.113.7","request_method":"GET","request_uri":"/a?b=1","uri":"/index.php","args":"c","status":200,"user_agent":"x"}"#,
                Some("1456344720 1456344720 203.0.113.7 GET /a?b=1 0 200 | - | x"),
            ),
            (
                r#"{"time":"yesterday","remote_addr":"203.0.113.7","request":"GET / HTTP/1.1","status":200}"#,
                None,
            ),
            (
                r#"{"time":1,"remote_addr":"news.kz","request":"GET / HTTP/1.1","status":200}"#,
                None,
            ),
            (
                r#"{"time":1,"message":"GET / HTTP/1.1","status":200}"#,
                None,
            ),
        ];
        for (entry, expected) in table {
            let line = combined_of_json(entry.as_bytes());
            let told = line.as_deref().and_then(told);
            assert_eq!(told.as_deref(), expected, "{entry}");
        }
    }
}
