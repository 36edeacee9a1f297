//! What the origin answers, without a socket: request in, answer out.

use std::collections::VecDeque;
use std::time::{Duration, UNIX_EPOCH};

use super::dialect::{
    DRUPAL_LONG_AGO, DRUPAL_NO_CACHE, Dialect, JOOMLA_LONG_AGO, JOOMLA_NO_STORE, PASSWORD,
    WORDPRESS_LONG_AGO, WORDPRESS_NO_STORE, installation,
};
use super::message::{Method, Request};
use super::workers::Kind;
use crate::chance::{Chance, digest};
use crate::newsroom::{Newsroom, Page, decode_query};

/// Editors with several devices; the session that is oldest makes room.
const SESSIONS_MAX: usize = 256;

/// In every body that only staff may see. A reader who gets it was given somebody else's page.
pub const STAFF_MARKER: &str = "<!--saqta-lab:staff-->";
/// In a personal page, followed by the visitor's number and `-->`.
pub const PERSONAL_MARKER: &str = "<!--saqta-lab:personal:";

/// Every page of this origin is younger than that in the cache of whoever obeys it, unless the spec says otherwise.
pub(super) const GENERIC_MAX_AGE_S: u32 = 60;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    Page(Page),
    /// The page is there, at its proper address.
    Moved(String),
    LoginForm,
    Login,
    Publish(usize),
    /// WordPress's `wp-comments-post.php`.
    Comment,
    Admin,
    Account,
    Upload,
    /// A picture or a film for an article, from staff.
    Media,
    Events,
    WebSocket,
    Missing,
    NotAllowed,
}

impl Route {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Page(page) => match page {
                Page::Front(_) => Kind::Front,
                Page::Section(..) => Kind::Section,
                Page::Tag(..) => Kind::Tag,
                Page::Article(_) => Kind::Article,
                Page::Search { .. } => Kind::Search,
                Page::Feed(_) | Page::Sitemap => Kind::Feed,
                Page::Robots | Page::Asset(_) => Kind::Asset,
            },
            Self::Moved(_) => Kind::Article,
            Self::Login => Kind::Login,
            Self::Publish(_) | Self::Comment => Kind::Publish,
            Self::LoginForm | Self::Admin => Kind::Admin,
            Self::Account => Kind::Account,
            Self::Upload | Self::Media => Kind::Upload,
            Self::Events | Self::WebSocket => Kind::Stream,
            Self::Missing | Self::NotAllowed => Kind::Missing,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) fields: Vec<(&'static str, String)>,
    pub(super) body: String,
}

impl Answer {
    fn new(status: u16) -> Self {
        Self {
            status,
            fields: Vec::new(),
            body: String::new(),
        }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    fn body(mut self, media_type: &str, body: impl Into<String>) -> Self {
        self.fields.push(("Content-Type", media_type.to_owned()));
        self.body = body.into();
        self
    }
}

/// What staff did, for the books.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Deeds {
    pub(super) logins: u64,
    pub(super) logins_refused: u64,
    pub(super) publishes: u64,
}

#[derive(Debug)]
pub(super) struct Site {
    newsroom: Newsroom,
    dialect: Dialect,
    /// `None`: the dialect's own; only generic and Drupal have one to set.
    max_age_s: Option<u32>,
    sessions: VecDeque<String>,
    revisions: Vec<u32>,
    chance: Chance,
    /// 32 hexadecimal digits that name this installation in its cookies.
    hash: String,
    pub(super) deeds: Deeds,
}

const HTML: &str = "text/html; charset=UTF-8";

impl Site {
    pub(super) fn new(
        newsroom: Newsroom,
        dialect: Dialect,
        max_age_s: Option<u32>,
        seed: u64,
    ) -> Self {
        Self {
            revisions: vec![0; newsroom.articles().len()],
            hash: installation(newsroom.host()),
            newsroom,
            dialect,
            max_age_s,
            sessions: VecDeque::new(),
            chance: Chance::stream(seed, "origin sessions"),
            deeds: Deeds::default(),
        }
    }

    pub(super) fn route(&self, request: &Request) -> Route {
        let target = request.target.as_str();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let post = request.method == Method::Post;
        match path {
            "/account/" => return Route::Account,
            "/upload" if post => return Route::Upload,
            "/events" => return Route::Events,
            "/ws" if request.websocket_key.is_some() => return Route::WebSocket,
            _ => {}
        }
        if request.method == Method::Other {
            return Route::NotAllowed;
        }
        if let Some(route) = self.staff_route(path, query, post) {
            return route;
        }
        if let Some(route) = self.own_address(path, query) {
            return route;
        }
        match self.newsroom.page(target) {
            Some(page) => Route::Page(page),
            None if !path.ends_with('/') && self.newsroom.page(&format!("{path}/")).is_some() => {
                let query = if query.is_empty() {
                    String::new()
                } else {
                    format!("?{query}")
                };
                Route::Moved(format!("{path}/{query}"))
            }
            None => Route::Missing,
        }
    }

    /// Where a system has more addresses for a page than the newsroom's own.
    fn own_address(&self, path: &str, query: &str) -> Option<Route> {
        let value = |name: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value)
        };
        let articles = self.newsroom.articles();
        let article = |id: &str| id.parse::<usize>().ok().filter(|id| *id < articles.len());
        match self.dialect {
            Dialect::Generic => None,
            // `redirect_canonical`: a number, a page of a list beyond its last, a page of an article that has one.
            Dialect::WordPress => {
                if path == "/"
                    && let Some(id) = value("p")
                {
                    let moved = article(id).map(|id| Route::Moved(articles[id].path.clone()));
                    return Some(moved.unwrap_or(Route::Missing));
                }
                if value("paged").is_some_and(|page| page != "1") {
                    return Some(Route::Missing);
                }
                let bare = path.trim_end_matches('/');
                let whole = bare.trim_end_matches(|letter: char| letter.is_ascii_digit());
                let is_article = matches!(self.newsroom.page(whole), Some(Page::Article(_)));
                (whole.len() < bare.len() && is_article).then(|| Route::Moved(whole.to_owned()))
            }
            // Without its own aliases a component's page is asked for by parameters, and given there as well.
            Dialect::Joomla => {
                let is_article = path == "/index.php" && value("view") == Some("article");
                let id = article(value("id").filter(|_| is_article)?)?;
                Some(Route::Page(Page::Article(id)))
            }
            // An alias is a second address, not the only one.
            Dialect::Drupal => {
                let id = article(path.strip_prefix("/node/")?)?;
                Some(Route::Page(Page::Article(id)))
            }
        }
    }

    fn staff_route(&self, path: &str, query: &str, post: bool) -> Option<Route> {
        let login = if post { Route::Login } else { Route::LoginForm };
        // By the number of the article; one that is none is no article's.
        let edit = |id: &str| {
            if post {
                Route::Publish(id.parse().unwrap_or(usize::MAX))
            } else {
                Route::Admin
            }
        };
        match self.dialect {
            Dialect::Generic | Dialect::WordPress => match path {
                "/wp-login.php" => Some(login),
                "/wp-admin/async-upload.php" if post => Some(Route::Media),
                // Its body names the article.
                "/wp-admin/post.php" if post => Some(Route::Publish(usize::MAX)),
                "/wp-comments-post.php" if post => Some(Route::Comment),
                _ if path.starts_with("/wp-admin/") => Some(Route::Admin),
                _ => None,
            },
            Dialect::Joomla => match path {
                "/administrator/index.php" if post && query.contains("option=com_media") => {
                    Some(Route::Media)
                }
                "/administrator/index.php" | "/administrator/"
                    if query.contains("option=com_content") =>
                {
                    let id = query.split('&').find_map(|pair| pair.strip_prefix("id="))?;
                    Some(edit(id))
                }
                "/administrator/index.php" | "/administrator/" => Some(login),
                _ => None,
            },
            Dialect::Drupal => match path {
                "/user/login" => Some(login),
                "/media/add/image" if post => Some(Route::Media),
                "/user/1" => Some(Route::Admin),
                _ => {
                    let id = path.strip_prefix("/node/")?.strip_suffix("/edit")?;
                    Some(edit(id))
                }
            },
        }
    }

    /// The worker's part, after its time has passed. `now` in seconds since 1970.
    pub(super) fn answer(
        &mut self,
        route: &Route,
        request: &Request,
        body: &[u8],
        now: u64,
    ) -> Answer {
        let staff = self.is_staff(&request.cookie);
        let answer = match route {
            Route::Page(page @ (Page::Asset(_) | Page::Robots)) => return self.asset(page, request, now),
            Route::Page(page) => self.page(page, request, staff, now),
            Route::Moved(path) => {
                let answer = Answer::new(301).with("Location", format!("http://{}{path}", self.newsroom.host()));
                match self.dialect {
                    Dialect::Generic | Dialect::WordPress => answer.with("X-Redirect-By", "WordPress"),
                    Dialect::Joomla | Dialect::Drupal => answer,
                }
                .body(HTML, "")
            }
            Route::LoginForm => self.login_form(200, ""),
            Route::Login => self.login(request, body),
            Route::Publish(id) => self.publish(*id, staff, body),
            Route::Comment => self.comment(body),
            Route::Admin if staff => {
                self.never_stored(Answer::new(200).body(HTML, format!("<!DOCTYPE html>\n<html>{STAFF_MARKER}<body><h1>Dashboard</h1></body>\n<!--end--></html>\n")))
            }
            Route::Admin => self.to_login(),
            Route::Account => return self.account(request),
            Route::Missing => self.missing(request, staff, now),
            Route::NotAllowed => Answer::new(405).with("Allow", "GET, HEAD, POST").body("text/plain", "405\n"),
            Route::Media if !staff => self.to_login(),
            Route::Upload | Route::Media | Route::Events | Route::WebSocket => Answer::new(200),
        };
        self.speak(answer, request, now)
    }

    /// What a dialect adds to every answer its PHP gives.
    fn speak(&mut self, answer: Answer, request: &Request, now: u64) -> Answer {
        let wants_session = || !request.cookie.contains(&self.hash);
        match self.dialect {
            Dialect::Generic => answer.with("Server", "nginx"),
            Dialect::WordPress => answer
                .with("Server", "Apache/2.4.66 (Debian)")
                .with("X-Powered-By", "PHP/8.4.16")
                .with("Vary", "Accept-Encoding"),
            Dialect::Joomla => {
                let answer = answer
                    .with("Server", "Apache/2.4.66 (Debian)")
                    .with("Expires", JOOMLA_LONG_AGO)
                    .with("Last-Modified", http_date(now))
                    .with("Cache-Control", JOOMLA_NO_STORE)
                    .with("Pragma", "no-cache");
                // A login has set one already.
                if answer.fields.iter().any(|(name, _)| *name == "Set-Cookie") || !wants_session() {
                    return answer;
                }
                let session = self.token();
                answer.with(
                    "Set-Cookie",
                    format!("{}={session}; path=/; HttpOnly", self.hash),
                )
            }
            Dialect::Drupal => {
                let answer = answer
                    .with("Server", "Apache/2.4.66 (Debian)")
                    .with("X-Content-Type-Options", "nosniff")
                    .with("X-Frame-Options", "SAMEORIGIN")
                    .with("X-Generator", "Drupal 11 (https://www.drupal.org)");
                match answer
                    .fields
                    .iter()
                    .any(|(name, _)| *name == "Cache-Control")
                {
                    true => answer,
                    false => answer
                        .with("Cache-Control", DRUPAL_NO_CACHE)
                        .with("Expires", DRUPAL_LONG_AGO)
                        .with("X-Drupal-Dynamic-Cache", "UNCACHEABLE"),
                }
            }
        }
    }

    fn page(&mut self, page: &Page, request: &Request, staff: bool, now: u64) -> Answer {
        let revision = match page {
            Page::Article(id) => self.revisions[*id],
            _ => self.revisions.iter().sum(),
        };
        let rendered = self.newsroom.render(page, revision);
        let mut body = rendered.body;
        if staff {
            if let Some(at) = body.rfind("</body>") {
                body.insert_str(at, &format!("<div id=\"bar\">{STAFF_MARKER}</div>\n"));
            }
            return self.never_stored(Answer::new(200).body(rendered.media_type, body));
        }
        if let Some(reader) = self.reader_of(page, &request.cookie) {
            if let Some(at) = body.rfind("</body>") {
                body.insert_str(at, &format!("{PERSONAL_MARKER}{reader}-->\n"));
            }
            return self.personal(Answer::new(200).body(rendered.media_type, body));
        }
        let feed = matches!(page, Page::Feed(_) | Page::Sitemap);
        let search = matches!(page, Page::Search { .. });
        let stamp = Stamp {
            etag: self.etag(page, revision),
            modified: self.modified(page, revision),
        };
        let answer = Answer::new(200);
        let answer = match self.dialect {
            Dialect::Generic if search => answer.with("Cache-Control", "no-store"),
            Dialect::Generic => {
                let max_age = self.max_age_s.unwrap_or(GENERIC_MAX_AGE_S);
                stamp.conditional(
                    answer.with("Cache-Control", format!("public, max-age={max_age}")),
                    request,
                )
            }
            Dialect::WordPress => {
                let api = format!(
                    "<http://{}/wp-json/>; rel=\"https://api.w.org/\"",
                    self.newsroom.host()
                );
                let answer = answer.with("Link", api);
                match page {
                    Page::Article(id) => {
                        let host = self.newsroom.host();
                        answer
                            .with("X-Pingback", format!("http://{host}/xmlrpc.php"))
                            .with("Link", format!("<http://{host}/wp-json/wp/v2/posts/{id}>; rel=\"alternate\"; title=\"JSON\"; type=\"application/json\""))
                            .with("Link", format!("<http://{host}/?p={id}>; rel=shortlink"))
                    }
                    _ if feed => stamp.conditional(answer, request),
                    _ => answer,
                }
            }
            Dialect::Joomla => answer,
            Dialect::Drupal => {
                let answer = answer.with("Content-language", "kk").with("Vary", "Cookie");
                match self.max_age_s {
                    Some(max_age) if !search => stamp.conditional(
                        answer
                            .with("Cache-Control", format!("max-age={max_age}, public"))
                            .with("Expires", DRUPAL_LONG_AGO)
                            .with("X-Drupal-Cache", "MISS"),
                        request,
                    ),
                    _ => answer
                        .with("Cache-Control", DRUPAL_NO_CACHE)
                        .with("Expires", DRUPAL_LONG_AGO)
                        .with("Last-Modified", http_date(now))
                        .with("X-Drupal-Dynamic-Cache", "MISS"),
                }
            }
        };
        match answer.status {
            304 => answer,
            _ => answer.body(rendered.media_type, body),
        }
    }

    /// Whose page this is, when it is somebody's: WordPress fills its comment form with the name of who has commented, the others
    /// greet on every page.
    fn reader_of(&self, page: &Page, cookies: &str) -> Option<String> {
        let is_greeted = match (self.dialect, page) {
            (_, Page::Feed(_) | Page::Sitemap | Page::Robots | Page::Asset(_)) => false,
            (Dialect::WordPress, page) => matches!(page, Page::Article(_)),
            _ => true,
        };
        let value = cookie(cookies, &self.dialect.reader_cookie_name(&self.hash))?;
        let reader = value.get(..16)?;
        let is_one = match self.dialect {
            // Everybody has a session, and most are nobody's; those of a reader name the reader twice.
            Dialect::Joomla => value.get(16..) == Some(reader),
            _ => true,
        };
        let is_named = is_one && reader.bytes().all(|byte| byte.is_ascii_hexdigit());
        (is_greeted && is_named).then(|| reader.to_owned())
    }

    /// WordPress says nothing at all about a page with a commenter's name in it; the trap is its own.
    fn personal(&self, answer: Answer) -> Answer {
        match self.dialect {
            Dialect::Generic => answer.with("Cache-Control", "private"),
            Dialect::WordPress | Dialect::Joomla => answer,
            Dialect::Drupal => answer.with("Vary", "Cookie"),
        }
    }

    fn asset(&self, page: &Page, request: &Request, _now: u64) -> Answer {
        let stamp = Stamp {
            etag: self.etag(page, 0),
            modified: self.modified(page, 0),
        };
        let answer = match self.dialect {
            Dialect::Generic => Answer::new(200).with("Cache-Control", "public, max-age=3600"),
            Dialect::WordPress | Dialect::Joomla => Answer::new(200),
            Dialect::Drupal => Answer::new(200).with("Cache-Control", "max-age=1209600"),
        };
        let answer = stamp.conditional(answer, request);
        match answer.status {
            304 => answer,
            _ => {
                let rendered = self.newsroom.render(page, 0);
                answer.body(rendered.media_type, rendered.body)
            }
        }
    }

    fn missing(&self, request: &Request, staff: bool, _now: u64) -> Answer {
        let rendered = self.newsroom.render_missing(&request.target);
        let answer = Answer::new(404).body(rendered.media_type, rendered.body);
        match self.dialect {
            Dialect::WordPress => self.never_stored(answer),
            _ if staff => self.never_stored(answer),
            Dialect::Drupal => answer.with("Vary", "Cookie"),
            Dialect::Generic | Dialect::Joomla => answer,
        }
    }

    fn login_form(&self, status: u16, complaint: &str) -> Answer {
        let answer = Answer::new(status).body(
            HTML,
            format!(
                "<!DOCTYPE html>\n<html><!--saqta-lab:login-->\n<head><title>{}</title></head>\n<body><p>{complaint}</p>\
                 <form method=\"post\" action=\"{}\"><input name=\"user\"><input name=\"password\" type=\"password\">\
                 <button>Log in</button></form></body>\n<!--end--></html>\n",
                self.newsroom.name(),
                self.dialect.login_path()
            ),
        );
        let answer = match self.dialect {
            Dialect::Generic | Dialect::WordPress => answer
                .with(
                    "Set-Cookie",
                    "wordpress_test_cookie=WP%20Cookie%20check; path=/; HttpOnly",
                )
                .with("X-Frame-Options", "SAMEORIGIN")
                .with("Referrer-Policy", "strict-origin-when-cross-origin"),
            Dialect::Joomla | Dialect::Drupal => answer,
        };
        self.never_stored(answer)
    }

    fn login(&mut self, request: &Request, body: &[u8]) -> Answer {
        let (user, password) = match self.dialect {
            Dialect::Generic | Dialect::WordPress => ("log", "pwd"),
            Dialect::Joomla => ("username", "passwd"),
            Dialect::Drupal => ("name", "pass"),
        };
        let user = field(body, user).filter(|user| !user.is_empty() && user.len() <= 64);
        let (Some(user), true) = (
            user,
            field(body, password).is_some_and(|password| password == PASSWORD),
        ) else {
            self.deeds.logins_refused += 1;
            return match self.dialect {
                // Joomla goes back to its form and says it there.
                Dialect::Joomla => Answer::new(303)
                    .with("Location", self.dialect.login_path())
                    .body(HTML, ""),
                Dialect::Generic | Dialect::WordPress | Dialect::Drupal => {
                    self.login_form(200, "Unknown name or wrong password.")
                }
            };
        };
        self.deeds.logins += 1;
        let token = self.token();
        if self.sessions.len() == SESSIONS_MAX {
            self.sessions.pop_front();
        }
        self.sessions.push_back(token.clone());
        let (hash, host) = (&self.hash, self.newsroom.host());
        let user: String = user.chars().filter(char::is_ascii_alphanumeric).collect();
        match self.dialect {
            Dialect::Generic | Dialect::WordPress => {
                let mac = format!("{:016x}", digest(3, &[token.as_bytes()]));
                let value = format!("{user}%7C1893456000%7C{token}%7C{mac}{mac}{mac}{mac}");
                self.never_stored(
                    Answer::new(302)
                        .with(
                            "Set-Cookie",
                            "wordpress_test_cookie=WP%20Cookie%20check; path=/; HttpOnly",
                        )
                        .with(
                            "Set-Cookie",
                            format!("wordpress_{hash}={value}; path=/wp-content/plugins; HttpOnly"),
                        )
                        .with(
                            "Set-Cookie",
                            format!("wordpress_{hash}={value}; path=/wp-admin; HttpOnly"),
                        )
                        .with(
                            "Set-Cookie",
                            format!("wordpress_logged_in_{hash}={value}; path=/; HttpOnly"),
                        )
                        .with("X-Redirect-By", "WordPress")
                        .with("Location", format!("http://{host}/wp-admin/"))
                        .body(HTML, ""),
                )
            }
            // Joomla forgets sessions it did not issue; the login replaces what there was.
            Dialect::Joomla => Answer::new(303)
                .with("Set-Cookie", format!("{hash}={token}; path=/; HttpOnly"))
                .with("Location", request.target.clone())
                .body(HTML, ""),
            Dialect::Drupal => Answer::new(303)
                .with(
                    "Set-Cookie",
                    format!("SESS{hash}={token}; Max-Age=2000000; path=/; HttpOnly; SameSite=Lax"),
                )
                .with(
                    "Location",
                    format!("http://{host}/user/1?check_logged_in=1"),
                )
                .body(HTML, ""),
        }
    }

    fn publish(&mut self, id: usize, staff: bool, body: &[u8]) -> Answer {
        if !staff {
            return self.to_login();
        }
        let id = field(body, "post_ID")
            .and_then(|id| id.parse().ok())
            .unwrap_or(id);
        let Some(revision) = self.revisions.get_mut(id) else {
            return self.never_stored(
                Answer::new(404).body(HTML, format!("{STAFF_MARKER}No such article.\n")),
            );
        };
        *revision = revision.saturating_add(1);
        self.deeds.publishes += 1;
        let host = self.newsroom.host();
        let answer = match self.dialect {
            Dialect::Generic | Dialect::WordPress => {
                Answer::new(302).with("X-Redirect-By", "WordPress").with(
                    "Location",
                    format!("http://{host}/wp-admin/post.php?post={id}&action=edit&message=6"),
                )
            }
            Dialect::Joomla => Answer::new(303).with(
                "Location",
                format!(
                    "/administrator/index.php?option=com_content&view=article&layout=edit&id={id}"
                ),
            ),
            Dialect::Drupal => Answer::new(303).with(
                "Location",
                format!("http://{host}{}", self.newsroom.articles()[id].path),
            ),
        };
        self.never_stored(answer.body(HTML, ""))
    }

    /// Waits for a moderator, as with WordPress's defaults; whoever agreed is known by three cookies from now on.
    fn comment(&mut self, body: &[u8]) -> Answer {
        let article = field(body, "comment_post_ID")
            .and_then(|id| self.newsroom.articles().get(id.parse::<usize>().ok()?));
        let Some(article) = article else {
            return self.never_stored(Answer::new(404).body(HTML, ""));
        };
        let location = format!(
            "http://{}{}?unapproved=1#comment-1",
            self.newsroom.host(),
            article.path
        );
        let mut answer = Answer::new(302).with("Location", location);
        if field(body, "wp-comment-cookies-consent").is_some() {
            for (name, value) in [
                ("comment_author", format!("{:016x}", self.chance.draw())),
                ("comment_author_email", "reader%40example.org".to_owned()),
                ("comment_author_url", String::new()),
            ] {
                answer = answer.with(
                    "Set-Cookie",
                    format!("{name}_{}={value}; Max-Age=30000000; path=/", self.hash),
                );
            }
        }
        self.never_stored(answer.body(HTML, ""))
    }

    fn to_login(&self) -> Answer {
        let answer = match self.dialect {
            Dialect::Generic | Dialect::WordPress => {
                Answer::new(302).with("X-Redirect-By", "WordPress").with(
                    "Location",
                    format!("http://{}/wp-login.php?reauth=1", self.newsroom.host()),
                )
            }
            Dialect::Joomla => Answer::new(303).with("Location", "/administrator/index.php"),
            Dialect::Drupal => {
                return Answer::new(403)
                    .with("Vary", "Cookie")
                    .body(HTML, "Access denied\n");
            }
        };
        self.never_stored(answer.body(HTML, ""))
    }

    fn account(&mut self, request: &Request) -> Answer {
        let known = cookie(&request.cookie, "visitor")
            .filter(|id| id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit()));
        let (visitor, new) = match known {
            Some(visitor) => (visitor.to_owned(), false),
            None => (format!("{:016x}", self.chance.draw()), true),
        };
        let answer = Answer::new(200).with("Cache-Control", "private").body(
            HTML,
            format!(
                "<!DOCTYPE html>\n<html>{PERSONAL_MARKER}{visitor}-->\n<body><h1>Your subscriptions</h1></body>\n<!--end--></html>\n"
            ),
        );
        if new {
            answer.with("Set-Cookie", format!("visitor={visitor}; Path=/; HttpOnly"))
        } else {
            answer
        }
    }

    fn never_stored(&self, answer: Answer) -> Answer {
        match self.dialect {
            Dialect::Generic => answer.with("Cache-Control", WORDPRESS_NO_STORE),
            Dialect::WordPress => answer
                .with("Cache-Control", WORDPRESS_NO_STORE)
                .with("Expires", WORDPRESS_LONG_AGO),
            // Both say it anyway.
            Dialect::Joomla => answer,
            Dialect::Drupal => answer.with("Vary", "Cookie"),
        }
    }

    fn is_staff(&self, cookies: &str) -> bool {
        let session = match self.dialect {
            Dialect::Generic | Dialect::WordPress => {
                cookie(cookies, &format!("wordpress_logged_in_{}", self.hash))
                    .and_then(|value| value.split("%7C").nth(2))
            }
            Dialect::Joomla => cookie(cookies, &self.hash),
            Dialect::Drupal => cookie(cookies, &format!("SESS{}", self.hash)),
        };
        session.is_some_and(|session| self.sessions.iter().any(|known| known == session))
    }

    fn token(&mut self) -> String {
        format!("{:016x}{:016x}", self.chance.draw(), self.chance.draw())
    }

    fn etag(&self, page: &Page, revision: u32) -> String {
        let body = format!("{page:?}");
        format!(
            "\"{:012x}-{revision}\"",
            digest(
                u64::from(revision),
                &[self.hash.as_bytes(), body.as_bytes()]
            ) >> 16
        )
    }

    /// Publishing moves the clock of a page by a second each time: enough to tell, and the same in every run.
    fn modified(&self, page: &Page, revision: u32) -> u64 {
        let articles = self.newsroom.articles();
        let published = match page {
            Page::Article(id) => articles[*id].published,
            _ => articles
                .iter()
                .map(|article| article.published)
                .max()
                .unwrap_or_default(),
        };
        published + u64::from(revision)
    }
}

struct Stamp {
    etag: String,
    modified: u64,
}

impl Stamp {
    /// RFC 9110 §13.2.2: `If-None-Match` first, `If-Modified-Since` only without it.
    fn conditional(self, mut answer: Answer, request: &Request) -> Answer {
        let unchanged = match (&request.if_none_match, &request.if_modified_since) {
            (Some(tags), _) => tags
                .split(',')
                .map(|tag| tag.trim().trim_start_matches("W/"))
                .any(|tag| tag == "*" || tag == self.etag),
            (None, Some(since)) => httpdate::parse_http_date(since)
                .is_ok_and(|since| since >= UNIX_EPOCH + Duration::from_secs(self.modified)),
            (None, None) => false,
        };
        if unchanged {
            answer.status = 304;
        }
        answer
            .with("Last-Modified", http_date(self.modified))
            .with("ETag", self.etag)
    }
}

pub(super) fn http_date(unix: u64) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(unix))
}

fn cookie<'a>(cookies: &'a str, name: &str) -> Option<&'a str> {
    cookies
        .split(';')
        .find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

fn field(form: &[u8], name: &str) -> Option<String> {
    let form = std::str::from_utf8(form).ok()?;
    form.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (decode_query(key) == name).then(|| decode_query(value))
    })
}

#[cfg(test)]
mod tests;
