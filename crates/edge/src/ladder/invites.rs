//! Whom the newsroom itself has said to be staff, by a link.
//!
//! A login that the edge sees makes somebody staff, and so does a network. Neither helps the editor who was logged in before the edge came, or
//! who is on the road when the flood begins. An invitation is a link for whoever it is sent to: it opens a page with a button, and
//! the browser that presses it is staff from then on. Nothing happens when the link is only fetched, as messengers do to show what is behind it.
//!
//! Of links and browsers the edge keeps hashes alone, so that its file lets nobody in. What is lost with a telephone is taken back by
//! its label, at once. Until then a stolen cookie has no more of the origin than [`INVITED`](super) allows: a botnet that shows it is not staff for long.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use sha2::{Digest, Sha256};

use super::keys;
use super::token::SiteMark;
use crate::clock::UnixMillis;
use crate::whole;

/// Links begin with it. No content system has it.
const PATH: &str = "/saqta-staff/";

/// Three hundred people of all sites, as many as there are sessions of logins for.
const INVITATIONS_MAX: usize = 300;
/// A telephone, a laptop and the machine at the office.
const BROWSERS_MAX: u8 = 3;
/// A link that lies in a chat is found sooner or later.
const LINK_LASTS_S: u64 = 24 * 3_600;
pub const DAYS_MAX: u16 = 180;
pub const LABEL_CHARS_MAX: usize = 40;

const SECRET_BYTES: usize = 16;
/// As [`BASE64`] writes them.
const SECRET_TEXT_BYTES: usize = 22;
/// Of a line: a host, a label, four hashes and three numbers. All lines are a fifth of a megabyte.
const FILE_BYTES_MAX: u64 = 256 * 1024;

type Hash = [u8; 16];

/// Of something nobody can guess, so that it needs no salt.
fn hash(text: &[u8]) -> Hash {
    let sum = Sha256::digest(text);
    let mut first = [0; 16];
    first.copy_from_slice(&sum[..16]);
    first
}

fn secret() -> String {
    let mut bytes = [0; SECRET_BYTES];
    keys::fill(&mut bytes);
    BASE64.encode(bytes)
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Invitation {
    site: String,
    mark: SiteMark,
    label: String,
    until_s: u64,
    link: Hash,
    link_until_s: u64,
    browsers: Vec<Hash>,
}

impl Invitation {
    fn is_open(&self, now: UnixMillis) -> bool {
        now.secs() < self.link_until_s.min(self.until_s)
            && self.browsers.len() < usize::from(BROWSERS_MAX)
    }
}

#[derive(Debug, Default)]
struct Book {
    all: Vec<Invitation>,
    /// By what its cookie hashes to: which of `all`.
    browsers: HashMap<Hash, usize>,
}

impl Book {
    fn new(all: Vec<Invitation>) -> Self {
        let browsers = all
            .iter()
            .enumerate()
            .flat_map(|(at, one)| one.browsers.iter().map(move |hash| (*hash, at)))
            .collect();
        Self { all, browsers }
    }

    /// A line each: when it ends, when its link does, the link, the browsers, the site, the label. Between them a tab, which neither of the last
    /// two can have in it; sites' names have spaces.
    fn written(&self) -> String {
        let hex = |hash: &Hash| {
            hash.iter().fold(String::new(), |mut text, byte| {
                _ = write!(text, "{byte:02x}");
                text
            })
        };
        self.all.iter().fold(String::new(), |mut text, one| {
            let browsers: Vec<String> = one.browsers.iter().map(hex).collect();
            _ = writeln!(
                text,
                "{}\t{}\t{}\t{}\t{}\t{}",
                one.until_s,
                one.link_until_s,
                hex(&one.link),
                if browsers.is_empty() {
                    "-".to_owned()
                } else {
                    browsers.join(",")
                },
                one.site,
                one.label
            );
            text
        })
    }

    fn read(text: &str) -> Option<Self> {
        let hash = |hex: &str| -> Option<Hash> {
            let mut hash = [0; 16];
            if hex.len() != 32 || !hex.is_ascii() {
                return None;
            }
            for (at, byte) in hash.iter_mut().enumerate() {
                *byte = u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).ok()?;
            }
            Some(hash)
        };
        let line = |line: &str| -> Option<Invitation> {
            let mut words = line.splitn(6, '\t');
            let until_s = words.next()?.parse().ok()?;
            let link_until_s = words.next()?.parse().ok()?;
            let link = hash(words.next()?)?;
            let browsers = match words.next()? {
                "-" => Vec::new(),
                list => list.split(',').map(hash).collect::<Option<_>>()?,
            };
            let site = words.next()?.to_owned();
            Some(Invitation {
                mark: SiteMark::of(&site),
                site,
                label: words.next().filter(|label| is_label(label))?.to_owned(),
                until_s,
                link,
                link_until_s,
                browsers,
            })
        };
        let all: Option<Vec<_>> = text.lines().map(line).collect();
        all.filter(|all| all.len() <= INVITATIONS_MAX)
            .map(Self::new)
    }
}

/// Something to call somebody by, on one line.
fn is_label(label: &str) -> bool {
    let chars = label.chars().count();
    (1..=LABEL_CHARS_MAX).contains(&chars)
        && label.trim() == label
        && !label.chars().any(char::is_control)
}

#[derive(Debug, thiserror::Error)]
pub enum InviteError {
    #[error(
        "a label has 1 to {LABEL_CHARS_MAX} characters on one line, such as \"Aigerim, phone\""
    )]
    Label,
    #[error(
        "somebody is invited as \"{label}\" already; take another label, or `saqta staff revoke` that one"
    )]
    Taken { label: String },
    #[error(
        "{INVITATIONS_MAX} people are invited, the most there can be; `saqta staff revoke` one"
    )]
    Full,
    #[error("the invitation cannot be written into the data folder, so nobody was invited")]
    NotWritten(#[source] io::Error),
}

/// For whoever asks who is invited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invited {
    pub site: String,
    pub label: String,
    pub until_s: u64,
    pub browsers: usize,
    /// More browsers may use its link.
    pub is_open: bool,
    /// It used more of the origin in these ten minutes than it may, and is not staff until they are over.
    pub is_spent: bool,
}

/// All sites' and all shards'. Without a data folder they end with the process.
#[derive(Debug, Default)]
pub(crate) struct Invites {
    book: ArcSwap<Book>,
    /// Held by whoever changes it.
    file: Mutex<Option<PathBuf>>,
}

impl Invites {
    /// Keeps them in this file from now on, and takes up what an earlier start left. What cannot be read is put aside, for the next invitation
    /// would be written over it.
    pub(crate) fn open_file(&self, path: PathBuf) {
        if let Ok(data) = fs::metadata(&path) {
            let is_one = data.is_file() && data.len() <= FILE_BYTES_MAX;
            let text = is_one.then(|| fs::read_to_string(&path).ok()).flatten();
            match text.as_deref().and_then(Book::read) {
                Some(book) => self.book.store(Arc::new(book)),
                None => {
                    let aside = path.with_extension("unreadable");
                    let is_aside = fs::rename(&path, &aside).is_ok();
                    tracing::warn!(
                        "{} is not what it should be: nobody is staff by an invitation; send new ones{}",
                        path.display(),
                        if is_aside {
                            format!(". It is kept as {}", aside.display())
                        } else {
                            String::new()
                        }
                    );
                }
            }
        }
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = Some(path);
    }

    /// Changes the book, unless `change` says no or it cannot be written: then it stays as it was. The file is small, and who makes us
    /// write it is staff.
    fn change<T>(
        &self,
        now: UnixMillis,
        change: impl FnOnce(&mut Vec<Invitation>) -> Result<T, InviteError>,
    ) -> Result<T, InviteError> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = self.book.load().all.clone();
        all.retain(|one| now.secs() < one.until_s);
        let done = change(&mut all)?;
        let book = Book::new(all);
        if let Some(path) = &*file {
            write(path, &book.written()).map_err(InviteError::NotWritten)?;
        }
        self.book.store(Arc::new(book));
        Ok(done)
    }

    /// The path of the link.
    pub(crate) fn invite(
        &self,
        site: &str,
        label: &str,
        days: u16,
        now: UnixMillis,
    ) -> Result<String, InviteError> {
        if !is_label(label) {
            return Err(InviteError::Label);
        }
        let token = secret();
        let lasts = Duration::from_secs(u64::from(days.clamp(1, DAYS_MAX)) * 86_400);
        self.change(now, |all| {
            if all.iter().any(|one| one.label == label) {
                return Err(InviteError::Taken {
                    label: label.to_owned(),
                });
            }
            if all.len() >= INVITATIONS_MAX {
                return Err(InviteError::Full);
            }
            all.push(Invitation {
                site: site.to_owned(),
                mark: SiteMark::of(site),
                label: label.to_owned(),
                until_s: now.secs() + lasts.as_secs(),
                link: hash(token.as_bytes()),
                link_until_s: now.secs() + LINK_LASTS_S,
                browsers: Vec::new(),
            });
            Ok(())
        })?;
        Ok(format!("{PATH}{token}"))
    }

    /// How many there were.
    pub(crate) fn revoke(&self, label: &str, now: UnixMillis) -> Result<usize, InviteError> {
        self.change(now, |all| {
            let before = all.len();
            all.retain(|one| one.label != label);
            Ok(before - all.len())
        })
    }

    /// Of a request's path, if it is a link of ours: does it let another browser in?
    pub(crate) fn link(&self, site: SiteMark, path: &str, now: UnixMillis) -> Option<bool> {
        let token = token(path)?;
        let (book, link) = (self.book.load(), hash(token.as_bytes()));
        let found = book
            .all
            .iter()
            .find(|one| one.mark == site && one.link == link);
        Some(found.is_some_and(|one| one.is_open(now)))
    }

    /// Lets a browser in: its cookie's text and how long it lasts. `None`: the link is over.
    pub(crate) fn accept(
        &self,
        site: SiteMark,
        path: &str,
        now: UnixMillis,
    ) -> Result<Option<(String, u64)>, InviteError> {
        let Some(token) = token(path) else {
            return Ok(None);
        };
        let (link, cookie) = (hash(token.as_bytes()), secret());
        let lasts_s = self.change(now, |all| {
            let found = all
                .iter_mut()
                .find(|one| one.mark == site && one.link == link && one.is_open(now));
            Ok(found.map(|one| {
                one.browsers.push(hash(cookie.as_bytes()));
                one.until_s - now.secs()
            }))
        })?;
        Ok(lasts_s.map(|lasts_s| (cookie, lasts_s)))
    }

    /// Of whose invitation this cookie is, as a number by which its uses are counted.
    pub(super) fn number(&self, site: SiteMark, cookie: &[u8], now: UnixMillis) -> Option<u64> {
        if cookie.len() != SECRET_TEXT_BYTES {
            return None;
        }
        let book = self.book.load();
        let one = &book.all[*book.browsers.get(&hash(cookie))?];
        (one.mark == site && now.secs() < one.until_s).then(|| number_of(one))
    }

    /// `is_spent`: of an invitation by its number.
    pub(super) fn list(&self, now: UnixMillis, is_spent: impl Fn(u64) -> bool) -> Vec<Invited> {
        let book = self.book.load();
        let all = book.all.iter().filter(|one| now.secs() < one.until_s);
        all.map(|one| Invited {
            site: one.site.clone(),
            label: one.label.clone(),
            until_s: one.until_s,
            browsers: one.browsers.len(),
            is_open: one.is_open(now),
            is_spent: is_spent(number_of(one)),
        })
        .collect()
    }
}

fn number_of(invitation: &Invitation) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&invitation.link[..8]);
    u64::from_le_bytes(first)
}

/// Does it look like a link of ours? Whether it is one, [`Invites::link`] says.
pub(crate) fn is_link(target: &str) -> bool {
    token(target).is_some()
}

fn token(path: &str) -> Option<&str> {
    let token = path.strip_prefix(PATH)?;
    let token = token.split('?').next().unwrap_or_default();
    (token.len() == SECRET_TEXT_BYTES).then_some(token)
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        crate::saved::make_private(folder)?;
    }
    whole::write(path, |file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    })
}

#[cfg(test)]
mod tests {
    use super::super::token::tests::{NOW, later};
    use super::*;

    const SITE: &str = "news.example";
    const DAY_S: u64 = 86_400;

    fn site() -> SiteMark {
        SiteMark::of(SITE)
    }

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("saqta-invites-{name}-{}", std::process::id())))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn three_browsers_within_a_day_and_for_as_long_as_was_said() {
        let invites = Invites::default();
        let path = invites.invite(SITE, "Айгерим, телефон", 90, NOW).unwrap();
        let other = SiteMark::of("another.example");
        assert_eq!(invites.link(site(), &path, NOW), Some(true));
        assert_eq!(invites.link(other, &path, NOW), Some(false));
        assert_eq!(invites.link(site(), "/saqta-staff/short", NOW), None);
        assert_eq!(invites.link(site(), "/news/", NOW), None);
        assert!(invites.accept(other, &path, NOW).unwrap().is_none());
        let mut cookies = Vec::new();
        for _ in 0..3 {
            let accepted = invites.accept(site(), &path, NOW).unwrap();
            let (cookie, lasts_s) = accepted.unwrap();
            assert_eq!(lasts_s, 90 * DAY_S);
            cookies.push(cookie);
        }
        assert!(invites.accept(site(), &path, NOW).unwrap().is_none());
        assert_eq!(invites.link(site(), &path, NOW), Some(false));
        let number = |cookie: &str, site, now| invites.number(site, cookie.as_bytes(), now);
        for cookie in &cookies {
            assert!(number(cookie, site(), NOW).is_some());
            assert_eq!(
                number(cookie, site(), NOW),
                number(&cookies[0], site(), NOW)
            );
            assert_eq!(number(cookie, other, NOW), None);
            assert!(number(cookie, site(), later(90 * DAY_S - 1)).is_some());
            assert_eq!(number(cookie, site(), later(90 * DAY_S)), None);
        }
        for cookie in [
            "",
            "AAAAAAAAAAAAAAAAAAAAAA",
            &cookies[0][1..],
            "x".repeat(9_000).as_str(),
        ] {
            assert_eq!(number(cookie, site(), NOW), None);
        }
        let late = invites.invite(SITE, "late", 1, NOW).unwrap();
        assert_eq!(invites.link(site(), &late, later(DAY_S)), Some(false));
        let accepted = invites.accept(site(), &late, later(DAY_S));
        assert!(accepted.unwrap().is_none());
    }

    #[test]
    fn what_is_revoked_is_over_at_once_and_after_a_restart() {
        let folder = Folder::new("revoked");
        let file = folder.0.join("staff");
        let open = || {
            let invites = Invites::default();
            invites.open_file(file.clone());
            invites
        };
        let invites = open();
        let (kept, lost) = ("editor", "phone that was stolen");
        // Sites are called what their operator likes.
        let name = "The News of Today";
        let site = || SiteMark::of(name);
        let cookie = |label| {
            let path = invites.invite(name, label, 30, NOW).unwrap();
            invites.accept(site(), &path, NOW).unwrap().unwrap().0
        };
        let (kept_cookie, lost_cookie) = (cookie(kept), cookie(lost));
        let again = open();
        assert!(again.number(site(), lost_cookie.as_bytes(), NOW).is_some());
        assert_eq!(again.list(NOW, |_| false), invites.list(NOW, |_| false));
        assert_eq!(again.revoke(lost, NOW).unwrap(), 1);
        assert_eq!(again.revoke(lost, NOW).unwrap(), 0);
        for invites in [again, open()] {
            assert!(
                invites
                    .number(site(), lost_cookie.as_bytes(), NOW)
                    .is_none()
            );
            assert!(
                invites
                    .number(site(), kept_cookie.as_bytes(), NOW)
                    .is_some()
            );
        }
        // Nothing in it lets anybody in.
        let text = fs::read_to_string(&file).unwrap();
        assert!(!text.contains(&kept_cookie));
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn what_cannot_be_is_said_and_changes_nothing() {
        let invites = Invites::default();
        for label in ["", " a", "a ", "a\nb", &"x".repeat(LABEL_CHARS_MAX + 1)] {
            let said = invites.invite(SITE, label, 1, NOW);
            assert!(matches!(said, Err(InviteError::Label)), "{label:?}");
        }
        invites.invite(SITE, "one", 1, NOW).unwrap();
        let again = invites.invite(SITE, "one", 1, NOW);
        assert!(matches!(again, Err(InviteError::Taken { .. })));
        for n in 1..INVITATIONS_MAX {
            invites.invite(SITE, &n.to_string(), 1, NOW).unwrap();
        }
        let full = invites.invite(SITE, "more", 1, NOW);
        assert!(matches!(full, Err(InviteError::Full)));
        // Those that are over make room.
        assert!(invites.invite(SITE, "more", 1, later(DAY_S)).is_ok());
        assert_eq!(invites.list(later(DAY_S), |_| false).len(), 1);

        let folder = Folder::new("no-folder");
        fs::create_dir_all(&folder.0).unwrap();
        fs::write(folder.0.join("file"), "").unwrap();
        let invites = Invites::default();
        invites.open_file(folder.0.join("file/staff"));
        let said = invites.invite(SITE, "one", 1, NOW);
        assert!(matches!(said, Err(InviteError::NotWritten(_))));
        assert!(invites.list(NOW, |_| false).is_empty());
    }

    /// The next invitation writes the file anew: what stood there is kept beside it.
    #[test]
    fn a_file_that_cannot_be_read_is_put_aside() {
        let folder = Folder::new("unreadable");
        fs::create_dir_all(&folder.0).unwrap();
        let (file, aside) = (folder.0.join("staff"), folder.0.join("staff.unreadable"));
        let long = "x".repeat(FILE_BYTES_MAX as usize + 1);
        for written in ["not ours".as_bytes(), long.as_bytes(), b"\xff\xfe"] {
            fs::write(&file, written).unwrap();
            let invites = Invites::default();
            invites.open_file(file.clone());
            assert!(invites.list(NOW, |_| false).is_empty());
            invites.invite(SITE, "one", 1, NOW).unwrap();
            assert_eq!(fs::read(&aside).unwrap(), written);
            let again = Invites::default();
            again.open_file(file.clone());
            assert_eq!(again.list(NOW, |_| false).len(), 1);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_file_is_a_panic(text in ".{0,200}") {
            _ = Book::read(&text);
        }
    }
}
