//! Pages that the site names and nobody has read here yet.
//!
//! Readers ask for today's pages; when the server is gone they ask for all of them. So in calm, behind everything else and one at a time, what
//! the site itself lists is fetched as an anonymous reader would: what its front page links to, and what these pages link to; its feeds;
//! its sitemaps, the newest pages first. No further: a calendar has no last page.
//!
//! Links with a query are followed only from feeds and sitemaps, because elsewhere they put things into baskets and end sessions; nor those
//! that ask not to be followed, or whose words say that they do something. What is found
//! while the table is full is found again: lists are looked at anew every few minutes.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::refresh::is_due;
use super::table::Class;
use crate::clock::UnixMillis;
use crate::disk::record::{Address, Response};
use crate::known::links::{self, Kind, Role};

/// Lists that nothing links to; where systems and their plugins put them.
pub const SITEMAPS: [&str; 3] = ["/sitemap.xml", "/sitemap_index.xml", "/wp-sitemap.xml"];

/// Of a site: two hours' work at [`GAP`](super::refresh::GAP), and lists are looked at anew long before.
const LEADS_MAX: usize = 4_096;
/// Of these, what only sitemaps and pages behind the front page name: the front page's own links always find room.
const FAR_LEADS_MAX: usize = LEADS_MAX / 4 * 3;
/// Steps from the front page: to a section, and to what the section lists. A feed's articles and the parts of a sitemap are as near.
const STEPS_MAX: u8 = 2;
/// What a sitemap lists: the archive, when today's paper is saved.
const ARCHIVE: u8 = STEPS_MAX + 1;
/// A page that was answered and could not be kept is as one that has failed so often.
const TRIES_OF_ANSWERED: u32 = 16;
/// A link with one of these in its path does something, or leads to no page. Only links are held against it: what a list names is a page.
const DOINGS: [&str; 40] = [
    "activate",
    "add",
    "add-to-cart",
    "add_to_cart",
    "add_to_wishlist",
    "ajax",
    "api",
    "clear-cache",
    "compare",
    "confirm",
    "cron.php",
    "delete",
    "dislike",
    "dl",
    "download",
    "exit",
    "flag",
    "get",
    "install.php",
    "invite",
    "like",
    "log-out",
    "logoff",
    "logout",
    "mobile",
    "pdf",
    "print",
    "rate",
    "remove",
    "reset-password",
    "set-lang",
    "share",
    "shygu",
    "sign-out",
    "signout",
    "subscribe",
    "unsubscribe",
    "update.php",
    "vote",
    "vyhod",
];

#[derive(Debug, Default)]
pub(super) struct Crawl {
    leads: HashMap<u64, Lead, foldhash::fast::RandomState>,
    turns: u64,
}

#[derive(Debug)]
struct Lead {
    address: Address,
    /// From the front page; [`ARCHIVE`].
    steps: u8,
    /// Lists name what else there is.
    is_list: bool,
    /// Last changed, as [`links::listed`] has it.
    day: u32,
    turn: u64,
    asked: Option<UnixMillis>,
    /// Times it was asked for and did not come.
    tries: u32,
}

/// What a page or a list names.
pub(super) struct Named {
    /// Steps, day and target, in the order in which they are worth asking for.
    targets: Vec<(u8, u32, Box<[u8]>)>,
}

impl Named {
    /// Where sitemaps would be.
    pub(super) fn sitemaps() -> Self {
        Self {
            targets: SITEMAPS
                .iter()
                .map(|target| (1, 0, target.as_bytes().into()))
                .collect(),
        }
    }
}

impl Crawl {
    /// `has`: it is kept already.
    pub(super) fn follow(
        &mut self,
        page: &Address,
        named: Named,
        name_of: impl Fn(&Address) -> u64,
        has: impl Fn(u64) -> bool,
    ) {
        for (steps, day, target) in named.targets {
            let address = super::table::beside(page, target);
            let name = name_of(&address);
            if !has(name) && !self.lead_to(name, address, steps, day) {
                return;
            }
        }
    }

    /// False: there is no room.
    fn lead_to(&mut self, name: u64, address: Address, steps: u8, day: u32) -> bool {
        let leads_max = if steps <= 1 { LEADS_MAX } else { FAR_LEADS_MAX };
        if self.leads.len() >= leads_max {
            // What has been asked for has had its turn.
            self.leads.retain(|_, lead| lead.asked.is_none());
            if self.leads.len() >= leads_max {
                return false;
            }
        }
        self.turns += 1;
        let lead = self.leads.entry(name).or_insert(Lead {
            is_list: path_of(&address.target).ends_with(b".xml"),
            address,
            steps,
            day,
            turn: self.turns,
            asked: None,
            tries: 0,
        });
        lead.steps = lead.steps.min(steps);
        lead.day = lead.day.max(day);
        true
    }

    /// The page with this name is somewhere else.
    pub(super) fn sent_on(&mut self, from: u64, name: u64, to: Address) {
        let steps = self.leads.get(&from).map_or(1, |lead| lead.steps);
        self.lead_to(name, to, steps, 0);
    }

    pub(super) fn next(&mut self, now: UnixMillis) -> Option<Address> {
        let lead = self
            .leads
            .values_mut()
            .filter(|lead| is_due(lead.asked, lead.tries, now))
            .min_by_key(|lead| (lead.steps, !lead.is_list, Reverse(lead.day), lead.turn))?;
        lead.asked = Some(now);
        lead.tries = lead.tries.saturating_add(1);
        Some(lead.address.clone())
    }

    /// It was answered, and as long as it is not kept the answer was none to keep.
    pub(super) fn answered(&mut self, name: u64) {
        if let Some(lead) = self.leads.get_mut(&name) {
            lead.tries = TRIES_OF_ANSWERED;
        }
    }

    pub(super) fn leads_to(&self, name: u64) -> bool {
        self.leads.contains_key(&name)
    }

    /// It has come. How far it is from the front page, if this is why it was asked for.
    pub(super) fn came(&mut self, name: u64) -> Option<u8> {
        self.leads.remove(&name).map(|lead| lead.steps)
    }

    pub(super) fn forget(&mut self, is_gone: &dyn Fn(&[u8]) -> bool) {
        self.leads.retain(|_, lead| !is_gone(&lead.address.target));
    }
}

/// `steps`: of this page from the front page, if anything of it is to be followed.
pub(super) fn named(
    class: Class,
    response: &Response,
    page: &Address,
    steps: Option<u8>,
) -> Option<Named> {
    let base = links::Base {
        host: &page.host,
        target: &page.target,
    };
    let mut targets = Vec::new();
    if class == Class::Feed {
        let is_map = ["<urlset", "<sitemapindex"]
            .iter()
            .any(|root| memchr::memmem::find(&response.body, root.as_bytes()).is_some());
        links::listed(base, &response.body, &mut |target, day| {
            let is_list = path_of(target).ends_with(b".xml");
            let steps = if is_map && !is_list {
                ARCHIVE
            } else {
                STEPS_MAX
            };
            if is_list || is_page_like(path_of(target)) {
                targets.push((steps, day, Box::from(target)));
            }
        });
        // WordPress's own begin with the oldest, and most of them name no day.
        if page.target.starts_with(b"/wp-sitemap") {
            targets.reverse();
        }
        targets.sort_by_key(|(_, day, _)| Reverse(*day));
        targets.truncate(LEADS_MAX);
        return Some(Named { targets });
    }
    let steps = if is_front(&page.target) { 0 } else { steps? };
    if class != Class::Page || steps >= STEPS_MAX {
        return None;
    }
    links::extract(Kind::Html, base, &response.body, &mut |role, target| {
        let leads_on = match role {
            Role::Page => {
                !target.contains(&b'?') && is_page_like(target) && !does_something(target)
            }
            Role::Feed => steps == 0,
            _ => false,
        };
        if leads_on && targets.len() < LEADS_MAX {
            targets.push((steps + 1, 0, target.into()));
        }
    });
    Some(Named { targets })
}

fn does_something(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').any(|segment| {
        DOINGS
            .iter()
            .any(|doing| segment.eq_ignore_ascii_case(doing.as_bytes()))
    })
}

/// The site's, or one of its languages': `/`, `/kk/`, `/en-us`.
pub(super) fn is_front(target: &[u8]) -> bool {
    let path = target.strip_prefix(b"/").unwrap_or(target);
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let is_word = |word: &[u8]| word.len() == 2 && word.iter().all(u8::is_ascii_lowercase);
    match path {
        b"" => true,
        [language @ .., b'-', _, _] => is_word(language) && is_word(&path[3..]),
        language => is_word(language),
    }
}

fn path_of(target: &[u8]) -> &[u8] {
    target.split(|byte| *byte == b'?').next().unwrap_or(target)
}

/// Downloads are not the newspaper; a site says by an ending that something is one.
fn is_page_like(path: &[u8]) -> bool {
    const PAGES: [&[u8]; 5] = [b"html", b"htm", b"php", b"aspx", b"shtml"];
    let last = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    let Some(dot) = memchr::memrchr(b'.', last) else {
        return true;
    };
    let ending = last[dot + 1..].to_ascii_lowercase();
    let is_ending = (2..=5).contains(&ending.len()) && ending.iter().all(u8::is_ascii_alphanumeric);
    !is_ending || PAGES.contains(&&*ending)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn front_pages_and_pages_are_known_by_their_addresses() {
        for (target, front, page) in [
            ("/", true, true),
            ("/kk/", true, true),
            ("/en-us", true, true),
            ("/kk/sport/", false, true),
            ("/far", false, true),
            ("/a-bc/", false, true),
            ("/2026/05/title/", false, true),
            ("/title.html", false, true),
            ("/index.php", false, true),
            ("/report.pdf", false, false),
            ("/photo.JPEG", false, false),
            ("/2026/the-u.s.-and-us/", false, true),
            ("/post-sitemap.xml", false, false),
        ] {
            assert_eq!(is_front(target.as_bytes()), front, "{target}");
            assert_eq!(is_page_like(target.as_bytes()), page, "{target}");
        }
        for (path, does) in [
            ("/vote/up/12/", true),
            ("/kk/Logout", true),
            ("/news/add", true),
            ("/news/additional-information/", false),
            ("/2026/05/print-media/", false),
        ] {
            assert_eq!(does_something(path.as_bytes()), does, "{path}");
        }
    }
}
