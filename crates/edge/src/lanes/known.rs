//! What is known of addresses whose programs name somebody: whose they are, or that they are nobody's.
//!
//! One result an address, whoever it says it is. Both lists are bounded, and whoever fills them makes nobody be believed: an address of
//! which nothing is known is a stranger's.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use saqta_detect::network::Group;

use super::visitors::VisitorId;
use crate::clock::UnixMillis;

/// Crawlers keep their addresses for months.
const PROVEN_LASTS: Duration = Duration::from_secs(12 * 3600);
/// Asked for again before it ends, so that a resolver that is out of order for some hours changes nothing.
const PROVEN_RENEWED_AFTER: Duration = Duration::from_secs(6 * 3600);
/// Whoever is believed wrongly to be a fake waits no longer than this.
const REFUTED_LASTS: Duration = Duration::from_secs(600);
/// The resolver did not answer: not the address's fault.
const UNANSWERED_LASTS: Duration = Duration::from_secs(60);

/// Googlebot has some thousand addresses, all others together as many. 1 MB.
const PROVEN_MAX: usize = 8_192;
/// As many as there are lookups in the time for which one is remembered, and a third more. 1 MB.
const REFUTED_MAX: usize = 16_384;
/// A crawler that has been away comes back from the networks it had.
const NETWORK_LASTS: Duration = Duration::from_secs(7 * 86_400);
/// Of those who are proven, at most as many. 300 KB.
const NETWORKS_MAX: usize = 4_096;

/// How often what is over is taken out: addresses are kept no longer than they are needed.
const SWEPT_EVERY: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Visitor(VisitorId),
    Nobody,
    /// The resolver did not say.
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) proven: Option<VisitorId>,
    /// It has to be asked for, and nobody does yet.
    pub(super) is_due: bool,
}

#[derive(Debug, Default)]
pub(super) struct Known {
    proven: HashMap<IpAddr, Proven, foldhash::fast::RandomState>,
    refuted: HashMap<IpAddr, UnixMillis, foldhash::fast::RandomState>,
    /// Where somebody was proven, and until when that counts.
    networks: HashMap<u64, UnixMillis, foldhash::fast::RandomState>,
    /// As many as lookups wait and are under way.
    waiting: HashSet<IpAddr, foldhash::fast::RandomState>,
    swept: UnixMillis,
}

#[derive(Debug)]
struct Proven {
    visitor: VisitorId,
    since: UnixMillis,
    /// Asked again after that, and not answered.
    tried: UnixMillis,
}

impl Known {
    pub(super) fn standing(&self, address: IpAddr, now: UnixMillis) -> Standing {
        let is_waiting = self.waiting.contains(&address);
        let proven = self
            .proven
            .get(&address)
            .filter(|proven| now.since(proven.since) < PROVEN_LASTS);
        let is_over = match (proven, self.refuted.get(&address)) {
            (Some(proven), _) => {
                now.since(proven.since) >= PROVEN_RENEWED_AFTER
                    && now.since(proven.tried) >= REFUTED_LASTS
            }
            (None, Some(until)) => *until <= now,
            (None, None) => true,
        };
        Standing {
            proven: proven.map(|proven| proven.visitor),
            is_due: is_over && !is_waiting,
        }
    }

    pub(super) fn wait(&mut self, address: IpAddr) {
        self.waiting.insert(address);
    }

    /// Was somebody proven beside it?
    pub(super) fn is_among_visitors(&self, address: IpAddr, now: UnixMillis) -> bool {
        let until = self.networks.get(&Group::of(address).bits());
        until.is_some_and(|until| *until > now)
    }

    pub(super) fn note(&mut self, address: IpAddr, found: Found, now: UnixMillis) {
        self.waiting.remove(&address);
        if now.since(self.swept) >= SWEPT_EVERY || self.swept > now {
            self.swept = now;
            self.sweep(now);
        }
        let lasts = match found {
            Found::Visitor(visitor) => {
                self.refuted.remove(&address);
                self.prove(address, visitor, now);
                return;
            }
            Found::Nobody => {
                self.proven.remove(&address);
                REFUTED_LASTS
            }
            Found::Nothing => {
                if let Some(proven) = self.proven.get_mut(&address) {
                    proven.tried = now;
                    return;
                }
                UNANSWERED_LASTS
            }
        };
        // One that finds no room is asked for again, as far as its network's budget goes.
        if self.refuted.len() < REFUTED_MAX {
            self.refuted.insert(address, now.plus(lasts));
        }
    }

    fn prove(&mut self, address: IpAddr, visitor: VisitorId, now: UnixMillis) {
        if self.proven.len() >= PROVEN_MAX && !self.proven.contains_key(&address) {
            let oldest = self.proven.iter().min_by_key(|(_, proven)| proven.since);
            if let Some(oldest) = oldest.map(|(address, _)| *address) {
                self.proven.remove(&oldest);
            }
        }
        let proven = Proven {
            visitor,
            since: now,
            tried: now,
        };
        self.proven.insert(address, proven);
        let network = Group::of(address).bits();
        if self.networks.len() >= NETWORKS_MAX && !self.networks.contains_key(&network) {
            let oldest = self.networks.iter().min_by_key(|(_, until)| **until);
            if let Some(oldest) = oldest.map(|(network, _)| *network) {
                self.networks.remove(&oldest);
            }
        }
        self.networks.insert(network, now.plus(NETWORK_LASTS));
    }

    fn sweep(&mut self, now: UnixMillis) {
        self.proven
            .retain(|_, proven| now.since(proven.since) < PROVEN_LASTS);
        self.refuted.retain(|_, until| *until > now);
        self.networks.retain(|_, until| *until > now);
    }

    pub(super) fn proven(&self) -> usize {
        self.proven.len()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_795_000_200_000);
    const GOOGLEBOT: VisitorId = 0;

    fn address(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 + number).into()
    }

    fn after(secs: u64) -> UnixMillis {
        NOW.plus(Duration::from_secs(secs))
    }

    fn standing(known: &Known, secs: u64) -> (Option<VisitorId>, bool) {
        let Standing { proven, is_due } = known.standing(address(1), after(secs));
        (proven, is_due)
    }

    #[test]
    fn each_result_lasts_as_long_as_it_is_worth() {
        let mut known = Known::default();
        assert_eq!(standing(&known, 0), (None, true));
        known.wait(address(1));
        assert_eq!(standing(&known, 0), (None, false));
        known.note(address(1), Found::Nothing, after(0));
        assert_eq!(standing(&known, 59), (None, false));
        assert_eq!(standing(&known, 60), (None, true));
        known.note(address(1), Found::Nobody, after(60));
        assert_eq!(standing(&known, 659), (None, false));
        assert_eq!(standing(&known, 660), (None, true));
        known.note(address(1), Found::Visitor(GOOGLEBOT), after(660));
        let hour = |hours: u64| 660 + hours * 3600;
        assert_eq!(standing(&known, hour(5)), (Some(GOOGLEBOT), false));
        assert_eq!(standing(&known, hour(6)), (Some(GOOGLEBOT), true));
        // A resolver that is out of order is asked now and then, and changes nothing as long as it lasts.
        known.note(address(1), Found::Nothing, after(hour(6)));
        assert_eq!(standing(&known, hour(6) + 599), (Some(GOOGLEBOT), false));
        assert_eq!(standing(&known, hour(6) + 600), (Some(GOOGLEBOT), true));
        assert_eq!(standing(&known, hour(12)), (None, true));
    }

    #[test]
    fn who_is_found_to_be_another_is_that_at_once() {
        let mut known = Known::default();
        known.note(address(1), Found::Visitor(GOOGLEBOT), NOW);
        known.note(address(1), Found::Nobody, NOW);
        assert_eq!(standing(&known, 0), (None, false));
        known.note(address(1), Found::Visitor(1), NOW);
        assert_eq!(standing(&known, 0), (Some(1), false));
    }

    #[test]
    fn nothing_grows_and_nobody_is_believed_for_want_of_room() {
        let mut known = Known::default();
        for number in 0..2 * REFUTED_MAX as u32 {
            known.note(address(number), Found::Nobody, NOW);
        }
        assert_eq!(known.refuted.len(), REFUTED_MAX);
        for number in 0..2 * PROVEN_MAX as u32 {
            let at = NOW.plus(Duration::from_millis(number.into()));
            known.note(address(number << 8), Found::Visitor(GOOGLEBOT), at);
        }
        assert_eq!(known.proven(), PROVEN_MAX);
        assert_eq!(known.standing(address(0), NOW).proven, None);
        assert_eq!(known.networks.len(), NETWORKS_MAX);
        let is_among_visitors = |number| known.is_among_visitors(address(number << 8), NOW);
        assert!(!is_among_visitors(0) && is_among_visitors(2 * PROVEN_MAX as u32 - 1));
    }

    #[test]
    fn where_somebody_was_proven_is_remembered_for_a_week() {
        let mut known = Known::default();
        let among =
            |known: &Known, number, secs| known.is_among_visitors(address(number), after(secs));
        assert!(!among(&known, 1, 0));
        known.note(address(1), Found::Visitor(GOOGLEBOT), NOW);
        known.note(address(1), Found::Nobody, NOW);
        assert!(among(&known, 200, 7 * 86_400 - 1));
        assert!(!among(&known, 200, 7 * 86_400) && !among(&known, 256, 0));
    }

    #[test]
    fn what_is_over_is_taken_out() {
        let mut known = Known::default();
        known.note(address(1), Found::Visitor(GOOGLEBOT), NOW);
        known.note(address(2), Found::Nobody, NOW);
        known.note(address(3), Found::Nobody, after(12 * 3600));
        let held = |known: &Known| (known.proven(), known.refuted.len(), known.networks.len());
        assert_eq!(held(&known), (0, 1, 1));
        known.note(address(3), Found::Nobody, after(7 * 86_400));
        assert_eq!(held(&known), (0, 1, 0));
    }
}
