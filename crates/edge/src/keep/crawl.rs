//! Pages that the site names and nobody has read here yet.
//!
//! Readers ask for today's pages; when the server is gone they ask for all of them. So in calm, behind everything else and one at a time, what
//! the site itself lists is fetched as an anonymous reader would: what its front page links to, and what these pages link to; its feeds;
//! its sitemaps, the newest pages first. No further: a calendar has no last page.
//!
//! Links with a query are followed only from feeds and sitemaps, because elsewhere they put things into baskets and end sessions. What is found
//! while the table is full is found again: lists are looked at anew every few minutes.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;

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
/// Steps from the front page: to a section, and to what the section lists.
const STEPS_MAX: u8 = 2;
/// What was asked for and could not be kept is asked for again: it may have been a bad day.
const REST: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Default)]
pub(super) struct Crawl {
    leads: HashMap<u64, Lead, foldhash::fast::RandomState>,
    turns: u64,
}

#[derive(Debug)]
struct Lead {
    address: Address,
    /// From the front page; a list counts as [`STEPS_MAX`].
    steps: u8,
    /// Last changed, as [`links::listed`] has it.
    day: u32,
    turn: u64,
    asked: Option<UnixMillis>,
}

/// What a page or a list names.
pub(super) struct Named {
    steps: u8,
    /// In the order in which they are worth asking for.
    targets: Vec<(u32, Box<[u8]>)>,
}

impl Named {
    /// Where sitemaps would be.
    pub(super) fn sitemaps() -> Self {
        Self {
            steps: 1,
            targets: SITEMAPS
                .iter()
                .map(|target| (0, target.as_bytes().into()))
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
        let leads_max = if named.steps <= 1 {
            LEADS_MAX
        } else {
            FAR_LEADS_MAX
        };
        for (day, target) in named.targets {
            if self.leads.len() >= leads_max {
                // What has been asked for has had its turn.
                let before = self.leads.len();
                self.leads.retain(|_, lead| lead.asked.is_none());
                if self.leads.len() == before {
                    return;
                }
            }
            let address = super::table::beside(page, target);
            let name = name_of(&address);
            if has(name) {
                continue;
            }
            self.turns += 1;
            let lead = self.leads.entry(name).or_insert(Lead {
                address,
                steps: named.steps,
                day,
                turn: self.turns,
                asked: None,
            });
            lead.steps = lead.steps.min(named.steps);
            lead.day = lead.day.max(day);
        }
    }

    pub(super) fn next(&mut self, now: UnixMillis) -> Option<Address> {
        let lead = self
            .leads
            .values_mut()
            .filter(|lead| lead.asked.is_none_or(|asked| now.since(asked) >= REST))
            .min_by_key(|lead| (lead.asked, lead.steps, Reverse(lead.day), lead.turn))?;
        lead.asked = Some(now);
        Some(lead.address.clone())
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
    if class == Class::Feed {
        let mut targets = Vec::new();
        links::listed(base, &response.body, &mut |target, day| {
            if is_page_like(path_of(target), true) {
                targets.push((day, Box::from(target)));
            }
        });
        targets.sort_by_key(|(day, _)| Reverse(*day));
        targets.truncate(LEADS_MAX);
        let steps = STEPS_MAX;
        return Some(Named { steps, targets });
    }
    let steps = if is_front(&page.target) { 0 } else { steps? };
    if class != Class::Page || steps >= STEPS_MAX {
        return None;
    }
    let mut targets = Vec::new();
    links::extract(Kind::Html, base, &response.body, &mut |role, target| {
        let leads_on = match role {
            Role::Page => !target.contains(&b'?') && is_page_like(target, false),
            Role::Feed => steps == 0,
            _ => false,
        };
        if leads_on && targets.len() < LEADS_MAX {
            targets.push((0, target.into()));
        }
    });
    Some(Named {
        steps: steps + 1,
        targets,
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
fn is_page_like(path: &[u8], in_list: bool) -> bool {
    const PAGES: [&[u8]; 5] = [b"html", b"htm", b"php", b"aspx", b"shtml"];
    let last = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    let Some(dot) = memchr::memrchr(b'.', last) else {
        return true;
    };
    let ending = last[dot + 1..].to_ascii_lowercase();
    let is_ending = (2..=5).contains(&ending.len()) && ending.iter().all(u8::is_ascii_alphanumeric);
    !is_ending || PAGES.contains(&&*ending) || in_list && ending == b"xml"
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
            assert_eq!(is_page_like(target.as_bytes(), false), page, "{target}");
        }
        assert!(is_page_like(b"/post-sitemap.xml", true));
    }
}
