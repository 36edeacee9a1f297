//! Requests over the time of a log, in as many bars as a picture has room for, however long the log is.

/// When there are more, two become one.
const BARS_MAX: usize = 1_000;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bar {
    pub all: u64,
    pub hit: u64,
}

#[derive(Debug)]
pub(super) struct TimeLine {
    from_s: Option<u64>,
    last_s: u64,
    bar_s: u64,
    bars: Vec<Bar>,
}

impl Default for TimeLine {
    fn default() -> Self {
        Self {
            from_s: None,
            last_s: 0,
            bar_s: 1,
            bars: Vec::new(),
        }
    }
}

impl TimeLine {
    /// Seconds do not run backwards. `hit`: of these.
    pub(super) fn add(&mut self, second: u64, count: u64, hit: u64) {
        let from = *self.from_s.get_or_insert(second);
        self.last_s = self.last_s.max(second);
        let past = second.saturating_sub(from);
        while past / self.bar_s >= BARS_MAX as u64 {
            self.bar_s *= 2;
            self.bars = self
                .bars
                .chunks(2)
                .map(|pair| {
                    pair.iter().fold(Bar::default(), |sum, bar| Bar {
                        all: sum.all + bar.all,
                        hit: sum.hit + bar.hit,
                    })
                })
                .collect();
        }
        let place = (past / self.bar_s) as usize;
        if self.bars.len() <= place {
            self.bars.resize(place + 1, Bar::default());
        }
        self.bars[place].all += count;
        self.bars[place].hit += hit;
    }

    pub(super) fn bars(&self) -> &[Bar] {
        &self.bars
    }

    pub(super) fn bar_s(&self) -> u64 {
        self.bar_s
    }

    /// First and last second.
    pub(super) fn first_and_last(&self) -> Option<(u64, u64)> {
        Some((self.from_s?, self.last_s))
    }

    /// From the start of the first bar to the end of the last.
    pub(super) fn span(&self) -> Option<(u64, u64)> {
        let from = self.from_s?;
        Some((from, from + self.bars.len() as u64 * self.bar_s))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_few_and_lose_nothing() {
        let mut line = TimeLine::default();
        assert_eq!(line.span(), None);
        for second in 0..100_000 {
            line.add(
                1_000_000 + second * 7,
                2,
                if second % 10 == 0 { 2 } else { 0 },
            );
        }
        assert!(line.bars().len() <= BARS_MAX);
        let all: u64 = line.bars().iter().map(|bar| bar.all).sum();
        let hit: u64 = line.bars().iter().map(|bar| bar.hit).sum();
        assert_eq!((all, hit), (200_000, 20_000));
        let (from, until) = line.span().unwrap();
        assert!(
            from == 1_000_000 && (1_699_993..1_702_000).contains(&until),
            "{until}"
        );
        // A second in another century.
        line.add(10_000_000_000, 1, 0);
        assert!(line.bars().len() <= BARS_MAX);
    }
}
