//! Who is on the line: what real clients send, in their order and case.
//!
//! A drill whose readers all send `User-Agent: load-test` teaches a detector to find load tests. Readers here are drawn from
//! some forty browsers as they are used in Kazakhstan (`corpus/clients.txt`), with the analytics cookies every reader of a news site
//! carries, the languages they set and the places they come from. Attackers are drawn by [`Grade`]: from an HTTP library that
//! does not hide, or from the very same corpus, so that nothing in a request says who sent it.
//!
//! Requests are written as bytes from a template parsed once: the generator shares two cores with the edge it measures.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::chance::Chance;
use crate::newsroom::Lang;
use crate::wire::PseudoFields;

const CLIENTS: &str = include_str!("../corpus/clients.txt");

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Browser,
    /// A browser inside another app.
    InApp,
    /// Lynx and its like.
    Text,
    Feed,
    Crawler,
    /// Fetches a page somebody linked to.
    Preview,
    Library,
    /// A library whose connection is HTTP/2.
    Http2Library,
    /// A browser without a window, driven by a program: it runs scripts, keeps cookies and waits.
    Headless,
}

impl Kind {
    /// Readers are people with something that shows pages.
    pub fn reads(self) -> bool {
        matches!(self, Self::Browser | Self::InApp | Self::Text)
    }
}

/// How well attackers pass for readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// One HTTP library's fields, the same from everybody.
    #[default]
    Crude,
    /// Three in ten are perfect, the rest crude.
    Half,
    /// Fields, order, cookies, languages and referers as readers have them.
    Perfect,
}

const HALF_PERFECT_SHARE: f64 = 0.3;

impl Grade {
    pub const ALL: [Self; 3] = [Self::Crude, Self::Half, Self::Perfect];

    pub fn name(self) -> &'static str {
        match self {
            Self::Crude => "crude",
            Self::Half => "half",
            Self::Perfect => "perfect",
        }
    }
}

impl std::fmt::Display for Grade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}: crude, half or perfect")]
pub struct UnknownGrade(String);

impl std::str::FromStr for Grade {
    type Err = UnknownGrade;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|grade| grade.name() == name)
            .ok_or_else(|| UnknownGrade(name.to_owned()))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Engine {
    Chromium,
    Gecko,
    WebKit,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Box<[u8]>),
    Host,
    Referer,
    Cookie,
    Languages(Engine),
    Site,
    Mode,
    Dest,
    /// What a page is asked for with.
    Accept(Box<[u8]>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    pages_only: bool,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    name: String,
    kind: Kind,
    weight: u32,
    fields: Vec<Field>,
}

/// What a browser asks for decides half of its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Page,
    Style,
    Script,
    Picture,
}

struct Blanks<'a> {
    wanted: Wanted,
    host: &'a str,
    referer: Option<&'a str>,
    cookie: Option<&'a str>,
    language: Lang,
}

impl<'a> Blanks<'a> {
    fn page(
        host: &'a str,
        referer: Option<&'a str>,
        cookie: Option<&'a str>,
        language: Lang,
    ) -> Self {
        Self {
            wanted: Wanted::Page,
            host,
            referer,
            cookie,
            language,
        }
    }
}

impl Client {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// In which order it says them over HTTP/2; Chromium's where nothing else is known.
    pub fn pseudo_fields(&self) -> PseudoFields {
        let engine = match self.name.split('-').next() {
            Some("firefox" | "tor" | "okhttp") => b"mpas",
            Some("safari") => b"mspa",
            Some("go") => b"amps",
            _ => b"masp",
        };
        *engine
    }

    /// Appends a whole request for a page. `cookie` and `referer`: their fields are left out without one.
    pub fn write_get(
        &self,
        out: &mut Vec<u8>,
        target: &str,
        host: &str,
        referer: Option<&str>,
        cookie: Option<&str>,
        language: Lang,
    ) {
        let blanks = Blanks::page(host, referer, cookie, language);
        self.write_head(out, "GET", target, &blanks);
        out.extend_from_slice(b"\r\n");
    }

    /// Appends the request for a style sheet, script or picture of the page `page_url`, which is an absolute URL.
    pub fn write_asset(
        &self,
        out: &mut Vec<u8>,
        target: &str,
        host: &str,
        page_url: &str,
        cookie: Option<&str>,
        language: Lang,
    ) {
        let path = target.split('?').next().unwrap_or(target);
        let wanted = match path.rsplit('.').next() {
            Some("css") => Wanted::Style,
            Some("js") => Wanted::Script,
            _ => Wanted::Picture,
        };
        self.write_head(
            out,
            "GET",
            target,
            &Blanks {
                wanted,
                host,
                referer: Some(page_url),
                cookie,
                language,
            },
        );
        out.extend_from_slice(b"\r\n");
    }

    /// Appends a form sent by POST, the fields of its body last.
    #[expect(
        clippy::too_many_arguments,
        reason = "a request has this many parts; a struct of them would be built for every one"
    )]
    pub fn write_post(
        &self,
        out: &mut Vec<u8>,
        target: &str,
        host: &str,
        referer: Option<&str>,
        cookie: Option<&str>,
        language: Lang,
        body: &[u8],
    ) {
        let blanks = Blanks::page(host, referer, cookie, language);
        self.write_head(out, "POST", target, &blanks);
        out.extend_from_slice(
            b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: ",
        );
        out.extend_from_slice(body.len().to_string().as_bytes());
        out.extend_from_slice(b"\r\n\r\n");
        out.extend_from_slice(body);
    }

    fn write_head(&self, out: &mut Vec<u8>, method: &str, target: &str, blanks: &Blanks<'_>) {
        for part in [method, " ", target, " HTTP/1.1\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        for field in &self.fields {
            if field.pages_only && blanks.wanted != Wanted::Page {
                continue;
            }
            let start = out.len();
            if field.pieces.iter().all(|piece| piece.write(out, blanks)) {
                out.extend_from_slice(b"\r\n");
            } else {
                out.truncate(start);
            }
        }
    }
}

impl Piece {
    /// `false`: this field is not sent.
    fn write(&self, out: &mut Vec<u8>, blanks: &Blanks<'_>) -> bool {
        let text: &[u8] = match self {
            Self::Text(text) => text,
            Self::Host => blanks.host.as_bytes(),
            Self::Referer => match blanks.referer {
                Some(referer) => referer.as_bytes(),
                None => return false,
            },
            Self::Cookie => match blanks.cookie {
                Some(cookie) if !cookie.is_empty() => cookie.as_bytes(),
                _ => return false,
            },
            Self::Languages(engine) => languages(*engine, blanks.language).as_bytes(),
            Self::Site => match blanks.referer {
                None => b"none",
                Some(referer) if host_of(referer) == blanks.host => b"same-origin",
                Some(_) => b"cross-site",
            },
            Self::Mode => match blanks.wanted {
                Wanted::Page => b"navigate",
                Wanted::Style | Wanted::Script | Wanted::Picture => b"no-cors",
            },
            Self::Dest => match blanks.wanted {
                Wanted::Page => b"document",
                Wanted::Style => b"style",
                Wanted::Script => b"script",
                Wanted::Picture => b"image",
            },
            Self::Accept(page) => match blanks.wanted {
                Wanted::Page => page,
                Wanted::Style => b"text/css,*/*;q=0.1",
                Wanted::Script => b"*/*",
                Wanted::Picture => b"image/avif,image/webp,image/svg+xml,image/*,*/*;q=0.8",
            },
        };
        out.extend_from_slice(text);
        true
    }
}

fn host_of(url: &str) -> &str {
    url.split_once("://")
        .and_then(|(_, rest)| rest.split('/').next())
        .unwrap_or("")
}

fn languages(engine: Engine, language: Lang) -> &'static str {
    match (engine, language) {
        (Engine::Chromium, Lang::Kazakh) => {
            "kk-KZ,kk;q=0.9,ru-RU;q=0.8,ru;q=0.7,en-US;q=0.6,en;q=0.5"
        }
        (Engine::Chromium, Lang::Russian) => "ru-RU,ru;q=0.9,en-US;q=0.8,en;q=0.7",
        (Engine::Chromium, Lang::English) => "en-US,en;q=0.9,ru;q=0.8",
        (Engine::Gecko, Lang::Kazakh) => "kk,ru;q=0.8,en-US;q=0.5,en;q=0.3",
        (Engine::Gecko, Lang::Russian) => "ru-RU,ru;q=0.8,en-US;q=0.5,en;q=0.3",
        (Engine::Gecko, Lang::English) => "en-US,en;q=0.5",
        (Engine::WebKit, Lang::Kazakh) => "kk-KZ,kk;q=0.9",
        (Engine::WebKit, Lang::Russian) => "ru",
        (Engine::WebKit, Lang::English) => "en-GB,en;q=0.9",
    }
}

/// One client in one person's hands: the same fields, cookies and language at every visit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visitor {
    pub client: &'static Client,
    pub language: Lang,
    /// `None`: carries none, as libraries do.
    pub cookie: Option<String>,
}

impl Visitor {
    /// Where this visit comes from: nowhere, a search, a messenger, or a page of the site itself. Libraries never say.
    pub fn referer(&self, chance: &mut Chance, host: &str) -> Option<String> {
        if !self.client.kind.reads() {
            return None;
        }
        let from = match self.client.name.split('-').next() {
            // In-app browsers come from their app.
            Some("instagram") => "https://l.instagram.com/",
            Some("facebook") => "https://l.facebook.com/",
            Some("telegram") => return None,
            _ => match chance.below(100) {
                0..35 => return None,
                35..52 => "https://www.google.com/",
                52..60 => "https://yandex.kz/",
                60..64 => "https://dzen.ru/",
                64..68 => "https://t.me/",
                68..71 => "https://www.facebook.com/",
                71..90 => return Some(format!("https://{host}/")),
                _ => return Some(format!("https://{host}/{}/", self.language.code())),
            },
        };
        Some(from.to_owned())
    }
}

#[derive(Debug)]
pub struct Corpus {
    clients: Vec<Client>,
    /// Running sums of the readers' weights, with their places in `clients`.
    readers: Vec<(u32, usize)>,
    libraries: Vec<usize>,
    http2_libraries: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("corpus, line {line}: {problem}")]
struct Unreadable {
    line: usize,
    problem: String,
}

impl Corpus {
    /// The corpus in the program.
    pub fn shipped() -> &'static Self {
        static SHIPPED: OnceLock<Corpus> = OnceLock::new();
        SHIPPED.get_or_init(|| {
            #[expect(clippy::expect_used, reason = "tests read the shipped corpus")]
            Self::parse(CLIENTS).expect("the shipped corpus is readable")
        })
    }

    pub fn clients(&'static self) -> &'static [Client] {
        &self.clients
    }

    pub fn client(&'static self, name: &str) -> Option<&'static Client> {
        self.clients.iter().find(|client| client.name == name)
    }

    /// The n-th reader of the drill with this seed.
    pub fn reader(&'static self, seed: u64, n: u64) -> Visitor {
        self.person(&mut Chance::stream(seed ^ n.rotate_left(32), "reader"))
    }

    /// The n-th attacker. Crude ones are all the same library, which the seed chooses; no two perfect ones are alike.
    pub fn attacker(&'static self, seed: u64, grade: Grade, is_http2: bool, n: u64) -> Visitor {
        let mut chance = Chance::stream(seed ^ n.rotate_left(32), "attacker");
        let perfect = match grade {
            Grade::Crude => false,
            Grade::Half => chance.happens(HALF_PERFECT_SHARE),
            Grade::Perfect => true,
        };
        if perfect {
            return self.person(&mut chance);
        }
        let libraries = if is_http2 {
            &self.http2_libraries
        } else {
            &self.libraries
        };
        let library = Chance::stream(seed, "library")
            .pick(libraries)
            .copied()
            .unwrap_or_default();
        Visitor {
            client: &self.clients[library],
            language: Lang::English,
            cookie: None,
        }
    }

    fn person(&'static self, chance: &mut Chance) -> Visitor {
        let total = self.readers.last().map_or(0, |(sum, _)| *sum);
        let drawn = chance.below(total as usize) as u32;
        let at = self.readers.partition_point(|(sum, _)| *sum <= drawn);
        let language = match chance.below(100) {
            0..35 => Lang::Kazakh,
            35..88 => Lang::Russian,
            _ => Lang::English,
        };
        Visitor {
            client: &self.clients[self.readers[at].1],
            language,
            cookie: Some(cookies(chance)),
        }
    }

    fn parse(text: &str) -> Result<Self, Unreadable> {
        let mut clients: Vec<Client> = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let unreadable = |problem: &str| Unreadable {
                line: at + 1,
                problem: problem.to_owned(),
            };
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(head) = line
                .strip_prefix('[')
                .and_then(|line| line.strip_suffix(']'))
            {
                let [name, kind, weight] = head
                    .split(' ')
                    .collect::<Vec<_>>()
                    .try_into()
                    .map_err(|_| unreadable("a client is [name kind weight]"))?;
                let kind = match kind {
                    "browser" => Kind::Browser,
                    "in_app" => Kind::InApp,
                    "text" => Kind::Text,
                    "feed" => Kind::Feed,
                    "crawler" => Kind::Crawler,
                    "preview" => Kind::Preview,
                    "library" => Kind::Library,
                    "http2_library" => Kind::Http2Library,
                    "headless" => Kind::Headless,
                    _ => return Err(unreadable("no such kind of client")),
                };
                let weight = weight
                    .parse()
                    .map_err(|_| unreadable("the weight is a number"))?;
                if kind.reads() != (weight > 0) {
                    return Err(unreadable("readers have a weight, others have none"));
                }
                clients.push(Client {
                    name: name.to_owned(),
                    kind,
                    weight,
                    fields: Vec::new(),
                });
                continue;
            }
            let client = clients
                .last_mut()
                .ok_or_else(|| unreadable("a field before the first client"))?;
            let (pages_only, field) = match line.strip_prefix('~') {
                Some(field) => (true, field),
                None => (false, line),
            };
            if !field.contains(": ") {
                return Err(unreadable("a field is Name: value"));
            }
            let pieces = pieces(field).map_err(|problem| unreadable(&problem))?;
            client.fields.push(Field { pages_only, pieces });
        }
        let mut sum = 0;
        let readers = clients
            .iter()
            .enumerate()
            .filter(|(_, client)| client.kind.reads())
            .map(|(at, client)| {
                sum += client.weight;
                (sum, at)
            });
        let readers = readers.collect();
        let of_kind = |kind| {
            (0..clients.len())
                .filter(|&at| clients[at].kind == kind)
                .collect()
        };
        Ok(Self {
            libraries: of_kind(Kind::Library),
            http2_libraries: of_kind(Kind::Http2Library),
            clients,
            readers,
        })
    }
}

fn pieces(field: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = field;
    while let Some((before, after)) = rest.split_once('{') {
        let (place, after) = after.split_once('}').ok_or("a place is not closed")?;
        if !before.is_empty() {
            pieces.push(Piece::Text(before.as_bytes().into()));
        }
        pieces.push(match place.split_once(':').unwrap_or((place, "")) {
            ("host", "") => Piece::Host,
            ("referer", "") => Piece::Referer,
            ("cookie", "") => Piece::Cookie,
            ("site", "") => Piece::Site,
            ("mode", "") => Piece::Mode,
            ("dest", "") => Piece::Dest,
            ("languages", "chromium") => Piece::Languages(Engine::Chromium),
            ("languages", "gecko") => Piece::Languages(Engine::Gecko),
            ("languages", "webkit") => Piece::Languages(Engine::WebKit),
            ("accept", page) => Piece::Accept(page.as_bytes().into()),
            _ => return Err(format!("no such place: {{{place}}}")),
        });
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.as_bytes().into()));
    }
    Ok(pieces)
}

/// 1 January 2026 to 1 May 2026: when this person first came.
const FIRST_VISITS: (u64, usize) = (1_767_225_600, 120 * 86_400);

/// What Google Analytics, Yandex Metrica and a consent banner leave behind: 250 to 450 bytes, no two alike.
fn cookies(chance: &mut Chance) -> String {
    let first = FIRST_VISITS.0 + chance.below(FIRST_VISITS.1) as u64;
    let last = first + chance.below(30 * 86_400) as u64;
    let mut digits =
        |count: u32| 10_u64.pow(count - 1) + chance.below(9 * 10_usize.pow(count - 1)) as u64;
    let (ga, ym, property) = (digits(9), digits(9), digits(10));
    let (visits, facebook, hits) = (digits(1), digits(9), digits(2));
    let mut cookies = format!(
        "_ga=GA1.1.{ga}.{first}; _ym_uid={first}{ym}; _ym_d={first}; cookie_consent=accepted; \
         _ga_{property:X}=GS2.1.s{last}$o{visits}$g1$t{}$j{hits}$l0$h0",
        last + 60
    );
    if chance.happens(0.6) {
        cookies.push_str("; _ym_isad=2; _ym_visorc=w");
    }
    if chance.happens(0.4) {
        cookies.push_str(&format!("; _fbp=fb.1.{first}123.{facebook}"));
    }
    if chance.happens(0.3) {
        cookies.push_str(&format!(
            "; __gads=ID={:016x}:T={first}:RT={last}:S=ALNI_M{:016x}",
            chance.draw(),
            chance.draw()
        ));
    }
    if chance.happens(0.2) {
        cookies.push_str("; pll_language=");
        cookies.push_str(chance.pick(&["kk", "ru", "en"]).unwrap_or(&"ru"));
    }
    cookies
}

#[cfg(test)]
mod tests;
