//! The newsroom's pages as bytes: front page about 12 KB, articles 7 to 14 KB, heavy enough to be compressed and cached like
//! real ones, light enough for two cores to serve thousands a second.

use std::fmt::{self, Write};

use super::{
    Article, END_CODE, END_FEED, END_HTML, END_SITEMAP, END_SVG, END_TEXT, Lang, Newsroom, Page,
    Rendered, Section, civil, revision_marker, text,
};
use crate::chance::Chance;

const HTML: &str = "text/html; charset=UTF-8";
const STYLE: &str = include_str!("site.css");
const SCRIPT: &str = include_str!("site.js");

/// Stories on a front, section, tag or search page.
const LISTED: usize = 14;
const FEED_ITEMS: usize = 20;

/// `write!` into a `String`.
macro_rules! put {
    ($out:expr, $($text:tt)*) => { put(&mut $out, format_args!($($text)*)) };
}

fn put(out: &mut String, text: fmt::Arguments<'_>) {
    #[expect(
        clippy::expect_used,
        reason = "a String takes whatever is written, and our Display impls do not fail"
    )]
    out.write_fmt(text).expect("a String takes everything");
}

pub(super) fn render(newsroom: &Newsroom, page: &Page, revision: u32) -> Rendered {
    let marker = newsroom.marker(page);
    let everything = || newsroom.newest[3].iter().map(|&id| &newsroom.articles[id]);
    let of = |lang: Lang| {
        newsroom.newest[lang.index()]
            .iter()
            .map(|&id| &newsroom.articles[id])
    };
    match page {
        Page::Front(lang) => {
            let lang_or_default = lang.unwrap_or(Lang::Kazakh);
            let mut html = Html::open(
                newsroom,
                lang_or_default,
                text::chrome(lang_or_default).latest,
                &marker,
                revision,
            );
            match lang {
                Some(lang) => html.list(of(*lang).take(LISTED)),
                None => html.list(everything().take(LISTED)),
            }
            html.close()
        }
        Page::Section(lang, section) => {
            let mut html = Html::open(
                newsroom,
                *lang,
                text::section_name(*section, *lang),
                &marker,
                revision,
            );
            html.list(
                of(*lang)
                    .filter(|article| article.section == *section)
                    .take(LISTED),
            );
            html.close()
        }
        Page::Tag(lang, place) => {
            let mut html = Html::open(
                newsroom,
                *lang,
                text::PLACES[*place].name[lang.index()],
                &marker,
                revision,
            );
            html.list(
                of(*lang)
                    .filter(|article| article.place == *place)
                    .take(LISTED),
            );
            html.close()
        }
        Page::Article(id) => article(newsroom, &newsroom.articles[*id], revision, &marker),
        Page::Search { lang, term } => {
            let shown = lang.unwrap_or(Lang::Kazakh);
            let chrome = text::chrome(shown);
            let mut html = Html::open(newsroom, shown, chrome.found, &marker, revision);
            html.out.push_str("<p class=\"term\">«");
            escape(term, &mut html.out);
            html.out.push_str("»</p>\n");
            let wanted = term.to_lowercase();
            let mut found = everything()
                .filter(|article| {
                    lang.is_none_or(|lang| article.lang == lang)
                        && article.title_lower.contains(&wanted)
                })
                .take(LISTED)
                .peekable();
            if wanted.is_empty() || found.peek().is_none() {
                put!(html.out, "<p>{}</p>\n", chrome.nothing_found);
                html.list(of(shown).take(4));
            } else {
                html.list(found);
            }
            html.close()
        }
        Page::Feed(lang) => match lang {
            Some(lang) => feed(newsroom, of(*lang), &marker),
            None => feed(newsroom, everything(), &marker),
        },
        Page::Sitemap => {
            let mut body = format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{marker}\n<urlset xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\">\n"
            );
            for article in everything() {
                put!(
                    body,
                    "<url><loc>http://{}{}</loc><lastmod>{}</lastmod></url>\n",
                    newsroom.host,
                    article.path,
                    date(article.published)
                );
            }
            body.push_str(END_SITEMAP);
            Rendered {
                media_type: "application/xml; charset=UTF-8",
                body,
            }
        }
        Page::Robots => Rendered {
            media_type: "text/plain; charset=utf-8",
            body: format!(
                "{marker}\nUser-agent: *\nDisallow: /wp-admin/\nSitemap: http://{}/sitemap.xml\n{END_TEXT}\n",
                newsroom.host
            ),
        },
        Page::Asset(asset) => match newsroom.assets[*asset].as_str() {
            path if path.ends_with(".css") => Rendered {
                media_type: "text/css; charset=utf-8",
                body: format!("{marker}\n{STYLE}\n{END_CODE}\n"),
            },
            path if path.ends_with(".js") => Rendered {
                media_type: "text/javascript; charset=utf-8",
                body: format!("{marker}\n{SCRIPT}\n{END_CODE}\n"),
            },
            path => Rendered {
                media_type: "image/svg+xml",
                body: picture(newsroom, path, &marker),
            },
        },
    }
}

pub(super) fn render_missing(newsroom: &Newsroom, lang: Lang) -> Rendered {
    let chrome = text::chrome(lang);
    let mut html = Html::open(
        newsroom,
        lang,
        chrome.missing,
        &newsroom.missing_mark().begin,
        0,
    );
    put!(html.out, "<p>{}</p>\n", chrome.missing_text);
    html.list(
        newsroom.newest[lang.index()]
            .iter()
            .take(4)
            .map(|&id| &newsroom.articles[id]),
    );
    html.close()
}

struct Html<'a> {
    newsroom: &'a Newsroom,
    lang: Lang,
    out: String,
}

impl<'a> Html<'a> {
    fn open(newsroom: &'a Newsroom, lang: Lang, title: &str, marker: &str, revision: u32) -> Self {
        let (chrome, code, host) = (text::chrome(lang), lang.code(), newsroom.host);
        let revision = revision_marker(revision);
        let mut out = String::with_capacity(14 * 1024);
        put!(
            out,
            "<!DOCTYPE html>\n<html lang=\"{code}\">\n{marker}\n{revision}\n<head>\n<meta charset=\"utf-8\">\n<title>{title} — {name}</title>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta property=\"og:site_name\" content=\"{name}\">\n<meta property=\"og:title\" content=\"{title}\">\n\
             <link rel=\"stylesheet\" href=\"/assets/site.css\">\n<link rel=\"icon\" href=\"/assets/logo.svg\" type=\"image/svg+xml\">\n\
             <link rel=\"alternate\" type=\"application/rss+xml\" title=\"{name}\" href=\"http://{host}/{code}/feed/\">\n\
             <script src=\"/assets/site.js\" defer></script>\n</head>\n<body>\n\
             <header><a class=\"logo\" href=\"/{code}/\"><img src=\"/assets/logo.svg\" alt=\"\" width=\"40\" height=\"40\">{name}</a>\n\
             <form action=\"/{code}/\" role=\"search\"><input name=\"s\" type=\"search\" aria-label=\"{search}\"><button>{search}</button></form>\n\
             <nav class=\"langs\">",
            name = newsroom.name,
            search = chrome.search,
        );
        for other in Lang::ALL {
            put!(
                out,
                "<a href=\"/{0}/\" hreflang=\"{0}\">{0}</a> ",
                other.code()
            );
        }
        put!(
            out,
            "</nav>\n<nav class=\"sections\"><a href=\"/{code}/\">{}</a>",
            chrome.home
        );
        for section in Section::ALL {
            put!(
                out,
                "\n<a href=\"/{code}/{}/\">{}</a>",
                section.slug(),
                text::section_name(section, lang)
            );
        }
        put!(out, "</nav></header>\n<main>\n<h1>{title}</h1>\n");
        Self {
            newsroom,
            lang,
            out,
        }
    }

    fn list<'b>(&mut self, articles: impl Iterator<Item = &'b Article>) {
        for article in articles {
            put!(
                self.out,
                "<article class=\"teaser\" lang=\"{code}\"><h2><a href=\"{path}\">{title}</a></h2>\n<p>{lead}</p>\n\
                 <footer><time datetime=\"{date}\">{date}</time> · <a href=\"/{code}/{section}/\">{name}</a></footer></article>\n",
                code = article.lang.code(),
                path = article.path,
                title = article.title,
                lead = article.lead,
                date = date(article.published),
                section = article.section.slug(),
                name = text::section_name(article.section, article.lang),
            );
        }
    }

    fn close(mut self) -> Rendered {
        let chrome = text::chrome(self.lang);
        put!(
            self.out,
            "</main>\n<aside><form class=\"subscribe\" action=\"/{}/\" method=\"get\"><p>{}</p></form>\n<h2>{}</h2>\n<ul class=\"tags\">",
            self.lang.code(),
            chrome.subscribe,
            chrome.tags
        );
        for place in text::PLACES {
            put!(
                self.out,
                "<li><a href=\"/{}/tag/{}/\">{}</a></li>\n",
                self.lang.code(),
                place.slug,
                place.name[self.lang.index()]
            );
        }
        put!(
            self.out,
            "</ul></aside>\n<footer class=\"site\"><p>{} · {}</p></footer>\n</body>\n{END_HTML}\n",
            self.newsroom.name,
            chrome.footer
        );
        Rendered {
            media_type: HTML,
            body: self.out,
        }
    }
}

fn article(newsroom: &Newsroom, article: &Article, revision: u32, marker: &str) -> Rendered {
    let (lang, chrome) = (article.lang, text::chrome(article.lang));
    let mut html = Html::open(newsroom, lang, &article.title, marker, revision);
    put!(
        html.out,
        "<script type=\"application/ld+json\">{{\"@context\":\"https://schema.org\",\"@type\":\"NewsArticle\",\"headline\":\"{title}\",\
         \"inLanguage\":\"{code}\",\"datePublished\":\"{date}\",\"url\":\"http://{host}{path}\"}}</script>\n\
         <p class=\"meta\"><time datetime=\"{date}\">{date}</time> · <a href=\"/{code}/{section}/\">{name}</a></p>\n\
         <figure><img src=\"/assets/picture-{picture}.svg\" alt=\"\" width=\"640\" height=\"360\"></figure>\n<p class=\"lead\">{lead}</p>\n",
        title = article.title,
        code = lang.code(),
        date = date(article.published),
        host = newsroom.host,
        path = article.path,
        section = article.section.slug(),
        name = text::section_name(article.section, lang),
        picture = article.picture,
        lead = article.lead,
    );
    for paragraph in &article.paragraphs {
        put!(html.out, "<p>{paragraph}</p>\n");
    }
    put!(
        html.out,
        "<h2>{}</h2>\n<ul class=\"related\">",
        chrome.related
    );
    let related = newsroom.newest[lang.index()]
        .iter()
        .map(|&id| &newsroom.articles[id]);
    for other in related
        .filter(|other| other.section == article.section && other.id != article.id)
        .take(5)
    {
        put!(
            html.out,
            "<li><a href=\"{}\">{}</a></li>\n",
            other.path,
            other.title
        );
    }
    html.out.push_str("</ul>\n");
    html.close()
}

fn feed<'a>(
    newsroom: &Newsroom,
    articles: impl Iterator<Item = &'a Article>,
    marker: &str,
) -> Rendered {
    let mut body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{marker}\n<rss version=\"2.0\"><channel><title>{}</title><link>http://{}/</link>\n",
        newsroom.name, newsroom.host
    );
    for article in articles.take(FEED_ITEMS) {
        put!(
            body,
            "<item><title>{}</title><link>http://{}{}</link><description>{}</description><category>{}</category></item>\n",
            article.title,
            newsroom.host,
            article.path,
            article.lead,
            text::section_name(article.section, article.lang),
        );
    }
    body.push_str("</channel>");
    body.push_str(END_FEED);
    Rendered {
        media_type: "application/rss+xml; charset=UTF-8",
        body,
    }
}

/// Hills, a sun and houses drawn from the picture's path: about 3 KB, no two alike.
fn picture(newsroom: &Newsroom, path: &str, marker: &str) -> String {
    let mut chance = Chance::stream(newsroom.seed, path);
    let hue = chance.below(360);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 640 360\">{marker}\n\
         <rect width=\"640\" height=\"360\" fill=\"hsl({hue} 45% 82%)\"/>\n<circle cx=\"{}\" cy=\"{}\" r=\"{}\" fill=\"hsl(45 90% 72%)\"/>\n",
        80 + chance.below(480),
        50 + chance.below(80),
        24 + chance.below(24),
    );
    for hill in 0..3 {
        let base = 170 + 50 * hill;
        put!(
            svg,
            "<path fill=\"hsl({} 35% {}%)\" d=\"M0 360V{base}",
            (hue + 120 + 15 * hill) % 360,
            62 - 12 * hill
        );
        for step in 1..=16 {
            put!(svg, "L{} {}", step * 40, base - 20 + chance.below(50));
        }
        svg.push_str("V360Z\"/>\n");
    }
    for house in 0..14 {
        let (height, width) = (30 + chance.below(90), 26 + chance.below(14));
        put!(
            svg,
            "<rect x=\"{}\" y=\"{}\" width=\"{width}\" height=\"{height}\" fill=\"hsl({} 20% {}%)\"/>\n",
            house * 46,
            360 - height,
            (hue + 200) % 360,
            30 + chance.below(25)
        );
    }
    svg.push_str(END_SVG);
    svg
}

fn date(unix: u64) -> String {
    let (year, month, day) = civil(unix);
    format!(
        "{year}-{month:02}-{day:02}T{:02}:{:02}:00Z",
        unix / 3600 % 24,
        unix / 60 % 60
    )
}

fn escape(text: &str, out: &mut String) {
    for letter in text.chars() {
        match letter {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            _ => out.push(letter),
        }
    }
}
