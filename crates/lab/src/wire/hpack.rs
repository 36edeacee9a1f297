//! As much of HPACK (RFC 7541) as requests and answers need.
//!
//! Fields are written in full: a browser would name most of them by an index, which saves bytes and tells the server nothing else.
//! They are read however the server writes them: from either table, with Huffman's code or without.

use std::collections::VecDeque;
use std::sync::OnceLock;

/// RFC 9113 §6.5.2: what a server may fill as long as its client asks for no other size.
const TABLE_BYTES_MAX: usize = 4_096;
/// RFC 7541 §4.1.
const ENTRY_BYTES: usize = 32;

/// RFC 7541, appendix A.
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// RFC 7541, appendix B: how many bits each byte has, and the end of a string, which never comes. The code is canonical, so that these
/// lengths say all of it.
const CODE_BITS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, //
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, //
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, //
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, //
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, //
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, //
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, //
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, //
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, //
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, //
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, //
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, //
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, //
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, //
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, //
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, //
    30,
];
const BITS_MAX: usize = 30;

/// What came is not HPACK.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotHpack;

/// A field in full, neither remembered nor coded.
pub(crate) fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.push(0x00);
    string(out, name);
    string(out, value);
}

/// Without Huffman code; the length as an integer with a seven-bit prefix (RFC 7541 §5.1).
pub(crate) fn string(out: &mut Vec<u8>, text: &[u8]) {
    let mut length = text.len();
    if length < 127 {
        out.push(length as u8);
    } else {
        out.push(127);
        length -= 127;
        while length >= 128 {
            out.push((length % 128) as u8 | 0x80);
            length /= 128;
        }
        out.push(length as u8);
    }
    out.extend_from_slice(text);
}

type Entry = (Vec<u8>, Vec<u8>);

/// What the server has told to remember on one connection, the newest first.
#[derive(Debug)]
pub(super) struct Table {
    entries: VecDeque<Entry>,
    bytes: usize,
    bytes_max: usize,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: 0,
            bytes_max: TABLE_BYTES_MAX,
        }
    }
}

impl Table {
    /// Tells each field of a block.
    pub(super) fn read(
        &mut self,
        mut block: &[u8],
        mut tell: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), NotHpack> {
        while let Some(&first) = block.first() {
            if first & 0x80 != 0 {
                let index = integer(&mut block, 7)?;
                let (name, value) = self.entry(index)?;
                tell(name, value);
            } else if first & 0xe0 == 0x20 {
                let size = integer(&mut block, 5)?;
                if size > TABLE_BYTES_MAX {
                    return Err(NotHpack);
                }
                self.bytes_max = size;
                self.make_room(0);
            } else {
                let remembers = first & 0x40 != 0;
                let index = integer(&mut block, if remembers { 6 } else { 4 })?;
                let name = match index {
                    0 => text(&mut block)?,
                    index => self.entry(index)?.0.to_owned(),
                };
                let value = text(&mut block)?;
                tell(&name, &value);
                if remembers {
                    self.remember((name, value));
                }
            }
        }
        Ok(())
    }

    fn entry(&self, index: usize) -> Result<(&[u8], &[u8]), NotHpack> {
        let at = index.checked_sub(1).ok_or(NotHpack)?;
        if let Some((name, value)) = STATIC.get(at) {
            return Ok((name.as_bytes(), value.as_bytes()));
        }
        let (name, value) = self.entries.get(at - STATIC.len()).ok_or(NotHpack)?;
        Ok((name, value))
    }

    fn remember(&mut self, entry: Entry) {
        let size = size_of_entry(&entry);
        self.make_room(size);
        // One that is larger than the table leaves it empty.
        if size <= self.bytes_max {
            self.bytes += size;
            self.entries.push_front(entry);
        }
    }

    fn make_room(&mut self, bytes: usize) {
        while self.bytes + bytes > self.bytes_max
            && let Some(oldest) = self.entries.pop_back()
        {
            self.bytes -= size_of_entry(&oldest);
        }
    }
}

fn size_of_entry((name, value): &Entry) -> usize {
    name.len() + value.len() + ENTRY_BYTES
}

/// With a prefix of so many bits.
fn integer(block: &mut &[u8], prefix: u32) -> Result<usize, NotHpack> {
    let (&first, mut rest) = block.split_first().ok_or(NotHpack)?;
    let most = (1usize << prefix) - 1;
    let mut number = usize::from(first) & most;
    if number == most {
        let mut shift = 0;
        loop {
            let (&byte, after) = rest.split_first().ok_or(NotHpack)?;
            rest = after;
            number += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
            shift += 7;
            // No field of ours has more than two million bytes.
            if shift > 14 {
                return Err(NotHpack);
            }
        }
    }
    *block = rest;
    Ok(number)
}

fn text(block: &mut &[u8]) -> Result<Vec<u8>, NotHpack> {
    let is_coded = block.first().is_some_and(|first| first & 0x80 != 0);
    let length = integer(block, 7)?;
    let (bytes, rest) = block.split_at_checked(length).ok_or(NotHpack)?;
    *block = rest;
    if is_coded {
        uncoded(bytes)
    } else {
        Ok(bytes.to_owned())
    }
}

/// Of each number of bits: the first code that has so many, and its place among all bytes in the order of their codes.
struct Codes {
    first: [u32; BITS_MAX + 1],
    place: [usize; BITS_MAX + 2],
    symbols: Vec<u16>,
}

fn codes() -> &'static Codes {
    static CODES: OnceLock<Codes> = OnceLock::new();
    CODES.get_or_init(|| {
        let mut codes = Codes {
            first: [0; BITS_MAX + 1],
            place: [0; BITS_MAX + 2],
            symbols: Vec::with_capacity(CODE_BITS.len()),
        };
        let mut next = 0;
        for bits in 1..=BITS_MAX {
            next <<= 1;
            codes.first[bits] = next;
            codes.place[bits] = codes.symbols.len();
            let of_so_many = (0..CODE_BITS.len()).filter(|at| usize::from(CODE_BITS[*at]) == bits);
            codes.symbols.extend(of_so_many.map(|at| at as u16));
            next += (codes.symbols.len() - codes.place[bits]) as u32;
        }
        codes.place[BITS_MAX + 1] = codes.symbols.len();
        codes
    })
}

fn uncoded(coded: &[u8]) -> Result<Vec<u8>, NotHpack> {
    let codes = codes();
    let mut text = Vec::with_capacity(coded.len() * 8 / 5);
    let (mut code, mut bits) = (0u32, 0);
    for byte in coded {
        for bit in (0..8).rev() {
            code = code << 1 | u32::from(byte >> bit & 1);
            bits += 1;
            if bits > BITS_MAX {
                return Err(NotHpack);
            }
            let of_so_many = codes.place[bits + 1] - codes.place[bits];
            let Some(nth) = code.checked_sub(codes.first[bits]) else {
                continue;
            };
            if (nth as usize) < of_so_many {
                let symbol = codes.symbols[codes.place[bits] + nth as usize];
                // The end of a string is not to be sent.
                text.push(u8::try_from(symbol).map_err(|_| NotHpack)?);
                (code, bits) = (0, 0);
            }
        }
    }
    // What is left of the last byte is filled with ones.
    if bits > 7 || code != (1 << bits) - 1 {
        return Err(NotHpack);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(|byte| *byte != b' ').collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn read(table: &mut Table, hex: &str) -> Result<Vec<String>, NotHpack> {
        let mut fields = Vec::new();
        table.read(&bytes(hex), |name, value| {
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            fields.push(format!("{}: {}", text(name), text(value)));
        })?;
        Ok(fields)
    }

    #[test]
    fn lengths_are_coded_as_in_rfc_7541() {
        for (length, coded) in [
            (0, &[0u8][..]),
            (126, &[126]),
            (127, &[127, 0]),
            (254, &[127, 127]),
            (255, &[127, 128, 1]),
            (4_000, &[127, 161, 30]),
        ] {
            let mut out = Vec::new();
            string(&mut out, &vec![b'a'; length]);
            assert_eq!(&out[..coded.len()], coded, "{length}");
            assert_eq!(out.len(), coded.len() + length);
            assert_eq!(text(&mut &out[..]).unwrap().len(), length);
        }
    }

    /// RFC 7541, appendices C.5 and C.6: three answers on one connection, with a table of 256 bytes, plain and with Huffman's code.
    #[test]
    fn answers_are_read_as_in_rfc_7541() {
        const FIRST: [&str; 4] = [
            ":status: 302",
            "cache-control: private",
            "date: Mon, 21 Oct 2013 20:13:21 GMT",
            "location: https://www.example.com",
        ];
        const SECOND: [&str; 4] = [":status: 307", FIRST[1], FIRST[2], FIRST[3]];
        const THIRD: [&str; 6] = [
            ":status: 200",
            FIRST[1],
            "date: Mon, 21 Oct 2013 20:13:22 GMT",
            FIRST[3],
            "content-encoding: gzip",
            "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
        ];
        const PLAIN: [&str; 3] = [
            "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "4803 3330 37c1 c0bf",
            "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
        ];
        const CODED: [&str; 3] = [
            "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
            "4883 640e ffc1 c0bf",
            "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
        ];
        for answers in [PLAIN, CODED] {
            // A size update to 256, as the RFC's examples assume.
            let mut table = Table::default();
            assert_eq!(read(&mut table, "3f e1 01"), Ok(Vec::new()));
            assert_eq!(table.bytes_max, 256);
            for (hex, fields) in answers.iter().zip([&FIRST[..], &SECOND, &THIRD]) {
                assert_eq!(read(&mut table, hex).unwrap(), fields);
            }
            assert_eq!((table.entries.len(), table.bytes), (3, 215));
        }
    }

    #[test]
    fn what_is_not_hpack_is_said_to_be_none() {
        for (name, hex) in [
            ("index 0", "80"),
            ("nothing there", "be"),
            ("a string cut short", "4005 6162"),
            ("a length without end", "00ff ffff ffff ff"),
            ("a table of more than was agreed", "3fe1 7f"),
            ("padding of zeros", "0081 0081 00"),
            ("the end of a string", "0084 ffff ffff 0161"),
        ] {
            assert_eq!(read(&mut Table::default(), hex), Err(NotHpack), "{name}");
        }
    }

    #[test]
    fn a_field_that_was_written_is_read() {
        let mut block = Vec::new();
        field(&mut block, b":path", b"/?s=%D0%B0");
        field(&mut block, b"cookie", &[b'x'; 300]);
        let mut seen = Vec::new();
        Table::default()
            .read(&block, |name, value| {
                seen.push((name.to_owned(), value.len()))
            })
            .unwrap();
        assert_eq!(seen, [(b":path".to_vec(), 10), (b"cookie".to_vec(), 300)]);
    }
}
