//! A real WordPress as a judge: installed over HTTP, read, written and commented on through a real Saqta.
//!
//! WordPress says nothing about caching on its pages and means a great deal: who is logged in, who has commented, which page a form
//! changed. A stand-in speaks as we believe it does; this one speaks as it does. Each check is a row; all of them run, in order, on one
//! installation, and all that do not hold are told together.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what cannot go on has failed, in helpers too"
)]

mod browser;
mod http;
mod server;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use http::{Answer, Client};
use server::{Folder, WordPress};

pub(crate) const HOST: &str = "news.test";
const EDITOR: &str = "editor";
const PASSWORD: &str = "correct-horse-9";

/// What a newsroom writes besides its hosts and its origin. Its purge plugin speaks from this machine, as a stranger's might.
const SETTINGS: &str = "profile = \"wordpress\"\npurge_from = \"127.0.0.1\"\n";

/// What every reader carries.
const ANALYTICS: &str =
    "_ga=GA1.1.1234567890.1700000000; _ym_uid=1700000000123456789; cookie_consent=yes";

/// After a change, a page is looked at so often and with this between: what is promised is two seconds.
const LOOKS_MAX: usize = 40;
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// In the page of whoever is logged in, and of nobody else.
const ADMIN_BAR: &str = "wpadminbar";
const COMMENTER: &str = "Aigul Commenter";

/// The stage, and what is known of it from check to check.
struct World {
    wordpress: WordPress,
    saqta: SocketAddr,
    editor: Client,
    nonce: String,
    /// A post's number and path.
    post: (String, String),
    /// Where pictures of pages go.
    pictures: PathBuf,
}

type Check = fn(&mut World) -> Result<(), String>;

const CHECKS: &[(&str, Check)] = &[
    (
        "an anonymous reader's pages are WordPress's own, byte for byte",
        same_bytes,
    ),
    (
        "redirects to a page's proper address are WordPress's own",
        same_redirects,
    ),
    (
        "readers with analytics cookies share a copy of each page",
        analytics_cookies,
    ),
    ("a tracking parameter is no other page", tracking_parameters),
    ("a search is answered as asked", search),
    ("a wrong password is refused, the right one lets in", login),
    (
        "an editor sees the site as an editor, and nobody else does",
        editors_page,
    ),
    (
        "what an editor publishes is on the front page and in the feed",
        publishing,
    ),
    ("a correction shows in the article", correcting),
    ("a draft's preview is the editor's alone", preview),
    (
        "a post with a password opens for who knows it",
        password_protected,
    ),
    (
        "a comment is taken, and its author's name is shown to nobody else in the form",
        commenting,
    ),
    (
        "a purge plugin's request from the server makes a page new",
        purge_one,
    ),
    (
        "a purge plugin's request for everything makes every page new",
        purge_all,
    ),
    ("a stranger's purge changes nothing", purge_by_a_stranger),
    (
        "what is logged in leaves no trace in anybody's page",
        no_trace,
    ),
    ("when the server is gone, readers read on", dead_site),
    (
        "in a browser the dead site has its look, on a phone and on a desk",
        dead_site_in_a_browser,
    ),
];

#[test]
fn wordpress_behind_saqta() {
    let folder =
        Folder(std::env::temp_dir().join(format!("saqta-wordpress-{}", std::process::id())));
    std::fs::create_dir(&folder.0).unwrap();
    let wordpress = WordPress::install(&folder.0);
    let (_saqta, saqta) = server::saqta(&folder.0, wordpress.address);
    let mut world = World {
        editor: Client::new(saqta),
        nonce: String::new(),
        post: (String::new(), String::new()),
        pictures: PathBuf::from(env!("CARGO_TARGET_TMPDIR")),
        saqta,
        wordpress,
    };
    let mut failed = Vec::new();
    for (name, check) in CHECKS {
        let outcome = check(&mut world);
        println!(
            "{}: {name}",
            if outcome.is_ok() { "holds" } else { "FAILS" }
        );
        if let Err(why) = outcome {
            failed.push(format!("{name}: {why}"));
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {} do not hold:\n{}",
        failed.len(),
        CHECKS.len(),
        failed.join("\n")
    );
}

impl World {
    fn reader(&self) -> Client {
        Client::new(self.saqta)
    }

    fn origin(&self) -> Client {
        Client::new(self.wordpress.address)
    }

    /// The editor's REST request.
    fn rest(&mut self, target: &str, body: &str) -> Answer {
        let fields = format!(
            "X-WP-Nonce: {}\r\nContent-Type: application/json\r\n",
            self.nonce
        );
        self.editor.send("POST", target, &fields, body.as_bytes())
    }

    /// The same by WordPress itself, past Saqta, which therefore cannot know.
    fn rest_behind_our_back(&mut self, target: &str, body: &str) -> Answer {
        let fields = format!(
            "X-WP-Nonce: {}\r\nContent-Type: application/json\r\n",
            self.nonce
        );
        let mut editor = Client {
            to: self.wordpress.address,
            ..self.editor.clone()
        };
        editor.send("POST", target, &fields, body.as_bytes())
    }

    /// Looks again until the page is as wished.
    fn comes(&self, target: &str, wished: impl Fn(&Answer) -> bool) -> Result<(), String> {
        let mut last = Answer::default();
        for _ in 0..LOOKS_MAX {
            last = self.reader().with(ANALYTICS).get(target);
            if wished(&last) {
                return Ok(());
            }
            sleep(LOOK_EVERY);
        }
        Err(format!(
            "{target} stays as it was: {}; the origin now: {}",
            last.told(),
            self.origin().get(target).told()
        ))
    }
}

fn ensure(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}

/// Out of a JSON object WordPress made: the first value of this name, a number or a text without quotes in it.
fn json(answer: &Answer, name: &str) -> String {
    let text = answer.text();
    let Some((_, rest)) = text.split_once(&format!("\"{name}\":")) else {
        return String::new();
    };
    let value = rest.trim_start_matches('"').split(['"', ',', '}']).next();
    value.unwrap_or_default().replace("\\/", "/")
}

fn path_of(url: &str) -> String {
    url.split_once(HOST)
        .map_or(url, |(_, path)| path)
        .to_owned()
}

fn same_bytes(world: &mut World) -> Result<(), String> {
    let article = path_of(world.origin().get("/?p=1").field("location"));
    ensure(article.starts_with('/'), || {
        format!("no article: {article}")
    })?;
    world.post = ("1".into(), article.clone());
    let style = "/wp-includes/css/dist/block-library/style.min.css";
    for target in [
        "/",
        &article,
        "/feed/",
        style,
        "/wp-json/wp/v2/posts",
        "/no-such-page/",
        "/?s=hello",
    ] {
        let (ours, theirs) = (world.reader().get(target), world.origin().get(target));
        ensure(
            ours.status == theirs.status && ours.body == theirs.body,
            || format!("{target}: {} instead of {}", ours.told(), theirs.told()),
        )?;
        let again = world.reader().with(ANALYTICS).get(target);
        ensure(again.body == theirs.body, || {
            format!("{target}, asked again: {}", again.told())
        })?;
    }
    Ok(())
}

fn same_redirects(world: &mut World) -> Result<(), String> {
    for target in ["/?p=1", "/2099", "/wp-admin/", "/feed", "/?feed=rss2"] {
        let (ours, theirs) = (world.reader().get(target), world.origin().get(target));
        ensure(
            (ours.status, ours.field("location")) == (theirs.status, theirs.field("location")),
            || {
                format!(
                    "{target}: {} {} instead of {} {}",
                    ours.status,
                    ours.field("location"),
                    theirs.status,
                    theirs.field("location")
                )
            },
        )?;
    }
    Ok(())
}

fn analytics_cookies(world: &mut World) -> Result<(), String> {
    for target in ["/", &world.post.1.clone(), "/feed/"] {
        world.reader().with("_ga=GA1.1.111.1").get(target);
        for cookies in [
            ANALYTICS,
            "_ga=GA1.1.222.2; _gid=GA1.1.3.3; _fbp=fb.1.1.1",
            "",
        ] {
            let answer = world.reader().with(cookies).get(target);
            ensure(answer.is_hit(), || {
                format!("{target} with {cookies:?}: {}", answer.told())
            })?;
        }
    }
    Ok(())
}

fn tracking_parameters(world: &mut World) -> Result<(), String> {
    let target = format!(
        "{}?utm_source=telegram&utm_campaign=1&fbclid=abc",
        world.post.1
    );
    let answer = world.reader().with(ANALYTICS).get(&target);
    ensure(answer.is_hit() && answer.status == 200, || {
        format!("{target}: {}", answer.told())
    })
}

fn search(world: &mut World) -> Result<(), String> {
    for (term, found) in [("hello", true), ("zhoq", false), ("hello", true)] {
        let page = world.reader().with(ANALYTICS).get(&format!("/?s={term}"));
        ensure(
            page.status == 200 && page.text().contains("no-results") != found,
            || format!("{term}: {}", page.told()),
        )?;
    }
    Ok(())
}

fn login(world: &mut World) -> Result<(), String> {
    world.editor.get("/wp-login.php");
    let form = |password| {
        [
            ("log", EDITOR),
            ("pwd", password),
            ("wp-submit", "Log In"),
            ("testcookie", "1"),
        ]
    };
    let refused = world.editor.form("/wp-login.php", &form("guess"));
    ensure(
        refused.status == 200 && refused.text().contains("login_error"),
        || format!("a wrong password: {}", refused.told()),
    )?;
    let let_in = world.editor.form("/wp-login.php", &form(PASSWORD));
    let has_session = world
        .editor
        .cookies
        .iter()
        .any(|(name, _)| name.starts_with("wordpress_logged_in_"));
    ensure(let_in.status == 302 && has_session, || {
        format!("the right one: {}", let_in.told())
    })?;
    let nonce = world
        .editor
        .get("/wp-admin/admin-ajax.php?action=rest-nonce");
    world.nonce = nonce.text().trim().to_owned();
    ensure(nonce.status == 200 && world.nonce.len() == 10, || {
        format!("no nonce: {}", nonce.told())
    })
}

fn editors_page(world: &mut World) -> Result<(), String> {
    for target in ["/", &world.post.1.clone()] {
        let editors = world.editor.get(target);
        ensure(editors.text().contains(ADMIN_BAR), || {
            format!("{target}: the editor gets {}", editors.told())
        })?;
        let readers = world.reader().with(ANALYTICS).get(target);
        ensure(
            readers.status == 200 && !readers.text().contains(ADMIN_BAR),
            || format!("{target}: a reader gets {}", readers.told()),
        )?;
    }
    let console = world.editor.get("/wp-admin/");
    ensure(console.status == 200 && !console.is_hit(), || {
        format!("the console: {}", console.told())
    })?;
    let stranger = world.reader().get("/wp-admin/");
    ensure(stranger.status == 302, || {
        format!("a stranger's console: {}", stranger.told())
    })
}

fn publishing(world: &mut World) -> Result<(), String> {
    let made = world.rest(
        "/wp-json/wp/v2/posts",
        r#"{"title":"Fresh news today","content":"The bridge is open.","status":"publish"}"#,
    );
    ensure(made.status == 201, || {
        format!("not published: {}", made.told())
    })?;
    world.post = (json(&made, "id"), path_of(&json(&made, "link")));
    for target in ["/", "/feed/"] {
        world.comes(target, |page| page.text().contains("Fresh news today"))?;
    }
    world.comes(&world.post.1, |page| {
        page.text().contains("The bridge is open.")
    })
}

fn correcting(world: &mut World) -> Result<(), String> {
    let (id, path) = world.post.clone();
    let corrected = world.rest(
        &format!("/wp-json/wp/v2/posts/{id}"),
        r#"{"content":"The bridge opens tomorrow."}"#,
    );
    ensure(corrected.status == 200, || {
        format!("not corrected: {}", corrected.told())
    })?;
    world.comes(&path, |page| {
        page.text().contains("The bridge opens tomorrow.")
    })
}

fn preview(world: &mut World) -> Result<(), String> {
    let draft = world.rest(
        "/wp-json/wp/v2/posts",
        r#"{"title":"Not yet","content":"secret draft","status":"draft"}"#,
    );
    let target = format!("/?p={}&preview=true", json(&draft, "id"));
    let seen = world.editor.get(&target);
    ensure(seen.text().contains("secret draft"), || {
        format!("the editor: {}", seen.told())
    })?;
    let reader = world.reader().get(&target);
    ensure(!reader.text().contains("secret draft"), || {
        format!("a reader: {}", reader.told())
    })
}

fn password_protected(world: &mut World) -> Result<(), String> {
    let made = world.rest(
        "/wp-json/wp/v2/posts",
        r#"{"title":"For members","content":"only for members","status":"publish","password":"qulyp"}"#,
    );
    let path = path_of(&json(&made, "link"));
    let stranger = world.reader().get(&path);
    ensure(
        stranger.status == 200 && !stranger.text().contains("only for members"),
        || format!("a stranger: {}", stranger.told()),
    )?;
    let mut member = world.reader();
    member.form(
        "/wp-login.php?action=postpass",
        &[("post_password", "qulyp"), ("Submit", "Enter")],
    );
    let opened = member.get(&path);
    ensure(opened.text().contains("only for members"), || {
        format!("a member: {}", opened.told())
    })?;
    let stranger = world.reader().get(&path);
    ensure(!stranger.text().contains("only for members"), || {
        format!("a stranger afterwards: {}", stranger.told())
    })
}

fn commenting(world: &mut World) -> Result<(), String> {
    let (id, path) = world.post.clone();
    let mut commenter = world.reader();
    let sent = commenter.form(
        "/wp-comments-post.php",
        &[
            ("comment_post_ID", &id),
            ("comment_parent", "0"),
            ("author", COMMENTER),
            ("email", "aigul@reader.test"),
            ("url", ""),
            ("comment", "Rakhmet!"),
            ("wp-comment-cookies-consent", "yes"),
        ],
    );
    ensure(sent.status == 302, || format!("not taken: {}", sent.told()))?;
    let own = commenter.get(&path);
    ensure(own.text().contains(COMMENTER), || {
        format!("the commenter's own form: {}", own.told())
    })?;
    for _ in 0..2 {
        let other = world.reader().with(ANALYTICS).get(&path);
        ensure(
            other.status == 200 && !other.text().contains(COMMENTER),
            || format!("another reader: {}", other.told()),
        )?;
    }
    Ok(())
}

/// As the plugin Proxy Cache Purge sends it.
fn purge(world: &World, from: [u8; 4], target: &str, how: &str) -> Answer {
    let mut server = Client {
        from: from.into(),
        ..world.reader()
    };
    server.send("PURGE", target, &format!("X-Purge-Method: {how}\r\n"), b"")
}

fn changed_behind_our_back(world: &mut World, words: &str) -> Result<String, String> {
    let (id, path) = world.post.clone();
    world.reader().with(ANALYTICS).get(&path);
    let before = world.reader().with(ANALYTICS).get(&path);
    ensure(before.is_hit(), || {
        format!("there is no copy: {}", before.told())
    })?;
    world.rest_behind_our_back(
        &format!("/wp-json/wp/v2/posts/{id}"),
        &format!(r#"{{"content":"{words}"}}"#),
    );
    Ok(path)
}

fn purge_one(world: &mut World) -> Result<(), String> {
    let path = changed_behind_our_back(world, "purged one")?;
    let done = purge(world, [127, 0, 0, 1], &path, "default");
    ensure(done.status == 200, || format!("the purge: {}", done.told()))?;
    world.comes(&path, |page| page.text().contains("purged one"))
}

fn purge_all(world: &mut World) -> Result<(), String> {
    let path = changed_behind_our_back(world, "purged all")?;
    let done = purge(world, [127, 0, 0, 1], "/.*", "regex");
    ensure(done.status == 200, || format!("the purge: {}", done.told()))?;
    world.comes(&path, |page| page.text().contains("purged all"))
}

fn purge_by_a_stranger(world: &mut World) -> Result<(), String> {
    let path = changed_behind_our_back(world, "purged by a stranger")?;
    let refused = purge(world, [127, 66, 6, 6], &path, "default");
    ensure((400..500).contains(&refused.status), || {
        format!("the purge: {}", refused.told())
    })?;
    let after = world.reader().with(ANALYTICS).get(&path);
    ensure(
        after.is_hit() && !after.text().contains("purged by a stranger"),
        || format!("the page: {}", after.told()),
    )
}

fn no_trace(world: &mut World) -> Result<(), String> {
    let pages = [
        "/",
        &world.post.1,
        "/feed/",
        "/2026/",
        "/?p=1",
        "/wp-json/wp/v2/posts",
        "/author/editor/",
    ];
    for target in pages {
        world.editor.clone().get(target);
        for cookies in [ANALYTICS, ""] {
            let page = world.reader().with(cookies).get(target);
            let text = page.text() + &page.head;
            let traces = [ADMIN_BAR, COMMENTER, "wordpress_logged_in", &world.nonce];
            if let Some(trace) = traces
                .into_iter()
                .find(|trace| !trace.is_empty() && text.contains(trace))
            {
                return Err(format!("{target} shows {trace:?}: {}", page.told()));
            }
        }
    }
    Ok(())
}

fn dead_site(world: &mut World) -> Result<(), String> {
    let pages = ["/", &world.post.1, "/feed/"];
    for target in pages {
        world.reader().with(ANALYTICS).get(target);
    }
    // Somebody has read them in a browser, which asks for what they look like.
    let mut browser = browser::Browser::start(world.saqta)?;
    for target in ["/", &world.post.1] {
        browser.open(target, 390)?;
    }
    world.wordpress.die();
    for target in pages {
        let page = world.reader().with(ANALYTICS).get(target);
        ensure(page.status == 200 && !page.body.is_empty(), || {
            format!("{target}: {}", page.told())
        })?;
    }
    Ok(())
}

fn dead_site_in_a_browser(world: &mut World) -> Result<(), String> {
    let mut browser = browser::Browser::start(world.saqta)?;
    for (name, target) in [("front", "/"), ("article", &world.post.1.clone())] {
        for width in [390, 1280] {
            let page = browser.open(target, width)?;
            let picture = world.pictures.join(format!("dead-site-{name}-{width}.png"));
            browser.picture(&picture)?;
            ensure(page.has_style, || {
                format!("{target} at {width} px has no style")
            })?;
            ensure(page.fits, || {
                format!("{target} at {width} px is wider than the screen")
            })?;
        }
    }
    Ok(())
}
