//! The shape of a request target: which kind of page it asks for.
//!
//! Cost is a property of the kind of page (a search is dear, an article is cheap), and fairness between kinds is what keeps a
//! flood of one kind from starving the others. So a shape must say enough to tell `/search?q=…` from `/news/…`, and so little that
//! nobody can make shapes up: whoever invents a new shape for every request would be a new kind of page every time, first in
//! every queue, and would fill every table keyed by shape.
//!
//! A shape therefore has six coordinates, each from a short list:
//!
//! | coordinate | values |
//! |---|---|
//! | language | the path starts with a language segment, or not |
//! | section | the first segment itself if this site answered 200 under it often enough ([`ShapeBook`], at most [`SECTIONS_MAX`]), else its kind: none, `{n}` digits and dates, `{x}` hex and UUIDs, `{s}` anything else |
//! | tail | how many segments follow (0, 1, 2, more) and the kind of the last one |
//! | form | page, feed, script or style, media, other file, by extension |
//! | spelling | as links are written, or *odd*: `//`, `/./`, `;a=1`, an escaped letter |
//! | query | which roles its keys play: search, select, turn, language, format, action, unknown (`*`); more than two roles are `*` alone |
//!
//! Values never count, and how an odd address is spelt does not either: percent-encoding is undone, empty segments (`//`), `.` and
//! path parameters (`;a=1`) are skipped. *That* it is odd counts: no link says `/news/2024/fire;a=1`, so a flood of such addresses is a
//! kind of its own and not the article's. Without a book there are [`SHAPES_UNKNOWN_MAX`] shapes in the world, with a full one [`SHAPES_MAX`].
//!
//! Query keys are named by role instead of literally because a key is free to invent: `/?anything=1` is a 200 on every CMS, so
//! 200s prove nothing about keys. What a site calls its search key matters less than that it is one.

use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Newsrooms have 10 to 60 sections, a CMS adds a dozen entry points; the rest is room for popular pages that live at the root.
pub const SECTIONS_MAX: usize = SETS * WAYS;
const SETS: usize = 32;
const WAYS: usize = 8;

/// WordPress cuts slugs at 200 bytes, but nobody names a section in more than 48 (24 Cyrillic letters).
const SECTION_BYTES_MAX: usize = 48;

/// A first segment is named once it has answered 200 this often: one stray 200 must not name anything.
const PROMOTION: u32 = 3;

/// Counts stop here, so that a section once popular can be displaced some day.
const COUNT_MAX: u32 = 1 << 16;

/// Query keys read; the rest are `*`. Browsers' links carry 1 to 5.
const KEYS_MAX: usize = 16;

/// Longer keys are unknown anyway: the longest we know has 15 bytes.
const KEY_BYTES_MAX: usize = 16;

const SPELLINGS: usize = 2;
const LANGUAGES: usize = 2;
const KINDS: usize = 4;
const TAILS: usize = 1 + 3 * 3;
const FORMS: usize = 5;
/// None, one of 7, two of 7, or too many (which is `*`, already counted).
const QUERIES: usize = 1 + 7 + 21;

/// Shapes a stranger can invent on a site whose sections are unknown.
pub const SHAPES_UNKNOWN_MAX: usize = SPELLINGS * LANGUAGES * KINDS * TAILS * FORMS * QUERIES;
/// Shapes of a site with a full book.
pub const SHAPES_MAX: usize =
    SPELLINGS * LANGUAGES * (KINDS + SECTIONS_MAX) * TAILS * FORMS * QUERIES;

/// What kind of page a target asks for. Coordinates packed into 64 bits; equal shapes are equal numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shape(u64);

// Layout, from the lowest bit: section name hash 32, kind of the section 3, language 1, tail count 2, tail kind 2, form 3,
// query roles 7, odd 1.
const SECTION_SHIFT: u32 = 32;
const LANGUAGE_SHIFT: u32 = 35;
const TAIL_COUNT_SHIFT: u32 = 36;
const TAIL_KIND_SHIFT: u32 = 38;
const FORM_SHIFT: u32 = 40;
const QUERY_SHIFT: u32 = 43;
const ODD_SHIFT: u32 = 50;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Section {
    None = 0,
    Digits = 1,
    Hex = 2,
    Slug = 3,
    Named = 4,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Digits = 0,
    Hex = 1,
    Slug = 2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Form {
    Page = 0,
    Feed = 1,
    Script = 2,
    Media = 3,
    File = 4,
}

const FORM_NAMES: [&str; FORMS] = ["", "{feed}", "{script}", "{media}", "{file}"];

const SEARCH: u8 = 1;
const SELECT: u8 = 1 << 1;
const TURN: u8 = 1 << 2;
const LANGUAGE: u8 = 1 << 3;
const FORMAT: u8 = 1 << 4;
const ACTION: u8 = 1 << 5;
const UNKNOWN: u8 = 1 << 6;

const ROLE_NAMES: [&str; 7] = [
    "{search}", "{select}", "{turn}", "{lang}", "{format}", "{action}", "*",
];

impl Shape {
    /// A stable number for hashing and storing in tables.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// What [`Shape::bits`] gave.
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Any site, no section known. For targets of sites without a [`ShapeBook`] at hand.
    pub fn of(target: &[u8]) -> Self {
        Parts::of(target).shape(|_| false)
    }

    /// A style sheet, script, image or font, by its extension.
    pub fn is_part_of_a_page(self) -> bool {
        let form = self.0 >> FORM_SHIFT & 7;
        form == Form::Script as u64 || form == Form::Media as u64
    }

    /// Its parameters play no role that is known: a reader's own, an advertiser's or none.
    pub fn has_only_unknown_parameters(self) -> bool {
        self.0 >> QUERY_SHIFT & 0x7f == u64::from(UNKNOWN)
    }

    fn section_hash(self) -> u32 {
        (self.0 & 0xffff_ffff) as u32
    }

    fn print(self, section_name: &str) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        _ = self.write(&mut out, section_name);
        out
    }

    fn write(self, out: &mut impl fmt::Write, section_name: &str) -> fmt::Result {
        let field = |shift: u32, bits: u32| ((self.0 >> shift) & ((1 << bits) - 1)) as usize;
        if field(LANGUAGE_SHIFT, 1) == 1 {
            out.write_str("/{lang}")?;
        }
        match field(SECTION_SHIFT, 3) {
            0 => out.write_str("/")?,
            1 => out.write_str("/{n}")?,
            2 => out.write_str("/{x}")?,
            3 => out.write_str("/{s}")?,
            _ => write!(out, "/{section_name}")?,
        }
        let tail = field(TAIL_COUNT_SHIFT, 2);
        if tail > 0 {
            out.write_str(["", "", "/*", "/**"][tail])?;
            out.write_str(["/{n}", "/{x}", "/{s}", ""][field(TAIL_KIND_SHIFT, 2)])?;
        }
        out.write_str(
            FORM_NAMES
                .get(field(FORM_SHIFT, 3))
                .copied()
                .unwrap_or_default(),
        )?;
        if field(ODD_SHIFT, 1) == 1 {
            out.write_str("{odd}")?;
        }
        let roles = field(QUERY_SHIFT, 7);
        let mut mark = '?';
        for (bit, name) in ROLE_NAMES.iter().enumerate() {
            if roles & (1 << bit) != 0 {
                out.write_char(mark)?;
                out.write_str(name)?;
                mark = '&';
            }
        }
        Ok(())
    }
}

/// With a named section as its hash; [`ShapeBook::print`] knows the name.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, &format!("#{:08x}", self.section_hash()))
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The sections of one site, learned from what its origin answered. Fixed size, shared by all shards: reading takes no lock.
///
/// A table of sets: a new name takes the place of the least-seen name of its set that is not promoted yet; when all are
/// promoted, it wears the weakest one down by one. So a flood of invented names that do get 200s (some sites answer 200 to
/// anything) needs as many of them as the section had visits.
pub struct ShapeBook {
    /// Name hash in the low half (never 0 for a used slot), count in the high half.
    slots: Box<[AtomicU64]>,
    names: Mutex<Vec<Box<str>>>,
}

impl Default for ShapeBook {
    fn default() -> Self {
        Self {
            slots: (0..SECTIONS_MAX).map(|_| AtomicU64::new(0)).collect(),
            names: Mutex::new(vec![Box::default(); SECTIONS_MAX]),
        }
    }
}

impl ShapeBook {
    /// The shape of a request target as the origin would see it: path and query, raw bytes. Allocates nothing.
    pub fn shape(&self, target: &[u8]) -> Shape {
        Parts::of(target).shape(|hash| self.knows(hash))
    }

    /// Tells the book what the origin answered. Only 200 teaches.
    pub fn learn(&self, target: &[u8], status: u16) {
        if status == 200 {
            self.learn_parts(&Parts::of(target));
        }
    }

    /// [`ShapeBook::shape`] and then [`ShapeBook::learn`], for whoever reads of a request and its answer at once.
    pub fn shape_of_answered(&self, target: &[u8], status: u16) -> Shape {
        let parts = Parts::of(target);
        let shape = parts.shape(|hash| self.knows(hash));
        if status == 200 {
            self.learn_parts(&parts);
        }
        shape
    }

    fn learn_parts(&self, parts: &Parts<'_>) {
        let Some((hash, name)) = parts.name.zip(parts.section.name()) else {
            return;
        };
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let first = set_of(hash);
        let mut weakest = (first, u32::MAX);
        for index in first..first + WAYS {
            let (held, count) = unpack(self.slots[index].load(Ordering::Relaxed));
            if held == hash {
                self.slots[index].store(pack(hash, (count + 1).min(COUNT_MAX)), Ordering::Relaxed);
                return;
            }
            if count < weakest.1 {
                weakest = (index, count);
            }
        }
        let (index, count) = weakest;
        if count < PROMOTION {
            names[index] = name.into();
            self.slots[index].store(pack(hash, 1), Ordering::Relaxed);
        } else {
            let (held, _) = unpack(self.slots[index].load(Ordering::Relaxed));
            self.slots[index].store(pack(held, count - 1), Ordering::Relaxed);
        }
    }

    /// The printable form, such as `/news/{s}` or `/?{search}`. Named sections the book has forgotten print as a hash.
    pub fn print(&self, shape: Shape) -> String {
        let hash = shape.section_hash();
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let first = set_of(hash);
        let name = (first..first + WAYS)
            .find(|index| hash != 0 && unpack(self.slots[*index].load(Ordering::Relaxed)).0 == hash)
            .map(|index| names[index].clone());
        match name {
            Some(name) => shape.print(&name.escape_debug().to_string()),
            None => shape.to_string(),
        }
    }

    fn knows(&self, hash: u32) -> bool {
        let first = set_of(hash);
        self.slots[first..first + WAYS].iter().any(|slot| {
            let (held, count) = unpack(slot.load(Ordering::Relaxed));
            held == hash && count >= PROMOTION
        })
    }
}

impl fmt::Debug for ShapeBook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShapeBook").finish_non_exhaustive()
    }
}

fn set_of(hash: u32) -> usize {
    (hash as usize % SETS) * WAYS
}

fn pack(hash: u32, count: u32) -> u64 {
    u64::from(hash) | u64::from(count) << 32
}

fn unpack(slot: u64) -> (u32, u32) {
    (slot as u32, (slot >> 32) as u32)
}

/// Never 0, which marks an empty slot. Fixed seed: a shape means the same in every shard and after a restart; whoever crafts a
/// collision makes two sections share a bucket, which asking for the section itself does as well.
fn hash_name(name: &[u8]) -> u32 {
    let mut hasher = foldhash::quality::FixedState::with_seed(0x7361_7174).build_hasher();
    hasher.write(name);
    (hasher.finish() as u32).max(1)
}

/// A target taken apart, before a book names its section.
struct Parts<'a> {
    language: bool,
    section: Segment<'a>,
    section_kind: Section,
    /// Of the section's name, where it could be one that a book knows.
    name: Option<u32>,
    tail_count: u8,
    tail_kind: Kind,
    form: Form,
    odd: bool,
    roles: u8,
}

impl<'a> Parts<'a> {
    fn of(target: &'a [u8]) -> Self {
        let (path, query) = split(target);
        let mut parts = Self {
            language: false,
            section: Segment::default(),
            section_kind: Section::None,
            name: None,
            tail_count: 0,
            tail_kind: Kind::Slug,
            form: Form::Page,
            odd: false,
            roles: query.map_or(0, roles),
        };
        // Every request passes here, so each byte is looked at once.
        let mut seen = Seen::default();
        let (mut start, mut has_escape, mut last) = (0, false, None);
        for (at, byte) in path.iter().enumerate() {
            match byte {
                b'/' => {
                    // No link has an empty segment in the middle.
                    parts.odd |= at == start && at > 0;
                    parts.segment(&path[start..at], seen, &mut last);
                    (start, seen) = (at + 1, Seen::default());
                }
                b'.' => seen.dot = true,
                b'%' => (seen.escape, has_escape) = (true, true),
                b';' => (seen.parameter, parts.odd) = (true, true),
                _ => {}
            }
        }
        parts.segment(&path[start..], seen, &mut last);
        parts.odd |= has_escape && has_needless_escape(path);
        if let Some(last) = last {
            parts.tail_kind = last.segment_kind();
            parts.form = last.form();
        }
        if parts.section_kind == Section::Slug {
            parts.name = parts.section.name().map(|name| hash_name(name.as_bytes()));
        }
        parts
    }

    /// The next segment. `last`: the one that ends the path so far, if it is not the section.
    fn segment(&mut self, raw: &'a [u8], seen: Seen, last: &mut Option<Segment<'a>>) {
        self.odd |= matches!(raw, b"." | b"..");
        if matches!(raw, b"" | b".") {
            return;
        }
        let segment = Segment::decode(raw, seen);
        if segment.is_empty() {
            return;
        }
        if self.section_kind != Section::None {
            self.tail_count = (self.tail_count + 1).min(3);
            *last = Some(segment);
        } else if !self.language && segment.is_language() {
            self.language = true;
        } else {
            self.form = segment.form();
            self.section_kind = segment.kind();
            self.section = segment;
        }
    }

    fn shape(&self, knows: impl Fn(u32) -> bool) -> Shape {
        let (section, name) = match self.name {
            Some(name) if knows(name) => (Section::Named, name),
            _ => (self.section_kind, 0),
        };
        // The last segment's kind says nothing when the section is the last segment.
        let tail_kind = if self.tail_count == 0 {
            0
        } else {
            self.tail_kind as u64
        };
        // A named section tells its form by its name.
        let form = if section == Section::Named && self.tail_count == 0 {
            Form::Page
        } else {
            self.form
        };
        Shape(
            u64::from(name)
                | (section as u64) << SECTION_SHIFT
                | u64::from(self.language) << LANGUAGE_SHIFT
                | u64::from(self.tail_count) << TAIL_COUNT_SHIFT
                | tail_kind << TAIL_KIND_SHIFT
                | (form as u64) << FORM_SHIFT
                | u64::from(self.roles) << QUERY_SHIFT
                | u64::from(self.odd) << ODD_SHIFT,
        )
    }
}

/// Letters, digits and `-._~` have no reason to be escaped (RFC 3986 §2.3), nor what separates; Cyrillic letters have.
fn has_needless_escape(path: &[u8]) -> bool {
    path.windows(3).any(|three| match three {
        [b'%', high, low] => hex(*high)
            .zip(hex(*low))
            .map(|(high, low)| high << 4 | low)
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || b"-._~;/".contains(&byte)),
        _ => false,
    })
}

/// Path and query. An absolute-form target (`http://host/path`) loses its scheme and authority.
pub(crate) fn split(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    let (path, query) = match target.iter().position(|byte| *byte == b'?') {
        Some(mark) => (&target[..mark], Some(&target[mark + 1..])),
        None => (target, None),
    };
    if path.first() == Some(&b'/') {
        return (path, query);
    }
    let after_authority = path.windows(3).position(|three| three == b"://").map(|at| {
        let rest = &path[at + 3..];
        rest.iter()
            .position(|byte| *byte == b'/')
            .map_or(&rest[rest.len()..], |slash| &rest[slash..])
    });
    (after_authority.unwrap_or(path), query)
}

/// One decoded path segment, without its parameters. Only the first bytes are kept: enough for a name and for its kind.
#[derive(Default)]
struct Segment<'a> {
    text: Text<'a>,
    /// Longer than we keep: never a section's name, never digits, and its extension is in `extension`.
    cut: bool,
    /// What follows the last dot, lower case; `len` 0 without a dot, or when it is too long to be one we know.
    extension: [u8; EXTENSION_BYTES_MAX],
    extension_len: usize,
}

enum Text<'a> {
    /// As nearly every link is written.
    Plain(&'a [u8]),
    Decoded {
        bytes: [u8; SECTION_BYTES_MAX],
        len: usize,
    },
}

impl Default for Text<'_> {
    fn default() -> Self {
        Self::Plain(&[])
    }
}

/// What a segment has, as it stands in the target.
#[derive(Clone, Copy, Default)]
struct Seen {
    dot: bool,
    escape: bool,
    parameter: bool,
}

/// `webmanifest` is the longest extension we know.
const EXTENSION_BYTES_MAX: usize = 11;

impl<'a> Segment<'a> {
    fn decode(raw: &'a [u8], seen: Seen) -> Self {
        if seen.escape {
            return Self::decoded(raw);
        }
        let mut raw = raw;
        if seen.parameter
            && let Some(parameters) = raw.iter().position(|byte| *byte == b';')
        {
            raw = &raw[..parameters];
        }
        let mut segment = Self {
            text: Text::Plain(&raw[..raw.len().min(SECTION_BYTES_MAX)]),
            cut: raw.len() > SECTION_BYTES_MAX,
            ..Self::default()
        };
        if seen.dot
            && let Some(dot) = raw.iter().rposition(|byte| *byte == b'.')
        {
            segment.end_with(&raw[dot + 1..]);
        }
        segment
    }

    fn decoded(raw: &[u8]) -> Self {
        let mut segment = Self::default();
        let (mut bytes, mut len) = ([0; SECTION_BYTES_MAX], 0);
        // Its end, of which the extension is a part.
        let (mut end, mut end_len) = ([0; EXTENSION_BYTES_MAX], None);
        for byte in Decoded(raw) {
            if byte == b';' {
                break;
            }
            match bytes.get_mut(len) {
                Some(place) => (*place, len) = (byte, len + 1),
                None => segment.cut = true,
            }
            end_len = match (byte, end_len) {
                (b'.', _) => Some(0),
                (byte, Some(at)) if at < EXTENSION_BYTES_MAX => {
                    end[at] = byte;
                    Some(at + 1)
                }
                // Too long to be one we know; a later dot starts over.
                _ => None,
            };
        }
        segment.text = Text::Decoded { bytes, len };
        segment.end_with(&end[..end_len.unwrap_or(0)]);
        segment
    }

    fn end_with(&mut self, extension: &[u8]) {
        if let Some(place) = self.extension.get_mut(..extension.len()) {
            place.copy_from_slice(extension);
            place.make_ascii_lowercase();
            self.extension_len = extension.len();
        }
    }

    fn kept(&self) -> &[u8] {
        match &self.text {
            Text::Plain(kept) => kept,
            Text::Decoded { bytes, len } => &bytes[..*len],
        }
    }

    /// Nothing, or a dot: `//` and `/./` name the same page as `/`.
    fn is_empty(&self) -> bool {
        matches!(self.kept(), b"" | b".")
    }

    fn is_language(&self) -> bool {
        let kept = self.kept();
        (kept.len() == 2 && kept.iter().all(u8::is_ascii_alphabetic))
            || matches!(
                kept,
                b"qaz" | b"kaz" | b"rus" | b"eng" | b"kz-kk" | b"ru-ru" | b"en-us" | b"kk-kz"
            )
    }

    fn kind(&self) -> Section {
        if self.kept().is_empty() {
            return Section::None;
        }
        match self.segment_kind() {
            Kind::Digits => Section::Digits,
            Kind::Hex => Section::Hex,
            Kind::Slug => Section::Slug,
        }
    }

    fn segment_kind(&self) -> Kind {
        let kept = self.kept();
        let extension = &self.extension[..self.extension_len];
        let mut stem = kept;
        if !extension.iter().all(u8::is_ascii_digit)
            && let Some(dot) = kept.iter().position(|byte| *byte == b'.')
            && dot > 0
        {
            stem = &kept[..dot];
        }
        let mut digits = 0;
        let mut letters = 0;
        for byte in stem {
            match byte {
                b'0'..=b'9' => digits += 1,
                b'a'..=b'f' | b'A'..=b'F' => letters += 1,
                b'-' | b'_' | b'.' | b':' => {}
                _ => return Kind::Slug,
            }
        }
        if digits > 0 && letters == 0 && !self.cut {
            Kind::Digits
        } else if digits > 0 && digits + letters >= 8 {
            Kind::Hex
        } else {
            Kind::Slug
        }
    }

    fn form(&self) -> Form {
        match &self.extension[..self.extension_len] {
            b"" | b"html" | b"htm" | b"php" | b"aspx" | b"asp" | b"jsp" | b"shtml" => Form::Page,
            b"xml" | b"rss" | b"atom" | b"rdf" => Form::Feed,
            b"js" | b"mjs" | b"css" | b"map" | b"json" | b"webmanifest" => Form::Script,
            b"jpg" | b"jpeg" | b"png" | b"gif" | b"webp" | b"avif" | b"svg" | b"ico" | b"mp3"
            | b"mp4" | b"webm" | b"woff" | b"woff2" | b"ttf" => Form::Media,
            // `/v1.2`, `/dr.smith-says`: a dot in a slug, not a file.
            extension if extension.len() > 4 || !extension.iter().any(u8::is_ascii_lowercase) => {
                Form::Page
            }
            _ => Form::File,
        }
    }

    /// The segment as a section's name, when it can be one.
    fn name(&self) -> Option<&str> {
        if self.cut {
            None
        } else {
            std::str::from_utf8(self.kept())
                .ok()
                .filter(|name| !name.is_empty())
        }
    }
}

/// Undoes percent-encoding once. A stray `%` stands for itself.
struct Decoded<'a>(&'a [u8]);

impl Iterator for Decoded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        if let [b'%', high, low, rest @ ..] = self.0
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            self.0 = rest;
            return Some(high << 4 | low);
        }
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Does this key of a query play a role we know by name? As it stands in the query, percent-encoding and all.
pub fn has_role(raw: &[u8]) -> bool {
    role(raw) != UNKNOWN
}

/// The roles the keys of a query play, at most two named ones.
fn roles(query: &[u8]) -> u8 {
    let mut roles = 0;
    let mut keys = query
        .split(|byte| *byte == b'&')
        .filter(|pair| !pair.is_empty());
    for pair in keys.by_ref().take(KEYS_MAX) {
        let key = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
        roles |= role(key);
    }
    if keys.next().is_some() || roles.count_ones() > 2 {
        UNKNOWN
    } else {
        roles
    }
}

fn role(raw: &[u8]) -> u8 {
    let mut key = [0; KEY_BYTES_MAX];
    let mut len = 0;
    for byte in Decoded(raw) {
        match byte {
            // Systems put their own name before it: `tx_kesearch_pi1[sword]`.
            b'[' => len = 0,
            b']' => {}
            byte => {
                if let Some(place) = key.get_mut(len) {
                    *place = byte.to_ascii_lowercase();
                }
                len = (len + 1).min(KEY_BYTES_MAX + 1);
            }
        }
    }
    match key.get(..len).unwrap_or_default() {
        b"s" | b"q" | b"query" | b"search" | b"searchword" | b"search_query" | b"keyword"
        | b"keywords" | b"keys" | b"text" | b"find" | b"poisk" | b"term" | b"sword" | b"swords"
        | b"search_text" | b"search_word" => SEARCH,
        b"p" | b"page_id" | b"id" | b"cat" | b"tag" | b"author" | b"post_type"
        | b"attachment_id" | b"m" | b"year" | b"monthnum" | b"day" | b"name" | b"category"
        | b"section" | b"option" | b"view" | b"layout" | b"catid" | b"itemid" | b"nid"
        | b"node" | b"element_id" | b"section_id" | b"code" => SELECT,
        b"page" | b"paged" | b"start" | b"offset" | b"limit" | b"limitstart" | b"per_page"
        | b"cpage" | b"pagen_1" => TURN,
        b"lang" | b"language" | b"locale" | b"hl" => LANGUAGE,
        b"feed" | b"format" | b"type" | b"output" | b"tmpl" | b"amp" | b"print" | b"embed"
        | b"_format" => FORMAT,
        b"action" | b"rest_route" | b"doing_wp_cron" | b"wc-ajax" | b"task" | b"ajax"
        | b"preview" | b"replytocom" => ACTION,
        _ => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn newsroom() -> ShapeBook {
        let book = ShapeBook::default();
        for section in ["news", "search", "wp-login.php", "feed", "тема"] {
            for _ in 0..PROMOTION {
                book.learn(format!("/{section}/x").as_bytes(), 200);
            }
        }
        book
    }

    #[test]
    fn targets_have_shapes() {
        let book = newsroom();
        for (target, shape) in [
            ("/", "/"),
            ("", "/"),
            ("*", "/{s}"),
            ("/?s=war", "/?{search}"),
            ("/?s=war&paged=2", "/?{search}&{turn}"),
            ("/?utm_source=telegram", "/?*"),
            ("/?s=a&p=1&lang=kk", "/?*"),
            ("/search?q=1", "/search?{search}"),
            ("/search?tx_kesearch_pi1%5Bsword%5D=1", "/search?{search}"),
            ("/search?a[b][q]=1", "/search?{search}"),
            ("/search?q[]=1", "/search?*"),
            ("/search?a_long_name_that_is_none=1", "/search?*"),
            ("/news/a-long-title", "/news/{s}"),
            ("/news/a-long-title?x=1", "/news/{s}?*"),
            ("/news/2024/02/17/title", "/news/**/{s}"),
            ("/news/12345", "/news/{n}"),
            ("/news/12345.html", "/news/{n}"),
            ("/news/2024-02-17", "/news/{n}"),
            ("/news/550e8400-e29b-41d4-a716-446655440000", "/news/{x}"),
            ("/news/photo.jpg", "/news/{s}{media}"),
            ("/ru/news/title", "/{lang}/news/{s}"),
            ("/kk", "/{lang}/"),
            ("/2024/02/title", "/{n}/*/{s}"),
            ("/some-title", "/{s}"),
            ("/invented/anything", "/{s}/{s}"),
            ("/wp-login.php", "/wp-login.php"),
            ("/%D1%82%D0%B5%D0%BC%D0%B0/1", "/тема/{n}"),
            ("http://news.example/news/x?q=1", "/news/{s}?{search}"),
            ("http://news.example", "/"),
        ] {
            assert_eq!(book.print(book.shape(target.as_bytes())), shape, "{target}");
        }
    }

    #[test]
    fn spelling_makes_no_new_shape() {
        let book = newsroom();
        for (plain, variants) in [
            (
                "/news/title",
                &[
                    "//news/title",
                    "/news//title/",
                    "/./news/title",
                    "/news;a=1/title;b=2",
                    "/%6eews/titl%65",
                    "/news/other",
                ][..],
            ),
            (
                "/?s=1",
                &[
                    "/?s=2",
                    "/?%73=1",
                    "/?S=1",
                    "//?s=1",
                    "/?s=1&s=2",
                    "/?&s=1&",
                    "/;x?s",
                ],
            ),
            (
                "/news/x?a=1",
                &[
                    "/news/x?b=1",
                    "/news/x?b=1&c=2&d=3",
                    "/news/x?%00=1",
                    "/news/x?averyveryverylongkey=1",
                    "/news/x?=1",
                ],
            ),
        ] {
            for variant in variants {
                assert_eq!(
                    plainly(book.shape(variant.as_bytes())),
                    book.shape(plain.as_bytes()),
                    "{variant} beside {plain}"
                );
            }
        }
    }

    /// The same, spelt as links are.
    fn plainly(shape: Shape) -> Shape {
        Shape(shape.0 & !(1 << ODD_SHIFT))
    }

    #[test]
    fn odd_spelling_is_a_kind_of_its_own() {
        for (target, odd) in [
            ("/news/title/", false),
            ("/", false),
            ("/news/%D2%9B%D0%B0%D0%BB%D0%B0", false),
            ("/news/100%25", false),
            ("/news/title?u=//;a=1/../%61", false),
            ("/.well-known/title", false),
            ("/news/...", false),
            ("/news/%6", false),
            ("/news/.", true),
            ("/..", true),
            ("/news/title;a=1", true),
            ("/news;a=1/title", true),
            ("//news/title", true),
            ("/news//title", true),
            ("/./news/title", true),
            ("/news/../title", true),
            ("/news/titl%65", true),
            ("/news%2ftitle", true),
            ("/news/title%3Ba=1", true),
        ] {
            let shape = Shape::of(target.as_bytes());
            assert_eq!(shape != plainly(shape), odd, "{target}");
        }
    }

    #[test]
    fn only_repeated_200s_name_a_section() {
        let book = ShapeBook::default();
        for status in [404, 301, 500, 403, 200, 200] {
            book.learn(b"/fresh/page", status);
        }
        assert_eq!(book.print(book.shape(b"/fresh/page")), "/{s}/{s}");
        book.learn(b"/fresh/page", 200);
        assert_eq!(book.print(book.shape(b"/fresh/page")), "/fresh/{s}");
    }

    #[test]
    fn invented_sections_do_not_displace_real_ones() {
        let book = ShapeBook::default();
        for _ in 0..2_000 {
            book.learn(b"/news/x", 200);
        }
        // 32 sets: about 1,000 of them land beside /news and wear it down.
        for n in 0..30_000 {
            book.learn(format!("/invented-{n}-title/x").as_bytes(), 200);
        }
        assert_eq!(book.print(book.shape(b"/news/x")), "/news/{s}");
    }

    #[test]
    fn a_book_stays_within_its_bound() {
        let book = ShapeBook::default();
        for n in 0..20_000 {
            for _ in 0..PROMOTION {
                book.learn(format!("/section-{n}-x/1").as_bytes(), 200);
            }
        }
        let named = (0..20_000)
            .map(|n| book.shape(format!("/section-{n}-x/1").as_bytes()))
            .collect::<HashSet<_>>();
        assert!(named.len() <= SECTIONS_MAX + 1, "{}", named.len());
    }

    #[test]
    fn inventing_paths_invents_few_shapes() {
        type Target = fn(u32) -> String;
        let floods: [(&str, Target, usize); 4] = [
            ("unknown sections", |n| format!("/section{n}x/page{n}y"), 1),
            (
                "path parameters",
                |n| format!("/news;{n}=1//a{n}z?w={n}"),
                1,
            ),
            ("random keys", |n| format!("/news/title?k{n}=1"), 1),
            (
                "digits and hex",
                |n| format!("/news/{:x}", u64::from(n) << 34 | 0xabc),
                3,
            ),
        ];
        let book = newsroom();
        for (name, target, shapes_max) in floods {
            let shapes = (0..5_000)
                .map(|n| book.shape(target(n).as_bytes()))
                .collect::<HashSet<_>>();
            assert!(shapes.len() <= shapes_max, "{name}: {}", shapes.len());
        }
    }

    fn coordinates_are_in_range(shape: Shape) -> bool {
        let field = |shift: u32, bits: u32| ((shape.0 >> shift) & ((1 << bits) - 1)) as usize;
        field(SECTION_SHIFT, 3) <= KINDS
            && (field(SECTION_SHIFT, 3) == KINDS) == (shape.section_hash() != 0)
            && (field(TAIL_COUNT_SHIFT, 2) > 0 || field(TAIL_KIND_SHIFT, 2) == 0)
            && field(TAIL_KIND_SHIFT, 2) < 3
            && field(FORM_SHIFT, 3) < FORMS
            && field(QUERY_SHIFT, 7).count_ones() <= 2
            && shape.0 >> (ODD_SHIFT + 1) == 0
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_shape(target in proptest::collection::vec(any::<u8>(), 0..300)) {
            let book = newsroom();
            book.learn(&target, 200);
            let shape = book.shape(&target);
            prop_assert!(coordinates_are_in_range(shape), "{shape}");
            prop_assert_eq!(Shape::from_bits(shape.bits()), shape);
            prop_assert!(!book.print(shape).is_empty());
        }

        #[test]
        fn path_like_bytes_have_a_shape(target in "(/[a-f0-9%;.=/-]{0,12}){0,6}(\\?[a-z&=%0-9]{0,40})?") {
            let shape = Shape::of(target.as_bytes());
            prop_assert!(coordinates_are_in_range(shape), "{target} {shape}");
        }

        #[test]
        fn encoding_a_path_keeps_its_shape(target in "(/[a-z0-9-]{1,12}){1,4}") {
            let book = newsroom();
            let encoded = target
                .bytes()
                .map(|byte| if byte == b'/' { "/".to_owned() } else { format!("%{byte:02X}") })
                .collect::<String>();
            prop_assert_eq!(plainly(book.shape(encoded.as_bytes())), book.shape(target.as_bytes()));
        }
    }
}
