//! The right to use the origin, of one kind or the other, and the meter that runs with it.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use saqta_detect::facts::OriginUse;
use tokio::time::Instant;

use crate::admission::{Class, Outcome, Slot, Starved, Stream, StreamsFull};
use crate::asked::Asked;
use crate::clock::UnixMillis;
use crate::ladder::Account;
use crate::lanes;
use crate::plan::SiteId;
use crate::shard::Shard;

/// From admission to the end of an answer that is on its way. A page takes a second; a download by a slow script takes minutes, and two of
/// them must not hold the only two slots.
const SLOT_HELD_MAX: Duration = Duration::from_secs(5);

pub(crate) struct Place {
    right: Right,
    shard: Rc<Shard>,
    site: SiteId,
    account: Option<Account>,
    lane: Option<lanes::Account>,
    began: Instant,
    waited: Duration,
}

enum Right {
    Slot(Slot),
    Stream(#[expect(dead_code, reason = "held until it is dropped")] Stream),
    /// Bypassed: nobody is asked.
    Free,
}

impl Place {
    /// Takes a place in the queue now; the future waits for a slot, as long as the ask allows.
    pub(crate) fn enter(
        shard: &Rc<Shard>,
        asked: &Asked,
    ) -> impl Future<Output = Result<Self, Starved>> + use<> {
        let arrived = Instant::now();
        let entering =
            (!shard.shared.bypassed()).then(|| asked.state().admission.enter(asked.ask()));
        let (shard, state) = (Rc::clone(shard), Arc::clone(asked.state()));
        let (site, class) = (asked.site_id, asked.class);
        let (account, lane) = (asked.account, asked.lane);
        // Now, not when its turn comes: one pass shown by a thousand at once would have them all waiting before it is used up.
        if let Some(account) = &account {
            let ladder = &shard.shared.ladder;
            ladder.note_use(
                account,
                state.mark,
                asked.is_kept_from_rule,
                UnixMillis::now(),
            );
        }
        if let Some(lane) = &lane {
            shard.shared.lanes.note_use(lane, UnixMillis::now());
        }
        async move {
            let right = match entering {
                None => Right::Free,
                Some(entering) => {
                    let entered = entering.await;
                    // Our own fetches wait behind everybody: that one of them found no room says nothing.
                    if entered.is_err() && class != Class::Signature {
                        state.learned.has_starved(UnixMillis::now());
                    }
                    Right::Slot(entered?)
                }
            };
            let began = Instant::now();
            Ok(Self {
                right,
                shard,
                site,
                account,
                lane,
                began,
                waited: began - arrived,
            })
        }
    }

    /// For what has no end, or is too long to be taken in.
    pub(crate) fn stream(shard: &Rc<Shard>, asked: &Asked) -> Result<Self, StreamsFull> {
        let right = if shard.shared.bypassed() {
            Right::Free
        } else {
            Right::Stream(asked.state().admission.enter_stream(asked.class)?)
        };
        Ok(Self {
            right,
            shard: Rc::clone(shard),
            site: asked.site_id,
            account: None,
            lane: None,
            began: Instant::now(),
            waited: Duration::ZERO,
        })
    }

    /// Gives the slot back and goes on as a stream.
    pub(crate) fn into_stream(self, asked: &Asked, outcome: Outcome) -> Result<Self, StreamsFull> {
        if !matches!(self.right, Right::Slot(_)) {
            return Ok(self);
        }
        let stream = Self::stream(&self.shard, asked)?;
        self.finish(outcome);
        Ok(stream)
    }

    pub(crate) fn shard(&self) -> &Shard {
        &self.shard
    }

    /// A response that goes on and on keeps a connection of the origin rather than a worker: time to call it a stream.
    pub(crate) fn is_long_held(&self) -> bool {
        self.is_slot() && self.began.elapsed() > SLOT_HELD_MAX
    }

    pub(crate) fn is_slot(&self) -> bool {
        matches!(self.right, Right::Slot(_))
    }

    /// The origin is done. Dropped without, a slot counts as abandoned.
    pub(crate) fn finish(self, outcome: Outcome) {
        let used = OriginUse {
            site: self.site,
            origin_us: micros(self.began.elapsed()),
            waited_us: micros(self.waited),
            failed: outcome.failed,
        };
        self.shard
            .tally(|tally, second| tally.origin_used(second, &used));
        if let Some(account) = &self.account {
            let ladder = &self.shard.shared.ladder;
            ladder.note_ms(account, used.origin_us / 1_000, UnixMillis::now());
        }
        if let Some(lane) = &self.lane {
            let lanes = &self.shard.shared.lanes;
            lanes.note_ms(lane, used.origin_us / 1_000, UnixMillis::now());
        }
        if let Right::Slot(slot) = self.right {
            slot.finish(outcome);
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
