//! The always-online copies: real files, pages as newspapers make them.

#![expect(
    clippy::unwrap_used,
    reason = "what helpers of a test cannot do fails the test"
)]

use std::fs;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use saqta_edge::cache::key::Scheme;
use saqta_edge::cache::status::CacheStatus;
use saqta_edge::cache::stored::{Shape, Stored};
use saqta_edge::clock::UnixMillis;
use saqta_edge::compress::Coding;
use saqta_edge::disk::permitted::{Ground, Permitted};
use saqta_edge::disk::record::{Identity, Response};
use saqta_edge::keep::good::{MANY, MEANT_AFTER, TOGETHER};
use saqta_edge::keep::refresh::{ARTICLE_EVERY, FRONT_EVERY, GAP};
use saqta_edge::keep::{GONE_AFTER, Keep, KeepPlan, KeepSite, Traits, WITHDRAWN_FOR};
use saqta_edge::plan::Language;

const NOW: UnixMillis = UnixMillis(1_750_000_000_000);
const MIB: u64 = 1024 * 1024;

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBERS: AtomicU32 = AtomicU32::new(0);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("saqta-keep-{}-{number}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        Self(path)
    }

    fn holds(&self, bytes: &[u8]) -> bool {
        let mut files = Vec::new();
        walk(&self.0, &mut files);
        files.iter().any(|file| {
            let text = fs::read(file).unwrap();
            text.windows(bytes.len()).any(|window| window == bytes)
        })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, files);
        } else {
            files.push(path);
        }
    }
}

struct Kept {
    folder: Folder,
    keep: Option<Keep>,
    bytes_max: u64,
}

impl Kept {
    fn new() -> Self {
        Self::with(256 * MIB)
    }

    fn with(bytes_max: u64) -> Self {
        let mut kept = Self {
            folder: Folder::new(),
            keep: None,
            bytes_max,
        };
        kept.restart();
        kept
    }

    fn restart(&mut self) {
        self.restart_as("kaztag", &["kaztag.kz"]);
    }

    fn restart_as(&mut self, name: &str, hosts: &[&str]) {
        self.restart_beside(name, hosts, &[]);
    }

    /// `unwanted`: names and hosts of a site beside it that wants no copies.
    fn restart_beside(&mut self, name: &str, hosts: &[&str], unwanted: &[&str]) {
        self.keep = None;
        let plan = KeepPlan {
            unwanted: unwanted.iter().map(|name| name.as_bytes().into()).collect(),
            sites: vec![KeepSite {
                name: name.as_bytes().into(),
                bytes_max: self.bytes_max,
                hosts: hosts.iter().map(|host| host.as_bytes().into()).collect(),
                front: hosts
                    .first()
                    .map(|host| (Scheme::Https, host.as_bytes().into())),
                language: Language::Kazakh,
            }],
            age_max: Duration::from_secs(30 * 24 * 3600),
        };
        let keep = Keep::open(&self.folder.0, &plan, *b"sixteen of these").unwrap();
        keep.settle();
        self.keep = Some(keep);
    }

    fn keep(&self) -> &Keep {
        self.keep.as_ref().unwrap()
    }

    fn offer(&self, target: &str, response: &Response, now: UnixMillis) -> bool {
        self.offer_with(target, Traits::default(), response, now)
    }

    fn offer_with(
        &self,
        target: &str,
        traits: Traits,
        response: &Response,
        now: UnixMillis,
    ) -> bool {
        let page = page(target);
        let permitted = Permitted::new(page, Ground::PublicLink, &response.headers, &[]).unwrap();
        let offered = self.keep().offer(&permitted, traits, response, false, now);
        self.keep().settle();
        offered
    }

    fn copy(&self, target: &str) -> Option<Arc<Stored>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(self.keep().copy(&page(target)))
    }

    fn text(&self, target: &str) -> Option<String> {
        let copy = self.copy(target)?;
        Some(String::from_utf8(copy.body().to_vec()).unwrap())
    }

    /// Is there a file that says so?
    fn holds(&self, title: &str) -> bool {
        self.folder
            .holds(format!("<title>{title}</title>").as_bytes())
    }

    fn answered(&self, target: &str, status: u16, now: UnixMillis) {
        let status = StatusCode::from_u16(status).unwrap();
        self.keep().answered(&page(target), status, now);
        self.keep().settle();
    }

    fn fetched(&self, target: &str, now: UnixMillis) {
        self.keep().fetched(&page(target).to_address(), now);
    }

    /// What is due from then on, in order, each when the one before has been answered.
    fn asked_from(
        &self,
        mut now: UnixMillis,
        mut answer: impl FnMut(&str, UnixMillis),
    ) -> Vec<String> {
        let mut asked = Vec::new();
        while let Some(target) = self.due(now) {
            answer(&target, now);
            self.fetched(&target, now);
            asked.push(target);
            now = now.plus(GAP);
        }
        asked
    }

    fn due(&self, now: UnixMillis) -> Option<String> {
        let due = self.keep().due(b"kaztag", now)?;
        Some(String::from_utf8(due.target.to_vec()).unwrap())
    }
}

fn page(target: &str) -> Identity<'_> {
    Identity {
        site: b"kaztag",
        scheme: Scheme::Https,
        host: b"kaztag.kz",
        target: target.as_bytes(),
        mark: b"",
    }
}

fn response(content_type: &'static str, body: &str) -> Response {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("content-type", content_type),
        ("etag", "\"origin\""),
        ("last-modified", "Sun, 15 Jun 2025 12:00:00 GMT"),
        ("cache-control", "max-age=60"),
    ] {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    Response {
        status: StatusCode::OK,
        headers,
        body: Bytes::copy_from_slice(body.as_bytes()),
        received: NOW,
        age_secs: 0,
    }
}

fn article(title: &str, words: usize) -> Response {
    let text = "Words of an article. ".repeat(words);
    response(
        "text/html; charset=utf-8",
        &format!(
            "<!doctype html><html lang=ru><head><title>{title}</title></head><body><p>{text}</p></body></html>"
        ),
    )
}

fn later(secs: u64) -> UnixMillis {
    NOW.plus(Duration::from_secs(secs))
}

#[test]
fn a_copy_says_what_it_is_and_its_fields_are_its_own() {
    let kept = Kept::new();
    assert!(kept.offer("/a", &article("Title", 200), NOW));
    let copy = kept.copy("/a").unwrap();
    let text = std::str::from_utf8(copy.body()).unwrap();
    assert!(
        text.contains("<body><div role=\"status\" lang=\"ru\"") && text.contains("15 июня 2025")
    );
    let field = |name| {
        copy.headers()
            .get(name)
            .map(|value| value.to_str().unwrap())
    };
    assert_eq!(
        field("content-length"),
        Some(text.len().to_string().as_str())
    );
    assert_eq!(field("cache-control"), Some("no-store"));
    assert_eq!(field("last-modified"), None);
    assert!(field("etag").unwrap().starts_with("\"copy-"));
    let status = CacheStatus::default().with_detail("saved-copy");
    let shape = Shape::Whole(Coding::Identity);
    let answer = copy.answer(&shape, &Method::GET, NOW, &status);
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.body.concat(), copy.body().as_ref());
    // At hand the second time.
    assert!(Arc::ptr_eq(&copy, &kept.copy("/a").unwrap()));
    assert!(kept.copy("/b").is_none());
}

#[test]
fn feeds_and_assets_are_not_marked() {
    let kept = Kept::new();
    let feed = "<rss><channel><link>https://kaztag.kz/</link></channel></rss>";
    kept.offer("/feed", &response("application/rss+xml", feed), NOW);
    assert_eq!(kept.text("/feed").as_deref(), Some(feed));
    let json = response("application/json", "{}");
    assert!(!kept.offer("/wp-json/", &json, NOW));
    assert!(kept.copy("/wp-json/").is_none());
}

#[test]
fn what_the_page_needs_comes_along_and_goes_with_it() {
    let mut kept = Kept::new();
    let needs = |asset: &str| {
        response(
            "text/html",
            &format!(
                "<html lang=en><head><title>T</title><link rel=stylesheet href=/s.css><link rel=stylesheet href={asset}></head><body>x</body></html>"
            ),
        )
    };
    let style = response("text/css", "@font-face{src:url(/f.woff2)} STYLE-OF-BOTH");
    assert!(!kept.offer("/s.css", &style, NOW), "no page needs it");
    kept.offer("/a", &needs("/only-a.css"), NOW);
    kept.offer("/b", &needs("/only-b.css"), NOW);
    for (target, body) in [
        ("/s.css", "@font-face{src:url(/f.woff2)} STYLE-OF-BOTH"),
        ("/only-a.css", "STYLE-OF-A"),
        ("/only-b.css", "STYLE-OF-B"),
    ] {
        assert!(
            kept.offer(target, &response("text/css", body), NOW),
            "{target}"
        );
    }
    assert!(kept.offer("/f.woff2", &response("font/woff2", "FONT"), NOW));
    for _ in 0..2 {
        assert_eq!(kept.text("/f.woff2").as_deref(), Some("FONT"));
        assert_eq!(kept.keep().stats().assets, 4);
        kept.restart();
    }
    let forget = |kept: &Kept, gone: &'static [u8]| {
        let is_gone = Box::new(move |target: &[u8]| target == gone);
        kept.keep().forget(b"kaztag", is_gone)
    };
    assert_eq!(forget(&kept, b"/a"), 2);
    assert!(!kept.folder.holds(b"STYLE-OF-A") && !kept.folder.holds(b"/only-a.css"));
    assert!(kept.text("/s.css").is_some() && kept.text("/b").is_some());
    assert_eq!(forget(&kept, b"/b"), 4);
    assert!(!kept.folder.holds(b"STYLE") && !kept.folder.holds(b"FONT"));
    assert_eq!(kept.keep().stats().bytes, 0);
    assert!(kept.copy("/b").is_none());
}

#[test]
fn a_wreck_does_not_take_the_place_of_a_page() {
    let kept = Kept::new();
    kept.offer("/a", &article("Title", 200), NOW);
    for wreck in [
        article("Title", 3),
        article("", 200),
        article("Database Error", 200),
        response("text/html", "Error establishing a database connection"),
        response(
            "text/html",
            "<html lang=ru><head><title>Title</title></head><body><p>cut",
        ),
    ] {
        kept.offer("/a", &wreck, later(60));
        assert!(kept.text("/a").unwrap().contains("<title>Title</title>"));
    }
    assert_eq!(kept.keep().stats().held_back, 5);
    // A page that stays short means it; an error never does.
    let meant = later(60).plus(MEANT_AFTER);
    kept.offer(
        "/a",
        &response("text/html", "Error establishing a database connection"),
        meant,
    );
    assert!(kept.text("/a").unwrap().contains("Words of"));
    kept.offer("/a", &article("Corrected", 3), meant);
    assert!(kept.text("/a").unwrap().contains("Corrected"));
    // A first version has only itself to speak for it.
    kept.offer(
        "/b",
        &response("text/html", "Error establishing a database connection"),
        NOW,
    );
    assert!(kept.copy("/b").is_none());
}

#[test]
fn one_title_at_many_addresses_is_taken_back() {
    let kept = Kept::new();
    let targets: Vec<String> = (0..5).map(|number| format!("/{number}")).collect();
    for target in &targets {
        kept.offer(target, &article(target, 200), NOW);
    }
    let broken_in = later(3600);
    for target in &targets {
        kept.offer(target, &article("Hacked", 200), broken_in);
    }
    for target in &targets {
        assert!(
            kept.text(target)
                .unwrap()
                .contains(&format!("<title>{target}"))
        );
    }
    assert_eq!(kept.keep().stats().taken_back, 2);
    // A day later it is their new name.
    for target in &targets {
        kept.offer(target, &article("Hacked", 200), broken_in.plus(MEANT_AFTER));
    }
    assert!(kept.text("/4").unwrap().contains("Hacked"));
}

#[test]
fn what_a_version_before_needs_is_there_when_it_is_needed_again() {
    let mut kept = Kept::new();
    let page = |title: &str, asset: &str| {
        response(
            "text/html",
            &format!(
                "<html lang=en><head><title>{title}</title><link rel=stylesheet href={asset}></head><body>x</body></html>"
            ),
        )
    };
    for number in 0..3 {
        let (target, style) = (format!("/{number}"), format!("/{number}.css"));
        kept.offer(&target, &page(&target, &style), NOW);
        kept.offer(&style, &response("text/css", "a{}"), NOW);
    }
    for number in 0..2 {
        kept.offer(
            &format!("/{number}"),
            &page("Hacked", "/evil.css"),
            later(60),
        );
    }
    kept.restart();
    assert_eq!(kept.keep().stats().assets, 3);
    for number in 0..2 {
        kept.offer(
            &format!("/{number}"),
            &page("Hacked", "/evil.css?2"),
            later(120),
        );
    }
    // Two versions without it, and nobody needs it.
    assert_eq!(kept.keep().stats().assets, 1);
}

#[test]
fn a_new_page_in_bad_company_is_not_believed() {
    let kept = Kept::new();
    for number in 0..3 {
        let target = format!("/{number}");
        kept.offer(&target, &article(&target, 200), NOW);
        kept.offer(&target, &article("Hacked", 200), later(60 + number));
    }
    kept.offer("/new", &article("Hacked", 200), later(70));
    assert!(kept.copy("/new").is_none());
}

#[test]
fn an_editors_day_is_no_mass_change() {
    let kept = Kept::new();
    for number in 0..40 {
        let target = format!("/{number}");
        kept.offer(&target, &article(&target, 200), NOW);
    }
    for round in 1..20_u64 {
        let at = NOW.plus(TOGETHER * u32::try_from(round).unwrap());
        for number in 0..40 {
            let target = format!("/{number}");
            let corrected = round % 20 == number % 20;
            let title = if corrected {
                format!("{target} v{round}")
            } else {
                target.clone()
            };
            let words = if corrected { 220 } else { 200 };
            kept.offer(&target, &article(&title, words), at);
        }
    }
    assert_eq!(kept.keep().stats().held_back, 0, "{MANY}");
}

#[test]
fn withdrawn_pages_go_and_missing_ones_when_it_lasts() {
    let kept = Kept::new();
    for target in ["/gone", "/law", "/missing", "/back"] {
        kept.offer(target, &article(target, 50), NOW);
    }
    kept.answered("/gone", 410, NOW);
    kept.answered("/law", 451, NOW);
    assert!(kept.copy("/gone").is_none() && kept.copy("/law").is_none());
    kept.answered("/missing", 404, NOW);
    kept.answered("/back", 404, NOW);
    kept.answered("/missing", 404, later(GONE_AFTER.as_secs() - 1));
    assert!(kept.copy("/missing").is_some());
    kept.offer("/back", &article("/back", 50), later(300));
    let lasting = later(GONE_AFTER.as_secs());
    kept.answered("/missing", 404, lasting);
    kept.answered("/back", 404, lasting);
    assert!(kept.copy("/missing").is_none() && kept.copy("/back").is_some());
    kept.answered("/back", 500, lasting);
    assert!(kept.copy("/back").is_some());
}

/// A provider that closes a site says 451 of all of it.
#[test]
fn when_everything_is_withdrawn_nothing_goes() {
    for status in [410, 451] {
        let mut kept = Kept::new();
        let targets: Vec<String> = (0..20).map(|number| format!("/{number}")).collect();
        for target in &targets {
            kept.offer(target, &article(target, 50), NOW);
        }
        for (second, target) in targets.iter().enumerate() {
            kept.answered(target, status, later(second as u64));
        }
        for (minute, target) in targets.iter().enumerate() {
            kept.answered(target, status, later(60 + 60 * minute as u64));
        }
        for target in &targets {
            assert!(kept.copy(target).is_some(), "{status} {target}");
        }
        kept.restart();
        assert_eq!(kept.keep().stats().pages, 20, "{status}");
    }
}

#[test]
fn a_front_page_is_never_withdrawn_and_says_that_the_others_are_not() {
    let kept = Kept::new();
    for target in ["/", "/a", "/b"] {
        kept.offer(target, &article(target, 50), NOW);
    }
    kept.answered("/a", 451, NOW);
    assert!(kept.copy("/a").is_none());
    kept.answered("/", 451, later(1));
    kept.answered("/b", 451, later(120));
    for target in ["/", "/a", "/b"] {
        assert!(kept.copy(target).is_some(), "{target}");
    }
}

#[test]
fn what_was_withdrawn_is_gone_after_a_restart_and_back_when_its_page_is() {
    let mut kept = Kept::new();
    for target in ["/gone", "/back"] {
        kept.offer(target, &article(target, 50), NOW);
        kept.offer(target, &article(target, 60), later(1));
        kept.answered(target, 410, later(2));
    }
    kept.offer("/back", &article("/back", 60), later(3));
    assert!(kept.copy("/back").is_some());
    // Hidden, and its file is there for a minute more; not for a program that ends within it.
    kept.restart();
    assert!(kept.copy("/gone").is_none() && kept.copy("/back").is_some());

    kept.offer("/gone", &article("/gone", 60), later(4));
    kept.answered("/gone", 410, later(5));
    let count = || {
        let mut files = Vec::new();
        walk(&kept.folder.0, &mut files);
        files.len()
    };
    let files = count();
    kept.offer(
        "/back",
        &article("/back", 60),
        later(5 + WITHDRAWN_FOR.as_secs()),
    );
    assert_eq!(kept.keep().stats().pages, 1);
    assert!(files > count());
}

/// `saved = false` for one of two sites.
#[test]
fn a_site_that_wants_no_copies_loses_them_whatever_it_was_called() {
    for unwanted in ["kaztag", "kaztag.kz"] {
        let mut kept = Kept::new();
        kept.offer("/a", &article("/a", 50), UnixMillis::now());
        assert!(kept.holds("/a"));
        kept.restart_as("other", &["other.kz"]);
        assert!(kept.holds("/a"), "a site that is left out may be back");
        kept.restart_beside("other", &["other.kz"], &[unwanted]);
        assert!(!kept.holds("/a"), "{unwanted}");
    }
}

/// An operator puts the names in another order, or adds a mirror in front, on the worst of days.
#[test]
fn a_site_called_otherwise_keeps_its_copies() {
    let now = UnixMillis::now();
    for (name, hosts) in [
        ("KazTAG", &["kaztag.kz"][..]),
        ("www.kaztag.kz", &["www.kaztag.kz", "kaztag.kz"]),
    ] {
        let mut kept = Kept::new();
        for target in ["/", "/a"] {
            kept.offer(target, &article(target, 50), now);
            kept.offer(
                target,
                &article(target, 60),
                now.plus(Duration::from_secs(1)),
            );
        }
        let before = kept.keep().stats();
        kept.restart_as("other.kz", &["other.kz"]);
        assert_eq!(kept.keep().stats().pages, 0, "its host is nobody's today");
        kept.restart_as(name, hosts);
        let after = kept.keep().stats();
        assert_eq!((after.pages, after.bytes), (before.pages, before.bytes));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let found = Identity {
            site: name.as_bytes(),
            ..page("/a")
        };
        assert!(
            runtime.block_on(kept.keep().copy(&found)).is_some(),
            "{name}"
        );
        kept.restart();
        assert!(kept.copy("/a").is_some(), "and back");
    }
}

#[test]
fn when_everything_is_missing_nothing_goes() {
    let kept = Kept::new();
    let targets: Vec<String> = (0..20).map(|number| format!("/{number}")).collect();
    for target in &targets {
        kept.offer(target, &article(target, 50), NOW);
    }
    for secs in [0, GONE_AFTER.as_secs(), 2 * GONE_AFTER.as_secs()] {
        for target in &targets {
            kept.answered(target, 404, later(secs));
        }
    }
    // The first few are alone in it only until the others are seen.
    assert_eq!(kept.keep().stats().pages, 20);
}

#[test]
fn what_must_not_be_kept_is_not_and_goes_if_it_was() {
    let kept = Kept::new();
    let forbidden = [
        Traits {
            preview: true,
            ..Traits::default()
        },
        Traits {
            nonce: true,
            ..Traits::default()
        },
        Traits {
            password_protected: true,
            ..Traits::default()
        },
        Traits {
            token: true,
            ..Traits::default()
        },
        Traits {
            search: true,
            ..Traits::default()
        },
    ];
    for traits in forbidden {
        kept.offer("/a", &article("Public", 50), NOW);
        assert!(kept.copy("/a").is_some());
        assert!(!kept.offer_with("/a", traits, &article("Public", 51), NOW));
        assert!(kept.copy("/a").is_none(), "{traits:?}");
    }
}

#[test]
fn a_damaged_copy_gives_way_to_the_version_before() {
    let kept = Kept::new();
    kept.offer("/a", &article("First", 100), NOW);
    kept.offer("/a", &article("Second", 100), later(60));
    let mut files = Vec::new();
    walk(&kept.folder.0.join("sites"), &mut files);
    assert_eq!(files.len(), 2);
    for file in files {
        let mut bytes = fs::read(&file).unwrap();
        if bytes.windows(6).any(|window| window == b"Second") {
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            fs::write(&file, bytes).unwrap();
        }
    }
    assert!(kept.text("/a").unwrap().contains("First"));
    kept.keep().settle();
    // Mended: what the origin says again is a new version.
    assert_eq!(kept.keep().stats().broken, 1);
    kept.offer("/a", &article("Second", 100), later(120));
    assert!(kept.text("/a").unwrap().contains("Second"));
}

#[test]
fn copies_survive_a_restart_with_both_versions() {
    let mut kept = Kept::new();
    kept.offer("/a", &article("First", 100), NOW);
    kept.offer("/a", &article("Second", 100), later(60));
    kept.offer("/a", &article("Third", 100), later(120));
    let bytes = kept.keep().stats().bytes;
    assert!(!kept.folder.holds(b"First"), "two versions are enough");
    kept.restart();
    assert_eq!(kept.keep().stats().bytes, bytes);
    assert!(kept.text("/a").unwrap().contains("Third"));
    // Known again: neither a new version nor held back.
    kept.offer("/a", &article("Third", 100), later(180));
    assert_eq!(kept.keep().stats().unchanged, 1);
    let mut pages = Vec::new();
    let all = kept.keep().for_each_copy(b"kaztag", |copy| {
        let is_third = memchr::memmem::find(&copy.response.body, b"Third").is_some();
        pages.push((copy.address.target.clone(), is_third, copy.seen));
        ControlFlow::Continue(())
    });
    assert!(all.is_continue());
    assert_eq!(pages, [(Box::from(&b"/a"[..]), true, later(120))]);
    // The newest file is torn when the program starts: the one before is what there is.
    let mut files = Vec::new();
    walk(&kept.folder.0.join("sites"), &mut files);
    for file in files {
        let bytes = fs::read(&file).unwrap();
        if bytes.windows(5).any(|window| window == b"Third") {
            fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
        }
    }
    kept.restart();
    assert!(kept.text("/a").unwrap().contains("Second"));
}

#[test]
fn a_budget_holds_and_what_was_seen_last_stays() {
    let kept = Kept::with(2 * MIB);
    for number in 0..200_u64 {
        let target = format!("/{number}");
        kept.offer(&target, &article(&target, 1500), later(number));
        assert!(kept.keep().stats().bytes <= 2 * MIB);
    }
    assert!(kept.copy("/199").is_some() && kept.copy("/0").is_none());
    assert!(kept.keep().stats().pages > 30);
}

#[test]
fn what_is_old_is_not_todays_newspaper() {
    let kept = Kept::new();
    kept.offer("/old", &article("Old", 50), NOW);
    kept.offer("/new", &article("New", 50), later(31 * 24 * 3600));
    assert!(kept.copy("/old").is_none() && kept.copy("/new").is_some());
}

#[test]
fn the_front_page_is_looked_at_first_and_one_at_a_time() {
    let kept = Kept::new();
    assert_eq!(kept.due(NOW).as_deref(), Some("/"));
    assert_eq!(kept.due(later(5)), None, "one at a time");
    let front = response(
        "text/html",
        "<html lang=kk><head><title>T</title><link rel=stylesheet href=/s.css></head><body>x</body></html>",
    );
    kept.offer("/", &front, later(6));
    kept.fetched("/", later(6));
    assert_eq!(kept.due(later(6)), None, "not at once");
    // Then what it needs, at the next planning.
    assert_eq!(kept.due(later(61)).as_deref(), Some("/s.css"));
    kept.offer("/s.css", &response("text/css", "a{}"), later(62));
    kept.fetched("/s.css", later(62));
    for target in ["/a", "/b"] {
        kept.offer(target, &article(target, 50), later(62));
    }
    for _ in 0..3 {
        kept.keep().read(&page("/b"));
    }
    kept.keep().read(&page("/a"));
    let now = later(62 + FRONT_EVERY.as_secs().max(ARTICLE_EVERY.as_secs()));
    let asked = kept.asked_from(now, |_, _| ());
    let lists = ["/sitemap.xml", "/sitemap_index.xml", "/wp-sitemap.xml"];
    assert_eq!(asked[..3], ["/", "/b", "/a"]);
    assert_eq!(asked[3..], lists);
    assert_eq!(kept.due(now), None);
}

/// A server that was busy for a moment would otherwise leave a page without its style sheet for hours.
#[test]
fn what_is_missing_is_asked_for_again_and_ever_less_often() {
    let kept = Kept::new();
    assert_eq!(kept.due(NOW).as_deref(), Some("/"));
    let front = response(
        "text/html",
        "<html lang=kk><head><title>T</title><link rel=stylesheet href=/s.css></head><body>x</body></html>",
    );
    kept.offer("/", &front, NOW);
    assert!(kept.keep().lacks(&page("/s.css")) && !kept.keep().lacks(&page("/other.css")));
    let mut asked = Vec::new();
    for minute in 0..24 * 60 {
        let now = later(60 * minute);
        kept.fetched("/", now);
        if kept.due(now.plus(GAP)).as_deref() == Some("/s.css") {
            asked.push(minute);
        }
        kept.offer("/", &front, now);
    }
    let rests: Vec<u64> = asked.windows(2).map(|two| two[1] - two[0]).collect();
    assert_eq!(&rests[..8], [1, 2, 4, 8, 16, 32, 64, 128], "{asked:?}");
    assert!(rests[8..].iter().all(|rest| *rest <= 360), "{asked:?}");
    kept.offer("/s.css", &response("text/css", "a{}"), later(25 * 3600));
    assert!(!kept.keep().lacks(&page("/s.css")));
}

/// A page as themes make them: whatever it loads comes, what makes it readable first, and the same pictures in other sizes last.
#[test]
fn what_a_page_needs_comes_in_the_order_in_which_it_matters() {
    let mut kept = Kept::new();
    let story = "<!doctype html><html lang=kk><head><title>T</title><link rel=manifest href=/m.json>\
         <link rel=preload as=image href=/lead.jpg imagesrcset='/lead-300.jpg 300w'></head>\
         <body><img src=/a.jpg srcset='/a-300.jpg 300w, /a.jpg 900w'><div style='background:url(/b.jpg)'></div>\
         <style>@import '/late.css'; @font-face{src:url(/f.woff2)}</style><script src=/j.js></script>\
         <video src=/v.mp4 poster=/p.jpg></video></body></html>";
    kept.offer("/", &response("text/html", story), NOW);
    // What is wanted is wanted in the same order after a restart.
    kept.restart();
    let asked = kept.asked_from(later(1), |_, _| ());
    assert_eq!(
        asked,
        [
            "/late.css",
            "/f.woff2",
            "/j.js",
            "/m.json",
            "/lead.jpg",
            "/a.jpg",
            "/b.jpg",
            "/p.jpg",
            "/sitemap.xml",
            "/sitemap_index.xml",
            "/wp-sitemap.xml",
            "/lead-300.jpg",
            "/a-300.jpg"
        ]
    );
}

/// What the site names and nobody reads comes all the same: from the front page two steps far, from lists the newest first.
#[test]
fn the_site_is_followed_from_its_front_page_and_its_lists() {
    let kept = Kept::new();
    let links = |links: &str| {
        response(
            "text/html",
            &format!("<html lang=kk><head><title>T</title></head><body>{links}</body></html>"),
        )
    };
    let asked = kept.asked_from(NOW, |target, now| {
        let answer = match target {
            "/" => Some(links(
                "<a href=/sport/>S</a><a href='/?add-to-cart=1'>1</a><a href=/report.pdf>R</a><a href=/gone>G</a><a href=https://kaztag.kz/kk/>K</a>",
            )),
            "/sport/" => Some(links("<a href=/far>F</a><a href=/listed>L</a>")),
            "/kk/" => Some(links("<a href=/kk/a>A</a>")),
            "/far" => Some(links("<a href=/farther>F</a>")),
            "/sitemap.xml" => Some(response(
                "application/xml",
                "<sitemapindex><sitemap><loc>https://kaztag.kz/s-1.xml</loc></sitemap></sitemapindex>",
            )),
            "/s-1.xml" => Some(response(
                "application/xml",
                "<urlset><url><loc>https://kaztag.kz/old</loc><lastmod>2020-01-01</lastmod></url>\
                 <url><loc>https://kaztag.kz/new</loc><lastmod>2026-11-30</lastmod></url><url><loc>https://kaztag.kz/?p=5</loc></url></urlset>",
            )),
            "/gone" | "/sitemap_index.xml" | "/wp-sitemap.xml" => None,
            _ => Some(article(target, 50)),
        };
        if let Some(answer) = answer {
            kept.offer(target, &answer, now);
        }
    });
    assert_eq!(
        asked,
        [
            "/",
            "/sitemap.xml",
            "/sitemap_index.xml",
            "/wp-sitemap.xml",
            "/sport/",
            "/gone",
            "/kk/",
            "/kk/a",
            "/s-1.xml",
            "/far",
            "/listed",
            "/new",
            "/old",
            "/?p=5",
        ]
    );
    // A day later fronts and lists are asked for again, and what did not come; nothing else that nobody reads.
    let mut again = kept.asked_from(later(25 * 3600), |_, _| ());
    again.sort_unstable();
    assert_eq!(
        again,
        [
            "/",
            "/gone",
            "/s-1.xml",
            "/sitemap.xml",
            "/sitemap_index.xml",
            "/wp-sitemap.xml"
        ]
    );
}

/// A server that dies says so in plain text, in JSON, or says nothing of what it says.
#[test]
fn what_is_no_page_takes_no_pages_place() {
    for kind in [
        "text/plain",
        "application/json",
        "text/xml",
        "image/png",
        "",
    ] {
        let kept = Kept::new();
        kept.offer("/a", &article("Right", 50), NOW);
        let mut other = response("text/plain", "upstream connect error");
        other.headers.remove("content-type");
        if !kind.is_empty() {
            let kind = HeaderValue::from_static(kind);
            other.headers.insert("content-type", kind);
        }
        kept.offer("/a", &other, later(60));
        assert!(kept.text("/a").unwrap().contains("Right"), "{kind}");
        // What is still so after a day is meant.
        kept.offer("/a", &other, later(60).plus(MEANT_AFTER));
    }
}

#[test]
fn a_page_takes_no_feeds_and_no_style_sheets_place() {
    let kept = Kept::new();
    let front = "<html lang=kk><head><title>T</title><link rel=stylesheet href=/s.css></head><body>x</body></html>";
    kept.offer("/", &response("text/html", front), NOW);
    let table = [
        ("/s.css", "text/css", "a{color:red}"),
        ("/feed", "application/rss+xml", "<rss><channel/></rss>"),
    ];
    for (target, kind, body) in table {
        kept.offer(target, &response(kind, body), NOW);
        kept.offer(
            target,
            &response("text/html", "<html><body>Maintenance"),
            later(60),
        );
        assert_eq!(kept.text(target).as_deref(), Some(body));
    }
}

/// Staff cut what they like; an empty page, or one that ends in the middle, is nobody's intent.
#[test]
fn what_staff_have_saved_is_believed_unless_it_is_a_wreck() {
    let whole = String::from_utf8(article("Right", 50).body.to_vec()).unwrap();
    let table = [
        (
            "<html lang=en><head><title>Cut</title></head><body>One line.</body></html>",
            true,
        ),
        (
            "<html lang=en><head><title>T</title></head><body></body></html>",
            false,
        ),
        (&whole[..whole.len() / 2], false),
    ];
    for (body, is_believed) in table {
        let kept = Kept::new();
        kept.offer("/a", &article("Right", 50), NOW);
        let new = response("text/html", body);
        let permitted = Permitted::new(page("/a"), Ground::PublicLink, &new.headers, &[]).unwrap();
        kept.keep()
            .offer(&permitted, Traits::default(), &new, true, later(60));
        kept.keep().settle();
        let text = kept.text("/a").unwrap();
        assert_eq!(text.contains("One line."), is_believed, "{text}");
        assert_eq!(!text.contains("Right"), is_believed, "{text}");
    }
}

/// A server that fails is left alone, twice as long after each time, and what it failed to give is asked for again.
#[test]
fn a_server_in_trouble_is_left_alone() {
    let kept = Kept::new();
    let after = |now: UnixMillis, secs: u64| now.plus(Duration::from_secs(secs));
    let mut now = NOW;
    for rest in [10, 20, 40, 80, 160, 320, 600, 600] {
        assert_eq!(kept.due(now).as_deref(), Some("/"));
        kept.keep().failed(b"kaztag", now);
        assert_eq!(kept.due(after(now, rest - 1)), None, "{rest}");
        now = after(now, rest.max(61));
    }
    assert_eq!(kept.due(now).as_deref(), Some("/"));
    kept.fetched("/", now);
    assert_eq!(kept.due(now.plus(GAP)).as_deref(), Some("/sitemap.xml"));
}

/// What a page leads on to is asked for in its place.
#[test]
fn where_a_page_is_to_be_had_it_is_asked_for() {
    let kept = Kept::new();
    assert_eq!(kept.due(NOW).as_deref(), Some("/"));
    let to = |target| page(target).to_address();
    kept.keep().sent_on(&page("/"), to("/ru/"));
    kept.fetched("/", NOW);
    let asked = kept.asked_from(NOW.plus(GAP), |target, now| {
        if target == "/ru/" {
            kept.offer("/ru/", &article("Ru", 50), now);
        }
    });
    assert!(asked.contains(&"/ru/".to_owned()), "{asked:?}");
    assert_eq!(kept.keep().language_front(b"kaztag"), Some(to("/ru/")));
}

/// Whoever answers slowly is asked seldom, and never for the next before the one before has come.
#[test]
fn a_server_that_takes_its_time_is_given_it() {
    let millis = |millis: u64| NOW.plus(Duration::from_millis(millis));
    for (took, rests) in [(1, 250), (250, 250), (900, 900), (20_000, 2_000)] {
        let kept = Kept::new();
        let front = "<html lang=kk><head><title>T</title><link rel=stylesheet href=/s.css><script src=/j.js></script></head><body>x</body></html>";
        kept.offer("/", &response("text/html", front), NOW);
        assert_eq!(kept.due(NOW).as_deref(), Some("/s.css"));
        assert_eq!(kept.due(millis(took)), None, "one at a time");
        kept.fetched("/s.css", millis(took));
        assert_eq!(kept.due(millis(took + rests - 1)), None, "{took}");
        let next = kept.due(millis(took + rests));
        assert_eq!(next.as_deref(), Some("/j.js"), "{took}");
    }
}

/// Some servers compress whatever they are asked for. Their page is kept as it reads, and what is not whole is not.
#[test]
fn what_comes_compressed_is_kept_as_it_reads() {
    let kept = Kept::new();
    let page = article("Compressed", 50);
    let gzip = |body: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    };
    let whole = gzip(&page.body);
    let too_long = gzip(&vec![b' '; 9 * 1024 * 1024]);
    let table = [
        ("/gzip", "gzip", whole.clone(), true),
        ("/cut", "gzip", whole[..whole.len() / 2].to_vec(), false),
        ("/other", "br", whole.clone(), false),
        ("/none", "gzip", b"<html><body>x".to_vec(), false),
        ("/too-long", "gzip", too_long, false),
    ];
    for (target, coding, body, is_kept) in table {
        let mut response = page.clone();
        let coding = HeaderValue::from_static(coding);
        response.headers.insert("content-encoding", coding);
        response.body = body.into();
        kept.offer(target, &response, NOW);
        let copy = kept.copy(target);
        assert_eq!(copy.is_some(), is_kept, "{target}");
        if let Some(copy) = copy {
            assert!(copy.headers().get("content-encoding").is_none());
            let text = String::from_utf8(copy.body().to_vec()).unwrap();
            assert!(text.contains("Compressed") && text.contains("role=\"status\""));
        }
    }
}

/// A browser that opens the copy asks for nothing that will never be there.
#[test]
fn a_copy_asks_for_the_pictures_that_are_kept() {
    let kept = Kept::new();
    let scripts: String = (0..60)
        .map(|number| format!("<script src=/{number}.js></script>"))
        .collect();
    let images: String = (0..6)
        .map(|number| {
            format!("<img alt=W{number} src=/{number}.jpg srcset='/{number}-300.jpg 300w'>")
        })
        .collect();
    let page = format!(
        "<html lang=en><head><title>T</title>{scripts}</head><body>{images}<img src=https://elsewhere.example/x.jpg><img src='data:image/gif;base64,AAAA'></body></html>"
    );
    kept.offer("/a", &response("text/html", &page), NOW);
    let text = kept.text("/a").unwrap();
    for (part, stays) in [
        ("src=/0.jpg", true),
        ("/3.jpg", true),
        ("/4.jpg", false),
        ("/5.jpg", false),
        ("alt=W5", true),
        ("-300.jpg", false),
        ("https://elsewhere.example/x.jpg", true),
        ("data:image/gif;base64,AAAA", true),
    ] {
        assert_eq!(text.contains(part), stays, "{part}: {text}");
    }
}
