//! Laws of the gate, for any order of events.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use proptest::prelude::*;
use saqta_detect::facts::Class;
use saqta_detect::network::Group;
use saqta_detect::shape::Shape;

use super::gate::{FORSAKEN_MAX, Gate, Grant, Wake, Wakes};
use super::queue::{Queue, Ticket, WAITERS_MAX};
use super::{Ask, Micros, Outcome};

fn ask(class: Class, shape: u64, group: u32) -> Ask {
    Ask {
        class,
        shape: Shape::from_bits(shape),
        group: Group::of(IpAddr::V4(Ipv4Addr::from_bits(group << 8))),
        deadline: Duration::from_secs(2),
    }
}

#[derive(Debug, Clone)]
enum Step {
    Ask {
        class: usize,
        shape: u64,
        group: u32,
    },
    Finish {
        which: usize,
        outcome: usize,
    },
    Abandon {
        which: usize,
    },
    Cancel {
        which: usize,
    },
    Expire {
        which: usize,
    },
    Wait {
        ms: u64,
    },
    Ceiling {
        concurrency_max: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (0..6_usize, 0..100_u64, 0..40_u32).prop_map(|(class, shape, group)| Step::Ask { class, shape, group }),
        6 => (any::<usize>(), 0..5_usize).prop_map(|(which, outcome)| Step::Finish { which, outcome }),
        1 => any::<usize>().prop_map(|which| Step::Abandon { which }),
        1 => any::<usize>().prop_map(|which| Step::Cancel { which }),
        1 => any::<usize>().prop_map(|which| Step::Expire { which }),
        4 => (0..60_u64).prop_map(|ms| Step::Wait { ms }),
        1 => (0..40_000_u64).prop_map(|ms| Step::Wait { ms }),
        1 => (0..20_usize).prop_map(|concurrency_max| Step::Ceiling { concurrency_max }),
    ]
}

struct World {
    gate: Gate<u64>,
    now: Micros,
    waiting: HashMap<u64, (Ticket, Class)>,
    running: Vec<(Micros, Grant, Class)>,
    abandoned: Vec<(Micros, Class)>,
    /// As a waiter was told.
    staff_gone: Option<Micros>,
    staff_asked: Option<Micros>,
    asked: u64,
    answered: u64,
}

impl World {
    fn new(concurrency_max: usize) -> Self {
        Self {
            gate: Gate::new(concurrency_max, 1),
            now: Micros(1),
            waiting: HashMap::new(),
            running: Vec::new(),
            abandoned: Vec::new(),
            staff_gone: None,
            staff_asked: None,
            asked: 0,
            answered: 0,
        }
    }

    fn ask(&mut self, ask: Ask) {
        let id = self.asked;
        self.asked += 1;
        let mut wakes = Wakes::new();
        if ask.class == Class::Staff {
            self.staff_asked = Some(self.now);
        }
        match self.gate.try_start(self.now, &ask, &mut wakes) {
            Some(grant) => {
                self.running.push((self.now, grant, ask.class));
                self.answered += 1;
            }
            None => {
                let ticket = self.gate.wait(self.now, ask, id, &mut wakes);
                self.waiting.insert(id, (ticket, ask.class));
                self.staff_gone = self.staff_gone.or(self.gate.staff_gone(self.now));
            }
        }
        self.wake(wakes);
    }

    fn finish(&mut self, which: usize, outcome: Outcome) {
        let (started, grant, _) = self.running.swap_remove(which);
        let latency_ms = (self.now.0 - started.0) as f64 / 1000.0;
        let mut wakes = Wakes::new();
        self.gate
            .finish(self.now, grant, latency_ms, outcome, &mut wakes);
        self.wake(wakes);
    }

    /// Every waiter is told once, and only while it waits.
    fn wake(&mut self, wakes: Wakes<u64>) {
        for (id, wake) in wakes {
            let (_, class) = self.waiting.remove(&id).expect("told twice");
            self.answered += 1;
            if let Wake::Granted(grant) = wake {
                self.running.push((self.now, grant, class));
            }
        }
    }

    /// The next timer: one for each abandoned request, and one of those who wait for staff to be gone.
    fn due(&self) -> Option<Micros> {
        let ends = self.abandoned.iter().map(|(ends, _)| *ends);
        let gone = self.staff_gone.filter(|_| !self.waiting.is_empty());
        ends.chain(gone).min()
    }

    fn look_when_due(&mut self) {
        while self.due().is_some_and(|due| due <= self.now) {
            let mut wakes = Wakes::new();
            self.gate.advance(self.now, &mut wakes);
            self.wake(wakes);
            self.abandoned.retain(|(ends, _)| *ends > self.now);
            self.staff_gone = self.gate.staff_gone(self.now);
        }
    }

    /// A class of which somebody waits although one of them could start.
    fn idle_for_a_waiter(&self) -> Option<Class> {
        let stats = self.gate.stats();
        let staff = self
            .running
            .iter()
            .filter(|(_, _, class)| *class == Class::Staff)
            .count()
            + self.abandoned_staff();
        let others = stats.in_flight - staff;
        let reserve = (stats.limit / 8).max(1);
        let about = self
            .staff_asked
            .is_some_and(|asked| self.now.since(asked) < Duration::from_secs(70));
        let kept = if about { reserve } else { 0 };
        self.waiting
            .values()
            .map(|(_, class)| *class)
            .find(|class| {
                if *class == Class::Staff {
                    stats.in_flight < stats.limit || staff < reserve
                } else {
                    others == 0 || stats.in_flight < stats.limit && others + kept < stats.limit
                }
            })
    }

    fn abandoned_staff(&self) -> usize {
        self.abandoned
            .iter()
            .filter(|(ends, class)| *ends > self.now && *class == Class::Staff)
            .count()
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Ask {
                class,
                shape,
                group,
            } => self.ask(ask(Class::ALL[class], shape, group)),
            Step::Finish { which, outcome } => {
                if !self.running.is_empty() {
                    let outcome = match outcome {
                        0 => Outcome::FAILED,
                        1 => Outcome::OVERLOADED,
                        _ => Outcome::ANSWERED,
                    };
                    self.finish(which % self.running.len(), outcome);
                }
            }
            Step::Abandon { which } => {
                if !self.running.is_empty() {
                    let (started, grant, class) =
                        self.running.swap_remove(which % self.running.len());
                    let latency_ms = (self.now.0 - started.0) as f64 / 1000.0;
                    let mut wakes = Wakes::new();
                    let ends = self.gate.abandon(self.now, grant, latency_ms, &mut wakes);
                    self.abandoned.extend(ends.map(|ends| (ends, class)));
                    self.wake(wakes);
                }
            }
            Step::Cancel { which } => {
                if let Some(id) = self.any_waiting(which) {
                    let (ticket, _) = self.waiting.remove(&id).unwrap();
                    assert_eq!(self.gate.cancel(ticket), Some(id));
                    assert_eq!(self.gate.cancel(ticket), None);
                    self.answered += 1;
                }
            }
            Step::Expire { which } => {
                if let Some(id) = self.any_waiting(which) {
                    let (ticket, class) = self.waiting.remove(&id).unwrap();
                    assert_eq!(self.gate.expire(ticket, class), Some(id));
                    self.answered += 1;
                }
            }
            Step::Wait { ms } => self.now = self.now.plus(Duration::from_millis(ms)),
            Step::Ceiling { concurrency_max } => {
                let mut wakes = Wakes::new();
                self.gate
                    .set_concurrency_max(self.now, concurrency_max, &mut wakes);
                self.wake(wakes);
            }
        }
    }

    fn any_waiting(&self, which: usize) -> Option<u64> {
        let mut ids = self.waiting.keys().copied().collect::<Vec<_>>();
        ids.sort_unstable();
        (!ids.is_empty()).then(|| ids[which % ids.len()])
    }
}

proptest! {
    #[test]
    fn the_gate_keeps_its_rules(concurrency_max in 1..12_usize, steps in proptest::collection::vec(step(), 1..400)) {
        let mut world = World::new(concurrency_max);
        let mut ceiling = concurrency_max;
        for step in steps {
            if let Step::Ceiling { concurrency_max } = step {
                ceiling = concurrency_max.max(1);
            }
            let in_flight = world.gate.stats().in_flight;
            world.run(step);
            let stats = world.gate.stats();
            prop_assert!(stats.limit >= 1 && stats.limit <= ceiling);
            let reserve = (stats.limit / 8).max(1);
            // Beyond the limit only these start: reserved staff, and one other beside staff. A limit that sank leaves more behind.
            if stats.in_flight > in_flight && stats.in_flight > stats.limit {
                let staff = world.running.iter().filter(|(_, _, class)| *class == Class::Staff).count();
                let others = world.running.len() - staff;
                prop_assert!(staff <= reserve || others <= 1, "{staff} staff, {others} others, {stats:?}");
            }
            prop_assert_eq!(stats.in_flight, world.running.len() + stats.abandoned);
            prop_assert_eq!(stats.classes.iter().map(|class| class.queued).sum::<usize>(), world.waiting.len());
            // Work conserving: whoever waits, waits for a slot that is taken or kept for staff, after anything that happens...
            world.look_when_due();
            let idle = world.idle_for_a_waiter();
            prop_assert!(idle.is_none(), "{idle:?} waits: {:?}", world.gate.stats());
        }
        // ...and after nothing at all, when what was abandoned has ended and staff have gone.
        while let Some(due) = world.due() {
            world.now = world.now.max(due);
            world.look_when_due();
            let idle = world.idle_for_a_waiter();
            prop_assert!(idle.is_none(), "{idle:?} waits: {:?}", world.gate.stats());
        }
        // Every ask ends: when all that runs has finished, nobody is left waiting.
        while !world.running.is_empty() {
            world.now = world.now.plus(Duration::from_millis(1));
            world.finish(0, Outcome::ANSWERED);
        }
        // What was abandoned ends by its learned cost.
        world.now = world.now.plus(Duration::from_secs(1_000));
        let mut wakes = Wakes::new();
        world.gate.advance(world.now, &mut wakes);
        world.wake(wakes);
        while !world.running.is_empty() {
            world.finish(0, Outcome::ANSWERED);
        }
        prop_assert!(world.waiting.is_empty(), "{} lost", world.waiting.len());
        prop_assert_eq!(world.asked, world.answered);
        prop_assert_eq!(world.gate.stats().in_flight, 0);
    }

    /// Over a long run in which all given classes always wait, each gets its part of the origin's time.
    #[test]
    fn each_class_gets_its_part(costs_ms in proptest::collection::vec(5.0..500.0_f64, 6), present in 1..64_usize) {
        let weights = [40.0, 20.0, 10.0, 5.0, 20.0, 5.0];
        let mut queue = Queue::new(7);
        let mut served_ms = [0.0; 6];
        let classes = Class::ALL.into_iter().filter(|class| present & (1 << class.index()) != 0).collect::<Vec<_>>();
        for class in &classes {
            queue.push(ask(*class, class.index() as u64, 0), Micros(u64::MAX), *class);
        }
        for _ in 0..4_000 {
            let next = queue.pop(Micros(0), |_| true, |shape| costs_ms[shape.bits() as usize]).unwrap();
            served_ms[next.waiter.index()] += costs_ms[next.waiter.index()];
            queue.push(next.ask, next.expires, next.waiter);
        }
        let total = served_ms.iter().sum::<f64>();
        let weight = classes.iter().map(|class| weights[class.index()]).sum::<f64>();
        for class in &classes {
            let due = weights[class.index()] / weight;
            let had = served_ms[class.index()] / total;
            prop_assert!((had - due).abs() <= 0.02, "{class:?}: {had:.3} of {due:.3}");
        }
        if classes.contains(&Class::Unknown) {
            prop_assert!(served_ms[Class::Unknown.index()] / total >= 0.10);
        }
    }

    /// Shapes of one class share alike, however dear, and groups of one shape share alike, however many ask.
    #[test]
    fn shapes_and_groups_share_alike(costs_ms in proptest::collection::vec(5.0..500.0_f64, 2..20), crowd in 2..30_u32) {
        let mut queue = Queue::new(7);
        for shape in 0..costs_ms.len() {
            for _ in 0..crowd {
                queue.push(ask(Class::Unknown, shape as u64, 1), Micros(u64::MAX), 0);
            }
            queue.push(ask(Class::Unknown, shape as u64, 2), Micros(u64::MAX), 0);
        }
        let mut by_shape = vec![0.0; costs_ms.len()];
        let mut by_group = HashMap::<String, f64>::new();
        for _ in 0..4_000 {
            let next = queue.pop(Micros(0), |_| true, |shape| costs_ms[shape.bits() as usize]).unwrap();
            let shape = next.ask.shape.bits() as usize;
            by_shape[shape] += costs_ms[shape];
            *by_group.entry(next.ask.group.to_string()).or_default() += costs_ms[shape];
            queue.push(next.ask, next.expires, next.waiter);
        }
        let fair = by_shape.iter().sum::<f64>() / costs_ms.len() as f64;
        for had in by_shape {
            prop_assert!((had - fair).abs() <= 501.0 + fair * 0.01, "{had} of {fair}");
        }
        let groups = by_group.values().copied().collect::<Vec<_>>();
        prop_assert_eq!(groups.len(), 2);
        prop_assert!((groups[0] - groups[1]).abs() <= 2.0 * 501.0 * costs_ms.len() as f64, "{:?}", groups);
    }
}

#[test]
fn the_queue_never_holds_more_than_its_bound() {
    let mut gate = Gate::new(4, 1);
    let mut wakes = Wakes::new();
    let mut told = 0;
    for n in 0..20_000_u32 {
        let class = Class::ALL[n as usize % 6];
        let ask = ask(class, u64::from(n) % 5_000, n);
        if gate.try_start(Micros(1), &ask, &mut wakes).is_none() {
            gate.wait(Micros(1), ask, n, &mut wakes);
        }
        told += wakes.drain(..).count();
        let queued = gate
            .stats()
            .classes
            .iter()
            .map(|class| class.queued)
            .sum::<usize>();
        assert!(queued <= WAITERS_MAX, "{queued}");
    }
    assert!(told > 15_000, "{told}");
}

#[test]
fn staff_start_at_a_limit_of_one_beside_a_flood() {
    let mut gate = Gate::new(1, 1);
    let mut wakes = Wakes::new();
    let reader = ask(Class::Unknown, 1, 1);
    let staff = ask(Class::Staff, 2, 2);
    let running = gate.try_start(Micros(1), &reader, &mut wakes).unwrap();
    for n in 0..1_000 {
        assert!(gate.try_start(Micros(1), &reader, &mut wakes).is_none());
        gate.wait(Micros(1), reader, n, &mut wakes);
    }
    let first = gate
        .try_start(Micros(2), &staff, &mut wakes)
        .expect("the reserved slot");
    assert!(
        gate.try_start(Micros(2), &staff, &mut wakes).is_none(),
        "one is reserved, not more"
    );
    assert_eq!(gate.stats().in_flight, 2);
    // And staff who are always there do not lock readers out.
    wakes.clear();
    gate.finish(Micros(3), running, 1.0, Outcome::ANSWERED, &mut wakes);
    assert!(matches!(wakes[..], [(_, Wake::Granted(_))]));
    gate.finish(Micros(4), first, 1.0, Outcome::ANSWERED, &mut wakes);
}

#[test]
fn slots_are_kept_for_staff_only_while_they_are_about() {
    let mut gate = Gate::<u32>::new(4, 1);
    let mut wakes = Wakes::new();
    let reader = ask(Class::Unknown, 1, 1);
    let staff = ask(Class::Staff, 2, 2);
    let minute = 60_000_000;

    let visit = gate.try_start(Micros(1), &staff, &mut wakes).unwrap();
    gate.finish(Micros(2), visit, 1.0, Outcome::ANSWERED, &mut wakes);
    let readers = (0..9)
        .filter_map(|_| gate.try_start(Micros(3), &reader, &mut wakes))
        .collect::<Vec<_>>();
    assert_eq!(readers.len(), 3, "of four, one is kept");
    let more = (0..9)
        .filter_map(|_| gate.try_start(Micros(2 * minute), &reader, &mut wakes))
        .collect::<Vec<_>>();
    assert_eq!(more.len(), 1, "nobody came back for it");
    assert!(
        gate.try_start(Micros(2 * minute), &staff, &mut wakes)
            .is_some(),
        "staff start over a full limit"
    );
}

#[test]
fn the_oldest_is_turned_away_at_once_and_the_newest_served_next() {
    let mut gate = Gate::new(1, 1);
    let mut wakes = Wakes::new();
    let search = ask(Class::Unknown, 1, 1);
    let running = gate.try_start(Micros(1), &search, &mut wakes).unwrap();
    // 100 ms a page until learned, two seconds of patience, one at a time: twenty can be served.
    for n in 0..30 {
        gate.wait(Micros(10 + n), search, n, &mut wakes);
    }
    let away = wakes.iter().map(|(n, _)| *n).collect::<Vec<_>>();
    assert_eq!(away, (0..10).collect::<Vec<_>>());
    assert!(wakes.iter().all(|(_, wake)| matches!(wake, Wake::Starved)));
    assert!(gate.is_starved(Micros(50), &search));
    assert!(
        !gate.is_starved(Micros(50), &ask(Class::Unknown, 2, 1)),
        "another page has its own queue"
    );
    wakes.clear();
    gate.finish(Micros(60), running, 0.05, Outcome::ANSWERED, &mut wakes);
    assert!(matches!(wakes[..], [(29, Wake::Granted(_))]), "{wakes:?}");
}

#[test]
fn while_all_can_be_served_the_first_comes_first() {
    let mut gate = Gate::new(1, 1);
    let mut wakes = Wakes::new();
    let search = ask(Class::Unknown, 1, 1);
    let running = gate.try_start(Micros(1), &search, &mut wakes).unwrap();
    for n in 0..10 {
        gate.wait(Micros(10 + n), search, n, &mut wakes);
    }
    gate.finish(Micros(60), running, 0.05, Outcome::ANSWERED, &mut wakes);
    assert!(matches!(wakes[..], [(0, Wake::Granted(_))]), "{wakes:?}");
}

#[test]
fn an_abandoned_request_keeps_its_slot_for_its_learned_cost() {
    let mut gate = Gate::new(1, 1);
    let mut wakes = Wakes::new();
    let search = ask(Class::Unknown, 1, 1);
    let ms = |ms: u64| Micros(ms * 1000);
    // Learned: 200 ms.
    for n in 0..20 {
        let grant = gate.try_start(ms(n * 300), &search, &mut wakes).unwrap();
        gate.finish(
            ms(n * 300 + 200),
            grant,
            200.0,
            Outcome::ANSWERED,
            &mut wakes,
        );
    }
    let grant = gate.try_start(ms(10_000), &search, &mut wakes).unwrap();
    gate.wait(ms(10_010), search, 1, &mut wakes);
    let ends = gate.abandon(ms(10_050), grant, 50.0, &mut wakes);
    assert_eq!(ends, Some(ms(10_200)));
    gate.advance(ms(10_199), &mut wakes);
    assert!(wakes.is_empty());
    assert_eq!((gate.stats().in_flight, gate.stats().abandoned), (1, 1));
    gate.advance(ms(10_200), &mut wakes);
    assert!(matches!(wakes[..], [(1, Wake::Granted(_))]));
    assert_eq!((gate.stats().in_flight, gate.stats().abandoned), (1, 0));
}

/// Answers in a tenth of a millisecond, one after the other, as a test's origin on a busy machine: ten thousand a second. Their
/// latency grows with those beside them, and by nothing anybody would notice.
#[test]
fn our_own_scheduling_does_not_lower_the_limit() {
    let mut world = World::new(256);
    for n in 0..50_000 {
        while world.running.len() + world.waiting.len() < 32 {
            world.ask(ask(Class::Unknown, 1, n));
        }
        world.now = world.now.plus(Duration::from_micros(100));
        world
            .running
            .sort_by_key(|(started, _, _)| Reverse(*started));
        let oldest = world.running.len() - 1;
        world.finish(oldest, Outcome::ANSWERED);
    }
    let limit = world.gate.stats().limit;
    assert!(limit >= 32, "{limit}");
}

#[test]
fn what_a_hanging_origin_has_forgotten_takes_no_slot() {
    let mut gate = Gate::<u32>::new(8, 1);
    let mut wakes = Wakes::new();
    let page = ask(Class::Unknown, 1, 1);
    let second = |seconds: u64| Micros(seconds * 1_000_000);
    let mut stuck: Vec<Grant> = Vec::new();
    let counted = |gate: &Gate<u32>| (gate.stats().in_flight, gate.stats().forsaken);
    for seconds in 0..600 {
        stuck.extend(gate.try_start(second(seconds), &page, &mut wakes));
        gate.forsake(second(seconds), &mut wakes);
    }
    // A free slot is left while there is one, and an origin that hangs for ever is not drowned.
    assert_eq!(counted(&gate), (8, FORSAKEN_MAX));
    assert_eq!(stuck.len(), 8 + FORSAKEN_MAX);
    // The client of one has left, the other ends in a timeout: both count no more, and say nothing of what the origin bears.
    let (one, other) = (stuck.remove(0), stuck.remove(0));
    assert_eq!(gate.abandon(second(600), one, 1.0, &mut wakes), None);
    gate.finish(
        second(600),
        other,
        60_000.0,
        Outcome::OVERLOADED,
        &mut wakes,
    );
    assert_eq!(counted(&gate), (8, FORSAKEN_MAX - 2));
    for grant in stuck {
        gate.release(second(601), grant, &mut wakes);
    }
    assert_eq!(counted(&gate), (0, 0));
    assert_eq!(gate.stats().limit, 8);
}

#[test]
fn overload_answers_lower_the_limit_but_one_broken_page_does_not_close_the_origin() {
    let mut world = World::new(64);
    for n in 0..2_000 {
        world.ask(ask(Class::Unknown, 1, n));
        world.now = world.now.plus(Duration::from_millis(5));
        if !world.running.is_empty() {
            world.finish(0, Outcome::OVERLOADED);
        }
    }
    assert_eq!(world.gate.stats().limit, 2);
}
