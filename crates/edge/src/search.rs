//! Search from the copy.
//!
//! A search is the dearest thing a stranger can ask of a newsroom's server: no cache has the answer, and every other word is another
//! query of the database. So searches are what floods are made of: 1.3 billion for "1" at one newsroom, random words at another. A
//! search that admission turns away is answered here instead, from an index of the site's stored public pages, in well under a
//! millisecond, and the page says so.
//!
//! Three rules. *Words are nobody's business*: what a reader looks for is never logged, counted or written; the index is of pages alone and
//! lies in memory, so no file exists that a word could be in; it is filled again from the stored copies after a start. *Readers come
//! first*: all searches together have a share of one core and of the line (`share`), beyond which the waiting page is given; with a list
//! already made for the same words an answer costs next to no time, and counts for the line alone. *A forgotten page is forgotten at once*, in
//! the queue, in the index and in made lists.
//!
//! `form` recognises a search → `index` finds (`text`, `kazakh`: words and what they are found by) → `results` is the page. `page` reads
//! what is put in. Pages are read and put in by a thread of its own, which rests longer than it works: an index that is a minute
//! late harms nobody, a reader kept waiting would.

mod form;
mod index;
mod kazakh;
pub mod page;
mod results;
mod russian;
mod share;
mod text;

use std::collections::VecDeque;
use std::io;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::time::Instant;

pub(crate) use form::decoded as decoded_value;
pub use form::{FORMS_MAX, Question, SearchForm, WORDS_CHARS_MAX};
pub use index::{Found, HITS_MAX, Hits, INDEX_BYTES_MAX, PAGES_MAX, QUERY_WORDS_MAX};
pub use results::HITS_PER_PAGE;
pub use share::{LINE_MBIT_DEFAULT, LINE_PERCENT, PERCENT, Share};
pub use text::Passage;

use crate::background::{self, Nice};
use crate::clock::UnixMillis;
use crate::pages::{Asker, Prebuilt};
use crate::plan::Language;
use index::{Index, Query, Rewrite};
use page::HTML_BYTES_MAX;
use results::{Listed, ToList};
use text::Stems;

/// Pages that wait to be read. A newsroom publishes a few an hour; after a start, whoever fills the index waits for room.
pub const QUEUE_PAGES_MAX: usize = 256;
/// Their HTML together, a hundred long pages.
pub const QUEUE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Longer URLs are not links a reader follows.
const URL_BYTES_MAX: usize = 2_048;

/// Lists of results kept for whoever asks for the same words.
const LISTS_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Of the 10 KB that one of ten results has, packed and not.
const LISTS_EXPECTED: usize = 800;
/// An article published meanwhile is missed for no longer than that.
const LIST_KEPT: Duration = Duration::from_secs(60);
/// Nor when the index has grown by this part since: after a start it has few pages, and a moment later all.
const GROWTH_PART: usize = 8;

/// The reading thread rests this many times as long as it worked: a quarter of one core at most.
pub const REST: u32 = 3;

/// A new good version of a public page.
#[derive(Debug, Clone)]
pub struct Saved {
    /// Absolute, or path and query.
    pub url: String,
    /// Not compressed.
    pub html: Bytes,
    pub at: UnixMillis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    #[error("as many pages wait to be read as may")]
    QueueFull,
    #[error("the URL is not one that a reader could follow")]
    Url,
}

/// Why there is no answer; the reader waits for the site's own search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    #[error("searches have had their share of the processor or of the line")]
    ShareSpent,
    #[error("no page is stored yet")]
    NothingStored,
    #[error("nothing was found, and not all saved pages have been read yet")]
    NotAllRead,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    pub pages: usize,
    pub bytes: usize,
    pub queued: usize,
    pub answered: u64,
    pub answered_again: u64,
    pub share_spent: u64,
}

/// One site's.
pub struct Search {
    inner: Arc<Inner>,
    reader: Option<JoinHandle<()>>,
}

/// Saved pages are being put in.
pub struct Filling(Arc<Inner>);

impl Drop for Filling {
    fn drop(&mut self) {
        self.0.is_filling.store(false, Ordering::Release);
    }
}

struct Inner {
    stems: Stems,
    /// Locked after `queue` where both are.
    index: RwLock<Index>,
    queue: Mutex<Queue>,
    changed: Condvar,
    lists: Cache<u64, Arc<Listed>, ByBytes>,
    share: Arc<Share>,
    /// There are saved pages that are not in it yet.
    is_filling: AtomicBool,
    /// How many pages were taken out so far; lists made before the last are not given any more.
    taken_out: AtomicU64,
    answered: AtomicU64,
    answered_again: AtomicU64,
    share_spent: AtomicU64,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// Of all pages that ever came, the number of the last.
    arrivals: u64,
    /// The page being read, by its key and URL; `None` again when it was forgotten meanwhile.
    in_hand: Option<(u64, String)>,
    /// Its arrival, forgotten or not.
    reading: Option<u64>,
    closing: bool,
}

struct Waiting {
    key: u64,
    arrival: u64,
    saved: Saved,
}

impl Queue {
    fn drop_waiting(&mut self, key: u64) {
        let at = self.waiting.iter().position(|other| other.key == key);
        if let Some(old) = at.and_then(|at| self.waiting.remove(at)) {
            self.bytes -= old.saved.html.len();
        }
    }

    /// Of what is not read yet.
    fn oldest(&self) -> Option<u64> {
        self.reading
            .or_else(|| self.waiting.front().map(|oldest| oldest.arrival))
    }
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<u64, Arc<Listed>> for ByBytes {
    fn weight(&self, _: &u64, listed: &Arc<Listed>) -> u64 {
        listed.bytes() as u64
    }
}

impl Search {
    /// `share` is one for all sites of a machine. `rest`: [`REST`].
    pub fn start(share: Arc<Share>, rest: u32) -> io::Result<Self> {
        let inner = Arc::new(Inner::new(share));
        let reader = background::spawn("search", Nice::Whenever, {
            let inner = Arc::clone(&inner);
            move || inner.read_pages(rest)
        })?;
        Ok(Self {
            inner,
            reader: Some(reader),
        })
    }

    /// Adds a page or replaces it, soon. Of two versions that wait, the later is read.
    pub fn put(&self, saved: Saved) -> Result<(), PutError> {
        self.inner.put(saved)
    }

    /// Until this is dropped, that nothing is found may only mean that a page has not been read yet, and nobody is told so.
    pub fn filling(&self) -> Filling {
        self.inner.is_filling.store(true, Ordering::Release);
        Filling(Arc::clone(&self.inner))
    }

    /// Takes a page out, wherever it is, before this returns.
    pub fn forget(&self, url: &str) {
        let inner = &self.inner;
        let key = inner.stems.hash(url);
        let mut queue = inner.queue();
        queue.drop_waiting(key);
        queue.in_hand.take_if(|(in_hand, _)| *in_hand == key);
        inner.take_out(key);
        drop(queue);
        inner.changed.notify_all();
    }

    /// The same with every page whose target is such a one: for whoever knows no host. Walks all of them.
    pub fn forget_where(&self, is_gone: impl Fn(&str) -> bool) {
        let inner = &self.inner;
        let is_gone = |url: &str| is_gone(target_of(url));
        let mut queue = inner.queue();
        let Queue { waiting, bytes, .. } = &mut *queue;
        waiting.retain(|Waiting { saved, .. }| {
            let gone = is_gone(&saved.url);
            if gone {
                *bytes -= saved.html.len();
            }
            !gone
        });
        queue.in_hand.take_if(|(_, url)| is_gone(url));
        if inner.index_mut().forget_where(is_gone) > 0 {
            inner.lists_are_old();
        }
        drop(queue);
        inner.changed.notify_all();
    }

    /// Blocks until all that waits now has been read, whatever comes meanwhile: for whoever fills the index from many pages, on a thread
    /// of its own.
    pub fn wait_until_read(&self) {
        let mut queue = self.inner.queue();
        let last = queue.arrivals;
        while queue.oldest().is_some_and(|arrival| arrival <= last) {
            queue = self
                .inner
                .changed
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The page of results. `host`: as the reader asked for it, with its port.
    ///
    /// # Errors
    /// When nothing is stored, beyond the share, and while nothing is found of pages that are still being read.
    pub fn answer(
        &self,
        question: &Question<'_>,
        host: &str,
        asker: Asker,
        now: UnixMillis,
    ) -> Result<Prebuilt, Unanswered> {
        let inner = &self.inner;
        let answered = inner.answer(question, host, asker, now);
        let counter = match &answered {
            Ok(page) => {
                inner.share.sent(page.head().len() + page.body().len());
                &inner.answered
            }
            Err(Unanswered::ShareSpent) => &inner.share_spent,
            Err(Unanswered::NothingStored | Unanswered::NotAllRead) => return answered,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        answered
    }

    /// What is found, without a page around it and outside the share.
    pub fn find(&self, words: &str, language: Language, now: UnixMillis) -> Hits {
        let query = Query::of(&self.inner.stems, words);
        self.inner.index().search(&query, language, now)
    }

    pub fn stats(&self) -> Stats {
        let inner = &self.inner;
        let queued = inner.queue().waiting.len();
        let index = inner.index();
        Stats {
            pages: index.pages(),
            bytes: index.bytes(),
            queued,
            answered: inner.answered.load(Ordering::Relaxed),
            answered_again: inner.answered_again.load(Ordering::Relaxed),
            share_spent: inner.share_spent.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        self.inner.queue().closing = true;
        self.inner.changed.notify_all();
        if let Some(reader) = self.reader.take()
            && reader.join().is_err()
        {
            tracing::error!("the thread that reads pages for the search had stopped");
        }
    }
}

impl Inner {
    fn new(share: Arc<Share>) -> Self {
        Self {
            stems: Stems::default(),
            index: RwLock::default(),
            queue: Mutex::default(),
            changed: Condvar::new(),
            lists: Cache::with_weighter(LISTS_EXPECTED, LISTS_BYTES_MAX, ByBytes),
            share,
            is_filling: AtomicBool::new(false),
            taken_out: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            answered_again: AtomicU64::new(0),
            share_spent: AtomicU64::new(0),
        }
    }

    fn put(&self, mut saved: Saved) -> Result<(), PutError> {
        if !is_followable(&saved.url) {
            return Err(PutError::Url);
        }
        if saved.html.len() > HTML_BYTES_MAX {
            // A slice would hold the rest as well.
            saved.html = Bytes::copy_from_slice(&saved.html[..HTML_BYTES_MAX]);
        }
        let key = self.stems.hash(saved.url.as_str());
        let mut queue = self.queue();
        queue.drop_waiting(key);
        if queue.waiting.len() >= QUEUE_PAGES_MAX
            || queue.bytes + saved.html.len() > QUEUE_BYTES_MAX
        {
            return Err(PutError::QueueFull);
        }
        queue.bytes += saved.html.len();
        queue.arrivals += 1;
        let arrival = queue.arrivals;
        queue.waiting.push_back(Waiting {
            key,
            arrival,
            saved,
        });
        drop(queue);
        self.changed.notify_all();
        Ok(())
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn index(&self) -> std::sync::RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_mut(&self) -> std::sync::RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(
        &self,
        question: &Question<'_>,
        host: &str,
        asker: Asker,
        now: UnixMillis,
    ) -> Result<Prebuilt, Unanswered> {
        let start = Instant::now();
        if !self.share.allows_to_send(start) {
            return Err(Unanswered::ShareSpent);
        }
        let host = host.to_ascii_lowercase();
        let taken_out = self.taken_out.load(Ordering::Acquire);
        let index = self.index();
        let saved = index.saved().ok_or(Unanswered::NothingStored)?;
        let query = index.known(Query::of(&self.stems, &question.words));
        if query.words().is_empty() && !self.share.allows_to_send_nothing(start) {
            return Err(Unanswered::ShareSpent);
        }
        let (page, language) = (question.page, asker.language);
        let key = self
            .stems
            .hash((query.words(), page, &host, language as u8));
        let pages = index.pages();
        let at_hand = self.lists.get(&key).filter(|listed| {
            listed.taken_out == taken_out
                && now.since(listed.made) < LIST_KEPT
                && pages <= listed.pages + listed.pages / GROWTH_PART
        });
        if let Some(listed) = at_hand {
            drop(index);
            self.answered_again.fetch_add(1, Ordering::Relaxed);
            return Ok(results::prebuilt(question, asker, &listed));
        }
        let _charged = self.share.begin(start).ok_or(Unanswered::ShareSpent)?;
        let hits = index.search(&query, language, now);
        if hits.total == 0 && self.is_filling.load(Ordering::Acquire) {
            return Err(Unanswered::NotAllRead);
        }
        let newest = if hits.total == 0 {
            index.newest(language).to_vec()
        } else {
            Vec::new()
        };
        drop(index);
        let listed = Arc::new(Listed::of(&ToList {
            host: &host,
            language,
            query: &query,
            page,
            hits: &hits,
            newest: &newest,
            saved,
            taken_out,
            pages,
            now,
        }));
        self.lists.insert(key, Arc::clone(&listed));
        Ok(results::prebuilt(question, asker, &listed))
    }

    fn take_out(&self, key: u64) {
        if self.index_mut().forget(key) {
            self.lists_are_old();
        }
    }

    fn lists_are_old(&self) {
        self.taken_out.fetch_add(1, Ordering::Release);
        self.lists.clear();
    }

    fn read_pages(&self, rest: u32) {
        while let Some((key, saved)) = self.next_page() {
            let start = Instant::now();
            // One page that breaks the tokenizer must not end the search for all others.
            let page = catch_unwind(|| page::read(&saved.html, target_of(&saved.url)))
                .unwrap_or_else(|_| {
                    tracing::error!("a stored page could not be read for the search");
                    None
                });
            self.make_room();
            let mut queue = self.queue();
            if queue.in_hand.take().is_some() {
                match page {
                    Some(page) => self
                        .index_mut()
                        .put(&self.stems, &saved.url, &page, saved.at),
                    None => self.take_out(key),
                }
            }
            queue.reading = None;
            self.changed.notify_all();
            self.rest(queue, start.elapsed() * rest);
        }
    }

    fn next_page(&self) -> Option<(u64, Saved)> {
        let mut queue = self.queue();
        loop {
            if queue.closing {
                return None;
            }
            if let Some(Waiting {
                key,
                arrival,
                saved,
            }) = queue.waiting.pop_front()
            {
                queue.bytes -= saved.html.len();
                queue.in_hand = Some((key, saved.url.clone()));
                queue.reading = Some(arrival);
                return Some((key, saved));
            }
            queue = self
                .changed
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn make_room(&self) {
        let index = self.index();
        if !index.is_full() && !index.wants_rewriting() {
            return;
        }
        let mut rewrite = Rewrite::of(&index);
        drop(index);
        while rewrite.step(&self.index()) {}
        let old = rewrite.finish(&mut self.index_mut());
        self.taken_out.fetch_add(1, Ordering::Release);
        drop(old);
    }

    /// Until then, or until the end of all.
    fn rest(&self, mut queue: MutexGuard<'_, Queue>, rest: Duration) {
        let end = Instant::now() + rest;
        while !queue.closing {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            queue = match self.changed.wait_timeout(queue, left) {
                Ok((queue, _)) => queue,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}

/// Without scheme and host.
fn target_of(url: &str) -> &str {
    let Some((_, rest)) = url.split_once("://") else {
        return url;
    };
    rest.find('/').map_or("/", |at| &rest[at..])
}

/// A link to anything else would be one that a page's author chose for our page.
fn is_followable(url: &str) -> bool {
    let path = url.starts_with('/') && !url.starts_with("//");
    let whole = url.starts_with("https://") || url.starts_with("http://");
    (path || whole)
        && url.len() <= URL_BYTES_MAX
        && !url.contains(|letter: char| letter.is_whitespace() || letter.is_control())
        && !url.contains('\\')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::Format;
    use Language::{English, Russian};

    const NOW: UnixMillis = UnixMillis(1_795_564_800_000);

    fn search() -> (Search, Arc<Share>) {
        let share = Arc::new(Share::new(Instant::now()));
        let search = Search::start(Arc::clone(&share), 0).unwrap();
        (search, share)
    }

    fn saved(url: &str, html: &str) -> Saved {
        Saved {
            url: url.to_owned(),
            html: Bytes::from(html.to_owned()),
            at: NOW,
        }
    }

    fn forms() -> Vec<SearchForm> {
        vec![SearchForm {
            path: "/*".to_owned(),
            parameter: "s".to_owned(),
            with: Vec::new(),
        }]
    }

    fn asker(language: Language) -> Asker {
        Asker {
            language,
            format: Format::Html,
            packed: false,
        }
    }

    fn ask(search: &Search, target: &str, now: UnixMillis) -> Result<String, Unanswered> {
        let forms = forms();
        let question = Question::of(&forms, target).unwrap();
        let page = search.answer(&question, "a.kz", asker(Russian), now)?;
        Ok(String::from_utf8(page.body().to_vec()).unwrap())
    }

    /// After a start, "nothing was found" would be said of every article that comes later in the folder.
    #[tokio::test(start_paused = true)]
    async fn that_nothing_is_found_is_said_when_all_pages_have_been_read() {
        let (search, _) = search();
        let filling = search.filling();
        search
            .put(saved("https://a.kz/1", "<h1>Первый суд</h1>"))
            .unwrap();
        search.wait_until_read();
        assert!(ask(&search, "/?s=суд", NOW).unwrap().contains("Первый"));
        assert_eq!(ask(&search, "/?s=выборы", NOW), Err(Unanswered::NotAllRead));
        search
            .put(saved("https://a.kz/2", "<h1>Выборы</h1>"))
            .unwrap();
        search.wait_until_read();
        drop(filling);
        assert!(ask(&search, "/?s=выборы", NOW).unwrap().contains("Выборы"));
        assert!(ask(&search, "/?s=бюджет", NOW).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn pages_are_found_replaced_and_forgotten() {
        let (search, _) = search();
        assert_eq!(ask(&search, "/?s=сот", NOW), Err(Unanswered::NothingStored));
        search
            .put(saved("https://a.kz/1", "<h1>Первый суд</h1>"))
            .unwrap();
        search
            .put(saved("https://a.kz/2", "<h1>Второй суд</h1>"))
            .unwrap();
        search.wait_until_read();
        let page = ask(&search, "/?s=суда", NOW).unwrap();
        assert!(
            page.contains("href=\"/1\"") && page.contains("href=\"/2\""),
            "{page}"
        );
        assert!(page.contains("Первый <mark>суд</mark>"));

        search
            .put(saved("https://a.kz/1", "<h1>Первый матч</h1>"))
            .unwrap();
        search.wait_until_read();
        assert!(
            ask(&search, "/?s=матчи", NOW)
                .unwrap()
                .contains("href=\"/1\"")
        );
        // Whoever asked a moment ago gets the same; a minute later it is looked for again.
        assert_eq!(ask(&search, "/?s=суда", NOW), Ok(page.clone()));
        let later = NOW.plus(LIST_KEPT);
        assert!(
            !ask(&search, "/?s=суда", later)
                .unwrap()
                .contains("href=\"/1\"")
        );

        search.forget("https://a.kz/2");
        assert!(
            !ask(&search, "/?s=суда", NOW)
                .unwrap()
                .contains("href=\"/2\"")
        );
        assert_eq!(search.stats().pages, 1);
        // A page that now says it is not to be found is not.
        search
            .put(saved(
                "https://a.kz/1",
                "<h1>Первый матч</h1><meta name=robots content=noindex>",
            ))
            .unwrap();
        search.wait_until_read();
        assert_eq!(search.stats().pages, 0);
    }

    #[test]
    fn what_is_forgotten_while_it_waits_is_never_read() {
        let (search, _) = search();
        for n in 0..50 {
            search
                .put(saved(&format!("/{n}"), "<h1>слово</h1>"))
                .unwrap();
        }
        for n in 0..50 {
            search.forget(&format!("/{n}"));
        }
        search.wait_until_read();
        assert_eq!((search.stats().pages, search.stats().queued), (0, 0));
        assert_eq!(search.find("слово", Russian, NOW).total, 0);
    }

    #[test]
    fn what_is_being_read_stays_when_another_page_is_forgotten() {
        let (search, _) = search();
        let text = "<h1>слово</h1>".repeat(2_000);
        for n in 0..50 {
            search.put(saved(&format!("/{n}"), &text)).unwrap();
        }
        while search.stats().queued > 0 {
            search.forget_where(|target| target == "/other");
        }
        search.wait_until_read();
        assert_eq!(search.stats().pages, 50);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_searches_gets_its_share_and_known_answers_go_on() {
        let (search, share) = search();
        search.put(saved("/1", "<h1>слово</h1>")).unwrap();
        search.wait_until_read();
        let known = ask(&search, "/?s=слово", NOW).unwrap();
        share.charge(Duration::from_secs(3_600));
        for n in 0..100 {
            assert_eq!(
                ask(&search, &format!("/?s={n}"), NOW),
                Err(Unanswered::ShareSpent)
            );
            assert_eq!(ask(&search, "/?s=слово", NOW).as_ref(), Ok(&known));
        }
        let stats = search.stats();
        assert_eq!(
            (stats.answered, stats.answered_again, stats.share_spent),
            (101, 100, 100)
        );
        share.sent(1024 * 1024 * 1024);
        assert_eq!(ask(&search, "/?s=слово", NOW), Err(Unanswered::ShareSpent));
    }

    /// What floods are made of: a word of the news, and something nobody has ever written.
    #[tokio::test(start_paused = true)]
    async fn what_no_page_has_changes_the_question_and_not_the_list() {
        let (search, share) = search();
        search.put(saved("/1", "<h1>Первое слово</h1>")).unwrap();
        search.put(saved("/2", "<h1>Второе</h1>")).unwrap();
        search.wait_until_read();
        let list =
            |page: &str| page[page.find("<ol").unwrap()..page.find("</ol>").unwrap()].to_owned();
        let known = ask(&search, "/?s=слово", NOW).unwrap();
        share.charge(Duration::from_secs(3_600));
        for n in 0..100 {
            let page = ask(&search, &format!("/?s=слово+zzz{n}"), NOW).unwrap();
            assert_eq!(list(&page), list(&known));
            assert!(page.contains(&format!("«слово zzz{n}»")), "{page}");
            assert!(page.contains(&format!("zzz{n}&amp;saqta-live=1")), "{page}");
        }
        assert_eq!(search.stats().answered_again, 100);
        // Words that some page has are another question.
        assert_eq!(
            ask(&search, "/?s=слово+второе", NOW),
            Err(Unanswered::ShareSpent)
        );
        search.forget("/1");
        assert_eq!(
            ask(&search, "/?s=слово+zzz", NOW),
            Err(Unanswered::ShareSpent)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_index_that_fills_is_asked_again() {
        let (search, _) = search();
        for number in 1..=3 {
            search
                .put(saved(&format!("/{number}"), "<h1>слово</h1>"))
                .unwrap();
            search.wait_until_read();
            let page = ask(&search, "/?s=слово", NOW).unwrap();
            assert!(
                page.contains(&format!("Найдено страниц: {number}<")),
                "{page}"
            );
        }
    }

    #[test]
    fn what_waits_is_bounded() {
        // Nobody reads here.
        let fill = |bytes: usize| {
            let inner = Inner::new(Arc::new(Share::new(Instant::now())));
            let html = "a".repeat(bytes);
            let taken = (0..1_000)
                .take_while(|n| {
                    inner.put(saved(&format!("/{n}"), &html)) != Err(PutError::QueueFull)
                })
                .count();
            // A new version of what waits takes its place.
            assert_eq!(inner.put(saved("/0", &html)), Ok(()));
            assert!(inner.queue().bytes <= QUEUE_BYTES_MAX);
            taken
        };
        assert_eq!(fill(1), QUEUE_PAGES_MAX);
        let longest = QUEUE_BYTES_MAX / HTML_BYTES_MAX;
        assert_eq!(
            (fill(HTML_BYTES_MAX), fill(HTML_BYTES_MAX + 1)),
            (longest, longest)
        );
    }

    #[test]
    fn links_lead_to_pages_and_nowhere_else() {
        let (search, _) = search();
        let table = [
            ("https://a.kz/1", true),
            ("http://a.kz", true),
            ("/1?x=қала", true),
            ("//evil.example/1", false),
            ("/\\evil.example", false),
            ("javascript:alert(1)", false),
            ("https://a.kz/ b", false),
            ("", false),
        ];
        for (url, expected) in table {
            assert_eq!(search.put(saved(url, "")).is_ok(), expected, "{url}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn readers_are_answered_on_their_own_host_and_in_their_own_language() {
        let (search, _) = search();
        search
            .put(saved("https://a.kz/1", "<h1>word</h1>"))
            .unwrap();
        search.wait_until_read();
        let forms = forms();
        let question = Question::of(&forms, "/?s=word").unwrap();
        let table = [
            ("a.kz", English, "href=\"/1\"", "search cannot answer now"),
            ("A.KZ", English, "href=\"/1\"", "search cannot answer now"),
            ("b.kz", Russian, "href=\"https://a.kz/1\"", "не отвечает"),
        ];
        for (host, language, link, words) in table {
            let page = search
                .answer(&question, host, asker(language), NOW)
                .unwrap();
            let page = String::from_utf8(page.body().to_vec()).unwrap();
            assert!(page.contains(link) && page.contains(words), "{page}");
        }
    }
}
