//! How much those spend who were given what they show in the same week and the same part of the internet.
//!
//! Whoever wants to pass for many readers has to be them beforehand: he collects in some week, from the networks he has, and spends all of
//! it in one night. Of a single token nothing can be told; but its cohort, of whom a dozen read in ten minutes, sends thousands. Two
//! things are counted of each:
//!
//! - what its known readers use of the origin, against what is usual for them. Beyond several times that they are strangers for the rest
//!   of the period, to be known again when it is over, and may wait for passes as strangers do;
//! - how often what they show kept somebody from a rule that hit him. A rule hits few readers, and a flood all the time: once a
//!   cohort has spent this, its tokens protect from no rule, and whoever one hits is last in line. Whom none hits notices nothing.
//!
//! A cell for each cohort, found by a hash. Two that share one share what they may spend, and nothing here grows. It starts anew with the
//! edge: then the floor holds until what is usual has been learned.

use std::fmt;
use std::hash::Hasher as _;
use std::sync::atomic::{AtomicU64, Ordering};

use siphasher::sip::SipHasher13;

use super::token::{Cohort, SiteMark};
use crate::clock::UnixMillis;

/// Thirteen weeks of 64 parts, of passes and of readers, for ten sites. 128 KB.
const CELLS: usize = 1 << 14;

/// Uses of the origin in a period that no cohort is held to account for: two readers' purses. All 64 parts of one week together have eleven
/// a second then, a tenth of what a small server does.
const FLOOR: u32 = 100;
/// What is usual is a mean of half a day: twice as much is read at its best hour, and the double of that is what a class may grow to.
const USUAL_TIMES: u32 = 4;
/// Of periods: what one adds to the mean, and what is forgotten with each. 64 of ten minutes are half a day; an attack of six hours in
/// which a cohort spends all it may teaches it less than the double of half of it.
const MEMORY: u32 = 64;
/// Parts of a use, in which the mean is kept.
const FINE: u32 = 8;
/// Past this many periods nothing is left of what was usual: five days.
const FORGOTTEN: u16 = 720;

/// How often tokens of one cohort keep somebody from a rule in a period. A rule may hit one reader in a thousand: of 100,000 in ten minutes
/// a hundred, each with some requests, from all parts. A flood has used it up within seconds, in all parts together at twenty requests a second.
const KEPT_FROM_RULES_MAX: u32 = 200;

/// By what somebody is more than a stranger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum By {
    Pass,
    Reader,
}

pub(super) struct Cohorts {
    period_s: u64,
    cells: Box<[AtomicU64]>,
}

/// Of one cohort. As a number: 16 bits each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Spent {
    period: u16,
    uses: u16,
    kept_from_rules: u16,
    /// In [`FINE`] parts.
    usual: u16,
}

impl Spent {
    fn from_bits(bits: u64) -> Self {
        Self {
            period: (bits >> 48) as u16,
            uses: (bits >> 32) as u16,
            kept_from_rules: (bits >> 16) as u16,
            usual: bits as u16,
        }
    }

    fn bits(self) -> u64 {
        u64::from(self.period) << 48
            | u64::from(self.uses) << 32
            | u64::from(self.kept_from_rules) << 16
            | u64::from(self.usual)
    }

    /// As it is in `period`.
    fn within(self, period: u16) -> Self {
        let over = period.wrapping_sub(self.period);
        if over == 0 {
            return self;
        }
        let forgets = |usual: u32| usual - usual.div_ceil(MEMORY);
        let fine = u32::from(self.uses) * FINE;
        let mut usual = forgets(u32::from(self.usual)) + fine / MEMORY;
        for _ in 1..over.min(FORGOTTEN) {
            usual = forgets(usual);
        }
        Self {
            period,
            uses: 0,
            kept_from_rules: 0,
            usual: u16::try_from(usual).unwrap_or(u16::MAX),
        }
    }
}

impl fmt::Debug for Cohorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cohorts").finish_non_exhaustive()
    }
}

impl Cohorts {
    pub(super) fn new(period_s: u32) -> Self {
        Self {
            period_s: u64::from(period_s),
            cells: (0..CELLS).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    fn cell(&self, site: SiteMark, by: By, cohort: Cohort) -> &AtomicU64 {
        let mut hasher = SipHasher13::new();
        site.write(&mut hasher);
        hasher.write_u8(by as u8);
        hasher.write_u16(cohort.0);
        &self.cells[hasher.finish() as usize % CELLS]
    }

    fn period(&self, now: UnixMillis) -> u16 {
        (now.secs() / self.period_s) as u16
    }

    fn spent(&self, (site, by, cohort): (SiteMark, By, Cohort), now: UnixMillis) -> Spent {
        let bits = self.cell(site, by, cohort).load(Ordering::Relaxed);
        Spent::from_bits(bits).within(self.period(now))
    }

    /// May one more of it be known?
    pub(super) fn is_within_its_means(
        &self,
        whose: (SiteMark, By, Cohort),
        now: UnixMillis,
    ) -> bool {
        let spent = self.spent(whose, now);
        let usual = u32::from(spent.usual) * USUAL_TIMES / FINE;
        u32::from(spent.uses) < usual.max(FLOOR)
    }

    /// Does what it was given keep from a rule?
    pub(super) fn keeps_from_rules(&self, whose: (SiteMark, By, Cohort), now: UnixMillis) -> bool {
        u32::from(self.spent(whose, now).kept_from_rules) < KEPT_FROM_RULES_MAX
    }

    /// One of it uses the origin.
    pub(super) fn note(
        &self,
        (site, by, cohort): (SiteMark, By, Cohort),
        is_kept_from_rule: bool,
        now: UnixMillis,
    ) {
        let period = self.period(now);
        let more = |bits| {
            let spent = Spent::from_bits(bits).within(period);
            let kept = u16::from(is_kept_from_rule);
            let more = Spent {
                uses: spent.uses.saturating_add(1),
                kept_from_rules: spent.kept_from_rules.saturating_add(kept),
                ..spent
            };
            Some(more.bits())
        };
        // Never fails: there is always something to add.
        _ = self
            .cell(site, by, cohort)
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }
}

#[cfg(test)]
mod tests {
    use super::super::token::tests::{NOW, later, site};
    use super::*;

    const PERIOD_S: u32 = 600;
    const WHOSE: (u16, By) = (77, By::Reader);

    fn whose((cohort, by): (u16, By)) -> (SiteMark, By, Cohort) {
        (site(), by, Cohort(cohort))
    }

    /// How many are known of those who come in one period.
    fn known(cohorts: &Cohorts, come: u32, now: UnixMillis) -> u32 {
        let mut known = 0;
        for _ in 0..come {
            if cohorts.is_within_its_means(whose(WHOSE), now) {
                cohorts.note(whose(WHOSE), false, now);
                known += 1;
            }
        }
        known
    }

    #[test]
    fn a_cohort_that_nobody_knew_has_the_floor_in_each_period() {
        let cohorts = Cohorts::new(PERIOD_S);
        for period in 0..3 {
            assert_eq!(known(&cohorts, 10_000, later(period * 600)), FLOOR);
        }
        let others = [(77, By::Pass), (78, By::Reader)];
        for other in others {
            assert!(cohorts.is_within_its_means(whose(other), NOW));
        }
    }

    #[test]
    fn what_is_usual_may_be_spent_some_times_over() {
        let cohorts = Cohorts::new(PERIOD_S);
        // Two days, quiet by night: on the mean 210.
        for period in 0..288_u64 {
            let come = if period % 144 < 36 { 0 } else { 280 };
            known(&cohorts, come, later(period * 600));
        }
        let spent = known(&cohorts, 100_000, later(288 * 600));
        assert!((600..=1_120).contains(&spent), "{spent}");
        // And grows little by being spent.
        for period in 289..289 + 36 {
            known(&cohorts, 100_000, later(period * 600));
        }
        let after = known(&cohorts, 100_000, later(325 * 600));
        assert!(after < spent * 6, "{spent} {after}");
        // Nobody comes for a week.
        let later = later((325 + 7 * 144) * 600);
        assert_eq!(known(&cohorts, 100_000, later), FLOOR);
    }

    #[test]
    fn a_flood_uses_up_what_keeps_it_from_a_rule() {
        let cohorts = Cohorts::new(PERIOD_S);
        let whose = whose((5, By::Pass));
        for _ in 0..KEPT_FROM_RULES_MAX {
            assert!(cohorts.keeps_from_rules(whose, NOW));
            // Whom no rule hits is not counted.
            cohorts.note(whose, false, NOW);
            cohorts.note(whose, true, NOW);
        }
        assert!(!cohorts.keeps_from_rules(whose, NOW));
        assert!(cohorts.keeps_from_rules(whose, later(600)));
    }

    #[test]
    fn what_is_full_stays_so() {
        let full = Spent {
            period: 9,
            uses: u16::MAX,
            kept_from_rules: u16::MAX,
            usual: u16::MAX,
        };
        assert_eq!(Spent::from_bits(full.bits()), full);
        let next = full.within(10);
        assert_eq!((next.uses, next.kept_from_rules), (0, 0));
        assert!(u32::from(next.usual) * USUAL_TIMES / FINE < u32::from(u16::MAX));
        assert_eq!(full.within(9 + FORGOTTEN + 500).usual, 0);
    }
}
