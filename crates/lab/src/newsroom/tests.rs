use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

fn every_target(newsroom: &Newsroom) -> Vec<String> {
    let mut targets: Vec<String> = newsroom
        .articles()
        .iter()
        .map(|article| article.path.clone())
        .collect();
    targets.extend(newsroom.front_paths().map(str::to_owned));
    targets.extend(newsroom.feed_paths().map(str::to_owned));
    targets.extend(newsroom.section_paths());
    targets.extend(newsroom.tag_paths());
    targets.extend(newsroom.assets().iter().cloned());
    targets.extend(["/robots.txt", "/sitemap.xml"].map(str::to_owned));
    targets.extend(["1", "2", "саябақ", "new bus", ""].map(|term| newsroom.search_path(term)));
    targets
}

#[test]
fn the_same_seed_writes_the_same_newsroom() {
    let (one, again, other) = (Newsroom::new(1), Newsroom::new(1), Newsroom::new(5));
    let paths = |newsroom: &Newsroom| {
        newsroom
            .articles()
            .iter()
            .map(|article| article.path.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(paths(&one), paths(&again));
    assert_eq!(one.host(), other.host());
    assert_ne!(paths(&one), paths(&other));
    assert_eq!(one.articles().len(), 240);
}

#[test]
fn every_body_is_recognised_by_its_own_mark_and_by_no_other() {
    let (ours, theirs) = (Newsroom::new(1), Newsroom::neighbour(1));
    assert_ne!(ours.host(), theirs.host());
    let mut begins = HashSet::new();
    for newsroom in [&ours, &theirs] {
        for target in every_target(newsroom) {
            let (page, mark) = (
                newsroom.page(&target).unwrap(),
                newsroom.mark_for(&target).unwrap(),
            );
            let rendered = newsroom.render(&page, 0);
            let body = &rendered.body;
            assert!(mark.holds(body.as_bytes()), "{target}");
            assert_eq!(
                body.matches("saqta-lab:").count(),
                if rendered.media_type.starts_with("text/html") {
                    2
                } else {
                    1
                },
                "{target}"
            );
            assert!(begins.insert(mark.begin), "{target} shares its marker");
        }
        assert!(begins.insert(newsroom.missing_mark().begin));
    }
}

#[test]
fn a_body_cut_anywhere_is_not_complete() {
    let newsroom = Newsroom::new(1);
    for target in [
        "/",
        "/feed/",
        "/assets/site.css",
        "/assets/logo.svg",
        "/robots.txt",
        "/?s=1",
    ] {
        let (page, mark) = (
            newsroom.page(target).unwrap(),
            newsroom.mark_for(target).unwrap(),
        );
        let body = newsroom.render(&page, 0).body;
        let body = body.trim_end().as_bytes();
        for cut in 0..body.len() {
            assert!(!mark.holds(&body[..cut]), "{target} cut at {cut}");
        }
    }
}

#[test]
fn pages_weigh_what_real_ones_do() {
    let newsroom = Newsroom::new(1);
    for target in every_target(&newsroom) {
        let page = newsroom.page(&target).unwrap();
        let bytes = newsroom.render(&page, 0).body.len();
        let range = match page {
            Page::Article(_) => 7_000..14_000,
            Page::Front(_) => 8_000..14_000,
            _ => 50..40_000,
        };
        assert!(range.contains(&bytes), "{target}: {bytes} bytes");
    }
}

#[test]
fn targets_name_pages() {
    let newsroom = Newsroom::new(1);
    let article = newsroom.articles()[0].path.clone();
    let search = |lang, term: &str| {
        Some(Page::Search {
            lang,
            term: term.to_owned(),
        })
    };
    let table = [
        ("/", Some(Page::Front(None))),
        ("/?utm_source=telegram", Some(Page::Front(None))),
        ("/?s=1", search(None, "1")),
        ("/?x=1&s=%D0%B0+b%zz", search(None, "а b%zz")),
        ("/?s=", search(None, "")),
        ("/ru/", Some(Page::Front(Some(Lang::Russian)))),
        ("/ru/?s=1", search(Some(Lang::Russian), "1")),
        ("/ru", None),
        ("/de/", None),
        (
            "/kk/sport/",
            Some(Page::Section(Lang::Kazakh, Section::Sport)),
        ),
        ("/kk/sport", None),
        ("/kk/nothing/", None),
        ("/en/tag/almaty/", Some(Page::Tag(Lang::English, 0))),
        ("/en/tag/paris/", None),
        ("/en/tag/", None),
        ("/feed/", Some(Page::Feed(None))),
        ("/kk/feed/", Some(Page::Feed(Some(Lang::Kazakh)))),
        (&article, Some(Page::Article(0))),
        (&format!("{article}?a=1"), Some(Page::Article(0))),
        (&format!("{article}123"), None),
        (&format!("{article};a=1"), None),
        (&format!("/{article}"), None),
        ("//", None),
        ("", None),
        ("*", None),
    ];
    for (target, page) in table {
        assert_eq!(newsroom.page(target), page, "{target}");
        assert_eq!(
            newsroom.marker_for(target).is_some(),
            page.is_some(),
            "{target}"
        );
    }
}

#[test]
fn search_finds_titles_and_says_when_there_is_nothing() {
    let newsroom = Newsroom::new(1);
    let title = &newsroom.articles()[0].title;
    let page = |term: &str| {
        newsroom
            .render(&newsroom.page(&newsroom.search_path(term)).unwrap(), 0)
            .body
    };
    assert!(page(title).contains(&newsroom.articles()[0].path));
    assert!(page("1").contains("Ештеңе табылмады"));
    assert!(page("1").contains(&newsroom.search_marker("1")));
    let hostile = page("<script>alert(1)</script>");
    assert!(
        !hostile.contains("<script>alert"),
        "search results escape the term"
    );
}

#[test]
fn a_revision_shows_in_the_article() {
    let newsroom = Newsroom::new(1);
    let body = newsroom.render(&Page::Article(3), 7).body;
    assert!(body.contains(&revision_marker(7)) && body.contains(&newsroom.articles()[3].marker));
}

#[test]
fn articles_are_written_out() {
    for article in Newsroom::new(1)
        .articles()
        .iter()
        .chain(Newsroom::neighbour(1).articles())
    {
        assert!(!article.title.contains(['{', '}']), "{}", article.title);
        assert!(
            article.path.is_ascii()
                && article
                    .path
                    .starts_with(&format!("/{}/2026/", article.lang.code())),
            "{}",
            article.path
        );
    }
}

#[test]
fn dates_are_those_of_the_calendar() {
    for (unix, date) in [
        (0, (1970, 1, 1)),
        (951_782_400, (2000, 2, 29)),
        (1_780_293_600, (2026, 6, 1)),
        (1_767_225_599, (2025, 12, 31)),
    ] {
        assert_eq!(civil(unix), date);
    }
}

proptest! {
    #[test]
    fn a_searched_term_arrives_as_typed(term in "\\PC{0,40}") {
        let newsroom = Newsroom::new(1);
        let target = newsroom.search_path(&term);
        prop_assert!(target.is_ascii() && !target.contains([' ', '#', '&']));
        prop_assert_eq!(newsroom.marker_for(&target), Some(newsroom.search_marker(&term)));
    }

    #[test]
    fn no_target_is_a_problem(target in "\\PC{0,80}") {
        let newsroom = Newsroom::new(2);
        if let Some(page) = newsroom.page(&target) {
            prop_assert!(!newsroom.render(&page, 0).body.is_empty());
        }
    }
}
