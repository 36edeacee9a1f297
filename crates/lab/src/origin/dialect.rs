//! How content systems speak: the fields they send, where staff log in and how an article is published.
//!
//! Shields are usually tested against origins that say `Cache-Control: public`. The systems newsrooms run do not: WordPress
//! says nothing on its pages, Joomla forbids storing and gives everybody a session cookie, Drupal varies on `Cookie`. What
//! each sends here is what its current version sends out of the box; load and origin both take the staff's paths from here.

use serde::{Deserialize, Serialize};

use crate::chance::digest;
use crate::newsroom::encode_query;

/// Every member of staff has it; anything else is refused.
pub const PASSWORD: &str = "correct horse";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// A system that helps its caches: lifetimes, validators, 304. Staff paths as in WordPress.
    #[default]
    Generic,
    WordPress,
    Joomla,
    Drupal,
}

/// What to POST as `application/x-www-form-urlencoded`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    pub target: String,
    pub body: String,
}

/// Out of the box, WordPress 6 and PHP say this to whoever is logged in, and WordPress to whoever asks for nothing it has.
pub(super) const WORDPRESS_NO_STORE: &str =
    "no-cache, must-revalidate, max-age=0, no-store, private";
pub(super) const WORDPRESS_LONG_AGO: &str = "Wed, 11 Jan 1984 05:00:00 GMT";
pub(super) const JOOMLA_NO_STORE: &str = "no-store, no-cache, must-revalidate";
pub(super) const JOOMLA_LONG_AGO: &str = "Wed, 17 Aug 2005 00:00:00 GMT";
pub(super) const DRUPAL_NO_CACHE: &str = "must-revalidate, no-cache, private";
pub(super) const DRUPAL_LONG_AGO: &str = "Sun, 19 Nov 1978 05:00:00 GMT";

impl Dialect {
    pub const ALL: [Self; 4] = [Self::Generic, Self::WordPress, Self::Joomla, Self::Drupal];

    pub fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::WordPress => "wordpress",
            Self::Joomla => "joomla",
            Self::Drupal => "drupal",
        }
    }

    /// GET it for the form, with the cookies it sets; POST [`Dialect::login_form`] to it.
    pub fn login_path(self) -> &'static str {
        match self {
            Self::Generic | Self::WordPress => "/wp-login.php",
            Self::Joomla => "/administrator/index.php",
            Self::Drupal => "/user/login",
        }
    }

    pub fn login_form(self, user: &str, password: &str) -> Form {
        let fields: &[(&str, &str)] = match self {
            Self::Generic | Self::WordPress => &[
                ("log", user),
                ("pwd", password),
                ("wp-submit", "Log In"),
                ("testcookie", "1"),
            ],
            Self::Joomla => &[
                ("username", user),
                ("passwd", password),
                ("option", "com_login"),
                ("task", "login"),
            ],
            Self::Drupal => &[
                ("name", user),
                ("pass", password),
                ("form_id", "user_login_form"),
                ("op", "Log in"),
            ],
        };
        Form {
            target: self.login_path().to_owned(),
            body: urlencoded(fields),
        }
    }

    /// Saves [`Article::id`](crate::newsroom::Article::id) anew. Only with a session.
    pub fn publish_form(self, article: usize) -> Form {
        let id = article.to_string();
        let (target, fields): (String, &[(&str, &str)]) = match self {
            Self::Generic | Self::WordPress => (
                "/wp-admin/post.php".to_owned(),
                &[
                    ("action", "editpost"),
                    ("post_ID", &id),
                    ("post_status", "publish"),
                    ("_wpnonce", "0123456789"),
                ],
            ),
            Self::Joomla => (
                format!("/administrator/index.php?option=com_content&layout=edit&id={id}"),
                &[
                    ("task", "article.apply"),
                    ("jform[id]", &id),
                    ("jform[state]", "1"),
                ],
            ),
            Self::Drupal => (
                format!("/node/{id}/edit"),
                &[
                    ("form_id", "node_article_edit_form"),
                    ("status[value]", "1"),
                    ("op", "Save"),
                ],
            ),
        };
        Form {
            target,
            body: urlencoded(fields),
        }
    }

    /// Where staff POST a file for an article, as `multipart/form-data`. Only with a session.
    pub fn media_path(self) -> &'static str {
        match self {
            Self::Generic | Self::WordPress => "/wp-admin/async-upload.php",
            Self::Joomla => "/administrator/index.php?option=com_media&task=file.upload",
            Self::Drupal => "/media/add/image",
        }
    }

    /// The cookie by which the site at `host` knows a reader, and for which its pages carry what is that reader's alone: an account of
    /// a generic site, whoever has commented on WordPress, a session of Joomla's or Drupal's. Never a session of staff's.
    pub fn reader_cookie(self, host: &str, reader: u64) -> String {
        let hash = installation(host);
        match self {
            Self::Generic => format!("visitor={reader:016x}"),
            Self::WordPress => format!("comment_author_{hash}={reader:016x}"),
            Self::Joomla => format!("{hash}={reader:016x}{reader:016x}"),
            Self::Drupal => format!("SESS{hash}={reader:016x}"),
        }
    }

    /// The name of [`Dialect::reader_cookie`].
    pub(super) fn reader_cookie_name(self, hash: &str) -> String {
        match self {
            Self::Generic => "visitor".to_owned(),
            Self::WordPress => format!("comment_author_{hash}"),
            Self::Joomla => hash.to_owned(),
            Self::Drupal => format!("SESS{hash}"),
        }
    }

    /// Whether this answer to [`Dialect::login_form`] let them in.
    pub fn logged_in(self, status: u16, set_cookies: &[&str]) -> bool {
        let session = |line: &&str| match self {
            Self::Generic | Self::WordPress => line.starts_with("wordpress_logged_in_"),
            Self::Joomla => line.split('=').next().is_some_and(|name| name.len() == 32),
            Self::Drupal => line.starts_with("SESS") || line.starts_with("SSESS"),
        };
        matches!(status, 302 | 303) && set_cookies.iter().any(session)
    }

    /// Whether this answer to [`Dialect::publish_form`] means the article is out; else they were sent to log in, or worse.
    pub fn published(self, status: u16, location: Option<&str>) -> bool {
        let Some(location) = location else {
            return false;
        };
        match self {
            Self::Generic | Self::WordPress => status == 302 && location.contains("message="),
            Self::Joomla => status == 303 && location.contains("layout=edit"),
            Self::Drupal => status == 303 && !location.contains("/user/login"),
        }
    }
}

/// 32 hexadecimal digits that name an installation in its cookies.
pub(super) fn installation(host: &str) -> String {
    let host = host.as_bytes();
    format!("{:016x}{:016x}", digest(1, &[host]), digest(2, &[host]))
}

impl std::fmt::Display for Dialect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}: generic, wordpress, joomla or drupal")]
pub struct UnknownDialect(String);

impl std::str::FromStr for Dialect {
    type Err = UnknownDialect;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|dialect| dialect.name() == name)
            .ok_or_else(|| UnknownDialect(name.to_owned()))
    }
}

/// What a browser would send back: the pairs of these `Set-Cookie` values, over those it already has.
pub fn cookies_after(cookies: &str, set_cookies: &[&str]) -> String {
    let mut jar: Vec<&str> = cookies
        .split(';')
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
        .collect();
    for pair in set_cookies
        .iter()
        .filter_map(|line| line.split(';').next())
        .map(str::trim)
    {
        let name = |pair: &str| pair.split('=').next().map(str::to_owned);
        jar.retain(|known| name(known) != name(pair));
        jar.push(pair);
    }
    jar.join("; ")
}

fn urlencoded(fields: &[(&str, &str)]) -> String {
    let mut body = String::new();
    for (name, value) in fields {
        if !body.is_empty() {
            body.push('&');
        }
        encode_query(name, &mut body);
        body.push('=');
        encode_query(value, &mut body);
    }
    body
}
