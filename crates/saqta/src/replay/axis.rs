//! Where an axis has its lines and what stands beside them: a log may be of two minutes or of thirteen years.

use jiff::ToSpan;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// What readers of a clock count in.
const STEPS_S: [i64; 19] = [
    1,
    2,
    5,
    10,
    15,
    30,
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
];
/// Of a month, from its first.
const STEPS_DAYS: [i64; 2] = [5, 10];
const STEPS_MONTHS: [i32; 7] = [1, 2, 3, 6, 12, 24, 60];

/// A moment on the axis.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tick {
    pub second: u64,
    pub says: String,
    /// What the ones after it share: a day, or a year.
    pub of: Option<String>,
}

/// At most so many, at round moments of UTC.
pub(super) fn ticks(from: u64, until: u64, most: usize) -> Vec<Tick> {
    let most = most.max(2);
    let civil = |second: u64| {
        let at = jiff::Timestamp::from_second(second as i64).ok()?;
        Some(TimeZone::UTC.to_datetime(at))
    };
    let (Some(from), Some(until)) = (civil(from), civil(until)) else {
        return Vec::new();
    };
    let steps = STEPS_S
        .iter()
        .map(|step| by_seconds(from, until, *step, most))
        .chain(
            STEPS_DAYS
                .iter()
                .map(|step| by_days(from, until, *step, most)),
        )
        .chain(
            STEPS_MONTHS
                .iter()
                .map(|step| by_months(from, until, *step, most)),
        );
    let Some((moments, form)) = steps.flatten().next() else {
        return Vec::new();
    };
    let mut shared = None;
    moments
        .into_iter()
        .filter_map(|at| {
            let (says, of) = form.of(at);
            let of = (shared.as_ref() != Some(&of)).then(|| {
                shared = Some(of.clone());
                of
            });
            let at = TimeZone::UTC.to_timestamp(at).ok()?;
            Some(Tick {
                second: u64::try_from(at.as_second()).ok()?,
                says,
                of: of.filter(|of| !of.is_empty()),
            })
        })
        .collect()
}

/// How a moment is written, and what it shares with its neighbours.
#[derive(Debug, Clone, Copy)]
enum Form {
    Seconds,
    Minutes,
    Days,
    Months,
    Years,
}

impl Form {
    fn of(self, at: DateTime) -> (String, String) {
        let (says, of) = match self {
            Self::Seconds => ("%H:%M:%S", "%Y-%m-%d"),
            Self::Minutes => ("%H:%M", "%Y-%m-%d"),
            Self::Days => ("%m-%d", "%Y"),
            Self::Months => ("%Y-%m", ""),
            Self::Years => ("%Y", ""),
        };
        (at.strftime(says).to_string(), at.strftime(of).to_string())
    }
}

type Moments = Option<(Vec<DateTime>, Form)>;

/// `None`: there would be more than `most`.
fn by_seconds(from: DateTime, until: DateTime, step: i64, most: usize) -> Moments {
    let seconds = from.duration_until(until).as_secs();
    if seconds / step > most as i64 {
        return None;
    }
    let days = from.date().to_datetime(jiff::civil::Time::midnight());
    let into = days.duration_until(from).as_secs();
    // Two days are counted from the log's first.
    let first = days.checked_add(((into + step - 1) / step * step).seconds());
    let form = match step {
        ..MINUTE => Form::Seconds,
        MINUTE..DAY => Form::Minutes,
        _ => Form::Days,
    };
    every(first.ok()?, until, most, |at| {
        at.checked_add(step.seconds()).ok()
    })
    .map(|moments| (moments, form))
}

/// On the 1st, the 6th and so on; not so near to the end of a month that the next 1st touches it.
fn by_days(from: DateTime, until: DateTime, step: i64, most: usize) -> Moments {
    let days = from.duration_until(until).as_secs() / DAY;
    if days / step > most as i64 {
        return None;
    }
    let start = from.date().to_datetime(jiff::civil::Time::midnight());
    let all = every(start, until, days as usize + 2, |at| {
        at.checked_add(1.day()).ok()
    })?;
    let moments: Vec<DateTime> = all
        .into_iter()
        .filter(|at| *at >= from)
        .filter(|at| (i64::from(at.day()) - 1) % step == 0 && i64::from(at.day()) + step / 2 <= 31)
        .collect();
    (moments.len() <= most).then_some((moments, Form::Days))
}

fn by_months(from: DateTime, until: DateTime, step: i32, most: usize) -> Moments {
    let first = from.date().first_of_month();
    let into = (i32::from(first.year()) * 12 + i32::from(first.month()) - 1) % step;
    let first = first
        .checked_sub(into.months())
        .ok()?
        .to_datetime(jiff::civil::Time::midnight());
    let first = if first < from {
        first.checked_add(step.months()).ok()?
    } else {
        first
    };
    let form = if step % 12 == 0 {
        Form::Years
    } else {
        Form::Months
    };
    every(first, until, most, |at| at.checked_add(step.months()).ok())
        .map(|moments| (moments, form))
}

fn every(
    first: DateTime,
    until: DateTime,
    most: usize,
    next: impl Fn(DateTime) -> Option<DateTime>,
) -> Option<Vec<DateTime>> {
    let moments: Vec<DateTime> = std::iter::successors(Some(first), |at| next(*at))
        .take_while(|at| *at <= until)
        .take(most + 1)
        .collect();
    (moments.len() <= most).then_some(moments)
}

/// In which requests are counted so that the most of them is no fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Second,
    Minute,
    Hour,
}

impl Unit {
    /// `most`: a second.
    pub(super) fn of(most: f64) -> Self {
        match most {
            1.0.. => Self::Second,
            _ if most * 60.0 >= 1.0 => Self::Minute,
            _ => Self::Hour,
        }
    }

    pub(super) fn seconds(self) -> f64 {
        match self {
            Self::Second => 1.0,
            Self::Minute => 60.0,
            Self::Hour => 3_600.0,
        }
    }
}

/// Two to five round numbers from 0 on, the last of them not below `most`.
pub(super) fn lines(most: f64) -> Vec<u64> {
    let most = most.max(1.0).ceil() as u64;
    let decade = 10_u64.pow(most.ilog10());
    let steps = [decade / 5, decade / 2, decade, decade * 2].map(|step| step.max(1));
    let step = steps
        .into_iter()
        .find(|step| most.div_ceil(*step) <= 5)
        .unwrap_or(decade * 2);
    (0..=most.div_ceil(step)).map(|line| line * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(from: &str, until: &str, most: usize) -> String {
        let second = |text: &str| {
            let at: jiff::Timestamp = text.parse().unwrap();
            at.as_second() as u64
        };
        let ticks = ticks(second(from), second(until), most);
        assert!(ticks.len() <= most, "{ticks:?}");
        let words: Vec<String> = ticks
            .into_iter()
            .map(|tick| match tick.of {
                Some(of) => format!("{} ({of})", tick.says),
                None => tick.says,
            })
            .collect();
        words.join(" ")
    }

    #[test]
    fn moments_are_round() {
        for (from, until, expected) in [
            (
                "2026-11-20T01:00:03Z",
                "2026-11-20T01:00:50Z",
                "01:00:10 (2026-11-20) 01:00:20 01:00:30 01:00:40 01:00:50",
            ),
            (
                "2026-11-20T00:10:00Z",
                "2026-11-20T01:43:00Z",
                "00:15 (2026-11-20) 00:30 00:45 01:00 01:15 01:30",
            ),
            (
                "2026-11-20T15:10:00Z",
                "2026-11-22T01:43:00Z",
                "18:00 (2026-11-20) 00:00 (2026-11-21) 06:00 12:00 18:00 00:00 (2026-11-22)",
            ),
            (
                "2026-12-29T15:10:00Z",
                "2027-01-03T01:43:00Z",
                "12-30 (2026) 12-31 01-01 (2027) 01-02 01-03",
            ),
            (
                "2016-02-20T15:10:00Z",
                "2016-03-28T01:43:00Z",
                "02-21 (2016) 02-26 03-01 03-06 03-11 03-16 03-21 03-26",
            ),
            (
                "2005-02-20T15:10:00Z",
                "2018-03-28T01:43:00Z",
                "2006 2008 2010 2012 2014 2016 2018",
            ),
            (
                "2026-11-20T01:00:03Z",
                "2026-11-20T01:00:03Z",
                "01:00:03 (2026-11-20)",
            ),
        ] {
            assert_eq!(told(from, until, 8), expected);
            told(from, until, 4);
        }
    }

    #[test]
    fn numbers_are_round() {
        for (most, expected) in [
            (0.0, vec![0, 1]),
            (3.2, vec![0, 1, 2, 3, 4]),
            (9.0, vec![0, 2, 4, 6, 8, 10]),
            (102.0, vec![0, 50, 100, 150]),
            (1_800.0, vec![0, 500, 1_000, 1_500, 2_000]),
        ] {
            assert_eq!(lines(most), expected);
        }
        assert_eq!(
            [0.5, 0.001, 7.0].map(Unit::of),
            [Unit::Minute, Unit::Hour, Unit::Second]
        );
    }
}
