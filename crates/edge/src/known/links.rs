//! The addresses a page, a feed, a sitemap or a style sheet of a site gives away: those of the site itself, in one spelling.
//!
//! HTML is read by `lol_html` and XML by `quick-xml`, both in one pass and a bounded amount of memory. What they cannot read ends the
//! pass; what was found until then counts. Addresses come out as browsers send them, because that is what they will be compared with:
//! resolved, without dots and fragment, with what is not ASCII percent-encoded.

use std::cell::RefCell;

use lol_html::html_content::Element;
use lol_html::{HtmlRewriter, MemorySettings, Settings, element, text};
use quick_xml::escape::unescape;
use quick_xml::events::{BytesStart, Event};

/// The sitemap protocol's own limit for one file.
pub const LINKS_MAX: usize = 50_000;
/// Longer addresses are not links that people follow.
pub const TARGET_BYTES_MAX: usize = 2_048;
/// One start tag with all its attributes; an image written into its own address may have 100 KB.
const TAG_BYTES_MAX: usize = 512 * 1024;
/// Of one `<style>`: what is longer stands in a file of its own.
const STYLE_BYTES_MAX: usize = 512 * 1024;
/// Elements inside each other in a feed.
const DEPTH_MAX: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Html,
    /// Sitemaps, RSS, Atom.
    Xml,
    Css,
}

impl Kind {
    pub fn of(content_type: &[u8]) -> Option<Self> {
        let end = content_type.iter().position(|byte| *byte == b';');
        let essence = content_type[..end.unwrap_or(content_type.len())].trim_ascii();
        match essence.to_ascii_lowercase().as_slice() {
            b"text/html" | b"application/xhtml+xml" => Some(Self::Html),
            b"text/css" => Some(Self::Css),
            b"text/xml"
            | b"application/xml"
            | b"application/rss+xml"
            | b"application/atom+xml"
            | b"application/rdf+xml" => Some(Self::Xml),
            _ => None,
        }
    }
}

/// What an address is good for in the page that names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    Page,
    /// A page, or a download, that the link asks programs not to follow.
    Unfollowed,
    Feed,
    Style,
    Script,
    Font,
    Image,
    /// One of several sizes of an image.
    Candidate,
    /// Sound and moving pictures.
    Media,
    /// What else a browser loads with the page: a manifest.
    Other,
}

/// Where links start from.
#[derive(Debug, Clone, Copy)]
pub struct Base<'a> {
    /// With its port, if it is not a scheme's own.
    pub host: &'a [u8],
    pub target: &'a [u8],
}

/// Tells `each` every address of the same host, in order, repeated ones again. [`LINKS_MAX`] at most.
pub fn extract(kind: Kind, base: Base<'_>, body: &[u8], each: &mut dyn FnMut(Role, &[u8])) {
    let mut left = LINKS_MAX;
    let mut each = |role: Role, base: Base<'_>, reference: &[u8]| {
        if left > 0
            && let Some(target) = resolve(base, reference)
        {
            left -= 1;
            each(role, &target);
        }
    };
    match kind {
        Kind::Html => html(base, body, &mut each),
        Kind::Xml => xml(base, body, &mut each),
        Kind::Css => css(body, &mut |role, reference| each(role, base, reference)),
    }
}

type Each<'a> = &'a mut dyn FnMut(Role, Base<'_>, &[u8]);

fn html(base: Base<'_>, body: &[u8], each: Each<'_>) {
    // `<base href>`: of the page's own host, or there are no relative links of ours.
    let moved: RefCell<Option<Vec<u8>>> = RefCell::new(None);
    let each = RefCell::new(each);
    let found = |role: Role, reference: &str| {
        let moved = moved.borrow();
        let base = Base {
            target: moved.as_deref().unwrap_or(base.target),
            ..base
        };
        each.borrow_mut()(role, base, reference.as_bytes());
    };
    let styled = |text: &str| {
        css(text.as_bytes(), &mut |role, reference| {
            found(role, &String::from_utf8_lossy(reference));
        })
    };
    let link = |tag: &mut Element<'_, '_>| {
        let attribute = |name: &str| tag.get_attribute(name).map(|value| decoded(&value));
        let of_attribute = |role: Role, name: &str| {
            if let Some(reference) = attribute(name) {
                found(role, &reference);
            }
        };
        let of_sizes = |name: &str| {
            candidates(&attribute(name).unwrap_or_default(), &mut |address| {
                found(Role::Candidate, address);
            });
        };
        match tag.tag_name().as_str() {
            "base" => {
                if let Some(href) = attribute("href")
                    && moved.borrow().is_none()
                {
                    *moved.borrow_mut() = Some(resolve(base, href.as_bytes()).unwrap_or_default());
                }
            }
            "a" | "area" => {
                let rel = attribute("rel").unwrap_or_default();
                let unfollowed = tag.has_attribute("download")
                    || rel
                        .split_ascii_whitespace()
                        .any(|rel| rel.eq_ignore_ascii_case("nofollow"));
                let role = if unfollowed {
                    Role::Unfollowed
                } else {
                    Role::Page
                };
                of_attribute(role, "href");
            }
            "form" => {
                let reads = attribute("method").is_none_or(|it| it.eq_ignore_ascii_case("get"));
                if reads {
                    of_attribute(Role::Page, "action");
                }
            }
            "link" => {
                let role = role_of_link(
                    &attribute("rel").unwrap_or_default(),
                    &attribute("type").unwrap_or_default(),
                    &attribute("as").unwrap_or_default(),
                );
                if let Some(role) = role {
                    of_attribute(role, "href");
                    of_sizes("imagesrcset");
                }
            }
            "script" => of_attribute(Role::Script, "src"),
            "video" => {
                of_attribute(Role::Image, "poster");
                of_attribute(Role::Media, "src");
            }
            "audio" => of_attribute(Role::Media, "src"),
            "source" => {
                of_attribute(Role::Media, "src");
                of_sizes("srcset");
            }
            // Of SVG inside the page.
            "image" | "use" => {
                of_attribute(Role::Image, "href");
                of_attribute(Role::Image, "xlink:href");
            }
            _ => {
                of_attribute(Role::Image, "src");
                of_sizes("srcset");
            }
        }
        Ok(())
    };
    let style = RefCell::new(String::new());
    let settings = Settings::new()
        .append_element_content_handler(element!(
            "a, area, form, link, script, img, image, use, video, audio, source, base",
            link
        ))
        .append_element_content_handler(element!("[style]", |tag| {
            styled(&decoded(&tag.get_attribute("style").unwrap_or_default()));
            Ok(())
        }))
        .append_element_content_handler(text!("style", |chunk| {
            let mut style = style.borrow_mut();
            if style.len() + chunk.as_str().len() <= STYLE_BYTES_MAX {
                style.push_str(chunk.as_str());
            }
            if chunk.last_in_text_node() {
                styled(&std::mem::take(&mut *style));
            }
            Ok(())
        }))
        .with_memory_settings(memory());
    let mut rewriter = HtmlRewriter::new(settings, |_: &[u8]| {});
    // Unreadable from here on: what was found counts.
    if rewriter.write(body).is_ok() {
        _ = rewriter.end();
    }
}

/// The addresses of a `srcset`. They may have commas inside, so one ends at a blank, and a comma ends what follows it.
fn candidates(sizes: &str, each: &mut dyn FnMut(&str)) {
    let mut rest = sizes;
    loop {
        rest =
            rest.trim_start_matches(|letter: char| letter.is_ascii_whitespace() || letter == ',');
        if rest.is_empty() {
            return;
        }
        let end = rest.find(|letter: char| letter.is_ascii_whitespace());
        let (address, after) = rest.split_at(end.unwrap_or(rest.len()));
        each(address.trim_end_matches(','));
        rest = if address.ends_with(',') {
            after
        } else {
            after.find(',').map_or("", |at| &after[at..])
        };
    }
}

/// For every pass over HTML.
pub(crate) fn memory() -> MemorySettings {
    MemorySettings::new().with_max_allowed_memory_usage(TAG_BYTES_MAX)
}

fn role_of_link(rel: &str, kind: &str, loads: &str) -> Option<Role> {
    let is = |wanted: &str| {
        rel.split_ascii_whitespace()
            .any(|rel| rel.eq_ignore_ascii_case(wanted))
    };
    let is_feed = ["application/rss+xml", "application/atom+xml"]
        .iter()
        .any(|feed| kind.trim().eq_ignore_ascii_case(feed));
    let loads_first = is("preload");
    if is("stylesheet") || loads_first && loads == "style" {
        Some(Role::Style)
    } else if is("alternate") && is_feed {
        Some(Role::Feed)
    } else if is("icon")
        || is("apple-touch-icon")
        || is("mask-icon")
        || loads_first && loads == "image"
    {
        Some(Role::Image)
    } else if loads_first && loads == "font" {
        Some(Role::Font)
    } else if loads_first && loads == "script" || is("modulepreload") {
        Some(Role::Script)
    } else if is("manifest") || loads_first && loads == "fetch" {
        Some(Role::Other)
    } else {
        const PAGES: [&str; 6] = [
            "canonical",
            "alternate",
            "next",
            "prev",
            "amphtml",
            "shortlink",
        ];
        PAGES.iter().any(|rel| is(rel)).then_some(Role::Page)
    }
}

/// Character references read. What only looks like one (`?a=1&para=2`) stays as it is.
pub(crate) fn decoded(value: &str) -> String {
    /// `&CounterClockwiseContourIntegral;` is the longest there is.
    const REFERENCE_BYTES_MAX: usize = 34;
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest
            .bytes()
            .take(REFERENCE_BYTES_MAX)
            .position(|byte| byte == b';');
        match end.and_then(|end| Some((unescape(&rest[..=end]).ok()?, end))) {
            Some((text, end)) => {
                out.push_str(&text);
                rest = &rest[end + 1..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// Addresses as text (`loc` of sitemaps, `link` of RSS) and as attributes (`link` of Atom, enclosures, media).
fn xml(base: Base<'_>, body: &[u8], each: Each<'_>) {
    walk(
        body,
        &["loc", "link", "guid", "comments"],
        &mut |element| match element {
            Xml::Tag(tag) => attributes(tag, base, each),
            Xml::End(_, Some(text)) => each(Role::Page, base, text.trim().as_bytes()),
            Xml::End(_, None) => {}
        },
    );
}

/// Tells `each` every page of the same host that a sitemap or a feed lists, in order, with the day on which it is said to have changed last:
/// 20261130, and 0 where none is said. [`LINKS_MAX`] at most.
pub fn listed(base: Base<'_>, body: &[u8], each: &mut dyn FnMut(&[u8], u32)) {
    const ITEMS: [&str; 4] = ["url", "sitemap", "item", "entry"];
    let mut left = LINKS_MAX;
    let (mut address, mut day) = (String::new(), 0);
    walk(
        body,
        &["loc", "link", "lastmod", "updated"],
        &mut |element| match element {
            Xml::Tag(tag) => {
                let name = tag.local_name();
                if ITEMS.contains(&name.as_ref()) {
                    (address, day) = (String::new(), 0);
                } else if name.as_ref() == "link" && address.is_empty() {
                    let href = tag
                        .attributes()
                        .flatten()
                        .find(|attribute| attribute.key.local_name().as_ref() == "href");
                    address = href.map(|href| decoded(&href.value)).unwrap_or_default();
                }
            }
            // A picture of the page comes after it: `image:loc`.
            Xml::End("loc" | "link", Some(text)) if address.is_empty() => address = text,
            Xml::End("lastmod" | "updated", Some(text)) => day = day_of(text.trim()),
            Xml::End(name, _) if ITEMS.contains(&name) && left > 0 => {
                if let Some(target) = resolve(base, address.as_bytes()) {
                    left -= 1;
                    each(&target, day);
                }
            }
            Xml::End(..) => {}
        },
    );
}

enum Xml<'a> {
    Tag(&'a BytesStart<'a>),
    /// An element's local name, and its text if it is one whose text is wanted and has no elements in it.
    End(&'a str, Option<String>),
}

fn walk(body: &[u8], wanted: &[&str], each: &mut dyn FnMut(Xml<'_>)) {
    let text = String::from_utf8_lossy(body);
    let mut reader = quick_xml::Reader::from_str(&text);
    let config = reader.config_mut();
    config.allow_dangling_amp = true;
    config.check_end_names = false;
    let mut held: Option<String> = None;
    let mut depth = 0;
    loop {
        match reader.read_event() {
            Ok(Event::Start(tag)) => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return;
                }
                each(Xml::Tag(&tag));
                held = wanted
                    .contains(&tag.local_name().as_ref())
                    .then(String::new);
            }
            Ok(Event::Empty(tag)) => each(Xml::Tag(&tag)),
            Ok(Event::Text(text)) => add(&mut held, &text),
            Ok(Event::CData(text)) => add(&mut held, &text),
            Ok(Event::GeneralRef(reference)) => {
                let reference: &str = &reference;
                add(&mut held, &decoded(&format!("&{reference};")));
            }
            Ok(Event::End(tag)) => {
                depth -= 1;
                each(Xml::End(tag.local_name().as_ref(), held.take()));
            }
            Ok(Event::Eof) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// `2026-11-30T10:00:00+05:00`; `2026-11`. 0: no such thing.
fn day_of(date: &str) -> u32 {
    let mut parts = date.splitn(3, '-').map(|part| {
        let end = part
            .find(|letter: char| !letter.is_ascii_digit())
            .unwrap_or(part.len());
        part[..end].parse::<u32>().ok()
    });
    let mut next = |most: u32, unsaid: u32| match parts.next() {
        None => Some(unsaid),
        Some(number) => number.filter(|number| *number <= most),
    };
    let (year, month, day) = (next(9_999, 0), next(12, 1), next(31, 1));
    match (year, month, day) {
        (Some(year), Some(month), Some(day)) => year * 10_000 + month * 100 + day,
        _ => 0,
    }
}

fn add(held: &mut Option<String>, text: &str) {
    if let Some(held) = held
        && held.len() + text.len() <= TARGET_BYTES_MAX
    {
        held.push_str(text);
    }
}

fn attributes(tag: &BytesStart<'_>, base: Base<'_>, each: Each<'_>) {
    let role = match tag.local_name().as_ref() {
        "link" => Role::Page,
        "enclosure" | "content" | "thumbnail" => Role::Image,
        _ => return,
    };
    for attribute in tag.attributes().flatten() {
        if matches!(attribute.key.local_name().as_ref(), "href" | "url") {
            each(role, base, decoded(&attribute.value).as_bytes());
        }
    }
}

/// `url(…)` and `@import "…"`.
fn css(body: &[u8], each: &mut dyn FnMut(Role, &[u8])) {
    const FONTS: [&[u8]; 5] = [b".woff2", b".woff", b".ttf", b".otf", b".eot"];
    let mut found = |reference: &[u8], imported: bool| {
        let reference = reference.trim_ascii();
        let reference = match reference {
            [b'"', inner @ .., b'"'] | [b'\'', inner @ .., b'\''] => inner,
            other => other,
        };
        let end = reference
            .iter()
            .position(|byte| matches!(byte, b'?' | b'#'));
        let path = reference[..end.unwrap_or(reference.len())].to_ascii_lowercase();
        let role = if imported || path.ends_with(b".css") {
            Role::Style
        } else if FONTS.iter().any(|ending| path.ends_with(ending)) {
            Role::Font
        } else {
            Role::Image
        };
        each(role, reference);
    };
    for at in memchr::memmem::find_iter(body, b"url(") {
        let rest = &body[at + 4..];
        let rest = &rest[..rest.len().min(TARGET_BYTES_MAX)];
        if let Some(end) = memchr::memchr(b')', rest) {
            let imported = body[..at].trim_ascii_end().ends_with(b"@import");
            found(&rest[..end], imported);
        }
    }
    for at in memchr::memmem::find_iter(body, b"@import") {
        let rest = &body[at + 7..];
        let rest = rest[..rest.len().min(TARGET_BYTES_MAX)].trim_ascii_start();
        if let [quote @ (b'"' | b'\''), inner @ ..] = rest
            && let Some(end) = memchr::memchr(*quote, inner)
        {
            found(&inner[..end], true);
        }
    }
}

/// A reference as a target of the base's own host, as a browser would send it. `None`: elsewhere, or no address.
pub fn resolve(base: Base<'_>, reference: &[u8]) -> Option<Vec<u8>> {
    let reference = reference.trim_ascii();
    let reference = reference.split(|byte| *byte == b'#').next()?;
    if reference.len() > TARGET_BYTES_MAX
        || reference
            .iter()
            .any(|byte| byte.is_ascii_control() || *byte == b'\\')
    {
        return None;
    }
    let reference = match authority_and_rest(reference) {
        Some((authority, rest)) => {
            if !same_host(authority, base.host) {
                return None;
            }
            [
                if rest.first() == Some(&b'/') {
                    &b""[..]
                } else {
                    b"/"
                },
                rest,
            ]
            .concat()
        }
        None if has_scheme(reference) => return None,
        None => reference.to_vec(),
    };
    let path = base.target.split(|byte| *byte == b'?').next()?;
    let mut target = match reference.first()? {
        b'/' => Vec::new(),
        b'?' if path.first() == Some(&b'/') => path.to_vec(),
        _ => path[..=path.iter().rposition(|byte| *byte == b'/')?].to_vec(),
    };
    target.extend_from_slice(&reference);
    if target.first() != Some(&b'/') {
        target.insert(0, b'/');
    }
    let target = spelled(&without_dots(&target));
    (target.len() <= TARGET_BYTES_MAX).then_some(target)
}

/// One spelling: what browsers encode is encoded, and in upper case.
pub fn spelled(target: &[u8]) -> Vec<u8> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = Vec::with_capacity(target.len());
    let mut at = 0;
    while let Some(byte) = target.get(at) {
        match byte {
            b'%' => {
                out.push(b'%');
                let hex = target[at + 1..]
                    .iter()
                    .take(2)
                    .take_while(|byte| byte.is_ascii_hexdigit());
                let before = out.len();
                out.extend(hex.map(u8::to_ascii_uppercase));
                at += out.len() - before;
            }
            0x80.. | b' ' | b'"' | b'<' | b'>' | b'`' | b'{' | b'}' => {
                out.push(b'%');
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
            other => out.push(*other),
        }
        at += 1;
    }
    out
}

fn authority_and_rest(reference: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = ["http://", "https://", "//"].iter().find_map(|prefix| {
        let (start, rest) = reference.split_at_checked(prefix.len())?;
        start
            .eq_ignore_ascii_case(prefix.as_bytes())
            .then_some(rest)
    })?;
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?'))
        .unwrap_or(rest.len());
    Some(rest.split_at(end))
}

fn same_host(authority: &[u8], host: &[u8]) -> bool {
    let bare = |host: &[u8]| {
        let host = host
            .strip_suffix(b":80")
            .or(host.strip_suffix(b":443"))
            .unwrap_or(host);
        host.strip_suffix(b".").unwrap_or(host).to_ascii_lowercase()
    };
    bare(authority) == bare(host)
}

fn has_scheme(reference: &[u8]) -> bool {
    let end = reference
        .iter()
        .position(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')));
    end.is_some_and(|end| end > 0 && reference[end] == b':')
}

/// `/a/./b/../c` is `/a/c` (RFC 3986 §5.2.4); the query stays as it is.
fn without_dots(target: &[u8]) -> Vec<u8> {
    let end = target
        .iter()
        .position(|byte| *byte == b'?')
        .unwrap_or(target.len());
    let (path, query) = target.split_at(end);
    let mut segments: Vec<&[u8]> = Vec::new();
    let mut parts = path.split(|byte| *byte == b'/').skip(1).peekable();
    while let Some(part) = parts.next() {
        match part {
            b"." | b".." => {
                if part == b".." {
                    segments.pop();
                }
                if parts.peek().is_none() {
                    segments.push(b"");
                }
            }
            _ => segments.push(part),
        }
    }
    let mut clean = Vec::with_capacity(target.len());
    for segment in segments {
        clean.push(b'/');
        clean.extend_from_slice(segment);
    }
    if clean.is_empty() {
        clean.push(b'/');
    }
    clean.extend_from_slice(query);
    clean
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BASE: Base<'_> = Base {
        host: b"kaztag.kz",
        target: b"/news/2024/a.html?x=1",
    };

    fn all(kind: Kind, body: &str) -> Vec<(Role, String)> {
        let mut found = Vec::new();
        extract(kind, BASE, body.as_bytes(), &mut |role, target| {
            found.push((role, String::from_utf8(target.to_vec()).unwrap()));
        });
        found
    }

    fn check(kind: Kind, body: &str, expected: &[(Role, &str)]) {
        let expected: Vec<_> = expected
            .iter()
            .map(|(role, target)| (*role, (*target).to_owned()))
            .collect();
        assert_eq!(all(kind, body), expected, "{body}");
    }

    #[test]
    fn references_become_targets() {
        let table = [
            ("/a", Some("/a")),
            ("b.html", Some("/news/2024/b.html")),
            ("../b?c=d#e", Some("/news/b?c=d")),
            ("?p=2", Some("/news/2024/a.html?p=2")),
            ("./", Some("/news/2024/")),
            ("https://kaztag.kz/ru/", Some("/ru/")),
            ("http://KazTAG.kz:80", Some("/")),
            ("//kaztag.kz?s=1", Some("/?s=1")),
            (
                "/жаңалық",
                Some("/%D0%B6%D0%B0%D2%A3%D0%B0%D0%BB%D1%8B%D2%9B"),
            ),
            ("/%d0%b6 x", Some("/%D0%B6%20x")),
            ("/100%", Some("/100%")),
            ("/%zz", Some("/%zz")),
            ("  /padded\n", Some("/padded")),
            ("https://nege.kz/", None),
            ("//nege.kz/a", None),
            ("https://kaztag.kz.evil.example/", None),
            ("mailto:a@kaztag.kz", None),
            ("javascript:void(0)", None),
            ("data:image/png;base64,AAAA", None),
            ("#top", None),
            ("", None),
            ("/a\\b", None),
        ];
        for (reference, expected) in table {
            let got = resolve(BASE, reference.as_bytes());
            assert_eq!(got.as_deref(), expected.map(str::as_bytes), "{reference}");
        }
    }

    #[test]
    fn pages_name_their_links_and_assets() {
        use Role::{Candidate, Feed, Font, Image, Page, Script, Style};
        check(
            Kind::Html,
            r#"<!doctype html><html><head><link rel="stylesheet" href="/s.css?v=2"><link rel=alternate type=application/rss+xml href=/feed/>
               <link rel="preload" as="font" href="/f.woff2"><link rel="preconnect" href="https://fonts.example/">
               <script src="/j.js"></script></head><body><!-- <a href="/hidden"> -->
               <a href='/?p=1&amp;lang=kk'>x</a><a href="/?a=1&para=2">y</a><a name=top>z</a>
               <img src="/i.jpg" srcset="/i-300.jpg 300w, /i-600.jpg 600w"><form method=post action=/comment></form><form action="/search"></form>
               <script>var a = '<a href="/not-a-link">';</script></body></html>"#,
            &[
                (Style, "/s.css?v=2"),
                (Feed, "/feed/"),
                (Font, "/f.woff2"),
                (Script, "/j.js"),
                (Page, "/?p=1&lang=kk"),
                (Page, "/?a=1&para=2"),
                (Image, "/i.jpg"),
                (Candidate, "/i-300.jpg"),
                (Candidate, "/i-600.jpg"),
                (Page, "/search"),
            ],
        );
        check(
            Kind::Html,
            "<base href='/en/'><a href=b>",
            &[(Page, "/en/b")],
        );
        check(
            Kind::Html,
            "<base href='https://cdn.example/'><a href=b><a href=/c>",
            &[(Page, "/c")],
        );
        check(
            Kind::Html,
            "<a rel='ugc NoFollow' href=/vote/1>+</a><a href=/dl/12 download>D</a><a rel=noopener href=/b>B</a>",
            &[
                (Role::Unfollowed, "/vote/1"),
                (Role::Unfollowed, "/dl/12"),
                (Page, "/b"),
            ],
        );
        check(Kind::Html, "<a href=\"/cut", &[]);
    }

    #[test]
    fn what_a_browser_loads_with_a_page_is_named() {
        use Role::{Candidate, Font, Image, Media, Other, Page, Script, Style};
        let table: &[(&str, &[(Role, &str)])] = &[
            (
                "<style>@import '/a.css'; b{background:url(/b.png)} @font-face{src:url(\"/f.woff2\")}</style>",
                &[(Image, "/b.png"), (Font, "/f.woff2"), (Style, "/a.css")],
            ),
            ("<style>@import url(/a.css);</style>", &[(Style, "/a.css")]),
            (
                "<div style=\"background:url(&quot;/hero.jpg&quot;)\"><a href=/x style='background: url( /y.png )'>",
                &[(Image, "/hero.jpg"), (Page, "/x"), (Image, "/y.png")],
            ),
            (
                "<base href=/en/><style>b{background:url(b.png)}</style>",
                &[(Image, "/en/b.png")],
            ),
            ("<link rel=manifest href=/m.json>", &[(Other, "/m.json")]),
            (
                "<link rel='shortcut icon' href=/i.ico><link rel=apple-touch-icon href=/t.png>",
                &[(Image, "/i.ico"), (Image, "/t.png")],
            ),
            (
                "<link rel=preload as=style href=/s.css><link rel=preload as=script href=/p.js><link rel=modulepreload href=/m.js>",
                &[(Style, "/s.css"), (Script, "/p.js"), (Script, "/m.js")],
            ),
            (
                "<link rel=preload as=image href=/l.jpg imagesrcset='/l-300.jpg 300w, /l-600.jpg 600w'>",
                &[
                    (Image, "/l.jpg"),
                    (Candidate, "/l-300.jpg"),
                    (Candidate, "/l-600.jpg"),
                ],
            ),
            (
                "<picture><source srcset='/a.webp 1x,/b.webp 2x' media='(min-width: 1px)'><img src=/a.jpg></picture>",
                &[
                    (Candidate, "/a.webp"),
                    (Candidate, "/b.webp"),
                    (Image, "/a.jpg"),
                ],
            ),
            (
                "<img srcset='data:image/gif;base64,AAAA 1w, /w_1,h_2/c.jpg 2w, /d.jpg, /e.jpg 2x'>",
                &[
                    (Candidate, "/w_1,h_2/c.jpg"),
                    (Candidate, "/d.jpg"),
                    (Candidate, "/e.jpg"),
                ],
            ),
            ("<img srcset=' , , '>", &[]),
            (
                "<video poster=/p.jpg src=/v.mp4><source src=/w.mp4></video><audio src=/s.mp3></audio>",
                &[
                    (Image, "/p.jpg"),
                    (Media, "/v.mp4"),
                    (Media, "/w.mp4"),
                    (Media, "/s.mp3"),
                ],
            ),
            (
                "<svg><image href=/i.png /><use xlink:href='/sprite.svg#menu'/><use href='#own'/></svg>",
                &[(Image, "/i.png"), (Image, "/sprite.svg")],
            ),
            ("<style>b{background:url(/cut", &[]),
        ];
        for (body, expected) in table {
            check(Kind::Html, body, expected);
        }
    }

    #[test]
    fn references_are_read_and_their_likes_are_not() {
        let table = [
            ("a", "a"),
            ("?a=1&amp;b=2&#38;c=3&#x26;d", "?a=1&b=2&c=3&d"),
            ("?a=1&para=2&copy", "?a=1&para=2&copy"),
            ("&amp;&none-such;&", "&&none-such;&"),
            ("&laquo;\u{e1}&nbsp;&raquo;", "«\u{e1}\u{a0}»"),
            ("&#xffffffff;&#0;", "&#xffffffff;&#0;"),
        ];
        for (text, expected) in table {
            assert_eq!(decoded(text), expected);
        }
    }

    #[test]
    fn lists_say_when_their_pages_changed() {
        let table: [(&str, &[(&str, u32)]); 6] = [
            (
                "<urlset><url><loc> https://kaztag.kz/a </loc><lastmod>2026-11-30T10:00:00+05:00</lastmod></url><url><loc>/b</loc></url></urlset>",
                &[("/a", 20_261_130), ("/b", 0)],
            ),
            (
                "<sitemapindex><sitemap><lastmod>2026-11</lastmod><loc>https://kaztag.kz/post-sitemap.xml?a=1&amp;b=2</loc></sitemap></sitemapindex>",
                &[("/post-sitemap.xml?a=1&b=2", 20_261_101)],
            ),
            (
                "<rss><channel><link>https://kaztag.kz/</link><item><link>https://kaztag.kz/c</link><guid>/?p=1</guid></item></channel></rss>",
                &[("/c", 0)],
            ),
            (
                "<feed><link href='/self'/><entry><link href='/d'/><link rel=edit href='/e'/><updated>2026-01-02</updated></entry></feed>",
                &[("/d", 20_260_102)],
            ),
            (
                "<urlset><url><loc>https://elsewhere.example/a</loc></url><url><loc>/cut</loc>",
                &[],
            ),
            (
                "<urlset><url><loc>/a</loc><lastmod>yesterday</lastmod></url><url><loc>/b</loc><lastmod>2026-99-01</lastmod></url></urlset>",
                &[("/a", 0), ("/b", 0)],
            ),
        ];
        for (body, expected) in table {
            let mut found = Vec::new();
            listed(BASE, body.as_bytes(), &mut |target, day| {
                found.push((String::from_utf8_lossy(target).into_owned(), day));
            });
            let expected: Vec<_> = expected
                .iter()
                .map(|(target, day)| ((*target).to_owned(), *day))
                .collect();
            assert_eq!(found, expected, "{body}");
        }
    }

    #[test]
    fn feeds_and_sitemaps_name_their_pages() {
        use Role::{Image, Page};
        check(
            Kind::Xml,
            r#"<?xml version="1.0"?><urlset><url><loc> https://kaztag.kz/a?x=1&amp;y=2 </loc><lastmod>2024</lastmod></url>
               <url><loc><![CDATA[https://kaztag.kz/b]]></loc></url><url><loc>https://nege.kz/c</loc></url></urlset>"#,
            &[(Page, "/a?x=1&y=2"), (Page, "/b")],
        );
        check(
            Kind::Xml,
            r#"<rss><channel><link>https://kaztag.kz/</link><item><title>/title</title><link>https://kaztag.kz/1</link>
               <guid isPermaLink="false">https://kaztag.kz/?p=1</guid><enclosure url="https://kaztag.kz/1.jpg"/></item></channel></rss>"#,
            &[
                (Page, "/"),
                (Page, "/1"),
                (Page, "/?p=1"),
                (Image, "/1.jpg"),
            ],
        );
        check(
            Kind::Xml,
            r#"<feed><entry><link rel="alternate" href="/e?a&amp;b"/></entry></feed>"#,
            &[(Page, "/e?a&b")],
        );
        check(Kind::Xml, "<loc>/a</loc><loc>/b", &[(Page, "/a")]);
    }

    #[test]
    fn styles_name_what_they_load() {
        use Role::{Font, Image, Style};
        check(
            Kind::Css,
            "@import \"b.css\"; @font-face{src:url(/f.woff2?v=1) format('woff2')} a{background:url( '../i.png' )} b{background:url(data:image/png;base64,x)} c{x:url(",
            &[
                (Font, "/f.woff2?v=1"),
                (Image, "/news/i.png"),
                (Style, "/news/2024/b.css"),
            ],
        );
    }

    #[test]
    fn kinds_are_told_by_content_type() {
        let table: &[(&[u8], Option<Kind>)] = &[
            (b"text/html; charset=utf-8", Some(Kind::Html)),
            (b"Application/RSS+XML", Some(Kind::Xml)),
            (b"text/css", Some(Kind::Css)),
            (b"application/json", None),
            (b"", None),
        ];
        for (content_type, kind) in table {
            assert_eq!(Kind::of(content_type), *kind);
        }
    }

    #[test]
    fn a_page_of_links_is_bounded() {
        let body = "<a href=/a></a>".repeat(LINKS_MAX + 10);
        assert_eq!(all(Kind::Html, &body).len(), LINKS_MAX);
        // Elements that are never closed end the pass when they fill its memory.
        let open = all(Kind::Html, &"<a href=/a>".repeat(LINKS_MAX)).len();
        assert!((1000..LINKS_MAX).contains(&open), "{open}");
        let deep = "<a>".repeat(100_000);
        assert!(all(Kind::Xml, &deep).is_empty());
    }

    proptest! {
        #[test]
        fn whatever_is_found_is_a_target_in_its_one_spelling(body in "(<a href=\"|&amp;|[%a-f0-9/.?# ъ]|\">|<loc>|</loc>|url\\(|\\)|'){0,60}") {
            for kind in [Kind::Html, Kind::Xml, Kind::Css] {
                extract(kind, BASE, body.as_bytes(), &mut |_, target| {
                    assert_eq!(target.first(), Some(&b'/'));
                    assert!(target.iter().all(|byte| byte.is_ascii_graphic()), "{target:?}");
                    assert_eq!(spelled(target), target);
                    // As a reference two slashes begin a host.
                    if !target.starts_with(b"//") {
                        assert_eq!(resolve(BASE, target).as_deref(), Some(target));
                    }
                });
            }
        }
    }
}
