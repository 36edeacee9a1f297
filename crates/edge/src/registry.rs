//! Whose network an address is in, and in which country: from files the operator gives, in the format of MaxMind (`.mmdb`).
//!
//! Nobody ships one with Saqta: such lists are wrong within months, and a wrong country shuts readers out. Without a file the two
//! attributes are unknown, and no rule is ever about them. Looked up for the requests that are drawn, and while a rule is about them.

use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use maxminddb::{PathElement, Reader, WithinOptions};

/// The largest list that is sold has 200 MB; it is held in memory.
const FILE_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Entries looked at to see whether a file has what it was given for. Of private networks and the like some have nothing.
const TRIED: usize = 1_000;

/// Clones are the same lists.
#[derive(Clone, Default)]
pub struct Registry {
    asn: Option<Arc<Reader<Vec<u8>>>>,
    country: Option<Arc<Reader<Vec<u8>>>>,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("it cannot be read")]
    Read(#[from] io::Error),
    #[error("it has more than {} MB", FILE_BYTES_MAX / (1024 * 1024))]
    TooLong,
    #[error("it is no .mmdb file, or a damaged one")]
    Format(#[from] maxminddb::MaxMindDbError),
    #[error("it is a list of something else: of its first {TRIED} networks none has {0}")]
    OfSomethingElse(&'static str),
}

impl Registry {
    /// # Errors
    /// When this is no list of autonomous systems.
    pub fn with_asn(mut self, file: &Path) -> Result<Self, OpenError> {
        let has = |reader: &Reader<_>, address| asn(reader, address).is_some();
        self.asn = Some(open(file, "the number of an autonomous system", has)?);
        Ok(self)
    }

    /// # Errors
    /// When this is no list of countries.
    pub fn with_country(mut self, file: &Path) -> Result<Self, OpenError> {
        let has = |reader: &Reader<_>, address| country(reader, address).is_some();
        self.country = Some(open(file, "a country", has)?);
        Ok(self)
    }

    pub fn has_asn(&self) -> bool {
        self.asn.is_some()
    }

    pub fn has_country(&self) -> bool {
        self.country.is_some()
    }

    /// The autonomous system that announces this address.
    pub fn asn(&self, address: IpAddr) -> Option<u32> {
        asn(self.asn.as_deref()?, address)
    }

    /// Two letters, as ISO 3166-1 has them.
    pub fn country(&self, address: IpAddr) -> Option<[u8; 2]> {
        country(self.country.as_deref()?, address)
    }
}

impl PartialEq for Registry {
    fn eq(&self, other: &Self) -> bool {
        let same = |a: &Option<Arc<_>>, b: &Option<Arc<_>>| match (a, b) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        };
        same(&self.asn, &other.asn) && same(&self.country, &other.country)
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry")
            .field("asn", &self.has_asn())
            .field("country", &self.has_country())
            .finish()
    }
}

/// `what` its networks `has`.
fn open(
    file: &Path,
    what: &'static str,
    has: impl Fn(&Reader<Vec<u8>>, IpAddr) -> bool,
) -> Result<Arc<Reader<Vec<u8>>>, OpenError> {
    let mut bytes = Vec::new();
    File::open(file)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(OpenError::TooLong);
    }
    let reader = Reader::from_source(bytes)?;
    for network in reader.networks(WithinOptions::default())?.take(TRIED) {
        if has(&reader, network?.network()?.ip()) {
            return Ok(Arc::new(reader));
        }
    }
    Err(OpenError::OfSomethingElse(what))
}

/// As MaxMind and DB-IP write it, or as IPinfo does.
fn asn(reader: &Reader<Vec<u8>>, address: IpAddr) -> Option<u32> {
    let found = reader.lookup(address).ok()?;
    let at = |key| [PathElement::Key(key)];
    if let Ok(Some(number)) = found.decode_path::<u32>(&at("autonomous_system_number")) {
        return Some(number);
    }
    let text = found.decode_path::<&str>(&at("asn")).ok()??;
    text.strip_prefix("AS").unwrap_or(text).parse().ok()
}

fn country(reader: &Reader<Vec<u8>>, address: IpAddr) -> Option<[u8; 2]> {
    const PATHS: [&[PathElement<'static>]; 3] = [
        &[PathElement::Key("country"), PathElement::Key("iso_code")],
        &[PathElement::Key("country_code")],
        &[
            PathElement::Key("registered_country"),
            PathElement::Key("iso_code"),
        ],
    ];
    let found = reader.lookup(address).ok()?;
    PATHS.iter().find_map(|path| {
        let code = found.decode_path::<&str>(path).ok()??;
        code.as_bytes().try_into().ok()
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// A list of 10.0.0.0/8, whose entry is this, and of nothing else. Format: MaxMind DB 2.0, records of 24 bits.
    fn list_of_ten(entry: &[u8]) -> Vec<u8> {
        const NODES: u32 = 8;
        let mut bytes = Vec::new();
        for depth in 0..NODES {
            let next = if depth + 1 < NODES {
                depth + 1
            } else {
                // The data section begins sixteen bytes behind the tree.
                NODES + 16
            };
            let bit = 10 >> (7 - depth) & 1;
            for side in 0..2 {
                let record = if side == bit { next } else { NODES };
                bytes.extend_from_slice(&record.to_be_bytes()[1..]);
            }
        }
        bytes.extend_from_slice(&[0; 16]);
        bytes.extend_from_slice(entry);
        bytes.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
        let number = |value: u8| vec![0xa1, value];
        let metadata = [
            ("node_count", vec![0xc1, NODES as u8]),
            ("record_size", number(24)),
            ("ip_version", number(4)),
            ("database_type", text("test")),
            ("languages", vec![0x00, 0x04]),
            ("binary_format_major_version", number(2)),
            ("binary_format_minor_version", vec![0xa0]),
            ("build_epoch", vec![0x01, 0x02, 1]),
            ("description", vec![0xe0]),
        ];
        bytes.push(0xe0 | metadata.len() as u8);
        for (key, value) in metadata {
            bytes.extend(text(key));
            bytes.extend(value);
        }
        bytes
    }

    fn text(text: &str) -> Vec<u8> {
        let mut bytes = vec![0x40 | text.len().min(29) as u8];
        if let Some(more) = text.len().checked_sub(29) {
            bytes.push(more as u8);
        }
        bytes.extend_from_slice(text.as_bytes());
        bytes
    }

    fn map(pairs: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = vec![0xe0 | pairs.len() as u8];
        for (key, value) in pairs {
            bytes.extend(text(key));
            bytes.extend_from_slice(value);
        }
        bytes
    }

    fn written(name: &str, bytes: &[u8]) -> std::path::PathBuf {
        let file = std::env::temp_dir().join(format!("saqta-{}-{name}.mmdb", std::process::id()));
        std::fs::write(&file, bytes).unwrap();
        file
    }

    const TEN: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3));
    const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(11, 1, 2, 3));

    #[test]
    fn lists_as_they_are_written() {
        let asn_9198 = vec![0xc2, 0x23, 0xee];
        type Row = (&'static str, Vec<u8>, Option<u32>, Option<[u8; 2]>);
        let table: [Row; 5] = [
            (
                "maxmind-asn",
                map(&[("autonomous_system_number", asn_9198)]),
                Some(9198),
                None,
            ),
            (
                "ipinfo",
                map(&[("asn", text("AS9198")), ("country_code", text("KZ"))]),
                Some(9198),
                Some(*b"KZ"),
            ),
            (
                "maxmind-country",
                map(&[("country", map(&[("iso_code", text("KZ"))]))]),
                None,
                Some(*b"KZ"),
            ),
            (
                "registered",
                map(&[("registered_country", map(&[("iso_code", text("KZ"))]))]),
                None,
                Some(*b"KZ"),
            ),
            ("other", map(&[("city", text("Almaty"))]), None, None),
        ];
        for (name, entry, asn, country) in table {
            let file = written(name, &list_of_ten(&entry));
            let with_asn = Registry::default().with_asn(&file);
            let with_country = Registry::default().with_country(&file);
            assert_eq!(with_asn.is_ok(), asn.is_some(), "{name}");
            assert_eq!(with_country.is_ok(), country.is_some(), "{name}");
            if let Ok(registry) = with_asn {
                assert_eq!(
                    (registry.asn(TEN), registry.asn(OTHER)),
                    (asn, None),
                    "{name}"
                );
                assert_eq!(registry.country(TEN), None);
            }
            if let Ok(registry) = with_country {
                let found = (registry.country(TEN), registry.country(OTHER));
                assert_eq!(found, (country, None), "{name}");
            }
            std::fs::remove_file(file).unwrap();
        }
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let whole = list_of_ten(&map(&[("asn", text("AS9198"))]));
        for cut in (0..whole.len()).step_by(7) {
            let file = written("cut", &whole[..cut]);
            assert!(Registry::default().with_asn(&file).is_err(), "{cut}");
            std::fs::remove_file(file).unwrap();
        }
        let nowhere = Path::new("/nowhere.mmdb");
        let error = Registry::default().with_asn(nowhere).unwrap_err();
        assert!(matches!(error, OpenError::Read(_)));
    }
}
