//! What a request looks like: the attributes a signature may be made of.
//!
//! Each [`Attribute`] has exactly one value in a request, absence among them, so a request is a short array of hashes ([`Tokens`])
//! and a rule a few of them. An attribute that nobody recorded (an access log has no header order) is *unknown*: it never
//! matches and is never part of a rule.
//!
//! A [`Look`] borrows; a [`Sample`] is the same kept for a while. Samples live in memory only. What they hold of a reader is dropped
//! with them, and only what a rule says ever leaves, see [`crate::signature`].

use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;
use std::sync::OnceLock;

use crate::network::Group;
use crate::shape::{self, Shape};
use crate::trust::{Known, Visitor};

/// Kept of a target, an agent or a referer. Longer ones are cut: their beginning identifies them, and a sample stays small.
pub const TEXT_BYTES_MAX: usize = 512;
/// Of a field's name: the longest that browsers send have 30.
const NAME_BYTES_MAX: usize = 64;

/// What a rule can be about. The order is that of a sentence: what is asked for, by which software, from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Attribute {
    Method,
    /// The kind of page, see [`crate::shape`].
    Shape,
    /// First segment of the path.
    Section,
    Path,
    /// Names of the query's parameters, in their order.
    Keys,
    /// First parameter with its value.
    Value,
    /// The whole `User-Agent`.
    Agent,
    /// `User-Agent` with `#` for each number: one program in all its versions.
    AgentFamily,
    /// The host that `Referer` names.
    RefererHost,
    Version,
    Accept,
    AcceptLanguage,
    AcceptEncoding,
    /// Which fields the head has.
    FieldNames,
    /// The same in their order and spelling.
    FieldOrder,
    Network,
    /// Autonomous system, from the operator's file.
    Asn,
    Country,
}

impl Attribute {
    pub const ALL: [Self; 18] = [
        Self::Method,
        Self::Shape,
        Self::Section,
        Self::Path,
        Self::Keys,
        Self::Value,
        Self::Agent,
        Self::AgentFamily,
        Self::RefererHost,
        Self::Version,
        Self::Accept,
        Self::AcceptLanguage,
        Self::AcceptEncoding,
        Self::FieldNames,
        Self::FieldOrder,
        Self::Network,
        Self::Asn,
        Self::Country,
    ];

    /// As exports write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Shape => "shape",
            Self::Section => "section",
            Self::Path => "path",
            Self::Keys => "query_keys",
            Self::Value => "query_value",
            Self::Agent => "user_agent",
            Self::AgentFamily => "user_agent_family",
            Self::RefererHost => "referer_host",
            Self::Version => "http_version",
            Self::Accept => "accept",
            Self::AcceptLanguage => "accept_language",
            Self::AcceptEncoding => "accept_encoding",
            Self::FieldNames => "field_names",
            Self::FieldOrder => "field_order",
            Self::Network => "network",
            Self::Asn => "asn",
            Self::Country => "country",
        }
    }

    /// A new article is a path nobody asked for before, linked from where nobody came before: that it is new says nothing
    /// against those who read it.
    pub fn novelty_is_innocent(self) -> bool {
        matches!(
            self,
            Self::Path | Self::Section | Self::Keys | Self::Value | Self::RefererHost
        )
    }

    /// Says what is asked for and nothing of who asks.
    pub fn is_of_the_target(self) -> bool {
        matches!(
            self,
            Self::Method | Self::Shape | Self::Section | Self::Path | Self::Keys | Self::Value
        )
    }

    /// Says where a client is and nothing of what it does.
    pub fn is_place(self) -> bool {
        matches!(self, Self::Network | Self::Asn | Self::Country)
    }
}

/// One attribute's value, hashed. 0 is *unknown*.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Token(u64);

impl Token {
    pub const UNKNOWN: Self = Self(0);

    fn of(attribute: Attribute, value: Option<&[u8]>) -> Self {
        let mut hasher =
            foldhash::quality::FixedState::with_seed(attribute as u64 + 1).build_hasher();
        match value {
            Some(value) => hasher.write(value),
            None => hasher.write_u8(0),
        }
        Self(hasher.finish().max(1))
    }

    /// Of a field that a request does not have.
    pub fn absent(attribute: Attribute) -> Self {
        Self::of(attribute, None)
    }

    pub fn is_known(self) -> bool {
        self != Self::UNKNOWN
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// All of a request, by [`Attribute`].
pub type Tokens = [Token; Attribute::ALL.len()];

/// A field of the head: what it said, that it was absent, or that nobody wrote down whether it was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Field<'a> {
    #[default]
    Unknown,
    Absent,
    Is(&'a [u8]),
}

impl Field<'_> {
    /// As a sample keeps it, so that a rule found in samples hits what they are of.
    fn cut(self) -> Self {
        match self {
            Self::Is(value) => Self::Is(cut(value)),
            other => other,
        }
    }
}

fn cut(value: &[u8]) -> &[u8] {
    &value[..value.len().min(TEXT_BYTES_MAX)]
}

/// Head fields beyond those an access log has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head<'a> {
    pub accept: Field<'a>,
    pub accept_language: Field<'a>,
    pub accept_encoding: Field<'a>,
    /// The names of all fields, joined by commas, in their order and spelling.
    pub names: Field<'a>,
}

/// A request as somebody is looking at it.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    pub method: &'a [u8],
    /// Path and query.
    pub target: &'a [u8],
    pub shape: Shape,
    /// 9, 10, 11, 20; 0 when nobody knows.
    pub version: u8,
    pub agent: Field<'a>,
    pub referer: Field<'a>,
    pub head: Head<'a>,
    pub source: IpAddr,
    pub asn: Option<u32>,
    pub country: Option<[u8; 2]>,
}

impl<'a> Look<'a> {
    /// This attribute's value, hashed. Allocates nothing.
    pub fn token(&self, attribute: Attribute) -> Token {
        match attribute {
            Attribute::Shape => Token::of(attribute, Some(&self.shape.bits().to_le_bytes())),
            Attribute::Network => {
                let group = Group::of(self.source).bits();
                Token::of(attribute, Some(&group.to_le_bytes()))
            }
            Attribute::Asn => self.asn.map_or(Token::UNKNOWN, |asn| {
                Token::of(attribute, Some(&asn.to_le_bytes()))
            }),
            Attribute::Country => self
                .country
                .map_or(Token::UNKNOWN, |code| Token::of(attribute, Some(&code))),
            Attribute::Version if self.version == 0 => Token::UNKNOWN,
            Attribute::Version => Token::of(attribute, Some(&[self.version])),
            Attribute::Keys => {
                let mut hasher =
                    foldhash::quality::FixedState::with_seed(attribute as u64 + 1).build_hasher();
                for key in keys(query(cut(self.target))) {
                    hasher.write(key);
                    hasher.write_u8(b'&');
                }
                Token(hasher.finish().max(1))
            }
            // Whatever their order is: so the sum of each name's own.
            Attribute::FieldNames => match self.head.names.cut() {
                Field::Unknown => Token::UNKNOWN,
                Field::Absent => Token::of(attribute, None),
                Field::Is(names) => {
                    let sum = names.split(|byte| *byte == b',').fold(0_u64, |sum, name| {
                        let mut hasher =
                            foldhash::quality::FixedState::with_seed(attribute as u64 + 1)
                                .build_hasher();
                        let mut lower = [0; NAME_BYTES_MAX];
                        let name = &name[..name.len().min(NAME_BYTES_MAX)];
                        let lower = &mut lower[..name.len()];
                        lower.copy_from_slice(name);
                        lower.make_ascii_lowercase();
                        hasher.write(lower);
                        sum.wrapping_add(hasher.finish())
                    });
                    Token(sum.max(1))
                }
            },
            Attribute::AgentFamily => match self.agent.cut() {
                Field::Unknown => Token::UNKNOWN,
                Field::Absent => Token::of(attribute, None),
                Field::Is(agent) => {
                    let mut hasher = foldhash::quality::FixedState::with_seed(attribute as u64 + 1)
                        .build_hasher();
                    for part in without_numbers(agent) {
                        hasher.write(part);
                    }
                    Token(hasher.finish().max(1))
                }
            },
            _ => match self.plain(attribute) {
                Field::Unknown => Token::UNKNOWN,
                Field::Absent => Token::of(attribute, None),
                Field::Is(value) => Token::of(attribute, Some(value)),
            },
        }
    }

    pub fn visitor(&self) -> Visitor {
        Visitor::new(self.source, self.agent)
    }

    /// Of the target, without its query.
    pub fn path(&self) -> &'a [u8] {
        path(self.target)
    }

    pub fn tokens(&self) -> Tokens {
        Attribute::ALL.map(|attribute| self.token(attribute))
    }

    /// For people: what [`Look::token`] hashed. `None`: unknown; an empty text: absent.
    pub fn text(&self, attribute: Attribute) -> Option<String> {
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match attribute {
            Attribute::Shape => Some(self.named_shape()),
            Attribute::Network => Some(Group::of(self.source).to_string()),
            Attribute::Asn => self.asn.map(|asn| format!("AS{asn}")),
            Attribute::Country => self.country.map(|code| lossy(&code)),
            Attribute::Version => match self.version {
                0 => None,
                9 => Some("0.9".into()),
                10 => Some("1.0".into()),
                11 => Some("1.1".into()),
                version => Some((version / 10).to_string()),
            },
            Attribute::Keys => Some(
                keys(query(cut(self.target)))
                    .map(lossy)
                    .collect::<Vec<_>>()
                    .join("&"),
            ),
            Attribute::FieldNames => match self.head.names.cut() {
                Field::Unknown => None,
                Field::Absent => Some(String::new()),
                Field::Is(names) => {
                    let names = lossy(names).to_ascii_lowercase();
                    let mut names: Vec<&str> = names.split(',').collect();
                    names.sort_unstable();
                    Some(names.join(","))
                }
            },
            Attribute::AgentFamily => match self.agent.cut() {
                Field::Unknown => None,
                Field::Absent => Some(String::new()),
                Field::Is(agent) => {
                    Some(lossy(&without_numbers(agent).collect::<Vec<_>>().concat()))
                }
            },
            _ => match self.plain(attribute) {
                Field::Unknown => None,
                Field::Absent => Some(String::new()),
                Field::Is(value) => Some(lossy(value)),
            },
        }
    }

    /// The kind of page with its section's name, which the shape alone holds as a hash.
    fn named_shape(&self) -> String {
        let shape = self.shape.to_string();
        let segments = self.path().split(|byte| *byte == b'/');
        let named = shape.split('/').zip(segments).map(|(part, segment)| {
            let (hash, rest) = part.split_at(part.find('?').unwrap_or(part.len()));
            if hash.starts_with('#') {
                String::from_utf8_lossy(segment).into_owned() + rest
            } else {
                part.to_owned()
            }
        });
        let mut named: Vec<String> = named.collect();
        named.extend(shape.split('/').skip(named.len()).map(str::to_owned));
        named.join("/")
    }

    /// Attributes whose value stands in the request as it is.
    fn plain(&self, attribute: Attribute) -> Field<'a> {
        match attribute {
            Attribute::Method => Field::Is(cut(self.method)),
            Attribute::Path => Field::Is(path(cut(self.target))),
            Attribute::Section => path(cut(self.target))
                .split(|byte| *byte == b'/')
                .find(|segment| !segment.is_empty())
                .map_or(Field::Absent, Field::Is),
            Attribute::Value => query(cut(self.target))
                .split(|byte| *byte == b'&')
                .find(|pair| !pair.is_empty())
                .map_or(Field::Absent, Field::Is),
            Attribute::Agent => self.agent.cut(),
            Attribute::RefererHost => match self.referer.cut() {
                Field::Is(referer) => host(referer).map_or(Field::Absent, Field::Is),
                other => other,
            },
            Attribute::Accept => self.head.accept.cut(),
            Attribute::AcceptLanguage => self.head.accept_language.cut(),
            Attribute::AcceptEncoding => self.head.accept_encoding.cut(),
            Attribute::FieldOrder => self.head.names.cut(),
            Attribute::Shape
            | Attribute::Network
            | Attribute::Asn
            | Attribute::Country
            | Attribute::Version
            | Attribute::Keys
            | Attribute::FieldNames
            | Attribute::AgentFamily => Field::Unknown,
        }
    }
}

/// A request kept for a while.
#[derive(Debug, Clone)]
pub struct Sample {
    pub at_s: u64,
    /// Nothing stored could answer it.
    pub needs_origin: bool,
    /// A try at something that is guessed at: a login, a comment.
    pub is_sensitive: bool,
    /// Whether and since when its client is.
    pub known: Option<Known>,
    /// Hashed when a search first looks at it: most samples come and go unlooked at.
    tokens: OnceLock<Tokens>,
    shape: Shape,
    version: u8,
    source: IpAddr,
    asn: Option<u32>,
    country: Option<[u8; 2]>,
    text: Box<[u8]>,
    parts: [Part; PARTS],
}

const PARTS: usize = 8;

/// Where in a sample's text a part lies.
#[derive(Debug, Clone, Copy)]
enum Part {
    Unknown,
    Absent,
    Is { from: u16, to: u16 },
}

impl Sample {
    pub fn of(look: &Look<'_>, at_s: u64) -> Self {
        let fields = [
            Field::Is(look.method),
            Field::Is(look.target),
            look.agent,
            look.referer,
            look.head.accept,
            look.head.accept_language,
            look.head.accept_encoding,
            look.head.names,
        ];
        let length = fields.iter().map(|field| match field {
            Field::Is(value) => cut(value).len(),
            Field::Unknown | Field::Absent => 0,
        });
        let mut text = Vec::with_capacity(length.sum());
        let parts = fields.map(|field| match field {
            Field::Unknown => Part::Unknown,
            Field::Absent => Part::Absent,
            Field::Is(value) => {
                let from = text.len() as u16;
                text.extend_from_slice(cut(value));
                Part::Is {
                    from,
                    to: text.len() as u16,
                }
            }
        });
        Self {
            at_s,
            needs_origin: false,
            is_sensitive: false,
            known: None,
            tokens: OnceLock::new(),
            shape: look.shape,
            version: look.version,
            source: look.source,
            asn: look.asn,
            country: look.country,
            text: text.into(),
            parts,
        }
    }

    pub fn tokens(&self) -> &Tokens {
        self.tokens.get_or_init(|| self.look().tokens())
    }

    /// What kind of page it asks for, and by which method.
    pub fn kind(&self) -> (Token, Token) {
        let tokens = self.tokens();
        (
            tokens[Attribute::Shape as usize],
            tokens[Attribute::Method as usize],
        )
    }

    pub fn source(&self) -> IpAddr {
        self.source
    }

    pub fn look(&self) -> Look<'_> {
        let field = |part: usize| match self.parts[part] {
            Part::Unknown => Field::Unknown,
            Part::Absent => Field::Absent,
            Part::Is { from, to } => Field::Is(
                self.text
                    .get(from as usize..to as usize)
                    .unwrap_or_default(),
            ),
        };
        let bytes = |part: usize| match field(part) {
            Field::Is(value) => value,
            Field::Unknown | Field::Absent => b"",
        };
        Look {
            method: bytes(0),
            target: bytes(1),
            shape: self.shape,
            version: self.version,
            agent: field(2),
            referer: field(3),
            head: Head {
                accept: field(4),
                accept_language: field(5),
                accept_encoding: field(6),
                names: field(7),
            },
            source: self.source,
            asn: self.asn,
            country: self.country,
        }
    }
}

/// However many digits a number has.
fn without_numbers(agent: &[u8]) -> impl Iterator<Item = &[u8]> {
    let runs = agent.chunk_by(|one, next| one.is_ascii_digit() == next.is_ascii_digit());
    runs.map(|run| if run[0].is_ascii_digit() { b"#" } else { run })
}

/// Where passwords are guessed and comments are dropped, in the systems we have profiles of and in most others: by how its path ends, or by
/// what its parameters say is to be done.
pub fn is_guessed_at(target: &[u8]) -> bool {
    const LAST: [&[u8]; 23] = [
        b"wp-login.php",
        b"xmlrpc.php",
        b"wp-comments-post.php",
        b"login",
        b"login.php",
        b"signin",
        b"sign-in",
        b"auth",
        b"register",
        b"password",
        b"comment",
        b"administrator",
        b"userlogin",
        b"log-in",
        b"session",
        b"sessions",
        b"authenticate",
        b"signup",
        b"comments",
        b"reply",
        b"replies",
        b"ucp.php",
        b"posting.php",
    ];
    /// What is done, as `action=login`, `mode=reply`, `comment=add`, `title=Special:UserLogin`, `task=user.login` say it.
    const DONE: [&[u8]; 8] = [
        b"login",
        b"userlogin",
        b"signin",
        b"auth",
        b"register",
        b"comment",
        b"reply",
        b"password",
    ];
    /// Behind a namespace's colon or a component's dot.
    fn is_among(names: &[&[u8]], text: &[u8]) -> bool {
        let mut parts = text.rsplit(|byte| matches!(byte, b':' | b'.'));
        let last = parts.next().unwrap_or_default();
        let is = |text: &[u8]| names.iter().any(|name| text.eq_ignore_ascii_case(name));
        is(text) || is(last)
    }
    let (path, query) = shape::split(target);
    let last = path
        .rsplit(|byte| *byte == b'/')
        .find(|segment| !segment.is_empty())
        .unwrap_or_default();
    let mut pairs = query
        .unwrap_or_default()
        .split(|byte| *byte == b'&')
        .take(GUESSED_PAIRS_MAX)
        .flat_map(|pair| pair.splitn(2, |byte| *byte == b'='));
    is_among(&LAST, last) || pairs.any(|word| is_among(&DONE, word))
}

/// Of a query that says what is to be done; further ones are somebody's who does not want it read.
const GUESSED_PAIRS_MAX: usize = 16;

fn path(target: &[u8]) -> &[u8] {
    shape::split(target).0
}

fn query(target: &[u8]) -> &[u8] {
    shape::split(target).1.unwrap_or_default()
}

fn keys(query: &[u8]) -> impl Iterator<Item = &[u8]> {
    query
        .split(|byte| *byte == b'&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split(|byte| *byte == b'=').next().unwrap_or(pair))
}

/// Of an address such as `https://t.me/channel`.
fn host(address: &[u8]) -> Option<&[u8]> {
    let after = address.windows(3).position(|three| three == b"://")? + 3;
    let rest = &address[after..];
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?' | b'#'))
        .unwrap_or(rest.len());
    (end > 0).then(|| &rest[..end])
}

#[cfg(test)]
pub(crate) mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    /// A reader of a news site, from this address.
    pub(crate) fn reader(source: u32, target: &str) -> Look<'_> {
        Look {
            method: b"GET",
            target: target.as_bytes(),
            shape: Shape::of(target.as_bytes()),
            version: 11,
            agent: Field::Is(
                b"Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/131.0 Safari/537.36",
            ),
            referer: Field::Is(b"https://news.kz/"),
            head: Head {
                accept_language: Field::Is(b"ru,kk;q=0.9"),
                ..Head::default()
            },
            source: IpAddr::V4(Ipv4Addr::from_bits(source)),
            asn: None,
            country: None,
        }
    }

    #[test]
    fn where_passwords_are_guessed_and_comments_dropped_is_known_in_many_systems() {
        let table = [
            ("/wp-login.php", true),
            ("/blog/WP-LOGIN.php?interim-login=1", true),
            ("/user/login/", true),
            ("/bitrix/admin/index.php?login=yes", true),
            ("/w/index.php?title=Special:UserLogin&returnto=X", true),
            ("/wiki/Special:UserLogin", true),
            ("/ghost/api/admin/session/", true),
            ("/ucp.php?mode=login", true),
            ("/forum/posting.php?mode=reply&t=7", true),
            ("/index.php?option=com_users&task=user.login", true),
            ("/news/story/?AJAX_POST=Y&comment=add", true),
            ("/graphql", false),
            ("/news/loginov-resigned/", false),
            ("/wp-admin/admin-ajax.php?action=load_more", false),
            ("/search?q=how+to+login", false),
            ("/", false),
        ];
        for (target, expected) in table {
            assert_eq!(is_guessed_at(target.as_bytes()), expected, "{target}");
        }
    }

    #[test]
    fn a_program_is_one_family_in_all_its_versions() {
        let family = |agent: &'static str| {
            let look = Look {
                agent: Field::Is(agent.as_bytes()),
                ..reader(1, "/")
            };
            let attribute = Attribute::AgentFamily;
            (look.token(attribute), look.text(attribute))
        };
        assert_eq!(family("Chrome/99.0.1"), family("Chrome/131.0.6778"));
        assert_eq!(family("7zip/9"), family("10zip/11"));
        // What reads the same is the same.
        for (one, other) in [
            ("Win64; x64", "Win; x"),
            ("v1.2", "v12"),
            ("a", "a1"),
            ("#", "1"),
        ] {
            let (one, other) = (family(one), family(other));
            assert_eq!(one.0 == other.0, one.1 == other.1, "{one:?} {other:?}");
        }
    }

    #[test]
    fn each_attribute_has_one_value() {
        let look = Look {
            method: b"POST",
            country: Some(*b"KZ"),
            asn: Some(9198),
            head: Head {
                names: Field::Is(b"User-Agent,Host"),
                accept: Field::Absent,
                ..Head::default()
            },
            ..reader(0x0a00_0102, "/news/2026/fire?page=2&lang=kk")
        };
        let table = [
            (Attribute::Method, Some("POST")),
            (Attribute::Section, Some("news")),
            (Attribute::Path, Some("/news/2026/fire")),
            (Attribute::Keys, Some("page&lang")),
            (Attribute::Value, Some("page=2")),
            (
                Attribute::AgentFamily,
                Some("Mozilla/#.# (Windows NT #.#; Win#; x#) Chrome/#.# Safari/#.#"),
            ),
            (Attribute::RefererHost, Some("news.kz")),
            (Attribute::Version, Some("1.1")),
            (Attribute::Accept, Some("")),
            (Attribute::AcceptLanguage, None),
            (Attribute::FieldNames, Some("host,user-agent")),
            (Attribute::FieldOrder, Some("User-Agent,Host")),
            (Attribute::Network, Some("10.0.1.0/24")),
            (Attribute::Asn, Some("AS9198")),
            (Attribute::Country, Some("KZ")),
        ];
        for (attribute, text) in table {
            assert_eq!(look.text(attribute).as_deref(), text, "{attribute:?}");
            assert_eq!(
                look.token(attribute).is_known(),
                text.is_some(),
                "{attribute:?}"
            );
        }
    }

    /// A shape of a known section holds its name as a hash, which says nothing to anybody.
    #[test]
    fn a_kind_of_page_is_called_by_its_section() {
        let book = shape::ShapeBook::default();
        for _ in 0..100 {
            book.learn(b"/search/node?keys=a", 200);
            book.learn(b"/kk/novosti/12", 200);
        }
        for target in ["/search/node?keys=x", "/kk/novosti/99/", "/", "/other/1"] {
            let look = Look {
                shape: book.shape(target.as_bytes()),
                ..reader(1, target)
            };
            let said = look.text(Attribute::Shape).unwrap();
            assert!(!said.contains('#'), "{target}: {said}");
            let plain = look.shape.to_string();
            if plain.contains('#') {
                let section = target.split('/').find(|part| part.len() > 2).unwrap();
                assert!(said.contains(section), "{target}: {said}");
            }
            assert_eq!(said.matches('/').count(), plain.matches('/').count());
        }
    }

    #[test]
    fn an_address_taken_apart() {
        for (target, path, keys, value) in [
            ("/", "/", "", ""),
            ("/?", "/", "", ""),
            ("/?&&s=1&&", "/", "s", "s=1"),
            ("?s", "", "s", "s"),
            ("", "", "", ""),
            ("/a?b?c=d", "/a", "b?c", "b?c=d"),
            ("http://news.kz/a?b=c", "/a", "b", "b=c"),
        ] {
            let look = reader(1, target);
            let text = |attribute| look.text(attribute).unwrap();
            assert_eq!(
                (
                    text(Attribute::Path),
                    text(Attribute::Keys),
                    text(Attribute::Value)
                ),
                (path.to_owned(), keys.to_owned(), value.to_owned()),
                "{target}"
            );
        }
        for (referer, expected) in [
            ("https://t.me/s/channel", Some("t.me")),
            ("https://t.me", Some("t.me")),
            ("android-app://org.telegram/", Some("org.telegram")),
            ("news.kz", None),
            ("https://", None),
            ("", None),
        ] {
            assert_eq!(
                host(referer.as_bytes()),
                expected.map(str::as_bytes),
                "{referer}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_sample_looks_as_its_request_did(
            target in proptest::collection::vec(any::<u8>(), 0..2 * TEXT_BYTES_MAX),
            agent in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..2 * TEXT_BYTES_MAX)),
            source in any::<u32>(),
        ) {
            let look = Look {
                target: &target,
                shape: Shape::of(&target),
                agent: agent.as_deref().map_or(Field::Absent, Field::Is),
                ..reader(source, "")
            };
            let sample = Sample::of(&look, 7);
            prop_assert_eq!(sample.tokens(), &look.tokens());
            prop_assert_eq!(sample.look().tokens(), look.tokens());
            for attribute in Attribute::ALL {
                prop_assert_eq!(sample.look().text(attribute), look.text(attribute));
            }
        }
    }
}
