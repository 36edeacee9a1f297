//! What takes days to come by, made in a moment: tokens of readers who have been here before, and passes that somebody has collected.
//!
//! They are what the edge of the drill would have given out, signed with the key that was put into its data folder before it was started.
//! Against another server there is no key, and nobody has any.

use std::net::Ipv4Addr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use saqta_edge::clock::UnixMillis;
use saqta_edge::ladder::{Keys, Reader, Rung, SiteMark, Ticket};
use sha2::{Digest, Sha256};

const DAY: Duration = Duration::from_secs(86_400);
/// Passes last a day; those of the farm are some hours old.
const COLLECTED_BEFORE: Duration = Duration::from_secs(6 * 3_600);
/// What was asked of whoever collected them does not matter any more.
const ASKED: (u8, u8) = (5, 14);

pub(super) struct Tokens {
    keys: Keys,
    site: SiteMark,
    now: UnixMillis,
}

impl Tokens {
    /// `None` where there is no key, or none that can be read.
    pub(super) fn new(keys: Option<&str>, host: &str) -> Option<Self> {
        Some(Self {
            keys: keys?.parse().ok()?,
            site: SiteMark::of(host),
            now: UnixMillis::now(),
        })
    }

    fn before(&self, age: Duration) -> UnixMillis {
        UnixMillis(self.now.0.saturating_sub(age.as_millis() as u64))
    }

    /// Of somebody who read here three days ago and yesterday, as a cookie.
    pub(super) fn known_reader(&self, number: u64, from: Ipv4Addr) -> Option<String> {
        let (first, last) = (self.before(3 * DAY), self.before(DAY));
        let reader = Reader::new(number, (self.site, from.into()), first)
            .fetches(first)?
            .reads(&self.keys, self.site, last)?
            .fetches(last)?;
        Some(cookie("saqta-reader", &reader.seal(&self.keys, self.site)))
    }

    pub(super) fn pass(&self, number: u64, from: Ipv4Addr) -> String {
        let then = self.before(COLLECTED_BEFORE);
        let ticket = Ticket::new(number, ASKED, (self.site, from.into()), then);
        let pass = ticket.pass(&self.keys, self.site, Rung::Waited);
        cookie("saqta-pass", &pass.seal(&self.keys, self.site))
    }
}

fn cookie(name: &str, text: &[u8]) -> String {
    format!("{name}={}", String::from_utf8_lossy(text))
}

/// What the waiting page's script does with the ticket among these cookies: the number it finds, as a cookie. `None`: there is no ticket, or it
/// has to be waited for.
pub(super) fn work(cookies: &str) -> Option<String> {
    const TEXT_BYTES: usize = 48;
    /// In the token: which byte says how many zero bits are asked for.
    const BITS_AT: usize = 14;
    const BITS_MAX: u8 = 20;
    let ticket = cookies
        .split("; ")
        .find_map(|pair| pair.strip_prefix("saqta-ticket="))
        .filter(|ticket| ticket.len() == TEXT_BYTES)?;
    let bits = *URL_SAFE_NO_PAD.decode(ticket).ok()?.get(BITS_AT)?;
    if bits > BITS_MAX {
        return None;
    }
    let begun = Sha256::new().chain_update(ticket).chain_update(b".");
    let found = (0..1_000_000_u32).find(|number| {
        let sum = begun.clone().chain_update(number.to_string()).finalize();
        let first = u32::from_be_bytes([sum[0], sum[1], sum[2], sum[3]]);
        first.leading_zeros() >= u32::from(bits)
    })?;
    Some(format!("saqta-work={found}"))
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
        let keys = Keys::new(now);
        let text = keys.written();
        let ladder = Ladder::with_keys(keys);
        let tokens = Tokens::new(Some(&text), HOST).unwrap();
        let class = |cookies: &str| {
            let mut fields = http::HeaderMap::new();
            fields.insert("cookie", cookies.parse().unwrap());
            let whom = (SiteMark::of(HOST), FROM.into());
            let bearer = ladder.bearer(whom, &fields, || now).unwrap();
            (bearer.class, bearer)
        };
        assert_eq!(
            class(&tokens.known_reader(7, FROM).unwrap()).0,
            Class::KnownReader
        );
        assert_eq!(class(&tokens.pass(7, FROM)).0, Class::Passed);
        let ticket = Ticket::new(3, ASKED, (tokens.site, FROM.into()), now);
        let ticket = cookie("saqta-ticket", &ticket.seal(&tokens.keys, tokens.site));
        let work = work(&format!("_ga=1; {ticket}")).unwrap();
        assert_eq!(class(&format!("{ticket}; {work}")).0, Class::Passed);
        assert!(Tokens::new(None, HOST).is_none());
        assert!(super::work("_ga=1; saqta-ticket=short").is_none());
    }
}
