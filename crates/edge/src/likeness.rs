//! Is this the same page? A digest of a body that leaves out what a server makes anew for every request.
//!
//! Two fetches of one article are never the same bytes: a nonce in a script, a token in a form, the time in a comment of the caching
//! plugin, another banner. Whoever wants to learn whether a parameter matters ([`crate::relevance`]) or whether everybody gets the same
//! page ([`crate::shareable`]) must see past that, and must not see past anything else: an article taken for another is one reader's
//! answer shown to the next. So what is left out is a list of places where nothing readable stands, never a guess about text:
//!
//! | left out | because |
//! |---|---|
//! | comments | caching plugins sign theirs with the time; no reader sees any |
//! | `id`, `for`, `nonce`, `aria-…by`; values of hidden fields | random names, CSRF tokens, form build ids |
//! | in attributes and scripts: values under a name like `nonce` or `token`, long hexadecimal or mixed words, Unix times | the same in scripts and links |
//! | times of day with seconds; "0.31 seconds" | when and how fast the page was made |
//! | `<time>`, advertising slots, view counters, up to [`SLOT_BYTES_MAX`] each | "5 minutes ago", the next banner, one more view |
//! | one given pair, such as `x=1`, in links | a page that links to itself repeats what it was asked with |
//!
//! Words of a path (`/photo/3f9a…jpg`) and everything between tags stay, so that a gallery's pictures and a page of numbers keep their
//! difference. Where the list is too short two fetches of one page differ; nothing is then learned, which costs a cached answer and harms
//! nobody. A page with fewer than [`WORDS_MIN`] words of text is never proof of likeness: too little is left to tell it by.
//!
//! Bytes are read once, in any pieces, with a fixed amount of memory. `docs/decisions/0008-reduced-keys.md` has the error rates.

mod lexer;
mod word;

use std::hash::{DefaultHasher, Hasher};

use self::lexer::Lexer;

/// Fewer words of text than this say too little: the emptiest real page, a short notice with the site's menu, has about 40.
pub const WORDS_MIN: u32 = 24;

/// A slot longer than this is no banner but a part of the page somebody called one, and counts.
pub const SLOT_BYTES_MAX: usize = 16 * 1024;

/// Pages longer than this have no likeness; what the edge buffers of a response at most.
pub const PAGE_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// What is compared. Equal digests of two pages are no proof alone; see [`Likeness::is_proof_with`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Likeness {
    digest: u128,
    words: u32,
}

impl Likeness {
    /// Alike, and with enough on both to say so.
    pub fn is_proof_with(self, other: Self) -> bool {
        self.digest == other.digest && self.words >= WORDS_MIN
    }

    pub fn differs_from(self, other: Self) -> bool {
        self.digest != other.digest
    }

    /// For tables that keep no more.
    pub fn digest(self) -> u128 {
        self.digest
    }

    /// Enough to tell a page by.
    pub fn is_telling(self) -> bool {
        self.words >= WORDS_MIN
    }
}

/// How a body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// HTML and XML.
    Markup,
    /// JSON and scripts.
    Code,
    /// Byte for byte.
    Exact,
}

impl Kind {
    fn of(content_type: &[u8]) -> Self {
        let essence = content_type
            .split(|byte| *byte == b';')
            .next()
            .unwrap_or_default()
            .trim_ascii()
            .to_ascii_lowercase();
        match essence.as_slice() {
            b"text/html" | b"text/xml" | b"application/xml" => Self::Markup,
            other if other.ends_with(b"+xml") && !other.starts_with(b"image/") => Self::Markup,
            b"application/json" => Self::Code,
            other if other.ends_with(b"+json") => Self::Code,
            _ => Self::Exact,
        }
    }
}

/// A page being read.
#[derive(Debug)]
pub struct Reading {
    kind: Kind,
    bytes: u64,
    lexer: Lexer,
}

impl Reading {
    /// `asked_with`: a pair as it stands in the query, which links of the page may repeat. Only letters, digits, `_`, `-` and `.` on both sides
    /// of its `=` are spelt the same everywhere; [`is_plain_pair`] tells.
    pub fn new(content_type: &[u8], asked_with: Option<&[u8]>) -> Self {
        let kind = Kind::of(content_type);
        let mut lexer = Lexer::new(kind == Kind::Code, asked_with);
        lexer.sum.word(b'T', &[kind as u8]);
        Self {
            kind,
            bytes: 0,
            lexer,
        }
    }

    pub fn push(&mut self, chunk: &[u8]) {
        self.bytes = self.bytes.saturating_add(chunk.len() as u64);
        if self.bytes > PAGE_BYTES_MAX {
            return;
        }
        match self.kind {
            Kind::Markup | Kind::Code => self.lexer.push(chunk),
            Kind::Exact => self.lexer.sum.exact(chunk),
        }
    }

    /// `None`: too long.
    pub fn finish(mut self) -> Option<Likeness> {
        if self.bytes > PAGE_BYTES_MAX {
            return None;
        }
        if self.kind == Kind::Exact {
            self.lexer.sum.words = if self.bytes == 0 { 0 } else { WORDS_MIN };
        } else {
            self.lexer.end();
        }
        Some(self.lexer.sum.finish())
    }
}

/// Of a whole body.
pub fn of(content_type: &[u8], asked_with: Option<&[u8]>, body: &[u8]) -> Option<Likeness> {
    let mut reading = Reading::new(content_type, asked_with);
    reading.push(body);
    reading.finish()
}

/// Spelt the same in a query, a link and an encoded link.
pub fn is_plain_pair(pair: &[u8]) -> bool {
    let mut halves = pair.split(|byte| *byte == b'=');
    let plain = |half: Option<&[u8]>| {
        half.is_some_and(|half| {
            !half.is_empty()
                && half.len() <= PAIR_BYTES_MAX
                && half
                    .iter()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(byte))
        })
    };
    plain(halves.next()) && plain(halves.next()) && halves.next().is_none()
}

/// Of a name or a value we ask the origin about; parameters of real links have 1 to 20.
const PAIR_BYTES_MAX: usize = 64;

/// The running digest.
#[derive(Debug, Clone)]
struct Sum {
    low: DefaultHasher,
    high: DefaultHasher,
    words: u32,
}

impl Sum {
    fn new() -> Self {
        let mut high = DefaultHasher::new();
        high.write_u8(1);
        Self {
            low: DefaultHasher::new(),
            high,
            words: 0,
        }
    }

    /// `kind` tells a tag from a word of text that looks the same, and ends the word.
    fn word(&mut self, kind: u8, word: &[u8]) {
        self.exact(word);
        self.exact(&[0, kind]);
    }

    fn exact(&mut self, bytes: &[u8]) {
        self.low.write(bytes);
        self.high.write(bytes);
    }

    fn finish(&self) -> Likeness {
        Likeness {
            digest: u128::from(self.high.finish()) << 64 | u128::from(self.low.finish()),
            words: self.words,
        }
    }
}

#[cfg(test)]
mod tests;
