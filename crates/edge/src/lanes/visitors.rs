//! Programs that call at newsrooms by name, and how each shows that it is the one it says.
//!
//! A name in `User-Agent` costs nothing. What does: that the address has a name in its owner's own zone, and that this name has the
//! address. Both zones are somebody's, and nobody has both but the owner. Where the facts are from: docs/lanes.md.
//!
//! Those without domains cannot be told from whoever takes their name (they come from rented machines, or say no more than a list of
//! addresses that changes by the day). They are here so that nobody asks a resolver about them: `TelegramBot (like TwitterBot)` is
//! Telegram. The operator can say where one comes from ([`crate::plan::LanePlan`]).

/// Of an agent nobody looks further: programs say who they are within the first words, browsers' agents have 120 bytes.
const AGENT_BYTES_MAX: usize = 512;

/// Index into [`VISITORS`].
pub(super) type VisitorId = usize;

#[derive(Debug)]
pub(super) struct Visitor {
    pub(super) name: &'static str,
    /// Any of these begins a word of its agent, in letters of either case.
    agents: &'static [&'static str],
    /// Its addresses have names below one of these. Empty: it cannot show who it is.
    domains: &'static [&'static str],
}

const fn visitor(
    name: &'static str,
    agents: &'static [&'static str],
    domains: &'static [&'static str],
) -> Visitor {
    Visitor {
        name,
        agents,
        domains,
    }
}

#[rustfmt::skip]
pub(super) const VISITORS: &[Visitor] = &[
    // Search engines. Of Google only the crawlers: what it fetches when a user tells it to has names in google.com.
    visitor(
        "Googlebot",
        &["Googlebot", "GoogleOther", "Google-InspectionTool", "Storebot-Google"],
        &["googlebot.com"],
    ),
    visitor("Bingbot", &["bingbot", "BingPreview"], &["search.msn.com"]),
    visitor(
        "Yandex",
        &["YandexBot", "YandexMobileBot", "YandexRenderResourcesBot", "YandexNews", "YandexImages", "YandexFavicons"],
        &["yandex.ru", "yandex.net", "yandex.com"],
    ),
    visitor("Applebot", &["Applebot"], &["applebot.apple.com"]),
    visitor("Mail.ru", &["Mail.RU_Bot"], &["go.mail.ru", "p.mail.ru"]),
    visitor("DuckDuckGo", &["DuckDuckBot"], &["duckduckgo.com"]),
    visitor("Internet Archive", &["archive.org_bot", "ia_archiver"], &["archive.org"]),
    // Link previews.
    visitor("Facebook", &["facebookexternalhit", "facebot"], &["fbsv.net", "facebook.com"]),
    visitor("X", &["Twitterbot"], &["twttr.com"]),
    visitor("Telegram", &["TelegramBot"], &[]),
    visitor("WhatsApp", &["WhatsApp"], &[]),
    visitor("VK", &["vkShare"], &[]),
    visitor("LinkedIn", &["LinkedInBot"], &[]),
    visitor("Slack", &["Slackbot", "Slack-ImgProxy"], &[]),
    visitor("Discord", &["Discordbot"], &[]),
    // Monitors.
    visitor("UptimeRobot", &["UptimeRobot"], &[]),
    visitor("Pingdom", &["Pingdom.com_bot"], &[]),
    visitor("Better Stack", &["Better Stack", "Better Uptime"], &[]),
    // Feed services.
    visitor("Feedly", &["Feedly"], &[]),
    visitor("Inoreader", &["Inoreader"], &[]),
    visitor("NewsBlur", &["NewsBlur"], &[]),
    // ActivityPub servers: each of thousands is its own, and shows who it is by signatures that are not read here.
    visitor("ActivityPub", &["Mastodon", "Pleroma", "Akkoma", "Misskey", "Friendica", "Lemmy"], &[]),
];

/// Whom an agent names: the first it names.
pub(super) fn named(agent: &[u8]) -> Option<VisitorId> {
    words(agent).find_map(|word| {
        VISITORS
            .iter()
            .position(|visitor| visitor.agents.iter().any(|token| begins(word, token)))
    })
}

/// Does a word of this agent begin so?
pub(super) fn names(agent: &[u8], token: &str) -> bool {
    words(agent).any(|word| begins(word, token))
}

/// Whose name this is, where it is that of one who can show who he is.
pub(super) fn owner(name: &str) -> Option<VisitorId> {
    VISITORS
        .iter()
        .position(|visitor| visitor.domains.iter().any(|domain| is_below(name, domain)))
}

impl Visitor {
    pub(super) fn can_be_proven(&self) -> bool {
        !self.domains.is_empty()
    }
}

/// The agent from each of its words on; numbers are none.
fn words(agent: &[u8]) -> impl Iterator<Item = &[u8]> {
    let agent = &agent[..agent.len().min(AGENT_BYTES_MAX)];
    let begins = |at: usize| {
        agent[at].is_ascii_alphabetic() && (at == 0 || !agent[at - 1].is_ascii_alphanumeric())
    };
    (0..agent.len())
        .filter(move |at| begins(*at))
        .map(|at| &agent[at..])
}

fn begins(word: &[u8], token: &str) -> bool {
    word.get(..token.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(token.as_bytes()))
}

/// `notgooglebot.com` is not below `googlebot.com`, nor is `googlebot.com` itself.
fn is_below(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain)
        .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_name_whom_they_name_first() {
        let table = [
            (
                "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
                Some("Googlebot"),
            ),
            ("Googlebot-Image/1.0", Some("Googlebot")),
            ("GOOGLEBOT", Some("Googlebot")),
            (
                "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
                Some("Bingbot"),
            ),
            (
                "Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)",
                Some("Yandex"),
            ),
            (
                "Mozilla/5.0 (Macintosh) Version/8.0.2 Safari/600.2.5 (Applebot/0.1)",
                Some("Applebot"),
            ),
            (
                "Mozilla/5.0 (compatible; Linux x86_64; Mail.RU_Bot/2.0; +https://help.mail.ru/)",
                Some("Mail.ru"),
            ),
            (
                "Mozilla/5.0 (compatible; archive.org_bot +http://archive.org/details/archive.org_bot)",
                Some("Internet Archive"),
            ),
            (
                "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
                Some("Facebook"),
            ),
            ("TelegramBot (like TwitterBot)", Some("Telegram")),
            (
                "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)",
                Some("UptimeRobot"),
            ),
            (
                "Feedly/1.0 (+https://feedly.com/fetchers.html; 12 subscribers; )",
                Some("Feedly"),
            ),
            (
                "http.rb/5.1.1 (Mastodon/4.2.8; +https://mastodon.example/)",
                Some("ActivityPub"),
            ),
            // A browser of Yandex's is its reader's.
            (
                "Mozilla/5.0 (Windows NT 10.0) Chrome/131.0 YaBrowser/25.2 Yowser/2.5 Safari/537.36",
                None,
            ),
            ("Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0", None),
            ("notGooglebot", None),
            ("Google", None),
            ("", None),
        ];
        for (agent, expected) in table {
            let named = named(agent.as_bytes()).map(|id| VISITORS[id].name);
            assert_eq!(named, expected, "{agent}");
        }
        let late = format!("{}Googlebot", "x ".repeat(AGENT_BYTES_MAX));
        assert_eq!(named(late.as_bytes()), None);
        assert!(names(b"probe/1 OurProbe", "ourprobe") && !names(b"OurProbe", "probe"));
    }

    #[test]
    fn names_are_their_owners() {
        let table = [
            ("crawl-66-249-66-1.googlebot.com", Some("Googlebot")),
            ("geo-crawl-1.geo.googlebot.com", Some("Googlebot")),
            ("google-proxy-66-249-81-1.google.com", None),
            ("msnbot-157-55-39-1.search.msn.com", Some("Bingbot")),
            ("5-255-253-1.spider.yandex.com", Some("Yandex")),
            ("17-58-101-1.applebot.apple.com", Some("Applebot")),
            ("fetcher4-2.go.mail.ru", Some("Mail.ru")),
            ("fwdproxy-rva-004.fbsv.net", Some("Facebook")),
            ("googlebot.com", None),
            (".googlebot.com", None),
            ("evilgooglebot.com", None),
            ("crawl.googlebot.com.evil.example", None),
            ("", None),
        ];
        for (name, expected) in table {
            let owner = owner(name).map(|id| VISITORS[id].name);
            assert_eq!(owner, expected, "{name}");
        }
    }

    /// The page for operators names everybody, and each domain.
    #[test]
    fn the_page_knows_all_of_them() {
        let page = include_str!("../../../../docs/lanes.md");
        for visitor in VISITORS {
            let row = page
                .lines()
                .find(|line| line.starts_with(&format!("| {} |", visitor.name)));
            let row = row.unwrap_or_else(|| panic!("docs/lanes.md lacks {}", visitor.name));
            for said in visitor.agents.iter().chain(visitor.domains) {
                assert!(row.contains(&format!("`{said}`")), "{said}: {row}");
            }
        }
    }
}
