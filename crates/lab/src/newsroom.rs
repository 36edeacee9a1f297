//! The newsroom that drills and the demo attack and defend.
//!
//! A drill that serves `hello` proves little: a shield is judged by whether the reader got *the page asked for, complete*. So
//! this newsroom has what a real one has (three languages, sections, tags, search, feeds, pictures) and every answer says what
//! it is. Near its start stands a marker made from the seed, the kind of page and what names it; at its very end stands an end
//! mark. Another page, another outlet, a truncated body, an error page with status 200 or a waiting page fails
//! [`Mark::holds`], whatever its headers say.
//!
//! Everything follows from the seed and nothing else, so that the origin, the load and the referee, three processes, agree
//! without talking. Nothing marks a *request*: the referee knows from its own books who asked.

mod pages;
mod text;

use std::collections::HashMap;

use crate::chance::{Chance, digest};

/// Enough for each language to fill its front page, sections and tags; few enough to be cached whole.
const ARTICLES_PER_LANG: usize = 80;

/// 1 June 2026, 06:00 UTC. Fixed, so that the same seed gives the same paths next year.
const NEWEST_PUBLISHED: u64 = 1_780_293_600;

const PICTURES: usize = 12;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lang {
    Kazakh,
    Russian,
    English,
}

impl Lang {
    pub const ALL: [Self; 3] = [Self::Kazakh, Self::Russian, Self::English];

    /// As in paths, `lang` and `Accept-Language`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Kazakh => "kk",
            Self::Russian => "ru",
            Self::English => "en",
        }
    }

    fn index(self) -> usize {
        match self {
            Self::Kazakh => 0,
            Self::Russian => 1,
            Self::English => 2,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Section {
    City,
    Culture,
    Economy,
    Education,
    Sport,
    Nature,
}

impl Section {
    pub const ALL: [Self; 6] = [
        Self::City,
        Self::Culture,
        Self::Economy,
        Self::Education,
        Self::Sport,
        Self::Nature,
    ];

    pub fn slug(self) -> &'static str {
        match self {
            Self::City => "qala",
            Self::Culture => "madeniet",
            Self::Economy => "ekonomika",
            Self::Education => "bilim",
            Self::Sport => "sport",
            Self::Nature => "tabigat",
        }
    }
}

#[derive(Debug, Clone)]
pub struct Article {
    /// Index into [`Newsroom::articles`].
    pub id: usize,
    /// `/kk/2026/05/31/slug/`
    pub path: String,
    pub title: String,
    pub lead: &'static str,
    pub lang: Lang,
    pub section: Section,
    /// Seconds since 1970.
    pub published: u64,
    /// The right body contains it.
    pub marker: String,
    paragraphs: Vec<&'static str>,
    place: usize,
    picture: usize,
    /// What search looks through.
    title_lower: String,
}

/// What a request target names. Queries other than search's `s` are ignored, as content systems ignore them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Page {
    /// `/` (`None`), `/kk/`, `/ru/`, `/en/`
    Front(Option<Lang>),
    /// `/kk/sport/`
    Section(Lang, Section),
    /// `/ru/tag/almaty/`, by index of the place
    Tag(Lang, usize),
    /// By [`Article::id`]
    Article(usize),
    /// `/?s=TERM`, `/en/?s=TERM`, the term decoded
    Search {
        lang: Option<Lang>,
        term: String,
    },
    /// `/feed/`, `/kk/feed/`
    Feed(Option<Lang>),
    Sitemap,
    Robots,
    /// By index of [`Newsroom::assets`]
    Asset(usize),
}

/// How an answer is recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Somewhere in the body.
    pub begin: String,
    /// The last bytes of the body, white space aside.
    pub end: &'static str,
}

impl Mark {
    /// The body is the page asked for, and complete.
    pub fn holds(&self, body: &[u8]) -> bool {
        body.trim_ascii_end().ends_with(self.end.as_bytes())
            && memchr::memmem::find(body, self.begin.as_bytes()).is_some()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    pub media_type: &'static str,
    pub body: String,
}

#[derive(Debug)]
pub struct Newsroom {
    seed: u64,
    name: &'static str,
    host: &'static str,
    articles: Vec<Article>,
    by_path: HashMap<String, usize>,
    assets: Vec<String>,
    /// Newest first, per language, then all together.
    newest: [Vec<usize>; 4],
}

const OUTLETS: [(&str, &str); 4] = [
    ("Қала тынысы", "qala.example"),
    ("Дала жаршысы", "dala.example"),
    ("Жаңа көше", "koshe.example"),
    ("Өзен бойы", "ozen.example"),
];

impl Newsroom {
    pub fn new(seed: u64) -> Self {
        Self::outlet(seed, 0)
    }

    /// Another outlet on the same edge: other host, other articles, never a marker in common with [`Newsroom::new`].
    pub fn neighbour(seed: u64) -> Self {
        Self::outlet(seed, 1)
    }

    fn outlet(seed: u64, offset: usize) -> Self {
        let (name, host) = OUTLETS[(seed as usize % OUTLETS.len() + offset) % OUTLETS.len()];
        let seed = digest(seed, &[b"newsroom", host.as_bytes()]);
        let mut assets = vec![
            "/assets/site.css".to_owned(),
            "/assets/site.js".to_owned(),
            "/assets/logo.svg".to_owned(),
        ];
        assets.extend((0..PICTURES).map(|number| format!("/assets/picture-{number}.svg")));

        let articles = write_articles(seed);
        let by_path = articles
            .iter()
            .map(|article| (article.path.clone(), article.id))
            .collect();
        let mut newest: [Vec<usize>; 4] = Default::default();
        for article in &articles {
            newest[article.lang.index()].push(article.id);
            newest[3].push(article.id);
        }
        for list in &mut newest {
            list.sort_by_key(|&id| std::cmp::Reverse((articles[id].published, id)));
        }
        Self {
            seed,
            name,
            host,
            articles,
            by_path,
            assets,
            newest,
        }
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What readers put into `Host`. Under `.example`, so that it never resolves.
    pub fn host(&self) -> &'static str {
        self.host
    }

    pub fn articles(&self) -> &[Article] {
        &self.articles
    }

    pub fn front_paths(&self) -> [&'static str; 4] {
        ["/", "/kk/", "/ru/", "/en/"]
    }

    pub fn section_paths(&self) -> Vec<String> {
        Lang::ALL
            .iter()
            .flat_map(|lang| {
                Section::ALL
                    .iter()
                    .map(move |section| format!("/{}/{}/", lang.code(), section.slug()))
            })
            .collect()
    }

    pub fn tag_paths(&self) -> Vec<String> {
        Lang::ALL
            .iter()
            .flat_map(|lang| {
                text::PLACES
                    .iter()
                    .map(move |place| format!("/{}/tag/{}/", lang.code(), place.slug))
            })
            .collect()
    }

    pub fn feed_paths(&self) -> [&'static str; 4] {
        ["/feed/", "/kk/feed/", "/ru/feed/", "/en/feed/"]
    }

    /// Style sheet, script, logo, then the pictures.
    pub fn assets(&self) -> &[String] {
        &self.assets
    }

    /// What a browser fetches after the page.
    pub fn assets_for(&self, target: &str) -> Vec<&str> {
        let common = self.assets[..3].iter().map(String::as_str);
        match self.page(target) {
            Some(Page::Article(id)) => common
                .chain([self.assets[3 + self.articles[id].picture].as_str()])
                .collect(),
            Some(Page::Front(_) | Page::Section(..) | Page::Tag(..) | Page::Search { .. }) => {
                common.collect()
            }
            Some(Page::Feed(_) | Page::Sitemap | Page::Robots | Page::Asset(_)) | None => {
                Vec::new()
            }
        }
    }

    /// The target of a search on the front page, the term percent-encoded.
    pub fn search_path(&self, term: &str) -> String {
        let mut target = String::from("/?s=");
        encode_query(term, &mut target);
        target
    }

    /// `None`: this newsroom answers 404.
    pub fn page(&self, target: &str) -> Option<Page> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if let Some(&id) = self.by_path.get(path) {
            return Some(Page::Article(id));
        }
        if let Some(asset) = self.assets.iter().position(|asset| asset == path) {
            return Some(Page::Asset(asset));
        }
        let front = |lang| match search_term(query) {
            Some(term) => Page::Search { lang, term },
            None => Page::Front(lang),
        };
        match path {
            "/" => return Some(front(None)),
            "/feed/" => return Some(Page::Feed(None)),
            "/sitemap.xml" => return Some(Page::Sitemap),
            "/robots.txt" => return Some(Page::Robots),
            _ => {}
        }
        let (code, rest) = path.strip_prefix('/')?.split_once('/')?;
        let lang = Lang::ALL.into_iter().find(|lang| lang.code() == code)?;
        match rest.strip_suffix('/').unwrap_or(rest) {
            "" if rest.is_empty() => Some(front(Some(lang))),
            _ if !rest.ends_with('/') => None,
            "feed" => Some(Page::Feed(Some(lang))),
            slug => match slug.strip_prefix("tag/") {
                Some(tag) => text::PLACES
                    .iter()
                    .position(|place| place.slug == tag)
                    .map(|place| Page::Tag(lang, place)),
                None => Section::ALL
                    .into_iter()
                    .find(|section| section.slug() == slug)
                    .map(|section| Page::Section(lang, section)),
            },
        }
    }

    /// A string the right answer to this target contains; `None` when the right answer is 404.
    pub fn marker_for(&self, target: &str) -> Option<String> {
        self.page(target).map(|page| self.marker(&page))
    }

    /// How the right answer to this target is recognised; `None` when the right answer is 404.
    pub fn mark_for(&self, target: &str) -> Option<Mark> {
        let page = self.page(target)?;
        Some(Mark {
            begin: self.marker(&page),
            end: self.end(&page),
        })
    }

    /// The marker of the results for `term`, as typed by the reader, in whichever language's search.
    pub fn search_marker(&self, term: &str) -> String {
        self.comment("search", &[term.as_bytes()])
    }

    /// The page of a target that does not exist has a marker of its own, so that it is never taken for something else.
    pub fn missing_mark(&self) -> Mark {
        Mark {
            begin: self.comment("missing", &[]),
            end: END_HTML,
        }
    }

    /// `revision` counts what staff published; it shows in every HTML body ([`revision_marker`]).
    pub fn render(&self, page: &Page, revision: u32) -> Rendered {
        pages::render(self, page, revision)
    }

    /// The body of a 404, in the language the path starts with.
    pub fn render_missing(&self, target: &str) -> Rendered {
        let lang = Lang::ALL
            .into_iter()
            .find(|lang| target.trim_start_matches('/').starts_with(lang.code()));
        pages::render_missing(self, lang.unwrap_or(Lang::Kazakh))
    }

    fn marker(&self, page: &Page) -> String {
        let lang = |lang: &Option<Lang>| lang.map_or("", Lang::code).as_bytes();
        match page {
            Page::Front(of) => self.comment("front", &[lang(of)]),
            Page::Section(of, section) => self.comment(
                "section",
                &[of.code().as_bytes(), section.slug().as_bytes()],
            ),
            Page::Tag(of, place) => self.comment(
                "tag",
                &[of.code().as_bytes(), text::PLACES[*place].slug.as_bytes()],
            ),
            Page::Article(id) => self.articles[*id].marker.clone(),
            Page::Search { term, .. } => self.search_marker(term),
            Page::Feed(of) => self.comment("feed", &[lang(of)]),
            Page::Sitemap => self.comment("sitemap", &[]),
            Page::Robots => format!("# {}", mark_text(self.seed, "robots", &[])),
            Page::Asset(asset) => {
                let path = &self.assets[*asset];
                let mark = mark_text(self.seed, "asset", &[path.as_bytes()]);
                if path.ends_with(".svg") {
                    format!("<!--{mark}-->")
                } else {
                    format!("/*{mark}*/")
                }
            }
        }
    }

    fn end(&self, page: &Page) -> &'static str {
        match page {
            Page::Front(_)
            | Page::Section(..)
            | Page::Tag(..)
            | Page::Article(_)
            | Page::Search { .. } => END_HTML,
            Page::Feed(_) => END_FEED,
            Page::Sitemap => END_SITEMAP,
            Page::Robots => END_TEXT,
            Page::Asset(asset) if self.assets[*asset].ends_with(".svg") => END_SVG,
            Page::Asset(_) => END_CODE,
        }
    }

    fn comment(&self, kind: &str, names: &[&[u8]]) -> String {
        format!("<!--{}-->", mark_text(self.seed, kind, names))
    }
}

/// In every HTML body, beside its marker.
pub fn revision_marker(revision: u32) -> String {
    format!("<!--saqta-lab:revision:{revision}-->")
}

const END_HTML: &str = "<!--end--></html>";
const END_FEED: &str = "<!--end--></rss>";
const END_SITEMAP: &str = "<!--end--></urlset>";
const END_SVG: &str = "<!--end--></svg>";
const END_CODE: &str = "/*end*/";
const END_TEXT: &str = "# end";

fn mark_text(seed: u64, kind: &str, names: &[&[u8]]) -> String {
    let mut parts = vec![kind.as_bytes()];
    parts.extend_from_slice(names);
    format!("saqta-lab:{kind}:{:016x}", digest(seed, &parts))
}

fn write_articles(seed: u64) -> Vec<Article> {
    let mut articles = Vec::with_capacity(3 * ARTICLES_PER_LANG);
    for lang in Lang::ALL {
        let mut chance = Chance::stream(seed, lang.code());
        let mut stories: Vec<(usize, usize)> = (0..text::TOPICS.len())
            .flat_map(|topic| (0..text::PLACES.len()).map(move |place| (topic, place)))
            .collect();
        chance.shuffle(&mut stories);
        let mut published = NEWEST_PUBLISHED;
        for (topic, place) in stories.into_iter().take(ARTICLES_PER_LANG) {
            let (topic, inside) = (
                &text::TOPICS[topic],
                text::PLACES[place].inside[lang.index()],
            );
            let title = topic.title[lang.index()]
                .replace("{in}", inside)
                .replace("{In}", &capitalised(inside));
            let (year, month, day) = civil(published);
            let path = format!(
                "/{}/{year}/{month:02}/{day:02}/{}/",
                lang.code(),
                slug(&title)
            );
            let marker = format!("<!--{}-->", mark_text(seed, "article", &[path.as_bytes()]));
            let mut paragraphs = text::paragraphs(lang).to_vec();
            chance.shuffle(&mut paragraphs);
            paragraphs.truncate(11 + chance.below(4));
            articles.push(Article {
                id: articles.len(),
                path,
                title_lower: title.to_lowercase(),
                title,
                lead: topic.lead[lang.index()],
                lang,
                section: topic.section,
                published,
                marker,
                paragraphs,
                place,
                picture: chance.below(PICTURES),
            });
            published -= 600 + chance.below(10_800) as u64;
        }
    }
    articles
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map(|first| first.to_uppercase().chain(chars).collect())
        .unwrap_or_default()
}

/// Latin letters for Kazakh and Russian ones, as content systems make their paths.
fn slug(title: &str) -> String {
    let mut slug = String::with_capacity(title.len());
    for letter in title.chars().flat_map(char::to_lowercase) {
        let latin = match letter {
            'a'..='z' | '0'..='9' => {
                slug.push(letter);
                continue;
            }
            'а' | 'ә' => "a",
            'б' => "b",
            'в' => "v",
            'г' | 'ғ' => "g",
            'д' => "d",
            'е' | 'э' => "e",
            'ё' => "yo",
            'ж' => "zh",
            'з' => "z",
            'и' | 'і' => "i",
            'й' => "y",
            'к' => "k",
            'қ' => "q",
            'л' => "l",
            'м' => "m",
            'н' | 'ң' => "n",
            'о' | 'ө' => "o",
            'п' => "p",
            'р' => "r",
            'с' => "s",
            'т' => "t",
            'у' | 'ұ' | 'ү' => "u",
            'ф' => "f",
            'х' | 'һ' => "h",
            'ц' => "ts",
            'ч' => "ch",
            'ш' => "sh",
            'щ' => "shch",
            'ы' => "y",
            'ь' | 'ъ' => "",
            'ю' => "yu",
            'я' => "ya",
            _ => {
                if !slug.is_empty() && !slug.ends_with('-') {
                    slug.push('-');
                }
                continue;
            }
        };
        slug.push_str(latin);
    }
    slug.trim_end_matches('-').to_owned()
}

/// Year, month and day in UTC; the eras of Howard Hinnant's `civil_from_days`, for dates after 1970.
fn civil(unix: u64) -> (u64, u64, u64) {
    let days = unix / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

fn search_term(query: &str) -> Option<String> {
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix("s="))
        .map(decode_query)
}

pub(crate) fn encode_query(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte))
            }
            b' ' => out.push('+'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
}

/// `+` is a space, `%41` a byte; whatever is not an escape stands for itself, as PHP has it.
pub(crate) fn decode_query(text: &str) -> String {
    let hex = |byte: Option<&u8>| byte.and_then(|&byte| char::from(byte).to_digit(16));
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match (byte, hex(bytes.get(at + 1)), hex(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 3;
                continue;
            }
            (b'+', ..) => decoded.push(b' '),
            _ => decoded.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests;
