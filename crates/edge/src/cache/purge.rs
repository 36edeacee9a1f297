//! Purging: what an editor has changed is not shown from the cache any more.
//!
//! Three come with orders: the content system, through a plugin that sends `PURGE` or `BAN`; the operator, with `saqta purge`; and the edge itself,
//! which sees an editor's save succeed ([`touched_by`]). They say an address, a beginning of one, or a tag that responses carry.
//!
//! **Soft and hard.** A plugin's order makes copies stale: they are fetched anew when next asked for, and until then only stand in for an
//! origin that fails or has no room. So whoever could give such orders could not empty the cache. `forget` takes copies away; only the
//! operator gives it.
//!
//! **Cheap under a flood.** Saving one post makes some plugins send a hundred orders, importing an archive a hundred thousand. Looking for the copies
//! of each would cost the whole cache each time. So an order is only put on a list, and gets a number. Every response knows the
//! number that was the newest when its fetch began; one that is found while newer orders stand on the list is compared with those, once.
//! Four times a second at most the lurker goes through the store, applies the list and clears it ([`Purges::swept`]). A response whose fetch
//! began before the list was cleared and ends after it can no longer be compared, and is stored as stale: that it was changed is
//! possible, and asking again costs one fetch. When the list is full the site's copies are all made stale, which is what it comes to anyway.
//!
//! **Forgotten is forgotten**, by fetches under way as well. Their requests were sent before the order, so what they bring may be the page as it
//! was. Whoever puts something away, in memory, on disk or in the search, asks for leave with the number of its fetch ([`Purges::may_store`]) and
//! holds it until that is done; the order waits for these, refuses the rest of its elders, and then goes through everything. It does not ask what a
//! fetch was for: such orders are rare, and each page not stored costs one fetch more.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};

use super::spelling::{Spelled, spelled};
use super::stored::{Doubt, Stored};
use crate::fields::Fields;
use crate::plan::Networks;
use crate::profile::{Profile, System};

/// How often the lurker walks, when there is something to do: soon enough for nobody to wait for it, seldom enough that a flood of orders
/// costs four walks a second.
pub const SWEEP_EVERY: Duration = Duration::from_millis(250);
/// Addresses on the list between two sweeps: 16 bytes each, found by hash. A bulk edit of 20 posts purges 10 addresses each.
pub const TARGETS_MAX: usize = 4_096;
/// Beginnings and tags between two sweeps: each is compared with every response found meanwhile, so these are fewer.
pub const PATTERNS_MAX: usize = 64;
/// Tags of one response. Drupal's busiest pages carry two hundred; one with more is purged by any tag.
pub const TAGS_MAX: usize = 256;
/// Bytes of one tag field that are read: what Apache lets an application send.
pub const TAG_BYTES_MAX: usize = 16 * 1024;
/// Tags in one order; Drupal's purgers send up to a hundred.
const ORDER_TAGS_MAX: usize = 256;

/// The fields in which responses name their tags. `X-Cache-Tags` is what several Drupal modules send, `xkey` Magento and TYPO3.
const TAG_FIELDS: [&str; 7] = [
    "cache-tag",
    "cache-tags",
    "surrogate-key",
    "x-drupal-cache-tags",
    "purge-cache-tags",
    "x-cache-tags",
    "xkey",
];

/// The fields in which orders name tags.
const ORDERED_TAG_FIELDS: [&str; 9] = [
    "cache-tags",
    "cache-tag",
    "purge-cache-tags",
    "x-cache-tags",
    "x-drupal-cache-tags",
    "surrogate-key",
    "xkey",
    "xkey-purge",
    "x-xkey-purge",
];

/// Which copies. Hosts, schemes and ports do not count: a site is one, however it is reached. Nor does it count how an address is spelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// This target with this query, all variants.
    Target(Spelled),
    /// This path with any query.
    Path(Spelled),
    /// All targets that begin so.
    Prefix(Spelled),
    /// Everything that carries one of these.
    Tags(Vec<u64>),
    /// Front pages, sections, feeds and sitemaps: where a new article shows.
    Listings,
}

impl What {
    pub fn target(target: &[u8]) -> Self {
        Self::Target(Spelled::of(target))
    }

    pub fn path(path: &[u8]) -> Self {
        Self::Path(Spelled::of(path))
    }

    pub fn prefix(prefix: &[u8]) -> Self {
        Self::Prefix(Spelled::beginning(prefix))
    }

    /// Without a query it stands for all of its queries: whoever has a page purged means the page.
    pub fn address(target: &[u8]) -> Self {
        if target.contains(&b'?') {
            Self::target(target)
        } else {
            Self::path(target)
        }
    }

    /// As a site's requests have it: what only tells where a reader came from is in no key.
    pub(crate) fn without_tracking(self, profile: &Profile) -> Self {
        let (Self::Target(target) | Self::Prefix(target)) = &self else {
            return self;
        };
        let kept = match std::str::from_utf8(target).map(|target| profile.target(target)) {
            Ok(read) if !read.taken.is_empty() => read.kept.into_owned(),
            _ => return self,
        };
        match self {
            Self::Prefix(_) => Self::prefix(kept.as_bytes()),
            _ => Self::address(kept.as_bytes()),
        }
    }

    pub fn tag(tag: &[u8]) -> Self {
        Self::Tags(vec![tag_mark(tag)])
    }

    /// The same of a response whose tags nobody knows.
    pub(crate) fn may_concern(&self, target: &[u8]) -> bool {
        matches!(self, Self::Tags(_)) || self.concerns(target, &Tags::default())
    }

    /// `target`: as it lies there.
    pub fn concerns(&self, target: &[u8], tags: &Tags) -> bool {
        self.concerns_spelled(&spelled(target), tags)
    }

    fn concerns_spelled(&self, target: &[u8], tags: &Tags) -> bool {
        match self {
            Self::Target(wanted) => *target == **wanted,
            Self::Path(path) => *path_of(target) == **path,
            Self::Prefix(prefix) => target.starts_with(prefix),
            Self::Tags(wanted) => wanted.iter().any(|tag| tags.has(*tag)),
            Self::Listings => is_listing(target),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurgeOrder {
    pub what: What,
}

/// Why a `PURGE` or `BAN` request says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAnOrder {
    #[error("neither PURGE nor BAN")]
    Method,
    #[error("too many tags in one order: send them in parts of {ORDER_TAGS_MAX}")]
    TooManyTags,
}

/// Is it a method that only caches know? It never reaches an origin.
pub fn is_purge_method(method: &Method) -> bool {
    matches!(method.as_str(), "PURGE" | "BAN")
}

impl PurgeOrder {
    /// As the plugins send it: tags in a field of their own; else an address, which `X-Purge-Method` and its twin call `regex` or `exact`, or
    /// which ends in `.*`. Of an expression only its literal beginning is used, so that never less is purged than was meant.
    ///
    /// # Errors
    /// When it is no order, or too long a one.
    pub fn of<F: Fields + ?Sized>(
        method: &Method,
        target: &[u8],
        fields: &F,
    ) -> Result<Self, NotAnOrder> {
        if !is_purge_method(method) {
            return Err(NotAnOrder::Method);
        }
        let tags = ordered_tags(fields)?;
        if !tags.is_empty() {
            return Ok(Self {
                what: What::Tags(tags),
            });
        }
        let expression = ["x-url", "x-ban-url", "purge-url"]
            .iter()
            .find_map(|name| fields.field(name));
        if let Some(expression) = expression {
            return Ok(Self {
                what: What::prefix(&literal_beginning(expression)),
            });
        }
        let said = ["x-purge-method", "x-vc-purge-method"]
            .iter()
            .find_map(|name| fields.field(name))
            .unwrap_or_default();
        let ends_open = target.ends_with(b".*") || target.ends_with(b"/*");
        let what = if said.eq_ignore_ascii_case(b"regex") || ends_open {
            What::prefix(&literal_beginning(target))
        } else if said.eq_ignore_ascii_case(b"exact") {
            What::target(target)
        } else {
            What::address(target)
        };
        Ok(Self { what })
    }
}

fn ordered_tags<F: Fields + ?Sized>(fields: &F) -> Result<Vec<u64>, NotAnOrder> {
    let mut tags = Vec::new();
    for name in ORDERED_TAG_FIELDS {
        fields.each_line(name, &mut |line| {
            // Varnish takes an expression: `node:1|node_list`, `(^|\s)node:1(\s|$)`.
            let words = line.split(|byte| byte.is_ascii_whitespace() || b",|()".contains(byte));
            tags.extend(words.filter_map(|word| {
                let word = word.strip_suffix(b"\\s").unwrap_or(word);
                let word: Vec<u8> = word
                    .iter()
                    .copied()
                    .filter(|byte| !b"^$\\\"".contains(byte))
                    .collect();
                (!word.is_empty() && word != b"s").then(|| tag_mark(&word))
            }));
        });
    }
    if tags.len() > ORDER_TAGS_MAX {
        return Err(NotAnOrder::TooManyTags);
    }
    Ok(tags)
}

/// Up to the first character that means something else than itself; `^`, scheme and host aside. Alternatives have no common beginning.
fn literal_beginning(expression: &[u8]) -> Vec<u8> {
    let expression = expression.strip_prefix(b"^").unwrap_or(expression);
    let after_scheme = expression
        .windows(3)
        .position(|three| three == b"://")
        .filter(|at| *at <= b"https?".len());
    let path = match after_scheme {
        Some(at) => {
            let rest = &expression[at + 3..];
            let slash = rest
                .iter()
                .position(|byte| *byte == b'/')
                .unwrap_or(rest.len());
            &rest[slash..]
        }
        None => expression,
    };
    let mut literal = Vec::with_capacity(path.len());
    if !path.contains(&b'|') {
        let mut bytes = path.iter();
        while let Some(byte) = bytes.next() {
            match byte {
                b'\\' => match bytes.next() {
                    Some(escaped) if !escaped.is_ascii_alphanumeric() => literal.push(*escaped),
                    _ => break,
                },
                b'?' | b'*' | b'{' => {
                    // Whatever stands before it may be absent; `/news/*` is a wildcard and no expression.
                    if literal.last() != Some(&b'/') {
                        literal.pop();
                    }
                    break;
                }
                b'.' | b'+' | b'[' | b']' | b'(' | b')' | b'}' | b'$' | b'^' => break,
                byte => literal.push(*byte),
            }
        }
    }
    if literal.first() != Some(&b'/') {
        return b"/".to_vec();
    }
    literal
}

fn path_of(target: &[u8]) -> &[u8] {
    target
        .split(|byte| *byte == b'?')
        .next()
        .unwrap_or_default()
}

/// Where new articles are listed: a path of one or two parts that is no file, and feeds and sitemaps at any depth.
fn is_listing(target: &[u8]) -> bool {
    let parts: Vec<&[u8]> = path_of(target)
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty())
        .collect();
    let Some(last) = parts.last() else {
        return true;
    };
    let extension = last
        .iter()
        .rposition(|byte| *byte == b'.')
        .map(|dot| &last[dot + 1..]);
    match extension {
        Some(b"xml" | b"rss" | b"atom" | b"rdf") => true,
        Some(b"html" | b"htm" | b"php") | None => {
            parts.len() <= 2 || matches!(*last, b"feed" | b"rss" | b"atom" | b"rss2")
        }
        Some(_) => false,
    }
}

/// What a response may be purged by besides its address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags {
    marks: Box<[u64]>,
    /// There were more than are kept: any tag may be one of them.
    cut: bool,
}

impl Tags {
    /// Also the short address in `Link: <…/?p=12>; rel=shortlink`: an editor's save names the post by its number, and this is the one place where
    /// a page says which number it has.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut marks = Vec::new();
        let mut cut = false;
        for name in TAG_FIELDS {
            for line in headers.get_all(name) {
                let line = line.as_bytes();
                cut |= line.len() > TAG_BYTES_MAX;
                let read = &line[..line.len().min(TAG_BYTES_MAX)];
                marks.extend(
                    read.split(|byte| byte.is_ascii_whitespace() || *byte == b',')
                        .filter(|tag| !tag.is_empty())
                        .map(tag_mark),
                );
            }
        }
        for line in headers.get_all(http::header::LINK) {
            marks.extend(short_links(line.as_bytes()).map(|target| tag_mark(&short_link(target))));
        }
        marks.sort_unstable();
        marks.dedup();
        cut |= marks.len() > TAGS_MAX;
        marks.truncate(TAGS_MAX);
        Self {
            marks: marks.into(),
            cut,
        }
    }

    pub fn has(&self, mark: u64) -> bool {
        self.cut || self.marks.binary_search(&mark).is_ok()
    }

    /// Bytes on the heap.
    pub fn weight(&self) -> u64 {
        size_of_val::<[u64]>(&self.marks) as u64
    }
}

/// Two tags with one mark are purged together, which does no harm.
fn tag_mark(tag: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    tag.hash(&mut hasher);
    hasher.finish()
}

fn short_link(target: &[u8]) -> Vec<u8> {
    [b"shortlink ", target].concat()
}

fn short_links(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b'<').skip(1).filter_map(|link| {
        let end = link.iter().position(|byte| *byte == b'>')?;
        let (address, rest) = link.split_at(end);
        let is_short = rest.split(|byte| b";,".contains(byte)).any(|parameter| {
            matches!(
                parameter.trim_ascii(),
                b"rel=shortlink" | b"rel=\"shortlink\""
            )
        });
        is_short.then(|| target_of(address)).flatten()
    })
}

/// `http://a.kz/?p=1` and `/?p=1` are `/?p=1`.
fn target_of(reference: &[u8]) -> Option<&[u8]> {
    let reference = reference.split(|byte| *byte == b'#').next()?;
    let after = [&b"http://"[..], b"https://", b"//"]
        .iter()
        .find_map(|scheme| reference.strip_prefix(*scheme));
    match after {
        Some(rest) => {
            let slash = rest.iter().position(|byte| b"/?".contains(byte))?;
            Some(&rest[slash..])
        }
        None => reference.starts_with(b"/").then_some(reference),
    }
}

/// The orders of one site that are not carried out yet.
#[derive(Debug, Default)]
pub struct Purges {
    /// Of the newest order. A response with this number or a higher one has been compared with all.
    newest: AtomicU64,
    /// Is there anything on the list?
    pending: AtomicBool,
    list: RwLock<List>,
    /// The last order to forget. What began before it is not to be stored at all.
    forgotten: RwLock<u64>,
}

/// Leave to put away what a fetch has brought, until this is dropped. To be held briefly: [`Purges::forget_on_its_way`] waits.
#[must_use = "what is stored without it may have been forgotten"]
pub struct MayStore<'a> {
    _forgotten: RwLockReadGuard<'a, u64>,
}

#[derive(Debug, Default)]
struct List {
    newest: u64,
    targets: HashMap<u64, u64>,
    patterns: Vec<(u64, What)>,
    /// Everything older is stale: the list was full, or has been cleared.
    stale_before: u64,
}

/// What a response is after an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Stays,
    Stale,
}

impl Purges {
    /// For a fetch that begins now.
    pub fn newest(&self) -> u64 {
        self.newest.load(Ordering::Acquire)
    }

    pub fn is_pending(&self) -> bool {
        self.pending.load(Ordering::Acquire)
    }

    /// Makes stale; returns at once.
    pub fn order(&self, what: What) {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        list.newest += 1;
        let number = list.newest;
        match what {
            What::Target(target) => {
                list.targets.insert(tag_mark(&target), number);
            }
            What::Path(path) => {
                list.targets.insert(path_mark(&path), number);
            }
            other => list.patterns.push((number, other)),
        }
        if list.targets.len() > TARGETS_MAX || list.patterns.len() > PATTERNS_MAX {
            list.stale_before = number;
            list.targets.clear();
            list.patterns.clear();
        }
        self.newest.store(number, Ordering::Release);
        self.pending.store(true, Ordering::Release);
    }

    /// Copies are about to be taken away: what is on its way is not stored, whatever it is. What had leave to be stored has been when this
    /// returns.
    pub fn forget_on_its_way(&self) {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        list.newest += 1;
        let number = list.newest;
        // Whatever begins from here on asks an origin that has withdrawn the page.
        self.newest.store(number, Ordering::Release);
        drop(list);
        let mut forgotten = self
            .forgotten
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *forgotten = number.max(*forgotten);
    }

    /// For what a fetch has brought that began when this was [`Purges::newest`]. `None`: something has been forgotten since.
    pub fn may_store(&self, number: u64) -> Option<MayStore<'_>> {
        let forgotten = self
            .forgotten
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        (number >= *forgotten).then_some(MayStore {
            _forgotten: forgotten,
        })
    }

    /// `number`: of the newest order the response has been compared with, or that was the newest when its fetch began.
    pub fn fate(&self, target: &[u8], tags: &Tags, number: u64) -> (Fate, u64) {
        let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
        let newest = list.newest;
        let target = &*spelled(target);
        let is_newer = |mark: u64| list.targets.get(&mark).is_some_and(|order| *order > number);
        let stale = number < list.stale_before
            || is_newer(tag_mark(target))
            || is_newer(path_mark(path_of(target)))
            || list
                .patterns
                .iter()
                .any(|(order, what)| *order > number && what.concerns_spelled(target, tags));
        let fate = if stale { Fate::Stale } else { Fate::Stays };
        (fate, newest)
    }

    /// The number up to which [`Purges::swept`] may clear the list once all responses have been compared.
    pub fn sweep_to(&self) -> Option<u64> {
        self.is_pending().then(|| self.newest())
    }

    /// Every stored response has been compared with the orders up to `number`.
    pub fn swept(&self, number: u64) {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        list.targets.retain(|_, order| *order > number);
        list.patterns.retain(|(order, _)| *order > number);
        list.stale_before = list.stale_before.max(number);
        let pending = !list.targets.is_empty() || !list.patterns.is_empty();
        self.pending.store(pending, Ordering::Release);
    }

    /// Whatever orders have come since.
    pub(super) fn apply(&self, target: &[u8], stored: &Stored) {
        let (fate, newest) = self.fate(target, stored.tags(), stored.purge_number());
        if fate == Fate::Stale {
            stored.cast_doubt(Doubt::Invalid);
        }
        stored.compared_with(newest);
    }
}

/// Another mark than that of the target without a query.
fn path_mark(path: &[u8]) -> u64 {
    tag_mark(&[path, b"?*"].concat())
}

/// Why somebody may give orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trusted {
    Origin,
    Network,
    Token,
}

/// What an order brings with it.
#[derive(Debug, Clone, Copy)]
pub struct Orderer<'a> {
    /// The client, behind proxies whose word is trusted.
    pub address: IpAddr,
    /// Something in front of us has forwarded it, or says so.
    pub forwarded: bool,
    pub token: Option<&'a [u8]>,
}

/// Whom a site lets give orders.
#[derive(Debug, Clone, Copy)]
pub struct PurgePolicy<'a> {
    /// The address of the site's own server, where it is one and not a name.
    pub origin: Option<IpAddr>,
    pub from: &'a Networks,
    pub token: Option<&'a str>,
}

/// The site's own server may, unless it lives on this machine: from there come all requests of a TLS server in front of us as well, strangers'
/// among them. Then `purge_from` has to name the loopback address.
pub fn trusted(orderer: &Orderer<'_>, policy: &PurgePolicy<'_>) -> Option<Trusted> {
    let address = orderer.address.to_canonical();
    let same_token = policy
        .token
        .zip(orderer.token)
        .is_some_and(|(ours, theirs)| is_same(ours.as_bytes(), theirs));
    if same_token {
        return Some(Trusted::Token);
    }
    // Whoever is behind that proxy is unknown.
    if orderer.forwarded {
        return None;
    }
    if policy.from.contains(address) {
        return Some(Trusted::Network);
    }
    let is_origin = policy
        .origin
        .is_some_and(|origin| origin.to_canonical() == address && !address.is_loopback());
    is_origin.then_some(Trusted::Origin)
}

/// In a time that does not tell how much of it was right.
fn is_same(ours: &[u8], theirs: &[u8]) -> bool {
    let differences = ours
        .iter()
        .zip(theirs)
        .fold(0, |differences, (one, other)| differences | (one ^ other));
    !ours.is_empty() && ours.len() == theirs.len() && std::hint::black_box(differences) == 0
}

/// The key in an order: as Varnish HTTP Purge sends it, as others do, or as a bearer's.
pub fn token_of<F: Fields + ?Sized>(fields: &F) -> Option<&[u8]> {
    ["x-vc-purge-key", "x-purge-key", "x-purge-token"]
        .iter()
        .find_map(|name| fields.field(name))
        .or_else(|| {
            let line = fields.field("authorization")?;
            let (kind, token) = line.split_at_checked(b"bearer ".len())?;
            kind.eq_ignore_ascii_case(b"bearer ").then_some(token)
        })
}

/// Articles changed with one form that are looked for by number: a list of WordPress shows 20, and 100 on request.
const LISTED_MAX: usize = 128;

/// A request that may have changed the site, and its answer.
#[derive(Debug, Clone, Copy)]
pub struct Write<'a> {
    pub method: &'a Method,
    pub target: &'a [u8],
    pub status: StatusCode,
    pub location: Option<&'a [u8]>,
    /// The answer is for a program.
    pub is_json: bool,
    /// What was sent, if it is a form as browsers send it and is here whole; or nothing.
    pub form: &'a [u8],
}

/// What to make stale after an answer to staff. Empty unless it looks like a text that was saved: the article, by its address where the answer says
/// it and by its number, and whatever lists articles.
pub fn touched_by(write: &Write<'_>) -> Vec<What> {
    let path = path_of(write.target);
    let done = write.status.is_success() || write.status.is_redirection();
    let to_login = write.location.is_some_and(|location| {
        [&b"wp-login"[..], b"/user/login", b"reauth="]
            .iter()
            .any(|sign| location.windows(sign.len()).any(|part| part == *sign))
    });
    let publishes = if write.method.is_safe() {
        is_done_by_a_link(write)
    } else {
        is_publishing(path, write.target) || is_quick_edit(path, write.form)
    };
    if !done || to_login || !publishes {
        return Vec::new();
    }
    let mut touched = vec![What::Listings];
    let location = write.location.and_then(target_of);
    let query = write.target.get(path.len() + 1..).unwrap_or_default();
    let listed = numbers_in(query).chain(numbers_in(write.form));
    let numbers = [Some(write.target), location]
        .into_iter()
        .flatten()
        .filter_map(number_of)
        .chain(listed.take(LISTED_MAX))
        .flat_map(|number| {
            let number = number.to_vec();
            [
                [b"/?p=", number.as_slice()].concat(),
                [b"/?page_id=", number.as_slice()].concat(),
                [b"/node/", number.as_slice()].concat(),
            ]
        });
    let numbers: Vec<u64> = numbers
        .map(|target| tag_mark(&short_link(&target)))
        .collect();
    if !numbers.is_empty() {
        touched.push(What::Tags(numbers));
    }
    for target in [
        strip_suffixes(path),
        location.map(path_of).unwrap_or_default(),
    ] {
        if target.starts_with(b"/") && !is_of_the_office(target) {
            touched.push(What::path(target));
        }
    }
    touched.dedup();
    touched
}

/// Does the answer itself say that an editor wrote? Edge and editor may not have met since the edge was last started, and programs log in with
/// every request. WordPress's form leads an editor back into the editor, with words about what was done, and everybody else to a login; its interface for programs and Drupal's
/// answer a stranger's write with an error. Not believed: readers' comments; the interface with a query of its own, because `_method=GET` makes
/// a stranger's POST a look at what is public; forms whose answer to strangers is a site's own choice.
pub fn proves_its_author(write: &Write<'_>, system: System) -> bool {
    let path = path_of(write.target);
    let query = write.target.get(path.len() + 1..).unwrap_or_default();
    let holds = |part: &[u8]| path.windows(part.len()).any(|window| window == part);
    let by_program =
        write.status.is_success() && write.is_json && matches!(query, b"" | b"_locale=user");
    let leads_to = write
        .location
        .filter(|_| write.status == StatusCode::FOUND)
        .and_then(target_of)
        .unwrap_or_default();
    let told = leads_to
        .get(path_of(leads_to).len() + 1..)
        .unwrap_or_default();
    let tells = |name: &[u8]| {
        told.split(|byte| *byte == b'&')
            .any(|pair| pair.starts_with(name))
    };
    let is_form = path.ends_with(b"/wp-admin/post.php");
    let proves = match system {
        // A server that sends everybody on to its one name repeats what was asked, so only what the request does not say proves anything.
        System::WordPress if is_form && path_of(leads_to).ends_with(b"/wp-admin/edit.php") => {
            [&b"trashed="[..], b"untrashed=", b"deleted="]
                .iter()
                .any(|done| tells(done))
        }
        System::WordPress if is_form => {
            query.is_empty()
                && path_of(leads_to).ends_with(b"/wp-admin/post.php")
                && tells(b"post=")
                && tells(b"message=")
        }
        System::WordPress => by_program && holds(b"/wp-json/wp/v2/") && !holds(b"/comments"),
        System::Drupal => by_program && holds(b"/jsonapi/node/"),
        System::Joomla | System::Generic => false,
    };
    proves && !touched_by(write).is_empty()
}

fn is_publishing(path: &[u8], target: &[u8]) -> bool {
    let holds = |part: &[u8]| path.windows(part.len()).any(|window| window == part);
    let query_holds = |part: &[u8]| target.windows(part.len()).any(|window| window == part);
    // The editor saves drafts of what is open every minute.
    let keeps_a_draft = holds(b"/autosaves") || query_holds(b"/autosaves");
    let wordpress = path.ends_with(b"/wp-admin/post.php")
        || path.ends_with(b"/wp-admin/edit.php")
        || holds(b"/wp-json/wp/v2/")
        || query_holds(b"rest_route=/wp/v2/")
        || query_holds(b"rest_route=%2Fwp%2Fv2%2F");
    let drupal = holds(b"/node/add/")
        || holds(b"/node/") && (path.ends_with(b"/edit") || path.ends_with(b"/delete"))
        || holds(b"/jsonapi/node/");
    let joomla = holds(b"/administrator/") && query_holds(b"option=com_content");
    !keeps_a_draft && (wordpress || drupal || joomla)
}

/// WordPress's list of articles has a form in each line, which goes to the address that everything in its office goes to.
fn is_quick_edit(path: &[u8], form: &[u8]) -> bool {
    path.ends_with(b"/wp-admin/admin-ajax.php")
        && form
            .split(|byte| *byte == b'&')
            .any(|pair| pair == b"action=inline-save")
}

/// WordPress's list of articles puts one into the bin by a link, and changes many by a form that asks like one.
fn is_done_by_a_link(write: &Write<'_>) -> bool {
    const ACTIONS: [&[u8]; 4] = [
        b"action=trash",
        b"action=untrash",
        b"action=delete",
        b"bulk_edit=",
    ];
    let path = path_of(write.target);
    let query = write.target.get(path.len() + 1..).unwrap_or_default();
    let in_office = path.ends_with(b"/wp-admin/post.php") || path.ends_with(b"/wp-admin/edit.php");
    in_office
        && write.status.is_redirection()
        && query
            .split(|byte| *byte == b'&')
            .any(|pair| ACTIONS.iter().any(|action| pair.starts_with(action)))
}

/// `post_ID=12` of one line, `post[]=12&post[]=13` of many.
fn numbers_in(pairs: &[u8]) -> impl Iterator<Item = &[u8]> {
    const NAMES: [&[u8]; 4] = [b"post_ID=", b"post[]=", b"post%5B%5D=", b"post%5b%5d="];
    pairs
        .split(|byte| *byte == b'&')
        .filter_map(|pair| NAMES.iter().find_map(|name| pair.strip_prefix(*name)))
        .filter(|number| is_number(number))
}

fn is_number(part: &[u8]) -> bool {
    !part.is_empty() && part.len() <= 20 && part.iter().all(u8::is_ascii_digit)
}

fn strip_suffixes(path: &[u8]) -> &[u8] {
    [&b"/edit"[..], b"/delete"]
        .iter()
        .find_map(|suffix| path.strip_suffix(*suffix))
        .unwrap_or_default()
}

/// No reader is ever shown a page of these.
fn is_of_the_office(path: &[u8]) -> bool {
    ["/wp-admin/", "/wp-json/", "/administrator/", "/jsonapi/"]
        .iter()
        .any(|office| {
            path.windows(office.len())
                .any(|part| part == office.as_bytes())
        })
}

/// `post.php?post=12&…`, `/wp-json/wp/v2/posts/12`, `/node/12/edit`.
fn number_of(target: &[u8]) -> Option<&[u8]> {
    let (path, query) = match target.iter().position(|byte| *byte == b'?') {
        Some(mark) => (&target[..mark], &target[mark + 1..]),
        None => (target, &[][..]),
    };
    let in_query = query
        .split(|byte| *byte == b'&')
        .find_map(|pair| pair.strip_prefix(b"post="))
        .filter(|part| is_number(part));
    in_query.or_else(|| {
        path.split(|byte| *byte == b'/')
            .rfind(|part| is_number(part))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(*name, value.parse().expect("a value"));
        }
        fields
    }

    fn marks(tags: &[&str]) -> What {
        What::Tags(tags.iter().map(|tag| tag_mark(tag.as_bytes())).collect())
    }

    fn path(path: &str) -> What {
        What::path(path.as_bytes())
    }

    fn prefix(prefix: &str) -> What {
        What::prefix(prefix.as_bytes())
    }

    fn exact(target: &str) -> What {
        What::target(target.as_bytes())
    }

    #[test]
    fn plugins_are_understood() {
        type Case = (
            &'static str,
            &'static str,
            &'static [(&'static str, &'static str)],
            What,
        );
        let table: [Case; 16] = [
            // Proxy Cache Purge (Varnish HTTP Purge), W3 Total Cache.
            (
                "PURGE",
                "/a/",
                &[("x-purge-method", "default"), ("x-vc-purge-host", "a.kz")],
                path("/a/"),
            ),
            ("PURGE", "/.*", &[("x-purge-method", "regex")], prefix("/")),
            (
                "PURGE",
                "/a/?b=1",
                &[("x-purge-method", "exact")],
                exact("/a/?b=1"),
            ),
            ("PURGE", "/a/", &[("x-purge-method", "exact")], exact("/a/")),
            // Varnish Caching.
            (
                "PURGE",
                "/a/.*",
                &[("x-vc-purge-method", "regex"), ("x-vc-purge-key", "k")],
                prefix("/a/"),
            ),
            // By hand.
            ("PURGE", "/a", &[], path("/a")),
            ("PURGE", "/a?b=1", &[], exact("/a?b=1")),
            ("PURGE", "/a/*", &[], prefix("/a/")),
            ("BAN", "/a", &[], path("/a")),
            // Drupal: one tag, several, an expression.
            ("BAN", "/", &[("cache-tags", "node:1")], marks(&["node:1"])),
            (
                "BAN",
                "/",
                &[("cache-tags", "node:1|node_list")],
                marks(&["node:1", "node_list"]),
            ),
            (
                "BAN",
                "/",
                &[("cache-tags", "(^|\\s)node:1(\\s|$)")],
                marks(&["node:1"]),
            ),
            (
                "PURGE",
                "/",
                &[("purge-cache-tags", "a b")],
                marks(&["a", "b"]),
            ),
            (
                "PURGE",
                "/",
                &[("surrogate-key", "a b"), ("surrogate-key", "c")],
                marks(&["a", "b", "c"]),
            ),
            (
                "BAN",
                "/",
                &[("x-url", "^/node/12$"), ("x-host", "a.kz")],
                prefix("/node/12"),
            ),
            (
                "BAN",
                "/",
                &[("x-url", "https?://a.kz/b/c\\.html?")],
                prefix("/b/c.htm"),
            ),
        ];
        for (method, target, lines, what) in table {
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            let order = PurgeOrder::of(&method, target.as_bytes(), &fields(lines));
            assert_eq!(
                order,
                Ok(PurgeOrder { what }),
                "{method} {target} {lines:?}"
            );
        }
        let many = "t ".repeat(ORDER_TAGS_MAX + 1);
        let ban = Method::from_bytes(b"BAN").expect("a method");
        let order = PurgeOrder::of(&ban, b"/", &fields(&[("cache-tags", &many)]));
        assert_eq!(order, Err(NotAnOrder::TooManyTags));
        assert_eq!(
            PurgeOrder::of(&Method::GET, b"/", &fields(&[])),
            Err(NotAnOrder::Method)
        );
    }

    #[test]
    fn an_expression_purges_no_less_than_it_means() {
        for (expression, beginning) in [
            ("/a/b", "/a/b"),
            ("/a.*", "/a"),
            ("/a.html", "/a"),
            ("/a\\.html", "/a.html"),
            ("/ab?c", "/a"),
            ("/ab*", "/a"),
            ("/a/*", "/a/"),
            ("/a(b|c)", "/"),
            ("/a|/b", "/"),
            ("/a\\d+", "/a"),
            ("(?i)/a", "/"),
            ("a/b", "/"),
            ("", "/"),
            ("^http://a.kz/b", "/b"),
            ("http://a.kz", "/"),
        ] {
            assert_eq!(
                literal_beginning(expression.as_bytes()),
                beginning.as_bytes(),
                "{expression}"
            );
        }
    }

    #[test]
    fn responses_say_their_tags() {
        let tags = Tags::of(&fields(&[
            ("cache-tag", "a, b"),
            ("surrogate-key", "c d"),
            ("x-drupal-cache-tags", "node:1 node_list"),
            (
                "link",
                "<http://a.kz/wp-json/>; rel=\"https://api.w.org/\", <http://a.kz/?p=12>; rel=shortlink",
            ),
            ("link", "</node/7>; rel=\"shortlink\""),
        ]));
        for tag in [
            "a",
            "b",
            "c",
            "d",
            "node:1",
            "node_list",
            "shortlink /?p=12",
            "shortlink /node/7",
        ] {
            assert!(tags.has(tag_mark(tag.as_bytes())), "{tag}");
        }
        for tag in ["a,", "node:", "shortlink /wp-json/", ""] {
            assert!(!tags.has(tag_mark(tag.as_bytes())), "{tag}");
        }
        let many: String = (0..=TAGS_MAX).map(|number| format!("t{number} ")).collect();
        let tags = Tags::of(&fields(&[("cache-tags", &many)]));
        assert!(tags.weight() <= 8 * TAGS_MAX as u64);
        assert!(
            tags.has(tag_mark(b"any")),
            "it may be one of those that are not kept"
        );
    }

    #[test]
    fn an_order_means_its_address_however_it_is_spelled() {
        let unicode = "/\u{43d}\u{430}-\u{43d}\u{430}/~a/";
        let spellings = [
            unicode,
            "/%d0%bd%d0%b0-%d0%bd%d0%b0/%7ea/",
            "/%D0%BD%D0%B0%2d%D0%BD%D0%B0/%7Ea/",
        ];
        for order in spellings {
            for there in spellings {
                let with_query = format!("{there}?b=%7e");
                for (what, target) in [
                    (path(order), there),
                    (path(order), &with_query),
                    (exact(order), there),
                    (exact(&format!("{order}?b=~")), &with_query),
                    (prefix(order), there),
                    (prefix(&order[..order.len() - 2]), there),
                    (prefix(&order[..order.len() - 2]), &with_query),
                ] {
                    let purges = Purges::default();
                    purges.order(what.clone());
                    let (fate, _) = purges.fate(target.as_bytes(), &Tags::default(), 0);
                    assert_eq!(fate, Fate::Stale, "{what:?} {target}");
                    assert!(what.concerns(target.as_bytes(), &Tags::default()));
                }
            }
        }
        let other = exact(spellings[1]);
        assert!(!other.concerns(b"/%d0%bd%d0%b1-%d0%bd%d0%b0/%7ea/", &Tags::default()));
    }

    #[test]
    fn where_a_reader_came_from_is_no_part_of_an_order() {
        let profile = Profile::default();
        for (said, meant) in [
            (exact("/a?utm_source=x"), path("/a")),
            (exact("/a?utm_source=x&b=1"), exact("/a?b=1")),
            (exact("/a?b=1"), exact("/a?b=1")),
            (exact("/a"), exact("/a")),
            (path("/a"), path("/a")),
            (prefix("/a?b=1&fbclid=x"), prefix("/a?b=1")),
            (What::Listings, What::Listings),
        ] {
            assert_eq!(said.clone().without_tracking(&profile), meant, "{said:?}");
        }
    }

    #[test]
    fn orders_are_for_what_is_older() {
        let none = Tags::default();
        let purges = Purges::default();
        purges.order(path("/a"));
        purges.order(exact("/b?c=1"));
        purges.order(prefix("/d/"));
        purges.order(marks(&["x"]));
        purges.order(What::Listings);
        let tagged = Tags::of(&fields(&[("cache-tag", "x")]));
        for (target, tags, number, fate) in [
            ("/a", &none, 0, Fate::Stale),
            ("/a?b=1", &none, 0, Fate::Stale),
            ("/a", &none, 1, Fate::Stale), // A listing.
            ("/a.png", &none, 0, Fate::Stays),
            ("/b/c/e?c=1", &none, 0, Fate::Stays),
            ("/b?c=1", &none, 1, Fate::Stale),
            ("/d/e/f", &none, 2, Fate::Stale),
            ("/d/e/f", &none, 3, Fate::Stays),
            ("/q/r/s", &tagged, 3, Fate::Stale),
            ("/q/r/s", &tagged, 4, Fate::Stays),
            ("/", &none, 4, Fate::Stale),
            ("/", &none, 5, Fate::Stays),
        ] {
            assert_eq!(
                purges.fate(target.as_bytes(), tags, number),
                (fate, 5),
                "{target} {number}"
            );
        }
        assert!(purges.is_pending());
        purges.swept(5);
        assert!(!purges.is_pending());
        // What is on its way since before cannot be compared any more.
        assert_eq!(purges.fate(b"/q/r/s", &none, 4).0, Fate::Stale);
        assert_eq!(purges.fate(b"/q/r/s", &none, 5).0, Fate::Stays);
    }

    #[test]
    fn a_sweep_leaves_orders_that_came_meanwhile() {
        let purges = Purges::default();
        purges.order(path("/a/b/c"));
        let number = purges.sweep_to().expect("one waits");
        purges.order(path("/d/e/f"));
        purges.swept(number);
        assert!(purges.is_pending());
        assert_eq!(
            purges.fate(b"/d/e/f", &Tags::default(), number).0,
            Fate::Stale
        );
        assert_eq!(
            purges.fate(b"/g/h/i", &Tags::default(), number).0,
            Fate::Stays
        );
    }

    #[test]
    fn what_is_forgotten_is_not_stored_by_a_fetch_under_way() {
        let purges = Purges::default();
        let before = purges.newest();
        assert!(purges.may_store(before).is_some());
        purges.forget_on_its_way();
        assert!(!purges.is_pending());
        assert!(purges.may_store(before).is_none());
        assert!(purges.may_store(purges.newest()).is_some());
        // What lies in the store already is taken from there or stays.
        assert_eq!(purges.fate(b"/a", &Tags::default(), before).0, Fate::Stays);
    }

    #[test]
    fn forgetting_waits_for_what_is_being_stored() {
        let purges = Purges::default();
        let leave = purges.may_store(purges.newest());
        std::thread::scope(|scope| {
            let forgets = scope.spawn(|| purges.forget_on_its_way());
            // Younger than this one is only what began after the order has come.
            while purges.newest() == 0 {
                std::thread::yield_now();
            }
            assert!(!forgets.is_finished());
            drop(leave);
        });
        assert!(purges.may_store(0).is_none());
    }

    #[test]
    fn a_flood_of_orders_ends_in_everything_stale() {
        for order in [
            |n: usize| path(&format!("/a/b/{n}")),
            |n: usize| prefix(&format!("/a/{n}")),
        ] {
            let purges = Purges::default();
            for number in 0..=TARGETS_MAX {
                purges.order(order(number));
                let list = purges.list.read().expect("whole");
                assert!(list.targets.len() <= TARGETS_MAX && list.patterns.len() <= PATTERNS_MAX);
            }
            assert_eq!(
                purges.fate(b"/other/one/x", &Tags::default(), 0).0,
                Fate::Stale
            );
            let newest = purges.newest();
            assert_eq!(
                purges.fate(b"/other/one/x", &Tags::default(), newest).0,
                Fate::Stays
            );
        }
    }

    #[test]
    fn who_may_give_orders() {
        let from = Networks(vec!["192.0.2.0/24".parse().expect("a network")]);
        let table = [
            // Address, forwarded, token; origin; who.
            (
                "192.0.2.7",
                false,
                None,
                "198.51.100.1",
                Some(Trusted::Network),
            ),
            ("192.0.2.7", true, None, "198.51.100.1", None),
            (
                "198.51.100.1",
                false,
                None,
                "198.51.100.1",
                Some(Trusted::Origin),
            ),
            (
                "::ffff:198.51.100.1",
                false,
                None,
                "198.51.100.1",
                Some(Trusted::Origin),
            ),
            ("198.51.100.1", true, None, "198.51.100.1", None),
            ("127.0.0.1", false, None, "127.0.0.1", None),
            ("::1", false, None, "::1", None),
            ("203.0.113.9", false, None, "198.51.100.1", None),
            (
                "203.0.113.9",
                true,
                Some("a word of sixteen"),
                "198.51.100.1",
                Some(Trusted::Token),
            ),
            (
                "203.0.113.9",
                false,
                Some("a word of sixteeN"),
                "198.51.100.1",
                None,
            ),
            (
                "203.0.113.9",
                false,
                Some("a word of"),
                "198.51.100.1",
                None,
            ),
            ("203.0.113.9", false, Some(""), "198.51.100.1", None),
        ];
        for (address, forwarded, token, origin, who) in table {
            let orderer = Orderer {
                address: address.parse().expect("an address"),
                forwarded,
                token: token.map(str::as_bytes),
            };
            let policy = PurgePolicy {
                origin: origin.parse().ok(),
                from: &from,
                token: Some("a word of sixteen"),
            };
            assert_eq!(trusted(&orderer, &policy), who, "{address} {token:?}");
            let nobody = PurgePolicy {
                origin: None,
                from: &Networks::default(),
                token: None,
            };
            assert_eq!(trusted(&orderer, &nobody), None);
        }
    }

    #[test]
    fn a_save_touches_the_article_and_the_lists() {
        let short = |targets: &[&str]| {
            What::Tags(
                targets
                    .iter()
                    .map(|target| tag_mark(&short_link(target.as_bytes())))
                    .collect(),
            )
        };
        let twelve = short(&["/?p=12", "/?page_id=12", "/node/12"]);
        type Row<'a> = (&'a str, &'a str, u16, Option<&'a str>, Vec<What>);
        let table: [Row<'_>; 18] = [
            (
                "POST",
                "/wp-admin/post.php",
                302,
                Some("http://a.kz/wp-admin/post.php?post=12&action=edit&message=1"),
                vec![What::Listings, twelve.clone()],
            ),
            (
                "PUT",
                "/wp-json/wp/v2/posts/12?_locale=user",
                200,
                None,
                vec![What::Listings, twelve.clone()],
            ),
            (
                "POST",
                "/wp-json/wp/v2/posts",
                201,
                Some("http://a.kz/wp-json/wp/v2/posts/12"),
                vec![What::Listings, twelve.clone()],
            ),
            (
                "POST",
                "/index.php?rest_route=/wp/v2/posts",
                201,
                None,
                vec![What::Listings],
            ),
            (
                "POST",
                "/wp-json/wp/v2/posts/12/autosaves",
                200,
                None,
                vec![],
            ),
            (
                "POST",
                "/node/12/edit",
                303,
                Some("http://a.kz/title"),
                vec![
                    What::Listings,
                    twelve.clone(),
                    path("/node/12"),
                    path("/title"),
                ],
            ),
            (
                "POST",
                "/node/12/edit",
                200,
                None,
                vec![What::Listings, twelve.clone(), path("/node/12")],
            ),
            (
                "POST",
                "/node/add/article",
                303,
                Some("/kk/title"),
                vec![What::Listings, path("/kk/title")],
            ),
            (
                "POST",
                "/administrator/index.php?option=com_content&id=12",
                303,
                Some("/administrator/index.php?x"),
                vec![What::Listings],
            ),
            ("GET", "/wp-json/wp/v2/posts/12", 200, None, vec![]),
            (
                "POST",
                "/wp-admin/post.php",
                302,
                Some("http://a.kz/wp-login.php?reauth=1"),
                vec![],
            ),
            ("POST", "/wp-admin/post.php", 500, None, vec![]),
            (
                "GET",
                "/wp-admin/post.php?post=12&action=trash&_wpnonce=0a",
                302,
                Some("http://a.kz/wp-admin/edit.php?trashed=1&ids=12"),
                vec![What::Listings, twelve.clone()],
            ),
            (
                "GET",
                "/wp-admin/edit.php?action=trash&post%5B%5D=12",
                302,
                Some("http://a.kz/wp-admin/edit.php?trashed=1"),
                vec![What::Listings, twelve.clone()],
            ),
            (
                "GET",
                "/wp-admin/post.php?post=12&action=edit",
                200,
                None,
                vec![],
            ),
            (
                "GET",
                "/wp-admin/post.php?post=12&action=trash",
                302,
                Some("http://a.kz/wp-login.php?redirect_to=x"),
                vec![],
            ),
            (
                "POST action=inline-save&post_ID=12&post_title=x",
                "/wp-admin/admin-ajax.php",
                200,
                None,
                vec![What::Listings, twelve.clone()],
            ),
            (
                "POST action=heartbeat&data=post_ID",
                "/wp-admin/admin-ajax.php",
                200,
                None,
                vec![],
            ),
        ];
        for (method, target, status, location, touched) in table {
            let (method, form) = method.split_once(' ').unwrap_or((method, ""));
            let write = Write {
                method: &Method::from_bytes(method.as_bytes()).expect("a method"),
                target: target.as_bytes(),
                status: StatusCode::from_u16(status).expect("a status"),
                location: location.map(str::as_bytes),
                form: form.as_bytes(),
                is_json: true,
            };
            assert_eq!(touched_by(&write), touched, "{method} {target}");
        }
    }

    #[test]
    fn only_an_answer_no_stranger_gets_proves_an_editor() {
        use System::{Drupal, Generic, Joomla, WordPress};
        let form = "/wp-admin/post.php";
        let posts = "/wp-json/wp/v2/posts";
        let back = Some("http://a.kz/wp-admin/post.php?post=12&action=edit&message=1");
        let said = "/wp-admin/post.php?post=12&action=edit&message=1";
        let saying = "https://www.a.kz/wp-admin/post.php?post=12&action=edit&message=1";
        let bin = "/wp-admin/post.php?post=12&action=trash";
        let to_login = "http://a.kz/secret?redirect_to=http://a.kz/wp-admin/post.php?post=12";
        let table = [
            (WordPress, "POST", form, 302, back, true),
            (
                WordPress,
                "POST",
                form,
                302,
                Some("/wp-admin/edit.php?trashed=1"),
                true,
            ),
            // To the site's one name, as servers send everybody on.
            (
                WordPress,
                "POST",
                form,
                302,
                Some("https://www.a.kz/wp-admin/post.php"),
                false,
            ),
            (WordPress, "POST", said, 302, Some(saying), false),
            (WordPress, "POST", form, 301, back, false),
            (
                WordPress,
                "GET",
                bin,
                302,
                Some("https://www.a.kz/wp-admin/post.php?post=12&action=trash"),
                false,
            ),
            (
                WordPress,
                "GET",
                bin,
                302,
                Some("/wp-admin/edit.php?trashed=1&ids=12"),
                true,
            ),
            (
                WordPress,
                "GET",
                "/wp-admin/edit.php?action=trash&trashed=1",
                302,
                Some("https://www.a.kz/wp-admin/edit.php?action=trash&trashed=1"),
                false,
            ),
            (WordPress, "POST", form, 302, Some(to_login), false),
            (WordPress, "POST", form, 302, Some("http://a.kz/"), false),
            (WordPress, "POST", form, 200, None, false),
            (WordPress, "POST", form, 403, back, false),
            (WordPress, "POST", posts, 201, None, true),
            (
                WordPress,
                "PUT",
                "/wp-json/wp/v2/posts/12?_locale=user",
                200,
                None,
                true,
            ),
            (
                WordPress,
                "DELETE",
                "/wp-json/wp/v2/pages/12",
                200,
                None,
                true,
            ),
            (WordPress, "POST", posts, 401, None, false),
            (
                WordPress,
                "POST",
                "/wp-json/wp/v2/posts?_method=GET",
                200,
                None,
                false,
            ),
            (
                WordPress,
                "POST",
                "/wp-json/wp/v2/posts?%5Fmethod=GET",
                200,
                None,
                false,
            ),
            (
                WordPress,
                "POST",
                "/wp-json/wp/v2/posts?_locale=user&_method=GET",
                200,
                None,
                false,
            ),
            (
                WordPress,
                "POST",
                "/wp-json/wp/v2/comments",
                201,
                None,
                false,
            ),
            (
                WordPress,
                "POST",
                "/wp-json/wp/v2/posts/12/autosaves",
                200,
                None,
                false,
            ),
            (WordPress, "GET", posts, 200, None, false),
            (WordPress, "POST", "/jsonapi/node/article", 201, None, false),
            (Drupal, "POST", "/jsonapi/node/article", 201, None, true),
            (Drupal, "POST", "/jsonapi/node/article", 403, None, false),
            (
                Drupal,
                "POST",
                "/node/12/edit",
                303,
                Some("/node/12"),
                false,
            ),
            (
                Joomla,
                "POST",
                "/administrator/index.php?option=com_content",
                303,
                None,
                false,
            ),
            (Generic, "POST", form, 302, back, false),
        ];
        for (system, method, target, status, location, proves) in table {
            let write = Write {
                method: &Method::from_bytes(method.as_bytes()).expect("a method"),
                target: target.as_bytes(),
                status: StatusCode::from_u16(status).expect("a status"),
                location: location.map(str::as_bytes),
                form: b"",
                is_json: target.contains("json"),
            };
            let got = proves_its_author(&write, system);
            assert_eq!(
                got, proves,
                "{system:?} {method} {target} {status} {location:?}"
            );
        }
    }

    #[test]
    fn lists_are_told_from_articles() {
        for (target, listing) in [
            ("/", true),
            ("/?page=2", true),
            ("/kk/", true),
            ("/kk/sport/", true),
            ("/index.php", true),
            ("/kk/2026/05/title/", false),
            ("/kk/sport/title/feed/", true),
            ("/a/b/c/rss.xml", true),
            ("/sitemap_index.xml", true),
            ("/assets/site.css", false),
            ("/favicon.ico", false),
        ] {
            assert_eq!(is_listing(target.as_bytes()), listing, "{target}");
        }
    }

    proptest! {
        #[test]
        fn any_order_is_bounded_and_never_panics(
            target in proptest::collection::vec(any::<u8>(), 0..200),
            expression in proptest::collection::vec(0x20u8..0x7f, 0..100),
            tags in "[ -~]{0,200}",
        ) {
            let ban = Method::from_bytes(b"BAN").expect("a method");
            let beginning = literal_beginning(&expression);
            prop_assert!(beginning.starts_with(b"/") && beginning.len() <= expression.len() + 1);
            let order = PurgeOrder::of(&ban, &target, &fields(&[("cache-tags", &tags)]));
            if let Ok(PurgeOrder { what: What::Tags(marks) }) = order {
                prop_assert!(marks.len() <= ORDER_TAGS_MAX);
            }
            let write = Write { method: &Method::POST, target: &target, status: StatusCode::OK, location: Some(&expression), form: &expression, is_json: true };
            prop_assert!(touched_by(&write).len() <= 4);
        }

        #[test]
        fn what_an_order_says_becomes_stale(
            part in "[a-z]{1,6}",
            rest in "[a-z/]{0,9}",
            query in proptest::option::of("[a-z]=[0-9]"),
        ) {
            let query = query.map_or_else(String::new, |query| format!("?{query}"));
            let target = format!("/{part}/{rest}{query}");
            for what in [
                exact(&target),
                path(target.split('?').next().expect("one")),
                prefix(&format!("/{part}")),
                prefix(""),
            ] {
                let purges = Purges::default();
                purges.order(what);
                prop_assert_eq!(purges.fate(target.as_bytes(), &Tags::default(), 0).0, Fate::Stale);
            }
        }
    }
}
