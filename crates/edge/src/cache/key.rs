//! What a stored response is found by: site, scheme, host, the exact target and the cookies that choose between pages.
//!
//! The host is compared in lower case, without the root's dot and without its scheme's own port: `A.kz.:80` is `a.kz`. Any other port
//! stays, because the origin hears of it and may write it into the page's links; left out of the key, a stranger's `a.kz:1` would
//! be everybody's link. The target is compared byte for byte, because `/a` and `/A` are two pages and re-writing a path is how one
//! reader's page becomes another's. `HEAD` is answered from what `GET` stored, so the method is no part of it.
//!
//! Strangers choose targets, so the hash is SipHash with a secret key, made once per request and carried along: tables here never
//! hash twice and nobody outside can make keys collide.

use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};

use quick_cache::Equivalent;

use crate::plan::SiteId;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    Http,
    Https,
}

/// A key as it lies in the request: lookups allocate nothing.
#[derive(Debug, Clone, Copy)]
pub struct KeyRef<'a> {
    hash: u64,
    site: u32,
    scheme: Scheme,
    port: Port,
    host: &'a [u8],
    target: &'a [u8],
    cookies: &'a [u8],
}

/// 0: the scheme's own.
type Port = u32;

#[derive(Debug, Clone)]
pub struct Key {
    hash: u64,
    site: u32,
    scheme: Scheme,
    port: Port,
    host_bytes: u32,
    target_bytes: u32,
    /// Host in lower case, then target, then cookies.
    text: Box<[u8]>,
}

/// No newsroom's name is longer.
const HOST_BYTES_USUAL: usize = 54;

/// Makes keys; one per cache, because it holds the secret.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    secret: RandomState,
}

impl Keyring {
    /// `host` as in the `Host` field, `target` in origin form with its query.
    pub fn key<'a>(
        &self,
        site: SiteId,
        scheme: Scheme,
        host: &'a [u8],
        target: &'a [u8],
    ) -> KeyRef<'a> {
        self.key_with(site, scheme, host, target, b"")
    }

    /// `cookies`: those that choose between pages, in their normal form.
    pub fn key_with<'a>(
        &self,
        site: SiteId,
        scheme: Scheme,
        host: &'a [u8],
        target: &'a [u8],
        cookies: &'a [u8],
    ) -> KeyRef<'a> {
        let (host, port) = host_and_port(scheme, host);
        self.keyed(site, scheme, host, port, target, cookies)
    }

    /// Another target of the same host, over one scheme or the other.
    pub(super) fn key_beside<'a>(
        &self,
        key: &KeyRef<'a>,
        scheme: Scheme,
        target: &'a [u8],
    ) -> KeyRef<'a> {
        self.keyed(key.site(), scheme, key.host, key.port, target, key.cookies)
    }

    /// The same page as whoever sends no such cookie gets it.
    pub(super) fn key_without_cookies<'a>(&self, key: &KeyRef<'a>) -> KeyRef<'a> {
        self.keyed(key.site(), key.scheme, key.host, key.port, key.target, b"")
    }

    fn keyed<'a>(
        &self,
        site: SiteId,
        scheme: Scheme,
        host: &'a [u8],
        port: Port,
        target: &'a [u8],
        cookies: &'a [u8],
    ) -> KeyRef<'a> {
        let site = u32::try_from(site).unwrap_or(u32::MAX);
        let mut hasher = self.secret.build_hasher();
        // What is short goes in one piece: the hasher's price is by the piece. Of a longer name the rest goes by itself.
        let mut start = [0xff; 10 + HOST_BYTES_USUAL];
        start[..4].copy_from_slice(&site.to_le_bytes());
        start[4..8].copy_from_slice(&port.to_le_bytes());
        start[8] = scheme as u8;
        let (usual, rest) = host.split_at(host.len().min(HOST_BYTES_USUAL));
        let end = 9 + usual.len();
        start[9..end].copy_from_slice(usual);
        start[9..end].make_ascii_lowercase();
        hasher.write(&start[..=end]);
        if !rest.is_empty() {
            hasher.write(&rest.to_ascii_lowercase());
            hasher.write_u8(0xff);
        }
        hasher.write(target);
        if !cookies.is_empty() {
            hasher.write_u8(0xff);
            hasher.write(cookies);
        }
        KeyRef {
            hash: hasher.finish(),
            site,
            scheme,
            port,
            host,
            target,
            cookies,
        }
    }

    /// Of anything else that needs a number nobody outside can foresee.
    pub fn hash_of(&self, value: impl Hash) -> u64 {
        self.secret.hash_one(value)
    }
}

impl<'a> KeyRef<'a> {
    pub fn site(&self) -> SiteId {
        self.site as SiteId
    }

    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// As given, without port and root's dot.
    pub fn host(&self) -> &'a [u8] {
        self.host
    }

    /// Would a URI of this scheme and authority have the same host and port?
    pub(super) fn is_of_host(&self, scheme: Scheme, authority: &[u8]) -> bool {
        let (host, port) = host_and_port(scheme, authority);
        host.eq_ignore_ascii_case(self.host) && port == self.port
    }

    pub fn target(&self) -> &'a [u8] {
        self.target
    }

    pub fn cookies(&self) -> &'a [u8] {
        self.cookies
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    pub fn to_key(&self) -> Key {
        let bytes = self.host.len() + self.target.len() + self.cookies.len();
        let mut text = Vec::with_capacity(bytes);
        text.extend(self.host.iter().map(u8::to_ascii_lowercase));
        text.extend_from_slice(self.target);
        text.extend_from_slice(self.cookies);
        Key {
            hash: self.hash,
            site: self.site,
            scheme: self.scheme,
            port: self.port,
            host_bytes: u32::try_from(self.host.len()).unwrap_or(u32::MAX),
            target_bytes: u32::try_from(self.target.len()).unwrap_or(u32::MAX),
            text: text.into_boxed_slice(),
        }
    }
}

impl Key {
    pub fn as_ref(&self) -> KeyRef<'_> {
        let (host, rest) = self.text.split_at(self.host_bytes as usize);
        let (target, cookies) = rest.split_at(self.target_bytes as usize);
        KeyRef {
            hash: self.hash,
            site: self.site,
            scheme: self.scheme,
            port: self.port,
            host,
            target,
            cookies,
        }
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Bytes on the heap.
    pub fn weight(&self) -> u64 {
        self.text.len() as u64
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.as_ref() == other.as_ref()
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl PartialEq for KeyRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
            && self.site == other.site
            && self.scheme == other.scheme
            && self.port == other.port
            && self.target == other.target
            && self.cookies == other.cookies
            && self.host.eq_ignore_ascii_case(other.host)
    }
}

impl Eq for KeyRef<'_> {}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self == key.as_ref()
    }
}

/// Keys arrive hashed; tables take the number as it is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Hashed(u64);

pub(super) type BuildHashed = BuildHasherDefault<Hashed>;

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        // Pairs (key, variant) come as two numbers.
        self.0 = self.0.rotate_left(32) ^ hash;
    }
}

/// `[::1]:80` is `[::1]`, `a.kz.:8080` is `a.kz` and 8080. What is no port stays part of the name.
pub(super) fn host_and_port(scheme: Scheme, host: &[u8]) -> (&[u8], Port) {
    let (name, port) = split_port(host).unwrap_or((host, 0));
    let port = match (scheme, port) {
        (Scheme::Http, 80) | (Scheme::Https, 443) => 0,
        (_, port) => port,
    };
    (name.strip_suffix(b".").unwrap_or(name), port)
}

fn split_port(host: &[u8]) -> Option<(&[u8], Port)> {
    const DIGITS_MAX: usize = 5;
    let colon = host.iter().rposition(|byte| *byte == b':')?;
    let (name, digits) = (&host[..colon], &host[colon + 1..]);
    let in_brackets = host.first() == Some(&b'[') && name.last() != Some(&b']');
    let is_port = digits.len() <= DIGITS_MAX && digits.iter().all(u8::is_ascii_digit);
    (is_port && !in_brackets).then(|| {
        let port = digits
            .iter()
            .fold(0, |port, digit| port * 10 + Port::from(digit - b'0'));
        (name, port)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_and_other() {
        use Scheme::{Http, Https};
        let ring = Keyring::default();
        let page = ring.key(0, Http, b"kaztag.kz", b"/a?b=1").to_key();
        type Case<'a> = (usize, Scheme, &'a [u8], &'a [u8], bool);
        let table: &[Case<'_>] = &[
            (0, Http, b"kaztag.kz", b"/a?b=1", true),
            (0, Http, b"KazTAG.kz", b"/a?b=1", true),
            (0, Http, b"kaztag.kz:80", b"/a?b=1", true),
            (0, Http, b"KazTAG.kz.", b"/a?b=1", true),
            (0, Http, b"kaztag.kz.:080", b"/a?b=1", true),
            (0, Http, b"kaztag.kz:8080", b"/a?b=1", false),
            (0, Http, b"kaztag.kz:443", b"/a?b=1", false),
            (0, Http, b"kaztag.kz", b"/a?b=2", false),
            (0, Http, b"kaztag.kz", b"/A?b=1", false),
            (0, Http, b"kaztag.kz", b"/a", false),
            (0, Http, b"kaztag.kz/", b"a?b=1", false),
            (0, Https, b"kaztag.kz", b"/a?b=1", false),
            (1, Http, b"kaztag.kz", b"/a?b=1", false),
            (0, Http, b"nege.kz", b"/a?b=1", false),
        ];
        for (site, scheme, host, target, same) in table {
            let key = ring.key(*site, *scheme, host, target);
            assert_eq!(key.equivalent(&page), *same, "{key:?}");
            assert_eq!(key.hash() == page.hash(), *same, "{key:?}");
            assert_eq!(key.to_key().as_ref(), key);
        }
    }

    #[test]
    fn cookies_that_choose_a_page_are_part_of_its_key() {
        let ring = Keyring::default();
        let key = |target: &'static [u8], cookies: &'static [u8]| {
            ring.key_with(0, Scheme::Http, b"a.kz", target, cookies)
        };
        let page = key(b"/", b"lang=kk");
        assert_eq!(page.to_key().as_ref(), page);
        for other in [key(b"/", b""), key(b"/", b"lang=ru"), key(b"/lang=kk", b"")] {
            assert_ne!(other, page);
            assert_ne!(other.hash(), page.hash());
        }
        assert_eq!(ring.key_without_cookies(&page), key(b"/", b""));
    }

    #[test]
    fn ports_and_literals() {
        let table: &[(Scheme, &[u8], &[u8], Port)] = &[
            (Scheme::Http, b"a.kz", b"a.kz", 0),
            (Scheme::Http, b"a.kz:", b"a.kz", 0),
            (Scheme::Http, b"a.kz.", b"a.kz", 0),
            (Scheme::Http, b"a.kz:80", b"a.kz", 0),
            (Scheme::Http, b"a.kz:443", b"a.kz", 443),
            (Scheme::Https, b"a.kz:443", b"a.kz", 0),
            (Scheme::Https, b"a.kz.:00443", b"a.kz", 0),
            (Scheme::Http, b"[::1]", b"[::1]", 0),
            (Scheme::Http, b"[::1]:8080", b"[::1]", 8080),
            (Scheme::Http, b"a.kz:x", b"a.kz:x", 0),
            (Scheme::Http, b"a.kz:123456", b"a.kz:123456", 0),
            (Scheme::Http, b"", b"", 0),
        ];
        for (scheme, host, name, port) in table {
            assert_eq!(host_and_port(*scheme, host), (*name, *port));
        }
    }

    #[test]
    fn long_hosts_hash_by_all_their_bytes() {
        let ring = Keyring::default();
        let long = [b'a'; 130];
        let mut other = long;
        other[129] = b'b';
        assert_ne!(
            ring.key(0, Scheme::Http, &long, b"/").hash(),
            ring.key(0, Scheme::Http, &other, b"/").hash()
        );
    }
}
