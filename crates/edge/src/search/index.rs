//! Which pages have which words.
//!
//! A newsroom has tens of thousands of pages of a few hundred words: small enough to lie in memory as lists of page numbers, one list a
//! term, packed to one to three bytes an entry. A list only grows at its end, so a page costs its own words to add, in
//! microseconds, and whoever searches meanwhile hardly waits. A replaced or forgotten page leaves its numbers in the lists, which then
//! point at nothing; when those are a third of all, the lists are written anew.
//!
//! Ranking is BM25 with a title counted as several mentions, and newer before older when both are as good: a reader of news
//! searches for what happens now. Pages that have the most of the words asked for come before all others, and only they are shown.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::page::PageText;
use super::text::{Passage, Stems, Term, Terms, each_word};
use crate::clock::UnixMillis;
use crate::plan::Language;

/// Of one site: a hundred articles a day for almost three years. The oldest go first.
pub const PAGES_MAX: usize = 100_000;
/// Of one site's index. A page of 350 words takes 1.9 KB (docs/decisions/0009), so this is reached by texts twice as long.
pub const INDEX_BYTES_MAX: usize = 320 * 1024 * 1024;
/// Words of one page that it is found by; what comes later in a text is seldom what it is about.
const WORDS_MAX: usize = 2_000;
/// Kept of the text, to show: two or three lines on a wide screen, five on a phone.
const LEAD_BYTES_MAX: usize = 320;
/// Of a query. Readers type two or three; a pasted headline has twelve, of which eight tell enough.
pub const QUERY_WORDS_MAX: usize = 8;
/// Ten pages of ten. Nobody looks further, and an attacker shall not.
pub const HITS_MAX: usize = 100;

/// Below this every word costs next to nothing, and one in half of the pages may be what was meant.
const COMMON_PAGES_MIN: usize = 1_000;
/// Headlines that fit on a phone's screen.
const NEWEST: usize = 5;

/// BM25's usual constants: how soon more mentions stop to matter, and how much a long text is held against it.
const K1: f32 = 1.2;
const B: f32 = 0.75;
const IN_TITLE: u32 = 5;
const IN_DESCRIPTION: u32 = 2;
/// A page of today counts half as much again as an old one, one of last month halfway between.
const NEWNESS: f32 = 0.5;
const NEWNESS_HALF_LIFE_DAYS: f32 = 30.0;
/// A reader of Kazakh pages wants the Kazakh one first when both versions have the word.
const OWN_LANGUAGE: f32 = 1.25;

/// How often a word is in a page, in three bits.
const COUNTS: [u32; 8] = [1, 2, 3, 4, 6, 8, 12, 20];
const COUNT_BITS: u32 = 3;

/// Lists are written anew when more than a third of what they point at is gone, and not for a handful.
const GONE_MIN: usize = 512;
/// A step of about a millisecond.
const REWRITE_STEP_LISTS: usize = 2_048;
/// At a bound, the oldest sixteenth goes at once: looking for the oldest costs a walk over all.
const OLDEST_PART: usize = 16;
/// What a page and a term cost beside their bytes: map entries, allocations' own heads.
const PAGE_OVERHEAD_BYTES: usize = 160;
const LIST_OVERHEAD_BYTES: usize = 64;

/// A stored page, as far as it is shown.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    pub url: Box<str>,
    pub title: Passage,
    pub lead: Passage,
    pub language: Language,
    pub published: Option<UnixMillis>,
    /// When the copy was made.
    pub saved: UnixMillis,
}

#[derive(Debug, Clone, Default)]
pub struct Hits {
    /// Best first, at most [`HITS_MAX`].
    pub best: Vec<Arc<Found>>,
    pub total: usize,
}

/// Words of a query, each with what it may be found by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Query {
    words: Vec<Terms>,
}

impl Query {
    pub(super) fn of(stems: &Stems, text: &str) -> Self {
        let mut query = Self::default();
        each_word(text, |word, _| {
            let terms = stems.of_query(word);
            if !query.words.contains(&terms) {
                query.words.push(terms);
            }
            query.words.len() < QUERY_WORDS_MAX
        });
        query
    }

    pub(super) fn words(&self) -> &[Terms] {
        &self.words
    }
}

#[derive(Clone, Copy)]
struct Slot {
    words: u16,
    language: Language,
    /// Of its publication, or of the copy.
    day: u32,
    gone: bool,
}

#[derive(Default)]
struct List {
    last: u32,
    entries: u32,
    packed: Vec<u8>,
}

#[derive(Default)]
pub(super) struct Index {
    lists: HashMap<Term, List, foldhash::fast::RandomState>,
    slots: Vec<Slot>,
    found: Vec<Option<Arc<Found>>>,
    /// By the hash of the URL.
    by_url: HashMap<u64, u32, foldhash::fast::RandomState>,
    words: u64,
    bytes: usize,
    saved: UnixMillis,
    /// By language; made when first asked for after a change.
    newest: [OnceLock<Vec<Arc<Found>>>; 3],
}

impl Index {
    pub(super) fn pages(&self) -> usize {
        self.by_url.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// When the newest copy was made.
    pub(super) fn saved(&self) -> Option<UnixMillis> {
        (self.pages() > 0).then_some(self.saved)
    }

    pub(super) fn put(&mut self, stems: &Stems, url: &str, page: &PageText, saved: UnixMillis) {
        let key = stems.hash(url);
        let at_hand = self.by_url.get(&key).map(|number| *number as usize);
        let is_newer = |found: &Arc<Found>| found.saved > saved;
        // A saved copy found on disk after a start, while a reader has just read the page.
        if at_hand.is_some_and(|number| self.found[number].as_ref().is_some_and(is_newer)) {
            return;
        }
        self.forget(key);
        let Ok(number) = u32::try_from(self.slots.len()) else {
            return;
        };
        self.newest = Default::default();
        let (counts, words) = counted(stems, page);
        for (term, count) in counts {
            let list = self.lists.entry(term).or_insert_with(|| {
                self.bytes += LIST_OVERHEAD_BYTES;
                List::default()
            });
            self.bytes += list.push(number, count);
        }
        let found = Found {
            url: url.into(),
            title: Passage::of(stems, &page.title, page.language),
            lead: Passage::of(stems, &lead(page), page.language),
            language: page.language,
            published: page.published,
            saved,
        };
        self.bytes += page_bytes(&found);
        self.slots.push(Slot {
            words: u16::try_from(words).unwrap_or(u16::MAX),
            language: page.language,
            day: day(page.published.unwrap_or(saved)),
            gone: false,
        });
        self.found.push(Some(Arc::new(found)));
        self.words += u64::from(u16::try_from(words).unwrap_or(u16::MAX));
        self.by_url.insert(key, number);
        self.saved = self.saved.max(saved);
    }

    /// `key`: the URL's hash. Its text is gone at once.
    pub(super) fn forget(&mut self, key: u64) -> bool {
        let Some(number) = self.by_url.remove(&key) else {
            return false;
        };
        self.drop_page(number as usize);
        true
    }

    /// How many.
    pub(super) fn forget_where(&mut self, is_gone: impl Fn(&str) -> bool) -> usize {
        let gone: Vec<u64> = self
            .by_url
            .iter()
            .filter(|(_, number)| {
                self.found[**number as usize]
                    .as_ref()
                    .is_some_and(|found| is_gone(&found.url))
            })
            .map(|(key, _)| *key)
            .collect();
        for key in &gone {
            self.forget(*key);
        }
        gone.len()
    }

    fn drop_page(&mut self, number: usize) {
        self.newest = Default::default();
        self.slots[number].gone = true;
        self.words -= u64::from(self.slots[number].words);
        if let Some(found) = self.found[number].take() {
            self.bytes -= page_bytes(&found);
        }
    }

    pub(super) fn wants_rewriting(&self) -> bool {
        let gone = self.slots.len() - self.pages();
        gone >= GONE_MIN && gone * 3 > self.slots.len()
    }

    /// Adds no page before [`Rewrite`] has made room.
    pub(super) fn is_full(&self) -> bool {
        self.pages() >= PAGES_MAX || self.bytes >= INDEX_BYTES_MAX && self.pages() > 0
    }

    /// Which pages stay when the oldest part goes.
    fn without_the_oldest(&self) -> Vec<bool> {
        let mut ages: Vec<(u32, usize)> = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| !slot.gone)
            .map(|(number, slot)| (slot.day, number))
            .collect();
        let part = ages.len().div_ceil(OLDEST_PART).min(ages.len());
        let mut stays = vec![true; self.slots.len()];
        if part < ages.len() {
            ages.select_nth_unstable(part);
        }
        for (_, number) in &ages[..part] {
            stays[*number] = false;
        }
        stays
    }

    /// Newest first, the reader's language before others: what somebody who found nothing may want instead.
    pub(super) fn newest(&self, language: Language) -> &[Arc<Found>] {
        self.newest[language as usize].get_or_init(|| self.look_for_newest(language))
    }

    fn look_for_newest(&self, language: Language) -> Vec<Arc<Found>> {
        let mut newest: Vec<&Arc<Found>> = Vec::with_capacity(NEWEST + 1);
        let when = |found: &Found| (found.language == language, found.published);
        for found in self
            .found
            .iter()
            .flatten()
            .filter(|found| found.published.is_some())
        {
            let at = newest.partition_point(|other| when(other) >= when(found));
            if at < NEWEST {
                newest.insert(at, found);
                newest.truncate(NEWEST);
            }
        }
        newest.into_iter().cloned().collect()
    }

    /// The query without the words that no page has: they change nothing of what is found.
    pub(super) fn known(&self, mut query: Query) -> Query {
        query.words.retain(|terms| {
            [Some(terms.first), terms.other]
                .into_iter()
                .flatten()
                .any(|term| self.lists.get(&term).is_some_and(|list| list.entries > 0))
        });
        query
    }

    pub(super) fn search(&self, query: &Query, language: Language, now: UnixMillis) -> Hits {
        let pages = self.pages();
        let mut words: Vec<(usize, u32, [Option<&List>; 2])> = query
            .words
            .iter()
            .enumerate()
            .map(|(place, terms)| {
                let lists = [Some(terms.first), terms.other].map(|term| self.lists.get(&term?));
                let entries = lists.iter().flatten().map(|list| list.entries).sum();
                (place, entries, lists)
            })
            .filter(|(_, entries, _)| *entries > 0)
            .collect();
        // "And" is in every page and decides nothing; beside a rarer word it would only cost time.
        words.sort_unstable_by_key(|(_, entries, _)| *entries);
        let pages_many = self.slots.len() >= COMMON_PAGES_MIN;
        if let Some(common) = words
            .iter()
            .skip(1)
            .position(|(_, entries, _)| pages_many && *entries as usize * 2 > self.slots.len())
        {
            words.truncate(common + 1);
        }
        if words.is_empty() || pages == 0 {
            return Hits::default();
        }
        let mut scores = vec![0_f32; self.slots.len()];
        let mut matched = vec![0_u8; self.slots.len()];
        let average = (self.words as f32 / pages as f32).max(1.0);
        for (place, _, lists) in &words {
            for list in lists.iter().flatten() {
                self.score(list, 1 << place, average, &mut scores, &mut matched);
            }
        }
        self.best(&scores, &matched, language, now)
    }

    fn score(&self, list: &List, bit: u8, average: f32, scores: &mut [f32], matched: &mut [u8]) {
        let (pages, having) = (self.slots.len() as f32, list.entries as f32);
        let rarity = (1.0 + (pages - having + 0.5) / (having + 0.5)).ln();
        for (number, code) in list.entries() {
            let number = number as usize;
            let length = f32::from(self.slots[number].words) / average;
            let count = COUNTS[code] as f32;
            scores[number] += rarity * count * (K1 + 1.0) / (count + K1 * (1.0 - B + B * length));
            matched[number] |= bit;
        }
    }

    fn best(&self, scores: &[f32], matched: &[u8], language: Language, now: UnixMillis) -> Hits {
        let most = (0..scores.len())
            .filter(|number| !self.slots[*number].gone)
            .map(|number| matched[number].count_ones())
            .max()
            .unwrap_or(0);
        if most == 0 {
            return Hits::default();
        }
        let today = day(now);
        let mut candidates: Vec<(f32, u32)> = Vec::new();
        for (number, slot) in self.slots.iter().enumerate() {
            if slot.gone || matched[number].count_ones() != most {
                continue;
            }
            let days = today.saturating_sub(slot.day) as f32;
            let new = 1.0 + NEWNESS * (-days / NEWNESS_HALF_LIFE_DAYS).exp2();
            let own = if slot.language == language {
                OWN_LANGUAGE
            } else {
                1.0
            };
            candidates.push((scores[number] * new * own, number as u32));
        }
        let total = candidates.len();
        let better = |one: &(f32, u32), other: &(f32, u32)| -> Ordering {
            other.0.total_cmp(&one.0).then(other.1.cmp(&one.1))
        };
        if total > HITS_MAX {
            candidates.select_nth_unstable_by(HITS_MAX, better);
            candidates.truncate(HITS_MAX);
        }
        candidates.sort_unstable_by(better);
        let best = candidates
            .into_iter()
            .filter_map(|(_, number)| self.found[number as usize].clone())
            .collect();
        Hits { best, total }
    }
}

/// Writes all lists anew without what is gone. It takes a third of a second for the largest index, so it is done in steps: whoever
/// adds pages holds the index for reading during each, and changes it once, at the end.
pub(super) struct Rewrite {
    new: Index,
    /// New numbers by the old.
    numbers: Vec<Option<u32>>,
    terms: Vec<Term>,
}

impl Rewrite {
    pub(super) fn of(old: &Index) -> Self {
        let mut new = Index {
            saved: old.saved,
            ..Index::default()
        };
        let mut numbers = vec![None; old.slots.len()];
        let stays = if old.is_full() {
            old.without_the_oldest()
        } else {
            vec![true; old.slots.len()]
        };
        for (number, slot) in old.slots.iter().enumerate() {
            let Some(found) = &old.found[number] else {
                continue;
            };
            if !stays[number] {
                continue;
            }
            numbers[number] = u32::try_from(new.slots.len()).ok();
            new.words += u64::from(slot.words);
            new.bytes += page_bytes(found);
            new.slots.push(*slot);
            new.found.push(Some(Arc::clone(found)));
        }
        for (key, number) in &old.by_url {
            if let Some(number) = numbers[*number as usize] {
                new.by_url.insert(*key, number);
            }
        }
        Self {
            new,
            numbers,
            terms: old.lists.keys().copied().collect(),
        }
    }

    /// False when all is written. `old` may lose pages between steps and gain none.
    pub(super) fn step(&mut self, old: &Index) -> bool {
        let first = self.terms.len().saturating_sub(REWRITE_STEP_LISTS);
        for term in self.terms.drain(first..) {
            let Some(list) = old.lists.get(&term) else {
                continue;
            };
            let mut kept = List::default();
            for (number, code) in list.entries() {
                if let Some(number) = self.numbers[number as usize] {
                    kept.push(number, COUNTS[code]);
                }
            }
            if kept.entries > 0 {
                kept.packed.shrink_to_fit();
                self.new.bytes += LIST_OVERHEAD_BYTES + kept.packed.len();
                self.new.lists.insert(term, kept);
            }
        }
        !self.terms.is_empty()
    }

    /// Gives back the old one: freeing it takes longer than anybody should wait for.
    #[must_use]
    pub(super) fn finish(mut self, index: &mut Index) -> Index {
        let old = std::mem::take(index);
        for (number, new) in self.numbers.iter().enumerate() {
            if let (true, Some(new)) = (old.slots[number].gone, new) {
                self.new.drop_page(*new as usize);
            }
        }
        let Self { mut new, .. } = self;
        new.by_url
            .retain(|_, number| !new.slots[*number as usize].gone);
        *index = new;
        old
    }
}

fn page_bytes(found: &Found) -> usize {
    PAGE_OVERHEAD_BYTES + found.url.len() + found.title.bytes() + found.lead.bytes()
}

impl List {
    /// Bytes it has grown by.
    fn push(&mut self, number: u32, count: u32) -> usize {
        let before = self.packed.len();
        let code = COUNTS
            .iter()
            .rposition(|least| count >= *least)
            .unwrap_or(0);
        let mut rest = (u64::from(number - self.last) << COUNT_BITS) | code as u64;
        while rest >= 0x80 {
            self.packed.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        self.packed.push(rest as u8);
        self.last = number;
        self.entries += 1;
        self.packed.len() - before
    }

    /// Page numbers, and each one's place in [`COUNTS`].
    fn entries(&self) -> impl Iterator<Item = (u32, usize)> {
        let mut bytes = self.packed.iter();
        let mut number = 0_u32;
        std::iter::from_fn(move || {
            let mut value = 0_u64;
            let mut shift = 0;
            loop {
                let byte = *bytes.next()?;
                value |= u64::from(byte & 0x7f) << shift;
                shift += 7;
                if byte < 0x80 {
                    break;
                }
            }
            number += (value >> COUNT_BITS) as u32;
            Some((number, (value & ((1 << COUNT_BITS) - 1)) as usize))
        })
    }
}

fn counted(
    stems: &Stems,
    page: &PageText,
) -> (HashMap<Term, u32, foldhash::fast::RandomState>, usize) {
    let mut counts: HashMap<Term, u32, foldhash::fast::RandomState> = HashMap::default();
    let mut words = 0;
    for (text, weight) in [
        (&page.title, IN_TITLE),
        (&page.description, IN_DESCRIPTION),
        (&page.text, 1),
    ] {
        each_word(text, |word, _| {
            *counts
                .entry(stems.of_page(word, page.language))
                .or_default() += weight;
            words += 1;
            words < WORDS_MAX
        });
    }
    (counts, words)
}

/// The description, or how the text begins behind the title it repeats; cut between two words.
fn lead(page: &PageText) -> String {
    let lead = if page.description.is_empty() {
        let text = page.text.as_str();
        text.strip_prefix(page.title.as_str()).unwrap_or(text)
    } else {
        &page.description
    };
    let lead = lead.trim_start();
    if lead.len() <= LEAD_BYTES_MAX {
        return lead.to_owned();
    }
    let cut = &lead[..lead.floor_char_boundary(LEAD_BYTES_MAX)];
    let whole = cut.rsplit_once(' ').map_or(cut, |(whole, _)| whole);
    format!("{whole}…")
}

fn day(at: UnixMillis) -> u32 {
    const DAY: u64 = Duration::from_secs(24 * 3600).as_millis() as u64;
    u32::try_from(at.0 / DAY).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use Language::{English, Kazakh, Russian};

    const WORDS: [&str; 4] = ["аба", "бва", "ввв", "абв"];
    const NOW: UnixMillis = UnixMillis(1_795_564_800_000);

    fn page(title: &str, text: &str, language: Language, days_old: u64) -> PageText {
        PageText {
            title: title.to_owned(),
            description: String::new(),
            text: text.to_owned(),
            language,
            published: Some(UnixMillis(NOW.0 - days_old * 86_400_000)),
        }
    }

    fn index(stems: &Stems, pages: &[(&str, PageText)]) -> Index {
        let mut index = Index::default();
        for (url, page) in pages {
            index.put(stems, url, page, NOW);
        }
        index
    }

    fn urls(stems: &Stems, index: &Index, query: &str, language: Language) -> Vec<String> {
        let hits = index.search(&Query::of(stems, query), language, NOW);
        assert_eq!(hits.total, hits.best.len());
        hits.best
            .iter()
            .map(|found| found.url.to_string())
            .collect()
    }

    #[test]
    fn what_is_asked_for_comes_first() {
        let stems = Stems::default();
        let index = index(
            &stems,
            &[
                ("/title", page("Выборы в Алматы", "о другом", Russian, 400)),
                (
                    "/text",
                    page("Новости", "в городе прошли выборы", Russian, 400),
                ),
                (
                    "/new",
                    page("Новости дня", "в городе идут выборы", Russian, 1),
                ),
                (
                    "/kk",
                    page("Алматыдағы сайлау", "қалада сайлау өтті", Kazakh, 400),
                ),
                (
                    "/en",
                    page("Almaty votes", "the city has voted", English, 400),
                ),
            ],
        );
        let table: [(&str, Language, &[&str]); 9] = [
            ("выборы алматы", Russian, &["/title"]),
            ("выборах", Russian, &["/title", "/new", "/text"]),
            ("город", Russian, &["/new", "/text"]),
            ("САЙЛАУДЫҢ", Kazakh, &["/kk"]),
            ("қала", Kazakh, &["/kk"]),
            ("almaty", English, &["/en"]),
            ("voting", English, &["/en"]),
            ("нетакогослова выборы алматы", Russian, &["/title"]),
            ("нетакогослова", Russian, &[]),
        ];
        for (query, language, expected) in table {
            assert_eq!(urls(&stems, &index, query, language), expected, "{query}");
        }
        let both = urls(&stems, &index, "Алматы", Kazakh);
        assert_eq!(both.first().map(String::as_str), Some("/kk"));
        let both = urls(&stems, &index, "Алматы", Russian);
        assert_eq!(both.first().map(String::as_str), Some("/title"));
    }

    #[test]
    fn what_is_shown_is_short_and_says_nothing_twice() {
        let long = "сөз ".repeat(LEAD_BYTES_MAX);
        let cut = format!("{}…", "сөз ".repeat(LEAD_BYTES_MAX / 7).trim_end());
        let unbroken = "ж".repeat(LEAD_BYTES_MAX);
        let table: [(&str, &str, &str); 5] = [
            ("Атау", "Атау мәтін", "мәтін"),
            ("Атау", "мәтін", "мәтін"),
            ("Атау", "Атау", ""),
            ("Атау", &long, &cut),
            (
                "Атау",
                &unbroken,
                &format!("{}…", "ж".repeat(LEAD_BYTES_MAX / 2)),
            ),
        ];
        for (title, text, expected) in table {
            assert_eq!(lead(&page(title, text, Kazakh, 1)), expected);
        }
        let mut described = page("Атау", "мәтін", Kazakh, 1);
        described.description = "Сипаттама".to_owned();
        assert_eq!(lead(&described), "Сипаттама");
    }

    #[test]
    fn a_page_is_found_by_its_last_version_alone() {
        let stems = Stems::default();
        let mut index = index(&stems, &[("/a", page("Первое", "", Russian, 1))]);
        index.put(&stems, "/a", &page("Второе", "", Russian, 1), NOW);
        assert!(urls(&stems, &index, "первое", Russian).is_empty());
        assert_eq!(urls(&stems, &index, "второе", Russian), ["/a"]);
        assert!(index.forget(stems.hash("/a")));
        assert!(!index.forget(stems.hash("/a")));
        assert!(urls(&stems, &index, "второе", Russian).is_empty());
        assert_eq!((index.pages(), index.saved()), (0, None));
    }

    #[test]
    fn the_newest_come_when_nothing_is_found() {
        let stems = Stems::default();
        let urls = |index: &Index| -> Vec<String> {
            let newest = index.newest(Russian).iter();
            newest.map(|found| found.url.to_string()).collect()
        };
        let mut pages: Vec<_> = [
            ("/3", 3),
            ("/1", 1),
            ("/2", 2),
            ("/9", 9),
            ("/7", 7),
            ("/8", 8),
        ]
        .map(|(url, days)| (url, page("а", "", Russian, days)))
        .into();
        pages.push(("/en", page("a", "", English, 0)));
        let mut index = index(&stems, &pages);
        assert_eq!(urls(&index), ["/1", "/2", "/3", "/7", "/8"]);
        index.forget(stems.hash("/2"));
        index.forget(stems.hash("/9"));
        assert_eq!(urls(&index), ["/1", "/3", "/7", "/8", "/en"]);
    }

    fn rewritten(mut index: Index) -> Index {
        let mut rewrite = Rewrite::of(&index);
        while rewrite.step(&index) {}
        drop(rewrite.finish(&mut index));
        index
    }

    #[test]
    fn the_oldest_make_room() {
        let stems = Stems::default();
        let mut index = Index::default();
        for n in 0..64_u64 {
            index.put(
                &stems,
                &format!("/{n}"),
                &page("слово", "", Russian, n),
                NOW,
            );
        }
        assert!(!index.is_full());
        let stays = index.without_the_oldest();
        let gone: Vec<usize> = (0..64).filter(|number| !stays[*number]).collect();
        assert_eq!(gone, [60, 61, 62, 63]);
        index.bytes = INDEX_BYTES_MAX;
        let index = rewritten(index);
        let left = urls(&stems, &index, "слово", Russian);
        assert!(left.contains(&"/59".to_owned()) && !left.contains(&"/60".to_owned()));
        assert_eq!(index.pages(), 60);
    }

    #[test]
    fn what_is_forgotten_while_the_lists_are_written_stays_forgotten() {
        let stems = Stems::default();
        let mut index = index(
            &stems,
            &[
                ("/a", page("слово", "", Russian, 1)),
                ("/b", page("слово", "", Russian, 1)),
            ],
        );
        let mut rewrite = Rewrite::of(&index);
        index.forget(stems.hash("/a"));
        while rewrite.step(&index) {}
        drop(rewrite.finish(&mut index));
        assert_eq!(urls(&stems, &index, "слово", Russian), ["/b"]);
        assert_eq!((index.pages(), index.forget(stems.hash("/a"))), (1, false));
    }

    proptest! {
        #[test]
        fn lists_give_back_what_was_put_in(gaps in proptest::collection::vec((1_u32..1_000_000, 1_u32..100), 0..200)) {
            let mut list = List::default();
            let mut number = 0;
            let mut expected = Vec::new();
            for (gap, count) in gaps {
                number += gap;
                list.push(number, count);
                let code = COUNTS.iter().rposition(|least| count >= *least).unwrap();
                expected.push((number, code));
            }
            prop_assert_eq!(list.entries().collect::<Vec<_>>(), expected);
        }

        /// However pages come and go, the index finds what a walk over the pages would, and writing it anew changes nothing.
        #[test]
        fn the_index_agrees_with_the_pages(changes in proptest::collection::vec((0_u8..12, proptest::option::of("[абв]{3}( [абв]{3}){0,4}")), 1..60)) {
            let stems = Stems::default();
            let mut index = Index::default();
            let mut pages: HashMap<String, String> = HashMap::new();
            for (number, text) in changes {
                let url = format!("/{number}");
                match text {
                    Some(text) => {
                        index.put(&stems, &url, &page(&text, "", Russian, 1), NOW);
                        pages.insert(url, text);
                    }
                    None => {
                        let known = pages.remove(&url).is_some();
                        prop_assert_eq!(index.forget(stems.hash(&url)), known);
                    }
                }
            }
            let pages_left = index.pages();
            prop_assert_eq!(pages_left, pages.len());
            let mut finds = HashMap::new();
            for word in WORDS {
                finds.insert(word, urls(&stems, &index, word, Russian));
            }
            let anew = rewritten(index);
            prop_assert_eq!(anew.slots.len(), pages_left);
            for word in WORDS {
                let term = stems.of_query(word).first;
                let mut expected: Vec<String> = pages.iter().filter(|(_, text)| {
                    let mut has = false;
                    each_word(text, |word, _| { has |= stems.of_page(word, Russian) == term; true });
                    has
                }).map(|(url, _)| url.clone()).collect();
                expected.sort();
                for mut found in [finds.remove(word).unwrap_or_default(), urls(&stems, &anew, word, Russian)] {
                    found.sort();
                    prop_assert_eq!(&found, &expected);
                }
            }
        }
    }
}
