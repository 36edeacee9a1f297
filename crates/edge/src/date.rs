//! Moments as Kazakhstan's readers write them.

use jiff::civil::DateTime;
use jiff::tz::Offset;

use crate::clock::UnixMillis;
use crate::plan::Language::{self, English, Kazakh, Russian};

/// Kazakhstan has one zone since March 2024.
pub(crate) const LOCAL_TIME: Offset = Offset::constant(5);

/// `25 ноября 2026`.
pub(crate) fn day(at: UnixMillis, language: Language) -> String {
    let local = local(at);
    let (year, day) = (local.year(), local.day());
    let month = usize::try_from(local.month() - 1).unwrap_or(0);
    match language {
        Kazakh => format!("{year} ж. {day} {}", MONTHS_KAZAKH[month]),
        Russian => format!("{day} {} {year}", MONTHS_RUSSIAN[month]),
        English => format!("{day} {} {year}", MONTHS_ENGLISH[month]),
    }
}

/// `25 ноября 2026, 05:00 (время Астаны)`.
pub(crate) fn with_time(at: UnixMillis, language: Language) -> String {
    let zone = match language {
        Kazakh => "Астана уақыты",
        Russian => "время Астаны",
        English => "Astana time",
    };
    let (day, local) = (day(at, language), local(at));
    format!("{day}, {:02}:{:02} ({zone})", local.hour(), local.minute())
}

/// As `datetime` in HTML has it.
pub(crate) fn machine(at: UnixMillis) -> String {
    moment(at).strftime("%Y-%m-%dT%H:%MZ").to_string()
}

fn local(at: UnixMillis) -> DateTime {
    LOCAL_TIME.to_datetime(moment(at))
}

fn moment(at: UnixMillis) -> jiff::Timestamp {
    let millis = i64::try_from(at.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX)
}

const MONTHS_KAZAKH: [&str; 12] = [
    "қаңтар",
    "ақпан",
    "наурыз",
    "сәуір",
    "мамыр",
    "маусым",
    "шілде",
    "тамыз",
    "қыркүйек",
    "қазан",
    "қараша",
    "желтоқсан",
];
const MONTHS_RUSSIAN: [&str; 12] = [
    "января",
    "февраля",
    "марта",
    "апреля",
    "мая",
    "июня",
    "июля",
    "августа",
    "сентября",
    "октября",
    "ноября",
    "декабря",
];
const MONTHS_ENGLISH: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_language_has_its_way() {
        // 31 December 2026, 23:59:59 in Greenwich.
        let at = UnixMillis(1_798_761_599_000);
        let table = [
            (
                Kazakh,
                "2027 ж. 1 қаңтар",
                "2027 ж. 1 қаңтар, 04:59 (Астана уақыты)",
            ),
            (
                Russian,
                "1 января 2027",
                "1 января 2027, 04:59 (время Астаны)",
            ),
            (
                English,
                "1 January 2027",
                "1 January 2027, 04:59 (Astana time)",
            ),
        ];
        for (language, expected, with_its_time) in table {
            assert_eq!(day(at, language), expected);
            assert_eq!(with_time(at, language), with_its_time);
        }
        assert_eq!(machine(at), "2026-12-31T23:59Z");
        assert_eq!(machine(UnixMillis(u64::MAX)), "9999-12-30T22:00Z");
    }
}
