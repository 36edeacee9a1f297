//! How much is normal, and from when on it is more than that.
//!
//! Not per address: the floods newsrooms meet come at one request in a few seconds from each of tens of thousands of addresses,
//! below every limit anybody sets. The *site* raises the alarm.
//!
//! A [`Channel`] counts one thing (a site's requests, or its tries at a login) in buckets of equal length and forecasts each by the
//! minutes before it. The comparison is a CUSUM of log-likelihood ratios between "as forecast" and "[`RATIO`] times that", both
//! negative binomial: readers come in bunches, and the larger those are, the less one bucket proves. What a busy bucket adds a
//! quiet one takes away again; the alarm sounds at [`LIMIT`], and the bucket after the sum was last zero is the *onset*: when it
//! began, which is before it could be known.
//!
//! What this hour of the week had in weeks before is learned too, but raises no forecast: on the World Cup's trace it hid one step
//! in four to five times the load, in weeks after the load had fallen, and spared no false alarm that counted. It says whether
//! what comes slowly is still what the site is used to ([`Channel::is_near_its_past`]).
//!
//! What is learned is bounded: a bucket counts for at most [`WINSOR`] times its forecast, while the alarm stands the forecast
//! creeps, and in an attack it does not move. The measurements behind the numbers are in `docs/decisions/0010-load-alarm.md`.
//!
//! What is learned is a page of counts, and outlives the process: [`Channel::written`] and [`Channel::recall`].

/// The alternative a bucket is compared with. Break-even lies far below, at 2.6 times the forecast for a busy site.
pub const RATIO: f64 = 10.0;
/// Where the sum becomes an alarm.
pub const LIMIT: f64 = 12.0;
/// A forecast of m is off by as much as a third of itself on an ordinary day, and requests come in bunches of b: the variance of a count is
/// taken for b × m + m²/STEADINESS. Were it less, a busy hour of news would be an alarm.
const STEADINESS: f64 = 8.0;
/// How large bunches are believed to be before any was seen, and for how many requests' worth of seeing that counts.
const BUNCH_PRIOR: f64 = 2.0;
const BUNCH_PRIOR_REQUESTS: f64 = 100.0;
/// A bucket teaches at most this many times its forecast. One before which nothing rose teaches as much as a bunch: where a bucket has one
/// or none, one is many times the mean.
const WINSOR: f64 = 3.0;
/// While an alarm stands the forecast may grow by this factor in each [`RECENT_S`]: what has come to stay ends its own alarm in an hour or two.
const CREEP: f64 = 1.1;
/// Time constant of the recent forecast.
const RECENT_S: f64 = 300.0;
/// Before this there is no alarm: a mean of fewer buckets is no forecast.
const WARM_UP_S: u64 = 10;
const WARM_UP_BUCKETS: u64 = 3;
/// Longer silences than this leave nothing of what was learned but the hours of the week.
const SILENCE_MAX_S: u64 = 60 * 86_400;
/// An alarm stands this long after the last bucket that gave cause.
pub const HOLD_S: u64 = 300;
const WEEK_H: usize = 168;
/// Weight of the newest week in an hour's mean: a level that has changed is half learned in two weeks.
const WEEKLY: f64 = 0.3;
/// Time constant of what the site's load has been over days.
const PAST_S: f64 = 86_400.0;
/// Above its past by this factor the load is followed, but what comes is not taken for ordinary.
const NEAR_PAST: f64 = 1.25;
/// Above it by this factor it is an alarm, however slowly it came. What a site is used to is known after [`USED_S`]: before that a morning after
/// the night it was installed in would be one.
const SWELL: f64 = 5.0;
const USED_S: f64 = 6.0 * 3_600.0;
/// Above its past by this factor its past hardly moves, or what comes slowly would take it along.
const BEYOND_PAST: f64 = 2.0;
/// Who has had less than this had nobody: some hundred page views a day, and fewer than the robots that visit a server whose name nobody has
/// been told. Such a past is forgotten when readers come.
const IDLE_PER_S: f64 = 0.25;
/// They have come when the forecast is this many times [`Limits::floor_per_s`].
const COME: f64 = 4.0;
/// So many bunches of requests missed in a row are no calm but a hole: the site is down, its line is cut, a log was lost. Of one that is up the
/// chance of it is one in a million. What is missing teaches nothing, or whoever comes back after it would be an alarm.
const MISSED_MAX: f64 = 14.0;
/// After a pause of less than this, what was expected before it is expected after it.
const RESUMED_S: u64 = 3_600;

/// How a bucket may move the forecasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Teaching {
    /// As much as it says, up to [`WINSOR`] times the forecast.
    Calm,
    /// An alarm stands: the forecast creeps.
    Guarded,
    /// An alarm stands, and for so long nothing has been scarce that what comes cannot be a danger: as in calm.
    Harmless,
    /// Nothing seen now is normal.
    Attack,
}

/// What the alarm of a channel says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alarm {
    /// First second of the bucket with which the rise began.
    pub onset_s: u64,
    /// Start of the bucket that last gave cause.
    pub cause_s: u64,
}

/// What is too little to matter, of what a channel counts.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Below this rate nothing is an alarm.
    pub floor_per_s: f64,
    /// Nor are fewer than this above the forecast in all.
    pub least: f64,
    /// Larger bunches than this are not believed in.
    pub bunch_max: f64,
}

impl Limits {
    /// Of a site's requests. Half a request a second above normal is no load for any server. A page with its pictures is sixty requests from
    /// one reader.
    pub const REQUESTS: Self = Self {
        floor_per_s: 0.5,
        least: 60.0,
        bunch_max: 60.0,
    };
    /// Of tries at a login or a comment. Somebody who has forgotten a password makes one in a minute, and fewer than six.
    pub const SENSITIVE: Self = Self {
        floor_per_s: 1.0 / 60.0,
        least: 6.0,
        bunch_max: 1.1,
    };
}

/// One count, its forecasts and its alarm. Fixed size.
#[derive(Debug, Clone)]
pub struct Channel {
    bucket_s: u64,
    /// Fewer above the forecast in all than this are no alarm.
    least: f64,
    /// A forecast is never below this, per bucket: less than that endangers nobody, however many times normal it is.
    floor: f64,
    /// Start of the bucket being filled.
    open_s: Option<u64>,
    count: u64,
    recent: Option<f64>,
    /// Buckets that have ended.
    closed: u64,
    /// Mean per bucket over a day or, while it is younger, over all the time it has been learned for.
    past: f64,
    past_buckets: f64,
    /// Squared deviations beyond what [`STEADINESS`] explains, and what was expected, over a day: their quotient is the size of bunches.
    deviated: f64,
    expected: f64,
    bunch_max: f64,
    /// Mean per bucket of each hour of the week in weeks before; `None` until such an hour was seen to its end.
    weekly: Box<[Option<f64>; WEEK_H]>,
    hour: Hour,
    /// Expected in the empty buckets since the last that was not, and how much more of it is a hole.
    missed: f64,
    missed_max: f64,
    sum: f64,
    rise_s: u64,
    /// Above the forecast since then.
    rise: f64,
    alarm: Option<Alarm>,
}

/// The hour being learned.
#[derive(Debug, Clone, Copy, Default)]
struct Hour {
    number: u64,
    total: f64,
    buckets: u64,
}

/// What is left of a forecast after some empty buckets, and the sums of it and of its squares in them, as shares of what it was.
struct Fading {
    kept: f64,
    sum: f64,
    squares: f64,
}

impl Channel {
    pub fn new(bucket_s: u64, limits: Limits) -> Self {
        let bucket_s = bucket_s.max(1);
        Self {
            bucket_s,
            least: limits.least,
            floor: limits.floor_per_s * bucket_s as f64,
            open_s: None,
            count: 0,
            recent: None,
            closed: 0,
            past: 0.0,
            past_buckets: 0.0,
            deviated: BUNCH_PRIOR * BUNCH_PRIOR_REQUESTS,
            expected: BUNCH_PRIOR_REQUESTS,
            bunch_max: limits.bunch_max,
            weekly: Box::new([None; WEEK_H]),
            hour: Hour::default(),
            missed: 0.0,
            missed_max: MISSED_MAX * BUNCH_PRIOR,
            sum: 0.0,
            rise_s: 0,
            rise: 0.0,
            alarm: None,
        }
    }

    /// `count` of what this channel counts happened at `now_s`. Time before the open bucket counts in it.
    pub fn add(&mut self, now_s: u64, count: u64, teaching: Teaching) {
        self.advance(now_s, teaching);
        self.count = self.count.saturating_add(count);
    }

    /// Closes the buckets that ended before `now_s`.
    pub fn advance(&mut self, now_s: u64, teaching: Teaching) {
        let mut open = *self.open_s.get_or_insert(now_s - now_s % self.bucket_s);
        while open + self.bucket_s <= now_s {
            let is_quiet = self.count == 0 && self.sum == 0.0 && self.closed > self.warm_up();
            if is_quiet {
                let silent_since = now_s.saturating_sub(SILENCE_MAX_S);
                if open < silent_since {
                    (self.recent, self.closed, self.missed) = (None, 0, 0.0);
                }
                open = open.max(silent_since - silent_since % self.bucket_s);
                // Nights on a small site are long: a whole hour of nothing is one step.
                let hour_ends = (open / 3_600 + 1) * 3_600;
                let buckets = ((now_s.min(hour_ends) - open) / self.bucket_s).max(1);
                self.close_empty(open, buckets, teaching);
                open += buckets * self.bucket_s;
            } else {
                self.close(open, teaching);
                open += self.bucket_s;
            }
        }
        self.open_s = Some(open);
    }

    /// The alarm that stands at `now_s`.
    pub fn alarm(&self, now_s: u64) -> Option<Alarm> {
        self.alarm
            .filter(|alarm| now_s < alarm.cause_s + self.bucket_s + HOLD_S)
    }

    /// Since when there has been more than forecast, alarm or not.
    pub fn rising_since(&self) -> Option<u64> {
        (self.sum > 0.0).then_some(self.rise_s)
    }

    /// What is expected now, per second.
    pub fn forecast_per_s(&self) -> f64 {
        self.forecast() / self.bucket_s as f64
    }

    /// What is expected now, per second, by what comes slowly as well.
    pub fn expected_per_s(&self) -> f64 {
        let forecast = self.forecast();
        let expected = if self.is_swollen() {
            forecast.min(self.usual())
        } else {
            forecast
        };
        expected / self.bucket_s as f64
    }

    /// Not risen slowly to something else: what this hour of the week had, or the last day, is about what it has now.
    pub fn is_near_its_past(&self) -> bool {
        self.recent.unwrap_or(0.0) <= NEAR_PAST * self.usual()
    }

    /// Risen slowly to many times what it is used to.
    fn is_swollen(&self) -> bool {
        self.past_buckets * self.bucket_s as f64 >= USED_S
            && self.recent.unwrap_or(0.0) > SWELL * self.usual()
    }

    /// What this hour of the week had, or the last day.
    fn usual(&self) -> f64 {
        let weekly = self.weekly[(self.hour.number % WEEK_H as u64) as usize];
        self.past.max(weekly.unwrap_or(0.0)).max(self.floor)
    }

    /// What has been learned, as one line of numbers and another of the hours of the week.
    pub fn written(&self) -> String {
        let numbers = [
            self.recent.unwrap_or(0.0),
            self.past,
            self.past_buckets,
            self.deviated,
            self.expected,
        ];
        let numbers = numbers.map(|number| format!(" {number:.3}")).concat();
        let hours = self.weekly.iter().map(|hour| match hour {
            Some(mean) => format!(" {mean:.3}"),
            None => " -".to_owned(),
        });
        format!(
            "{} {}{numbers}\n{}\n",
            self.open_s.unwrap_or(0),
            self.closed,
            hours.collect::<String>().trim_start()
        )
    }

    /// Learned before, by a channel of the same kind, and written down. `None`: these are not the two lines of [`Channel::written`], and
    /// nothing has changed.
    pub fn recall<'a>(
        &mut self,
        lines: &mut impl Iterator<Item = &'a str>,
        now_s: u64,
    ) -> Option<()> {
        let line = lines.next()?;
        let mut words = line.split(' ');
        let (at_s, closed): (u64, u64) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let numbers: Vec<f64> = words.map(number).collect::<Option<_>>()?;
        let [recent, past, past_buckets, deviated, expected] = numbers[..] else {
            return None;
        };
        let hours = lines.next()?.split(' ').map(|hour| match hour {
            "-" => Some(None),
            mean => number(mean).map(Some),
        });
        let weekly: Box<[_; WEEK_H]> = hours.collect::<Option<Box<[_]>>>()?.try_into().ok()?;
        let hour = now_s / 3_600;
        let (recent, closed) = if closed <= self.warm_up() {
            (None, 0)
        } else if now_s.saturating_sub(at_s) < RESUMED_S {
            (Some(recent), closed)
        } else {
            // What this hour had in weeks before, and open to be told otherwise.
            let usual = weekly[(hour % WEEK_H as u64) as usize];
            (usual, usual.map_or(0, |_| self.warm_up() + 1))
        };
        *self = Self {
            recent,
            closed,
            past,
            past_buckets: past_buckets.min(PAST_S / self.bucket_s as f64),
            deviated,
            expected,
            weekly,
            hour: Hour {
                number: hour,
                ..Hour::default()
            },
            ..Self::new(
                self.bucket_s,
                Limits {
                    floor_per_s: self.floor / self.bucket_s as f64,
                    least: self.least,
                    bunch_max: self.bunch_max,
                },
            )
        };
        Some(())
    }

    fn is_hole(&self) -> bool {
        self.missed >= self.missed_max
    }

    fn bunch(&self) -> f64 {
        (self.deviated / self.expected.max(1.0)).clamp(1.0, self.bunch_max)
    }

    fn warm_up(&self) -> u64 {
        (WARM_UP_S / self.bucket_s).max(WARM_UP_BUCKETS)
    }

    /// Of a negative binomial count with this mean and the variance that the channel has.
    fn dispersion(&self, mean: f64) -> f64 {
        1.0 / ((self.bunch() - 1.0) / mean + 1.0 / STEADINESS)
    }

    fn forecast(&self) -> f64 {
        self.recent.unwrap_or(0.0).max(self.floor)
    }

    fn close(&mut self, start_s: u64, teaching: Teaching) {
        let count = std::mem::take(&mut self.count) as f64;
        let hour = start_s / 3_600;
        if hour != self.hour.number {
            self.end_hour(hour);
        }
        if count > 0.0 {
            (self.missed, self.missed_max) = (0.0, MISSED_MAX * self.bunch());
        } else if self.is_hole() {
            self.sum = 0.0;
            return;
        }
        self.closed += 1;
        if self.closed <= self.warm_up() {
            // Nothing to compare with yet, and the first second of a log is half a second.
            let recent = self.recent.unwrap_or(0.0);
            self.recent = Some(recent + (count - recent) / self.closed as f64);
            return;
        }
        let forecast = self.forecast();
        let is_alone = self.sum == 0.0;
        if is_alone {
            (self.rise_s, self.rise) = (start_s, 0.0);
        }
        self.rise += count - forecast;
        self.sum = (self.sum + log_likelihood_ratio(count, forecast, self.dispersion(forecast)))
            .clamp(0.0, LIMIT);
        if self.is_swollen() || self.sum >= LIMIT && self.rise >= self.least {
            let onset_s = self
                .alarm(start_s)
                .map_or(self.rise_s, |alarm| alarm.onset_s);
            self.alarm = Some(Alarm {
                onset_s,
                cause_s: start_s,
            });
        }
        let teaching = match (teaching, self.alarm(start_s)) {
            (Teaching::Calm, Some(_)) => Teaching::Guarded,
            (Teaching::Harmless, _) => Teaching::Calm,
            (teaching, _) => teaching,
        };
        if count == 0.0 {
            self.missed += self.recent.unwrap_or(0.0);
        }
        self.learn((count, forecast), is_alone, teaching);
    }

    /// Of the forecast in so many empty buckets.
    fn fading(&self, buckets: u64) -> Fading {
        let (count, bucket_s) = (buckets as f64, self.bucket_s as f64);
        // While it is young it is the mean of all there was: each of these buckets makes it one of more.
        let before = self.closed as f64;
        let young = (RECENT_S / bucket_s - before).clamp(0.0, count);
        let (from, to) = (before + 0.5, before + young + 0.5);
        let mut kept = before / (before + young);
        let mut sum = before * (to / from).ln();
        let mut squares = before * before * (1.0 / from - 1.0 / to);
        if young < count {
            let one = (-bucket_s / RECENT_S).exp();
            let rest = (-bucket_s * (count - young) / RECENT_S).exp();
            sum += kept * (1.0 - rest) / (1.0 - one);
            squares += kept * kept * (1.0 - rest * rest) / (1.0 - one * one);
            kept *= rest;
        }
        Fading { kept, sum, squares }
    }

    /// As [`Channel::close`] for so many buckets of one hour that had nothing, when the sum is zero and stays there.
    fn close_empty(&mut self, start_s: u64, buckets: u64, teaching: Teaching) {
        let hour = start_s / 3_600;
        if hour != self.hour.number {
            self.end_hour(hour);
        }
        self.rise_s = start_s + (buckets - 1) * self.bucket_s;
        if teaching == Teaching::Attack || self.is_hole() {
            return;
        }
        let usual = self.recent.unwrap_or(0.0);
        // Those until it is a hole.
        let left = (self.missed_max - self.missed) / usual.max(f64::MIN_POSITIVE);
        let buckets = if self.fading(buckets).sum < left {
            buckets
        } else {
            let (mut least, mut most) = (1, buckets);
            while least < most {
                let middle = least + (most - least) / 2;
                if self.fading(middle).sum < left {
                    least = middle + 1;
                } else {
                    most = middle;
                }
            }
            least
        };
        let Fading { kept, sum, squares } = self.fading(buckets);
        self.missed += usual * sum;
        let (count, bucket_s) = (buckets as f64, self.bucket_s as f64);
        if matches!(teaching, Teaching::Calm | Teaching::Harmless) {
            let fade = (-bucket_s * count / PAST_S).exp();
            let beyond = usual * usual * (1.0 - 1.0 / STEADINESS) * squares;
            self.deviated = self.deviated * fade + beyond;
            self.expected = self.expected * fade + usual * sum;
        }
        self.recent = Some(usual * kept);
        self.closed = self.closed.saturating_add(buckets);
        let most = PAST_S / bucket_s;
        let growing = (most - self.past_buckets).clamp(0.0, count);
        self.past *= self.past_buckets / (self.past_buckets + growing).max(1.0);
        if growing < count {
            self.past *= (1.0 - 1.0 / most).powf(count - growing);
        }
        self.past_buckets += growing;
        self.hour.buckets += buckets;
    }

    fn learn(&mut self, (count, forecast): (f64, f64), is_alone: bool, teaching: Teaching) {
        let taught = match teaching {
            Teaching::Calm | Teaching::Harmless if is_alone => {
                count.min((forecast * WINSOR).max(self.bunch_max))
            }
            Teaching::Calm | Teaching::Harmless => count.min(forecast * WINSOR),
            Teaching::Guarded => count.min(forecast * CREEP),
            Teaching::Attack => return,
        };
        // While it is young, the mean of all there was.
        let weight =
            (1.0 - (-(self.bucket_s as f64) / RECENT_S).exp()).max(1.0 / self.closed as f64);
        if let Some(recent) = &mut self.recent {
            *recent += weight * (taught - *recent);
        }
        if teaching == Teaching::Calm {
            let usual = self.recent.unwrap_or(0.0);
            let fade = (-(self.bucket_s as f64) / PAST_S).exp();
            let beyond = (count - usual).powi(2) - usual * usual / STEADINESS;
            self.deviated = (self.deviated * fade + beyond).max(0.0);
            self.expected = self.expected * fade + usual;
        }
        let have_come = self.recent.unwrap_or(0.0) >= COME * self.floor;
        if have_come && self.past < IDLE_PER_S * self.bucket_s as f64 {
            (self.past, self.past_buckets) = (0.0, 0.0);
        }
        let most = PAST_S / self.bucket_s as f64;
        let is_beyond = self.past_buckets * self.bucket_s as f64 >= USED_S
            && self.recent.unwrap_or(0.0) > BEYOND_PAST * self.usual();
        self.past_buckets = (self.past_buckets + 1.0).min(most);
        self.past += (taught - self.past) / if is_beyond { most } else { self.past_buckets };
        self.hour.total += taught;
        self.hour.buckets += 1;
    }

    /// An hour of which less than half could teach (it was an attack, or the program began in it) teaches nothing.
    fn end_hour(&mut self, next: u64) {
        let Hour {
            number,
            total,
            buckets,
        } = self.hour;
        if buckets * self.bucket_s >= 1_800 {
            let mean = total / buckets as f64;
            let slot = &mut self.weekly[(number % WEEK_H as u64) as usize];
            *slot = Some(match *slot {
                Some(before) => before + WEEKLY * (mean - before),
                None => mean,
            });
        }
        self.hour = Hour {
            number: next,
            ..Hour::default()
        };
    }
}

/// A count, or a mean of some: no site has a thousand million a second.
fn number(word: &str) -> Option<f64> {
    let number = word.parse::<f64>().ok()?;
    (0.0..1e18).contains(&number).then_some(number)
}

/// Of `count` under a forecast of [`RATIO`] times `mean` against `mean`.
fn log_likelihood_ratio(count: f64, mean: f64, dispersion: f64) -> f64 {
    let raised = RATIO * mean;
    let growth = ((raised + dispersion) / (mean + dispersion)).ln();
    count * (RATIO.ln() - growth) - dispersion * growth
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LEARNED_S: u64 = 1_800;

    /// Half an hour of `per_s`, then what `then` says of each second after.
    fn channel(per_s: u64, limits: Limits) -> Channel {
        let mut channel = Channel::new(1, limits);
        for second in 0..LEARNED_S {
            channel.add(second, per_s, Teaching::Calm);
        }
        channel
    }

    #[test]
    fn a_step_is_an_alarm_and_its_onset_is_where_it_began() {
        // Per second before and after, and within how many seconds.
        let table = [
            (350, 350, None),
            (350, 700, None),
            (350, 1_750, Some(1)),
            (350, 3_500, Some(1)),
            (20, 40, None),
            (20, 100, Some(3)),
            // A hundred times next to nothing is next to nothing.
            (0, 1, None),
            (0, 20, Some(20)),
        ];
        for (before, after, expected) in table {
            let mut channel = channel(before, Limits::REQUESTS);
            let alarm = (0..60).find_map(|past| {
                channel.add(LEARNED_S + past, after, Teaching::Calm);
                let now = LEARNED_S + past + 1;
                channel.advance(now, Teaching::Calm);
                channel.alarm(now).map(|alarm| (past + 1, alarm))
            });
            match (alarm, expected) {
                (None, None) => {}
                (Some((within, alarm)), Some(expected)) => {
                    assert!(within <= expected, "{before} to {after}: after {within} s");
                    assert_eq!(alarm.onset_s, LEARNED_S, "{before} to {after}");
                }
                (alarm, _) => panic!("{before} to {after}: {alarm:?}"),
            }
        }
    }

    /// The first second of a log is a part of one.
    #[test]
    fn it_may_begin_in_the_middle_of_everything() {
        for first in [0, 1, 5, 33, 330] {
            let mut channel = Channel::new(1, Limits::REQUESTS);
            channel.add(0, first, Teaching::Calm);
            for second in 1..600 {
                channel.add(second, 25 + second * 7 % 20, Teaching::Calm);
                assert_eq!(channel.alarm(second), None, "{first}, {second} s");
            }
        }
    }

    #[test]
    fn a_slow_rise_is_followed() {
        let mut channel = channel(100, Limits::REQUESTS);
        let mut now = LEARNED_S;
        // To five times as much in an hour.
        for step in 0..3_600 {
            channel.add(now, 100 + 400 * step / 3_600, Teaching::Calm);
            now += 1;
            assert_eq!(channel.alarm(now), None, "{step}");
        }
        assert!(channel.forecast_per_s() > 400.0);
        assert!(
            !channel.is_near_its_past(),
            "but it is not what the site is used to"
        );
    }

    /// However slowly it comes, once it is known what the site is used to.
    #[test]
    fn many_times_what_a_site_is_used_to_is_an_alarm() {
        // Hours before, seconds until it is seven times as much, and times that it is when the alarm comes.
        let table = [
            (24, 900, Some(5.0..7.1)),
            (24, 3_600, Some(5.0..6.0)),
            // So slow that the day's mean comes along.
            (24, 6 * 3_600, None),
            // A morning after the night it was installed in.
            (3, 3_600, None),
        ];
        for (hours, rise_s, expected) in table {
            let mut channel = Channel::new(1, Limits::REQUESTS);
            for second in 0..hours * 3_600 {
                channel.add(second, 100, Teaching::Calm);
            }
            let alarm = (0..rise_s + 600).find_map(|past| {
                let now = hours * 3_600 + past;
                let count = 100 + 600 * past.min(rise_s) / rise_s;
                channel.add(now, count, Teaching::Calm);
                channel.alarm(now).map(|_| count as f64 / 100.0)
            });
            match (alarm, &expected) {
                (Some(times), Some(range)) => {
                    assert!(range.contains(&times), "{hours} {rise_s}: {times}")
                }
                (None, None) => {}
                _ => panic!("{hours} {rise_s}: {alarm:?}"),
            }
            // What is too much is what came on top.
            assert!(expected.is_none() || channel.expected_per_s() < 150.0);
        }
    }

    #[test]
    fn an_attack_teaches_nothing_and_what_stays_becomes_normal() {
        let mut attacked = channel(100, Limits::REQUESTS);
        let mut guarded = attacked.clone();
        let before = attacked.forecast_per_s();
        for past in 0..3 * 3_600 {
            attacked.add(LEARNED_S + past, 1_000, Teaching::Attack);
            guarded.add(LEARNED_S + past, 1_000, Teaching::Guarded);
        }
        let now = LEARNED_S + 3 * 3_600;
        assert_eq!(attacked.forecast_per_s(), before);
        assert!(attacked.alarm(now).is_some());
        assert_eq!(guarded.alarm(now), None, "{}", guarded.forecast_per_s());
    }

    /// A shield that stood idle before readers were sent to it.
    #[test]
    fn who_comes_to_an_idle_site_is_no_alarm_for_hours() {
        let mut channel = Channel::new(1, Limits::REQUESTS);
        const IDLE_S: u64 = 2 * 3_600;
        for second in (0..IDLE_S).step_by(10) {
            channel.add(second, 1, Teaching::Calm);
        }
        let mut alarmed = 0;
        for minute in 0..60 {
            let now = IDLE_S + minute * 60;
            let teaching = match channel.alarm(now) {
                None => Teaching::Calm,
                Some(_) if minute < 10 => Teaching::Guarded,
                Some(_) => Teaching::Harmless,
            };
            for second in now..now + 60 {
                channel.add(second, 100, teaching);
            }
            alarmed += u32::from(channel.alarm(now + 60).is_some());
        }
        assert!((10..30).contains(&alarmed), "{alarmed} minutes");
        assert!(channel.is_near_its_past());
    }

    #[test]
    fn what_was_learned_outlives_the_process() {
        // Ten days of 100 a second by day and 10 by night.
        let mut learned = Channel::new(60, Limits::REQUESTS);
        let rate = |minute: u64| if minute / 60 % 24 < 8 { 10 } else { 100 };
        const MINUTES: u64 = 10 * 24 * 60 + 12 * 60;
        for minute in 0..MINUTES {
            learned.add(minute * 60, rate(minute) * 60, Teaching::Calm);
        }
        let end = MINUTES * 60;
        learned.advance(end, Teaching::Calm);
        let text = learned.written();
        // How long it stood still, and what is expected then; a new one has no forecast.
        for (pause_s, expected) in [
            (60, 100.0),
            (3_000, 100.0),
            (14 * 3_600, 10.0),
            (26 * 3_600, 100.0),
        ] {
            let now = end + pause_s;
            let mut again = Channel::new(60, Limits::REQUESTS);
            again.recall(&mut text.lines(), now).unwrap();
            let forecast = again.forecast_per_s();
            assert!(
                (forecast - expected).abs() < 0.1 * expected,
                "{pause_s}: {forecast}"
            );
            assert!(again.is_near_its_past());
            // So an attack that began meanwhile is seen at once.
            again.add(now, 1_000 * 60, Teaching::Calm);
            again.advance(now + 60, Teaching::Calm);
            assert!(again.alarm(now + 60).is_some());
        }
        // Of an hour it knows nothing of, it learns anew.
        let mut young = channel(100, Limits::REQUESTS);
        young.advance(LEARNED_S, Teaching::Calm);
        let text = young.written();
        let mut again = Channel::new(1, Limits::REQUESTS);
        again.recall(&mut text.lines(), LEARNED_S + 86_400).unwrap();
        assert_eq!(again.forecast_per_s(), Limits::REQUESTS.floor_per_s);
    }

    #[test]
    fn what_nobody_wrote_is_not_recalled() {
        let mut learned = channel(100, Limits::REQUESTS);
        learned.advance(LEARNED_S, Teaching::Calm);
        let whole = learned.written();
        assert!(
            Channel::new(1, Limits::REQUESTS)
                .recall(&mut whole.lines(), 0)
                .is_some()
        );
        let broken = [
            String::new(),
            whole.replace(' ', "  "),
            whole.replacen("100", "NaN", 1),
            whole.replacen("100", "-1", 1),
            whole.replacen("100", "1e300", 1),
            whole.replacen(" -", "", 1),
            whole.lines().next().unwrap().to_owned(),
            whole.lines().rev().collect::<Vec<_>>().join("\n"),
        ];
        for text in broken {
            let mut channel = Channel::new(1, Limits::REQUESTS);
            assert_eq!(channel.recall(&mut text.lines(), 0), None, "{text}");
            assert_eq!(
                channel.written(),
                Channel::new(1, Limits::REQUESTS).written()
            );
        }
    }

    #[test]
    fn one_readers_page_on_an_idle_site_is_no_alarm() {
        let mut channel = Channel::new(1, Limits::REQUESTS);
        for hour in 0..200 {
            // A page with its pictures within two seconds.
            channel.add(hour * 3_600, 25, Teaching::Calm);
            channel.add(hour * 3_600 + 1, 20, Teaching::Calm);
            let now = hour * 3_600 + 2;
            channel.advance(now, Teaching::Calm);
            assert_eq!(channel.alarm(now), None, "hour {hour}");
        }
    }

    #[test]
    fn tries_at_a_login_are_few_and_count() {
        let mut channel = Channel::new(1, Limits::SENSITIVE);
        for day in 0..3 {
            // An editor who has forgotten the password.
            for attempt in 0..4 {
                channel.add(day * 86_400 + attempt * 10, 1, Teaching::Calm);
            }
        }
        let start = 3 * 86_400;
        channel.advance(start, Teaching::Calm);
        assert_eq!(channel.alarm(start), None);
        // Sixteen a minute.
        let alarm = (0..60).find(|past| {
            let now = start + past;
            if past % 4 == 0 {
                channel.add(now, 1, Teaching::Calm);
            }
            channel.advance(now, Teaching::Calm);
            channel.alarm(now).is_some()
        });
        assert!(alarm.is_some_and(|past| past < 45), "{alarm:?}");
    }

    /// Of a site where little happens most seconds have nothing, and they count from its first minute on.
    #[test]
    fn a_young_forecast_is_the_mean_of_all_there_was() {
        for every in [2, 3, 10, 60] {
            let mut channel = Channel::new(1, Limits::SENSITIVE);
            for second in 0..900 {
                channel.add(second, u64::from(second % every == 0), Teaching::Calm);
                let mean = 1.0 / every as f64;
                let forecast = channel.forecast_per_s();
                assert!(
                    second < 240 || (0.8..1.25).contains(&(forecast / mean)),
                    "one in {every} s, after {second} s: {forecast}"
                );
            }
        }
    }

    /// A line that was cut, a log that was lost.
    #[test]
    fn who_comes_back_after_a_hole_is_no_alarm() {
        for (per_s, bunch) in [(400, 1), (20, 1), (1, 1), (1, 20)] {
            for hole_s in [60, 300, 1_800, 6 * 3_600] {
                let mut channel = Channel::new(1, Limits::REQUESTS);
                let mut add = |second: u64| {
                    let count = if second.is_multiple_of(bunch) {
                        per_s * bunch
                    } else {
                        0
                    };
                    channel.add(second, count, Teaching::Calm);
                    (channel.alarm(second), channel.forecast_per_s())
                };
                let (_, before) = (0..LEARNED_S).map(&mut add).last().unwrap();
                let back_s = LEARNED_S + hole_s;
                let (_, after) = add(back_s);
                assert!(
                    after > 0.5 * before,
                    "{per_s} {bunch} {hole_s}: {before} {after}"
                );
                for second in back_s..back_s + 900 {
                    assert_eq!(add(second).0, None, "{per_s} {bunch} {hole_s}");
                }
            }
        }
        // A night that falls is none.
        let mut channel = channel(20, Limits::REQUESTS);
        for second in 0..4 * 3_600_u64 {
            let count = u64::from(second.is_multiple_of(1 + second / 600));
            channel.add(LEARNED_S + second, count, Teaching::Calm);
        }
        assert_eq!(channel.forecast_per_s(), Limits::REQUESTS.floor_per_s);
    }

    #[test]
    fn a_gap_of_years_is_passed_over() {
        let mut channel = channel(100, Limits::REQUESTS);
        let years = LEARNED_S + 20 * 365 * 86_400;
        channel.add(years, 1, Teaching::Calm);
        assert_eq!(channel.alarm(years), None);
        assert!(channel.forecast_per_s() <= Limits::REQUESTS.floor_per_s);
    }

    proptest! {
        /// An hour of nothing in one step is an hour of nothing.
        #[test]
        fn empty_buckets_are_as_many_single_ones(
            counts in proptest::collection::vec(0..50_u64, 1..60),
            pause in 2..10_000_u64,
        ) {
            let mut at_once = Channel::new(1, Limits::REQUESTS);
            for (second, count) in counts.iter().enumerate() {
                at_once.add(second as u64, *count, Teaching::Calm);
            }
            at_once.advance(counts.len() as u64, Teaching::Calm);
            prop_assume!(at_once.alarm(counts.len() as u64).is_none());
            let mut singly = at_once.clone();
            let end = counts.len() as u64 + pause;
            at_once.advance(end, Teaching::Calm);
            for second in counts.len() as u64..=end {
                singly.advance(second, Teaching::Calm);
            }
            let told = |channel: &Channel| {
                [channel.recent.unwrap(), channel.past, channel.past_buckets, channel.deviated, channel.expected]
            };
            for (one, other) in told(&at_once).into_iter().zip(told(&singly)) {
                prop_assert!((one - other).abs() <= 0.05 * other.abs() + 1e-9, "{:?} {:?}", told(&at_once), told(&singly));
            }
        }

        #[test]
        fn whatever_is_counted_the_forecast_is_a_number(
            steps in proptest::collection::vec((0..100_000_u64, 0..u64::MAX / 2), 0..200),
        ) {
            let mut channel = Channel::new(1, Limits::REQUESTS);
            let mut now = 0;
            for (pause, count) in steps {
                now += pause;
                channel.add(now, count, Teaching::Calm);
                let forecast = channel.forecast_per_s();
                prop_assert!(forecast.is_finite() && forecast >= Limits::REQUESTS.floor_per_s);
            }
        }
    }
}
