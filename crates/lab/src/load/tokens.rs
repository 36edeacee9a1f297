//! What takes days to come by, made in a moment: tokens of readers who have been here before, and passes that somebody has collected.
//!
//! They are what the edge of the drill would have given out. The lab knows no edge from within, so whoever starts the drill says how
//! they are made ([`Mint`]). Against another server there is no key, and nobody has any.

use std::net::Ipv4Addr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// Signs as one edge does, for one site. Cookies, `name=value`.
pub trait Tokens {
    /// Of somebody who read here three days ago and yesterday.
    fn known_reader(&self, number: u64, from: Ipv4Addr) -> Option<String>;
    /// Collected some hours ago.
    fn pass(&self, number: u64, from: Ipv4Addr) -> String;
}

/// How tokens are made.
#[derive(Debug, Clone, Copy)]
pub struct Mint {
    /// For an edge that has none yet; written into its data folder.
    pub keys: fn() -> String,
    /// With these keys for this host. `None`: they cannot be read.
    pub tokens: fn(&str, &str) -> Option<Box<dyn Tokens>>,
}

impl Mint {
    /// Nobody is known, and nothing was collected.
    pub const NONE: Self = Self {
        keys: String::new,
        tokens: |_, _| None,
    };
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
    use super::*;

    #[test]
    fn a_script_finds_what_its_ticket_asks_for() {
        let ticket = |bits: u8| {
            let mut token = [7; 36];
            token[14] = bits;
            format!("_ga=1; saqta-ticket={}; b=2", URL_SAFE_NO_PAD.encode(token))
        };
        for bits in [1, 8, 14] {
            let cookies = ticket(bits);
            let found = work(&cookies).unwrap();
            let number = found.strip_prefix("saqta-work=").unwrap();
            let text = &cookies["_ga=1; saqta-ticket=".len()..][..48];
            let sum = Sha256::digest(format!("{text}.{number}"));
            let first = u32::from_be_bytes([sum[0], sum[1], sum[2], sum[3]]);
            assert!(first.leading_zeros() >= u32::from(bits));
        }
        for cookies in [&ticket(255), "", "_ga=1", "saqta-ticket=short"] {
            assert_eq!(work(cookies), None, "{cookies}");
        }
    }
}
