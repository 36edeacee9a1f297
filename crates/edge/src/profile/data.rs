//! What is known of content systems and of what browsers carry about: lists, nothing else.
//!
//! Sessions of staff and their paths are not here but in [`crate::staff::PROFILES`], which this module's readers ask first: one list
//! of login cookies. A name that ends in `*` stands for every name that begins so.

use super::names::{Names, names};
use super::{CookieKind, Habit, Lifetimes, System};

pub(super) struct Entry {
    pub(super) text: &'static [u8],
    pub(super) is_prefix: bool,
    pub(super) kind: CookieKind,
}

const fn entry(pattern: &'static str, kind: CookieKind) -> Entry {
    match pattern.as_bytes().split_last() {
        Some((b'*', text)) => Entry {
            text,
            is_prefix: true,
            kind,
        },
        _ => Entry {
            text: pattern.as_bytes(),
            is_prefix: false,
            kind,
        },
    }
}

macro_rules! entries {
    ($($kind:ident: $($pattern:literal)*;)*) => {
        &[$($(entry($pattern, CookieKind::$kind),)*)*]
    };
}

/// Every name and what it means, whatever the system: plugins and analytics are the same everywhere.
pub(super) const COOKIES: &[Entry] = entries! {
    // Who somebody is, has bought or may read.
    Session:
        "wordpress_sec_*" "wp-postpass_*" "comment_author_*" "wp_woocommerce_session_*" "woocommerce_items_in_cart"
        "woocommerce_cart_hash" "edd_*" "SESS*" "SSESS*" "joomla_user_state" "joomla_remember_me_*" "NO_CACHE" "PHPSESSID"
        "JSESSIONID" "ASP.NET_SessionId" "connect.sid" "laravel_session" "sessionid" "session_id" "remember_token" "remember_web_*"
        "SimpleSAML*" "mod_auth_openidc_session" "pmpro_*" "issuem_lp*" "leaky_paywall*" "memberful_session" "tinypass*" "__utp"
        "__tac" "__tae" "paywall*" "metered_*" "MPSession*" "auth_token" "access_token" "jwt";
    // Which page of several: small sets of values, readable by whoever chose them.
    Keyed:
        "pll_language" "wp-wpml_current_language" "qtrans_front_language" "trp_language" "lang" "language" "locale" "site_lang"
        "googtrans";
    // Counted, advertised to, or asked for consent; read by scripts in the browser and by no page.
    Ignored:
        "_ga*" "_gid" "_gcl_*" "_dc_gtm_*" "__utm*" "__gads" "__gpi*" "__eoi" "__qca" "_ym_*" "yandexuid" "yabs*" "yuidss" "ymex"
        "_yasc" "_fbp" "_fbc" "_pk_*" "_hj*" "_clck" "_clsk" "_uet*" "_tt_*" "_ttp" "_scid*" "_sctr" "_pin_unauth" "_derived_epik"
        "tmr_*" "domain_sid" "top100_id" "t2_sid_*" "t3_sid_*" "adtech_uid" "_sp_id*" "_sp_ses*" "_cb*" "_chartbeat*" "_parsely*"
        "_scor_uid" "_vwo*" "_vis_opt*" "_gaexp*" "AMP_*" "ajs_*" "mp_*" "sbjs_*" "tk_*" "pys_*" "_cfuvid" "__cf_bm" "cf_clearance"
        "__stripe_mid" "__stripe_sid" "onesignal*" "_zero_*" "cookie_consent*" "cookieconsent_status" "cookie_notice_accepted"
        "cookielawinfo*" "CookieLawInfoConsent" "cookieyes-consent" "viewed_cookie_policy" "CookieConsent" "cmplz_*"
        "moove_gdpr_popup" "OptanonConsent" "OptanonAlertBoxClosed" "euconsent*" "eupubconsent*" "didomi_token" "borlabs-cookie"
        "consent*" "gdpr*" "usprivacy" "addtl_consent" "FCCDCF" "FCNEC" "FCOEC" "cookie-agreed*" "has_js" "wordpress_test_cookie" "wp-settings-*"
        "MUID" "CLID" "last_visit" "adrdel" "adrcid" "amplitude_*";
};

/// [`COOKIES`] by [`lead`]: where each one's begin and end in `order`, so that a name is compared with a handful.
struct Index {
    spans: [(u8, u8); LEADS],
    order: [u8; COOKIES.len()],
}

static INDEX: Index = {
    let mut index = Index {
        spans: [(0, 0); LEADS],
        order: [0; COOKIES.len()],
    };
    let (mut of, mut filled) = (0, 0);
    while of < LEADS {
        let from = filled;
        let mut at = 0;
        while at < COOKIES.len() {
            if lead(COOKIES[at].text) == of {
                index.order[filled] = at as u8;
                filled += 1;
            }
            at += 1;
        }
        index.spans[of] = (from as u8, filled as u8);
        of += 1;
    }
    index
};

const LEADS: usize = 256;

/// Half of all cookies begin with an underscore, so behind one the second letter tells.
const fn lead(name: &[u8]) -> usize {
    match name {
        [b'_', second, ..] => 128 + (*second & 127) as usize,
        [first, ..] => (*first & 127) as usize,
        [] => 0,
    }
}

pub(super) fn cookie(name: &[u8]) -> CookieKind {
    let (from, to) = INDEX.spans[lead(name)];
    INDEX.order[usize::from(from)..usize::from(to)]
        .iter()
        .map(|at| &COOKIES[usize::from(*at)])
        .find(|entry| {
            if entry.is_prefix {
                name.starts_with(entry.text)
            } else {
                name == entry.text
            }
        })
        .map_or(CookieKind::Unknown, |entry| entry.kind)
}

/// Where a reader came from; never what the page is.
pub(super) static TRACKING_PARAMETERS: Names = names![
    "utm_*",
    "fbclid",
    "gclid",
    "gclsrc",
    "dclid",
    "gbraid",
    "wbraid",
    "gad_source",
    "gad_campaignid",
    "srsltid",
    "yclid",
    "ysclid",
    "yadclid",
    "yadordid",
    "_openstat",
    "openstat_*",
    "msclkid",
    "twclid",
    "ttclid",
    "li_fat_id",
    "mc_cid",
    "mc_eid",
    "igsh",
    "igshid",
    "_ga",
    "_gl",
    "vero_id",
    "mkt_tok",
    "oly_anon_id",
    "oly_enc_id",
    "rb_clickid",
    "_hsenc",
    "_hsmi",
    "hsCtaTracking",
    "fb_action_ids",
    "fb_action_types",
    "fb_source",
    "__twitter_impression",
    "erid",
    // The edge's own, on its page of results.
    "saqta-*",
];

/// What the page is, so that no copy under another value ever stands in.
pub(super) static CONTENT_PARAMETERS: Names = names![
    "p",
    "page_id",
    "page",
    "paged",
    "cpage",
    "cat",
    "tag",
    "s",
    "q",
    "id",
    "lang",
    "m",
    "author",
    "attachment_id",
    "post_type",
    "feed",
    "option",
    "view",
    "layout",
    "Itemid",
    "catid",
    "start",
    "limitstart",
    "format",
    "node",
    "keys",
    "search",
    "searchword",
    "query",
    "rest_route",
    "sitemap",
];

/// One person's, or good once: a link out of a letter, the way back from a sign-in, an unpublished article.
pub(super) static PRIVATE_PARAMETERS: Names = names![
    "preview",
    "preview_id",
    "preview_nonce",
    "_wpnonce",
    "customize_changeset_uuid",
    "token",
    "confirm*",
    "code",
    "state",
    "key",
    "nonce",
    "pass",
    "password",
    "sig",
    "signature",
    "hash",
    "access_token",
    "id_token",
    "oauth_*",
    "openid.*",
    "SAMLResponse",
    "session*",
    "sid",
    "PHPSESSID",
    "JSESSIONID",
    "activation*",
    "activate",
    "unsubscribe*",
    "unsub*",
    "invite*",
    "add-to-cart",
    "wc-ajax",
    "order_key",
    "order_id",
    "task",
    "check_logged_in",
    "destination",
];

/// What a search asks for, by the name of its parameter.
pub(super) const SEARCH_PARAMETERS: &[&str] =
    &["s", "q", "query", "search", "searchword", "keys", "text"];

/// A search's path, the parameter with its words, and what must be there besides; as [`crate::search::SearchForm`] has it.
type Form = (
    &'static str,
    &'static str,
    Option<(&'static str, &'static str)>,
);

/// Of every system: themes and plugins change it as they like.
pub(super) const SEARCHES: &[Form] = &[
    ("/*", "s", None),
    ("/", "q", None),
    ("/", "query", None),
    ("/", "search", None),
    ("/search*", "q", None),
    ("/search*", "query", None),
    ("/search*", "text", None),
    ("/poisk*", "q", None),
    ("/izdeu*", "q", None),
];

/// Of one system, before the others.
pub(super) const fn searches(system: System) -> &'static [Form] {
    match system {
        System::Generic | System::WordPress => &[],
        System::Drupal => &[
            ("/search*", "keys", None),
            ("/search*", "search_api_fulltext", None),
        ],
        System::Joomla => &[
            ("/index.php", "searchword", Some(("option", "com_search"))),
            ("/index.php", "q", Some(("option", "com_finder"))),
            ("/component/search*", "searchword", None),
            ("/component/finder*", "q", None),
            ("/search*", "searchword", None),
        ],
    }
}

/// First segments of paths, behind a language's where there is one.
pub(super) const SEARCH_SEGMENTS: &[&str] = &["search", "poisk", "izdeu", "finder"];
pub(super) const LOGIN_SEGMENTS: &[&str] = &[
    "login",
    "signin",
    "sign-in",
    "logout",
    "register",
    "registration",
    "account",
    "my-account",
    "user",
    "users",
    "profile",
    "lk",
    "cabinet",
    "password",
    "auth",
    "wp-login.php",
    "wp-signup.php",
    "wp-activate.php",
    "membership-account",
    "reset-password",
    "password-reset",
    "reset_password",
    "lost-password",
    "forgot-password",
    "signout",
    "sign-out",
    "log-out",
    "logoff",
];
pub(super) const COMMENT_SEGMENTS: &[&str] = &["wp-comments-post.php", "comment"];
pub(super) const PAYMENT_SEGMENTS: &[&str] = &[
    "checkout",
    "cart",
    "basket",
    "payment",
    "payments",
    "pay",
    "order",
    "orders",
    "subscribe",
    "subscription",
];
pub(super) const CALLBACK_SEGMENTS: &[&str] = &[
    "oauth",
    "oauth2",
    "confirm",
    "confirmation",
    "activate",
    "activation",
    "invite",
    "invitation",
    "unsubscribe",
    "magic-link",
    "callback",
    "webhook",
    "webhooks",
    "wc-api",
    "ipn",
    "saml",
    "xmlrpc.php",
];
/// What WordPress asks itself for, to do what is due; in a folder it may live in.
pub(super) const CRON: &[u8] = b"/wp-cron.php";
pub(super) const STAFF_SEGMENTS: &[&str] =
    &["wp-admin", "administrator", "admin", "batch", "jsonapi"];

/// What the generic profile adds to RFC 9111: nothing.
const BY_THE_RFC: Lifetimes = Lifetimes {
    front: None,
    page: None,
    search: None,
    feed: None,
    asset: None,
    missing: None,
};

/// A correction shows within a minute, a new story on the front page within half of one; a search is asked again by the reader
/// who typed it. Feeds are polled every few minutes. Files carry a version in their names. A path that is missing now may be
/// published next.
const NEWSROOM: Lifetimes = Lifetimes {
    front: Some(30),
    page: Some(60),
    search: Some(30),
    feed: Some(120),
    asset: Some(3_600),
    missing: Some(10),
};

pub(super) const fn lifetimes(system: System) -> &'static Lifetimes {
    match system {
        System::Generic => &BY_THE_RFC,
        System::WordPress | System::Drupal | System::Joomla => &NEWSROOM,
    }
}

/// As current versions send it out of the box, to the letter. Who has said something else has meant it.
pub(super) const fn habits(system: System) -> &'static [Habit] {
    match system {
        System::Generic => &[],
        // To whoever asks for a path it does not have.
        System::WordPress => &[Habit {
            only_missing: true,
            directives: &[
                "no-cache",
                "must-revalidate",
                "max-age=0",
                "no-store",
                "private",
            ],
            expires: "Wed, 11 Jan 1984 05:00:00 GMT",
            unless: None,
        }],
        // To everybody, with a session besides.
        System::Joomla => &[
            Habit {
                only_missing: false,
                directives: &["no-store", "no-cache", "must-revalidate"],
                expires: "Wed, 17 Aug 2005 00:00:00 GMT",
                unless: None,
            },
            Habit {
                only_missing: false,
                directives: &[
                    "no-store",
                    "no-cache",
                    "must-revalidate",
                    "post-check=0",
                    "pre-check=0",
                ],
                expires: "Wed, 17 Aug 2005 00:00:00 GMT",
                unless: None,
            },
        ],
        // To everybody while its own page cache has no lifetime set. A page that it knows to be one reader's says so.
        System::Drupal => &[Habit {
            only_missing: false,
            directives: &["must-revalidate", "no-cache", "private"],
            expires: "Sun, 19 Nov 1978 05:00:00 GMT",
            unless: Some(("x-drupal-dynamic-cache", "UNCACHEABLE")),
        }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_under_its_lead() {
        assert!(COOKIES.len() < usize::from(u8::MAX), "spans are bytes");
        for entry in COOKIES {
            let mut name = entry.text.to_vec();
            if entry.is_prefix {
                name.extend_from_slice(b"12ab");
            }
            assert_eq!(
                cookie(&name),
                entry.kind,
                "{}",
                String::from_utf8_lossy(&name)
            );
            name.insert(0, b'x');
            assert_eq!(cookie(&name), CookieKind::Unknown);
        }
    }
}
