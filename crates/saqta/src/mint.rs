//! For drills: what the edge gives to readers over days, made beforehand and signed with the keys of the drill's own edge.

use std::net::Ipv4Addr;
use std::time::Duration;

use saqta_edge::clock::UnixMillis;
use saqta_edge::ladder::{Keys, Reader, Rung, SiteMark, Ticket};
use saqta_lab::load::{Mint, Tokens};

pub(crate) const MINT: Mint = Mint {
    keys: || Keys::new(UnixMillis::now()).written(),
    tokens: |keys, host| Some(Box::new(Signed::new(keys, host, UnixMillis::now())?)),
};

const DAY: Duration = Duration::from_secs(86_400);
/// Passes last a day; those of a farm are some hours old.
const COLLECTED_BEFORE: Duration = Duration::from_secs(6 * 3_600);
/// What was asked of whoever collected them does not matter any more.
const ASKED: (u8, u8) = (5, 14);

struct Signed {
    keys: Keys,
    site: SiteMark,
    now: UnixMillis,
}

impl Signed {
    fn new(keys: &str, host: &str, now: UnixMillis) -> Option<Self> {
        Some(Self {
            keys: keys.parse().ok()?,
            site: SiteMark::of(host),
            now,
        })
    }

    fn before(&self, age: Duration) -> UnixMillis {
        UnixMillis(self.now.0.saturating_sub(age.as_millis() as u64))
    }
}

impl Tokens for Signed {
    fn known_reader(&self, number: u64, from: Ipv4Addr) -> Option<String> {
        let (first, last) = (self.before(3 * DAY), self.before(DAY));
        let reader = Reader::new(number, (self.site, from.into()), first)
            .fetches(first)?
            .reads(&self.keys, self.site, last)?
            .fetches(last)?;
        Some(cookie("saqta-reader", &reader.seal(&self.keys, self.site)))
    }

    fn pass(&self, number: u64, from: Ipv4Addr) -> String {
        let then = self.before(COLLECTED_BEFORE);
        let ticket = Ticket::new(number, ASKED, (self.site, from.into()), then);
        let pass = ticket.pass(&self.keys, self.site, Rung::Waited);
        cookie("saqta-pass", &pass.seal(&self.keys, self.site))
    }
}

fn cookie(name: &str, text: &[u8]) -> String {
    format!("{name}={}", String::from_utf8_lossy(text))
}

#[cfg(test)]
mod tests {
    use saqta_detect::facts::Class;
    use saqta_edge::ladder::Ladder;

    use super::*;

    const HOST: &str = "news.example";
    const FROM: Ipv4Addr = Ipv4Addr::new(127, 5, 6, 7);

    #[test]
    fn they_are_what_the_edge_takes() {
        let now = UnixMillis::now();
        let keys = (MINT.keys)();
        let ladder = Ladder::with_keys(keys.parse().unwrap());
        let tokens = Signed::new(&keys, HOST, now).unwrap();
        let class = |site: &str, cookies: &str| {
            let mut fields = http::HeaderMap::new();
            fields.insert("cookie", cookies.parse().unwrap());
            let whom = (SiteMark::of(site), FROM.into());
            let bearer = ladder.bearer(whom, &fields, || now);
            bearer.map(|bearer| bearer.class)
        };
        let (reader, pass) = (tokens.known_reader(7, FROM).unwrap(), tokens.pass(7, FROM));
        assert_eq!(class(HOST, &reader), Some(Class::KnownReader));
        assert_eq!(class(HOST, &pass), Some(Class::Passed));
        assert_eq!(class("another.example", &pass), Some(Class::Unknown));
        assert!((MINT.tokens)("no key", HOST).is_none());
    }
}
