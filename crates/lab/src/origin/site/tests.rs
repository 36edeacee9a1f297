use std::collections::BTreeSet;

use super::super::cookies_after;
use super::super::message::parsed;
use super::*;

const NOW: u64 = 1_790_000_000;

fn site(dialect: Dialect) -> Site {
    Site::new(Newsroom::new(1), dialect, None, 1)
}

fn ask(site: &mut Site, head: &str, body: &str) -> Answer {
    let request = parsed(&format!("{head}\r\n\r\n"));
    let route = site.route(&request);
    site.answer(&route, &request, body.as_bytes(), NOW)
}

fn read(site: &mut Site, target: &str) -> Answer {
    ask(site, &format!("GET {target} HTTP/1.1"), "")
}

fn all<'a>(answer: &'a Answer, name: &str) -> Vec<&'a str> {
    answer
        .fields
        .iter()
        .filter(|(known, _)| *known == name)
        .map(|(_, value)| value.as_str())
        .collect()
}

fn one<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    let values = all(answer, name);
    assert!(values.len() < 2, "{name} twice: {values:?}");
    values.first().copied()
}

#[test]
fn each_dialect_says_of_caching_what_its_system_says() {
    let article = Newsroom::new(1).articles()[0].path.clone();
    let generic = Some("public, max-age=60");
    let wordpress = Some(WORDPRESS_NO_STORE);
    let joomla = Some(JOOMLA_NO_STORE);
    let drupal = Some(DRUPAL_NO_CACHE);
    // Target, status, Cache-Control of generic, WordPress, Joomla, Drupal.
    let table: &[(&str, u16, [Option<&str>; 4])] = &[
        ("/", 200, [generic, None, joomla, drupal]),
        (&article, 200, [generic, None, joomla, drupal]),
        ("/kk/sport/", 200, [generic, None, joomla, drupal]),
        ("/kk/tag/almaty/", 200, [generic, None, joomla, drupal]),
        ("/feed/", 200, [generic, None, joomla, drupal]),
        ("/?s=1", 200, [Some("no-store"), None, joomla, drupal]),
        ("/nothing/here/", 404, [None, wordpress, joomla, drupal]),
        ("/account/", 200, [Some("private"); 4]),
        (
            "/robots.txt",
            200,
            [
                Some("public, max-age=3600"),
                None,
                None,
                Some("max-age=1209600"),
            ],
        ),
        (
            "/assets/site.css",
            200,
            [
                Some("public, max-age=3600"),
                None,
                None,
                Some("max-age=1209600"),
            ],
        ),
    ];
    for (target, status, expected) in table {
        for (dialect, expected) in Dialect::ALL.into_iter().zip(expected) {
            let answer = read(&mut site(dialect), target);
            assert_eq!(
                (answer.status, one(&answer, "Cache-Control")),
                (*status, *expected),
                "{dialect} {target}"
            );
        }
    }
}

#[test]
fn each_dialect_is_known_by_its_fields() {
    let article = Newsroom::new(1).articles()[0].path.clone();
    let names = |dialect, target: &str| {
        let answer = read(&mut site(dialect), target);
        answer
            .fields
            .iter()
            .map(|(name, _)| *name)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
            .join(" ")
    };
    let table = [
        (
            Dialect::Generic,
            article.as_str(),
            "Cache-Control Content-Type ETag Last-Modified Server",
        ),
        (
            Dialect::WordPress,
            &article,
            "Content-Type Link Server Vary X-Pingback X-Powered-By",
        ),
        (
            Dialect::WordPress,
            "/",
            "Content-Type Link Server Vary X-Powered-By",
        ),
        (
            Dialect::WordPress,
            "/feed/",
            "Content-Type ETag Last-Modified Link Server Vary X-Powered-By",
        ),
        (
            Dialect::WordPress,
            "/x/",
            "Cache-Control Content-Type Expires Server Vary X-Powered-By",
        ),
        (
            Dialect::Joomla,
            &article,
            "Cache-Control Content-Type Expires Last-Modified Pragma Server Set-Cookie",
        ),
        (
            Dialect::Drupal,
            &article,
            "Cache-Control Content-Type Content-language Expires Last-Modified Server Vary X-Content-Type-Options \
             X-Drupal-Dynamic-Cache X-Frame-Options X-Generator",
        ),
    ];
    for (dialect, target, expected) in table {
        assert_eq!(names(dialect, target), expected, "{dialect} {target}");
    }
    assert_eq!(
        all(&read(&mut site(Dialect::WordPress), &article), "Link").len(),
        3
    );
    assert_eq!(
        one(&read(&mut site(Dialect::Drupal), "/"), "Vary"),
        Some("Cookie")
    );
}

#[test]
fn joomla_gives_a_session_to_everybody_once() {
    let mut site = site(Dialect::Joomla);
    let first = read(&mut site, "/");
    let cookie = cookies_after("", &all(&first, "Set-Cookie"));
    let (name, value) = cookie.split_once('=').unwrap();
    assert!(
        name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) && value.len() >= 26,
        "{cookie}"
    );
    assert_eq!(
        one(&first, "Expires"),
        Some("Wed, 17 Aug 2005 00:00:00 GMT")
    );

    let second = ask(
        &mut site,
        &format!("GET / HTTP/1.1\r\nCookie: _ga=1; {cookie}"),
        "",
    );
    assert_eq!(one(&second, "Set-Cookie"), None);
    let other = read(&mut site, "/");
    assert_ne!(all(&other, "Set-Cookie"), all(&first, "Set-Cookie"));
}

#[test]
fn max_age_is_the_operators_where_the_system_has_the_setting() {
    for (dialect, expected) in [
        (Dialect::Generic, Some("public, max-age=2")),
        (Dialect::WordPress, None),
        (Dialect::Joomla, Some(JOOMLA_NO_STORE)),
        (Dialect::Drupal, Some("max-age=2, public")),
    ] {
        let mut site = Site::new(Newsroom::new(1), dialect, Some(2), 1);
        assert_eq!(
            one(&read(&mut site, "/"), "Cache-Control"),
            expected,
            "{dialect}"
        );
    }
}

#[test]
fn an_unchanged_page_is_not_sent_again() {
    let mut site = site(Dialect::Generic);
    let full = read(&mut site, "/");
    let (etag, modified) = (
        one(&full, "ETag").unwrap().to_owned(),
        one(&full, "Last-Modified").unwrap().to_owned(),
    );
    let table = [
        (format!("If-None-Match: {etag}"), 304),
        (format!("If-None-Match: \"x\", W/{etag}"), 304),
        ("If-None-Match: *".to_owned(), 304),
        ("If-None-Match: \"x\"".to_owned(), 200),
        (format!("If-Modified-Since: {modified}"), 304),
        (
            "If-Modified-Since: Sat, 01 Jan 2000 00:00:00 GMT".to_owned(),
            200,
        ),
        ("If-Modified-Since: yesterday".to_owned(), 200),
        (
            format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {modified}"),
            200,
        ),
    ];
    for (field, status) in table {
        let answer = ask(&mut site, &format!("GET / HTTP/1.1\r\n{field}"), "");
        assert_eq!(answer.status, status, "{field}");
        assert_eq!(
            (one(&answer, "ETag"), one(&answer, "Last-Modified")),
            (Some(etag.as_str()), Some(modified.as_str()))
        );
        assert_eq!(answer.body.is_empty(), status == 304, "{field}");
    }
}

/// Logs in as a browser does: the form with its cookies first. Returns the cookies.
fn log_in(site: &mut Site, password: &str) -> (bool, String) {
    let dialect = site.dialect;
    let page = read(site, dialect.login_path());
    let cookies = cookies_after("", &all(&page, "Set-Cookie"));
    let form = dialect.login_form("aigul", password);
    let answer = ask(
        site,
        &format!("POST {} HTTP/1.1\r\nCookie: {cookies}", form.target),
        &form.body,
    );
    let set = all(&answer, "Set-Cookie");
    (
        dialect.logged_in(answer.status, &set),
        cookies_after(&cookies, &set),
    )
}

fn publish(site: &mut Site, article: usize, cookies: &str) -> Answer {
    let form = site.dialect.publish_form(article);
    ask(
        site,
        &format!("POST {} HTTP/1.1\r\nCookie: {cookies}", form.target),
        &form.body,
    )
}

#[test]
fn staff_log_in_and_publish_and_nobody_else_does() {
    use crate::newsroom::revision_marker;

    for dialect in Dialect::ALL {
        let mut site = site(dialect);
        let path = site.newsroom.articles()[7].path.clone();
        let published = |answer: &Answer| dialect.published(answer.status, one(answer, "Location"));

        let (in_, strangers) = log_in(&mut site, "password123");
        assert!(!in_, "{dialect} lets anybody in");
        assert!(
            !published(&publish(&mut site, 7, &strangers)),
            "{dialect} publishes for anybody"
        );
        assert!(
            !published(&publish(
                &mut site,
                7,
                "wordpress_logged_in_x=aigul%7C1%7C1%7C1; SESS1=1"
            )),
            "{dialect}"
        );

        let (in_, cookies) = log_in(&mut site, PASSWORD);
        assert!(in_, "{dialect} keeps staff out");
        let answer = publish(&mut site, 7, &cookies);
        assert!(published(&answer), "{dialect}: {answer:?}");
        assert!(
            !published(&publish(&mut site, 99_999, &cookies)),
            "{dialect} publishes what is not there"
        );
        assert_eq!(
            site.deeds,
            Deeds {
                logins: 1,
                logins_refused: 1,
                publishes: 1
            },
            "{dialect}"
        );

        let readers = read(&mut site, &path);
        assert!(readers.body.contains(&revision_marker(1)), "{dialect}");
        assert!(!readers.body.contains(STAFF_MARKER), "{dialect}");
        let staffs = ask(
            &mut site,
            &format!("GET {path} HTTP/1.1\r\nCookie: {cookies}"),
            "",
        );
        assert!(staffs.body.contains(STAFF_MARKER), "{dialect}");
        assert!(
            one(&staffs, "Cache-Control").unwrap().contains("no-"),
            "{dialect}: {:?}",
            staffs.fields
        );
    }
}

#[test]
fn a_publish_changes_the_validators() {
    let mut site = site(Dialect::Generic);
    let path = site.newsroom.articles()[7].path.clone();
    let before = [read(&mut site, "/"), read(&mut site, &path)]
        .map(|answer| one(&answer, "ETag").unwrap().to_owned());
    let (_, cookies) = log_in(&mut site, PASSWORD);
    publish(&mut site, 7, &cookies);
    let after = [read(&mut site, "/"), read(&mut site, &path)]
        .map(|answer| one(&answer, "ETag").unwrap().to_owned());
    assert!(before[0] != after[0] && before[1] != after[1]);
}

#[test]
fn sessions_are_bounded() {
    let mut site = site(Dialect::WordPress);
    let (_, first) = log_in(&mut site, PASSWORD);
    for _ in 0..SESSIONS_MAX {
        log_in(&mut site, PASSWORD);
    }
    assert_eq!(site.sessions.len(), SESSIONS_MAX);
    assert!(!site.is_staff(&first), "the oldest made room");
}

#[test]
fn a_visitor_keeps_their_number_and_shares_it_with_nobody() {
    let mut site = site(Dialect::Generic);
    let (one_, other) = (read(&mut site, "/account/"), read(&mut site, "/account/"));
    assert_ne!(one_.body, other.body);
    let cookies = cookies_after("", &all(&one_, "Set-Cookie"));
    let again = ask(
        &mut site,
        &format!("GET /account/ HTTP/1.1\r\nCookie: {cookies}"),
        "",
    );
    assert_eq!(
        (again.body.as_str(), one(&again, "Set-Cookie")),
        (one_.body.as_str(), None)
    );
    assert!(one_.body.contains(PERSONAL_MARKER));
}

#[test]
fn targets_are_routed() {
    let newsroom = Newsroom::new(1);
    let article = newsroom.articles()[0].path.clone();
    let bare = article.trim_end_matches('/').to_owned();
    let table = [
        (Dialect::Generic, format!("GET {article}"), Kind::Article),
        (Dialect::Generic, format!("HEAD {article}"), Kind::Article),
        (Dialect::Generic, format!("GET {bare}?x=1"), Kind::Article),
        (Dialect::Generic, "GET /?s=1".to_owned(), Kind::Search),
        (Dialect::Generic, "GET //".to_owned(), Kind::Missing),
        (Dialect::Generic, "DELETE /".to_owned(), Kind::Missing),
        (Dialect::Generic, "GET /robots.txt".to_owned(), Kind::Asset),
        (Dialect::Generic, "GET /sitemap.xml".to_owned(), Kind::Feed),
        (
            Dialect::Generic,
            "POST /wp-login.php".to_owned(),
            Kind::Login,
        ),
        (
            Dialect::Generic,
            "GET /wp-login.php".to_owned(),
            Kind::Admin,
        ),
        (
            Dialect::WordPress,
            "POST /wp-admin/post.php".to_owned(),
            Kind::Publish,
        ),
        (Dialect::WordPress, "GET /wp-admin/".to_owned(), Kind::Admin),
        (
            Dialect::Joomla,
            "POST /wp-login.php".to_owned(),
            Kind::Missing,
        ),
        (
            Dialect::Joomla,
            "POST /administrator/index.php".to_owned(),
            Kind::Login,
        ),
        (
            Dialect::Joomla,
            "POST /administrator/index.php?option=com_content&id=1".to_owned(),
            Kind::Publish,
        ),
        (Dialect::Drupal, "POST /user/login".to_owned(), Kind::Login),
        (
            Dialect::Drupal,
            "POST /node/1/edit".to_owned(),
            Kind::Publish,
        ),
        (Dialect::Drupal, "GET /node/1".to_owned(), Kind::Article),
        (Dialect::Drupal, "GET /node/99999".to_owned(), Kind::Missing),
        (
            Dialect::Joomla,
            "GET /index.php?option=com_content&view=article&id=1".to_owned(),
            Kind::Article,
        ),
        (
            Dialect::WordPress,
            "POST /wp-comments-post.php".to_owned(),
            Kind::Publish,
        ),
        (Dialect::Generic, "POST /upload".to_owned(), Kind::Upload),
        (Dialect::Generic, "GET /events".to_owned(), Kind::Stream),
        (Dialect::Generic, "GET /ws".to_owned(), Kind::Missing),
        (Dialect::Generic, "GET /account/".to_owned(), Kind::Account),
    ];
    for (dialect, line, kind) in table {
        let request = parsed(&format!("{line} HTTP/1.1\r\n\r\n"));
        assert_eq!(
            site(dialect).route(&request).kind(),
            kind,
            "{dialect} {line}"
        );
    }
    let redirect = read(&mut site(Dialect::Generic), &format!("{bare}?x=1"));
    assert_eq!(redirect.status, 301);
    assert!(
        one(&redirect, "Location")
            .unwrap()
            .ends_with(&format!("{article}?x=1"))
    );
}

#[test]
fn wordpress_sends_to_a_pages_proper_address() {
    let article = Newsroom::new(1).articles()[3].path.clone();
    let bare = article.trim_end_matches('/');
    let table = [
        ("/?p=3".to_owned(), 301, Some(article.as_str())),
        ("/?p=99999".into(), 404, None),
        (format!("{article}123"), 301, Some(&article)),
        (format!("{article}123/"), 301, Some(&article)),
        (bare.to_owned(), 301, Some(&article)),
        ("/?paged=9999".into(), 404, None),
        ("/?paged=1".into(), 200, None),
        ("/nothing/123".into(), 404, None),
    ];
    for (target, status, path) in table {
        let answer = read(&mut site(Dialect::WordPress), &target);
        let moved = one(&answer, "Location").map(|to| to.split_once("http://").unwrap().1);
        assert_eq!(answer.status, status, "{target}");
        assert_eq!(moved.is_some(), path.is_some(), "{target}");
        assert!(
            moved.zip(path).is_none_or(|(to, path)| to.ends_with(path)),
            "{target} {moved:?}"
        );
    }
}

/// Who is known gets a page of their own, and what the system says of it is what makes it dangerous.
#[test]
fn a_reader_who_is_known_is_greeted() {
    let newsroom = Newsroom::new(1);
    let article = &newsroom.articles()[0].path;
    let table = [
        (Dialect::Generic, Some("private"), true),
        (Dialect::WordPress, None, false),
        (Dialect::Joomla, Some(JOOMLA_NO_STORE), true),
        (Dialect::Drupal, Some(DRUPAL_NO_CACHE), true),
    ];
    for (dialect, control, greeted_on_the_front_page) in table {
        let cookie = dialect.reader_cookie(newsroom.host(), 0xabc);
        let mut site = site(dialect);
        let mut known = |target: &str| {
            ask(
                &mut site,
                &format!("GET {target} HTTP/1.1\r\nCookie: _ga=1; {cookie}"),
                "",
            )
        };
        let own = format!("{PERSONAL_MARKER}0000000000000abc-->");
        let page = known(article);
        assert!(page.body.contains(&own), "{dialect}");
        assert_eq!(one(&page, "Cache-Control"), control, "{dialect}");
        assert_eq!(
            known("/").body.contains(&own),
            greeted_on_the_front_page,
            "{dialect}"
        );
        assert!(!known("/feed/").body.contains(&own), "{dialect}");
        // Whatever cookie a stranger is given makes nobody of them.
        let stranger = read(&mut site, article);
        let given = cookies_after("", &all(&stranger, "Set-Cookie"));
        let again = ask(
            &mut site,
            &format!("GET {article} HTTP/1.1\r\nCookie: {given}"),
            "",
        );
        for page in [stranger, again] {
            assert!(!page.body.contains(PERSONAL_MARKER), "{dialect}");
        }
    }
}

#[test]
fn whoever_comments_on_wordpress_is_known_afterwards() {
    let mut site = site(Dialect::WordPress);
    let article = Newsroom::new(1).articles()[2].path.clone();
    let sent = ask(
        &mut site,
        "POST /wp-comments-post.php HTTP/1.1",
        "comment_post_ID=2&author=A&comment=B&wp-comment-cookies-consent=yes",
    );
    assert_eq!(sent.status, 302);
    let cookies = cookies_after("", &all(&sent, "Set-Cookie"));
    assert_eq!(cookies.matches("comment_author").count(), 3, "{cookies}");
    let own = ask(
        &mut site,
        &format!("GET {article} HTTP/1.1\r\nCookie: {cookies}"),
        "",
    );
    assert!(own.body.contains(PERSONAL_MARKER));
}
