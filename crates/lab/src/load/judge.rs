//! Was a reader served? Status and headers may say what they like: the body must be the page asked for, and whole.
//!
//! Readers send what browsers send, so answers come compressed. To unpack every one would cost the generator more than all else;
//! the same page in the same encoding is the same bytes, mostly, and comparing bytes is cheap. So a body that was unpacked and
//! found right is kept, and its likes pass by comparison.

use std::collections::HashMap;
use std::io::Read;

use super::books::Fate;
use crate::newsroom::Mark;
use crate::origin::PERSONAL_MARKER;
use crate::wire::{Answer, CacheStatus, Encoding, OwnAnswer};

/// Unpacked; the newsroom's largest page has a fortieth. More is not a page but a bomb.
const BODY_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Of bodies kept for comparison: 720 are every article in three encodings, about 5 MB.
const KEPT_BYTES_MAX: usize = 32 * 1024 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Judge {
    right: HashMap<(String, Encoding), Vec<u8>>,
    kept_bytes: usize,
    unpacked: Vec<u8>,
}

/// Whose names are in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Owners {
    pub(crate) its_reader: bool,
    pub(crate) another: bool,
}

/// One answer, judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) fate: Fate,
    pub(crate) from_cache: bool,
    pub(crate) forwarded: bool,
    pub(crate) is_hit: bool,
}

impl Judge {
    /// `page` names the page among all newsrooms of the drill.
    pub(crate) fn judge(&mut self, answer: &Answer, page: &str, mark: &Mark) -> Judgement {
        let fate = match fate_of_refusal(answer) {
            Some(fate) => fate,
            // Facebook's preview asks for the first half megabyte, which is all of the page.
            None if matches!(answer.status, 200 | 206) && self.is_right(answer, page, mark) => {
                Fate::Served
            }
            None => Fate::Failed,
        };
        Judgement {
            fate,
            from_cache: matches!(answer.cache, CacheStatus::Hit | CacheStatus::Collapsed),
            forwarded: answer.cache == CacheStatus::Forwarded,
            is_hit: answer.is_hit,
        }
    }

    /// Whose this answer is, whatever it is. One that cannot be unpacked shows nobody anything.
    pub(crate) fn owners(&mut self, answer: &Answer, reader: Option<&str>) -> Owners {
        let mut owners = Owners::default();
        self.unpacked.clear();
        if !unpack(&answer.body, answer.encoding, &mut self.unpacked) {
            return owners;
        }
        let marker = PERSONAL_MARKER.as_bytes();
        for at in memchr::memmem::find_iter(&self.unpacked, marker) {
            let owner = self.unpacked[at + marker.len()..]
                .split(|byte| *byte == b'-')
                .next();
            if reader.is_some_and(|reader| owner == Some(reader.as_bytes())) {
                owners.its_reader = true;
            } else {
                owners.another = true;
            }
        }
        owners
    }

    /// The form that a page which tells to wait carries.
    pub(crate) fn carried(&mut self, answer: &Answer) -> Option<String> {
        self.unpacked.clear();
        if !unpack(&answer.body, answer.encoding, &mut self.unpacked) {
            return None;
        }
        let text = std::str::from_utf8(&self.unpacked).ok()?;
        let (_, rest) = text.split_once("name=\"saqta-form\" value=\"")?;
        Some(rest.split_once('"')?.0.to_owned())
    }

    fn is_right(&mut self, answer: &Answer, page: &str, mark: &Mark) -> bool {
        if answer.own == OwnAnswer::Search {
            self.unpacked.clear();
            return unpack(&answer.body, answer.encoding, &mut self.unpacked)
                && has_results(&self.unpacked);
        }
        if answer.encoding == Encoding::Identity {
            return mark.holds(&answer.body);
        }
        let key = (page.to_owned(), answer.encoding);
        if self
            .right
            .get(&key)
            .is_some_and(|right| *right == answer.body)
        {
            return true;
        }
        self.unpacked.clear();
        if !unpack(&answer.body, answer.encoding, &mut self.unpacked) || !mark.holds(&self.unpacked)
        {
            return false;
        }
        let before = self.right.get(&key).map_or(0, Vec::len);
        if self.kept_bytes - before + answer.body.len() <= KEPT_BYTES_MAX {
            self.kept_bytes = self.kept_bytes - before + answer.body.len();
            self.right.insert(key, answer.body.clone());
        }
        true
    }
}

/// A whole page of the shield's own results, with something found on it.
fn has_results(body: &[u8]) -> bool {
    let has = |part: &str| memchr::memmem::find(body, part.as_bytes()).is_some();
    has("role=\"search\"")
        && has("<ol class=\"found\">")
        && has("<li")
        && body.trim_ascii_end().ends_with(b"</html>")
}

/// What an answer is that does not mean to be the page; `None`: it means to be.
pub(crate) fn fate_of_refusal(answer: &Answer) -> Option<Fate> {
    match (answer.own, answer.status) {
        (OwnAnswer::Waiting | OwnAnswer::Challenge, _) => Some(Fate::Challenged),
        (OwnAnswer::Refused, _) | (_, 403 | 429) => Some(Fate::Refused),
        (_, 503) if answer.retry_after_s.is_some() => Some(Fate::Challenged),
        (_, 503) => Some(Fate::Refused),
        _ => None,
    }
}

fn unpack(body: &[u8], encoding: Encoding, out: &mut Vec<u8>) -> bool {
    let unpacked = match encoding {
        Encoding::Identity => body.take(BODY_BYTES_MAX).read_to_end(out),
        Encoding::Gzip => flate2::read::MultiGzDecoder::new(body)
            .take(BODY_BYTES_MAX)
            .read_to_end(out),
        Encoding::Brotli => brotli::Decompressor::new(body, 16 * 1024)
            .take(BODY_BYTES_MAX)
            .read_to_end(out),
        Encoding::Zstd => match zstd::stream::read::Decoder::new(body) {
            Ok(decoder) => decoder.take(BODY_BYTES_MAX).read_to_end(out),
            Err(error) => Err(error),
        },
        Encoding::Unknown => return false,
    };
    unpacked.is_ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::newsroom::Newsroom;

    fn answer(status: u16, encoding: Encoding, body: &[u8]) -> Answer {
        Answer {
            status,
            encoding,
            body: body.to_vec(),
            ..Answer::default()
        }
    }

    fn packed(encoding: Encoding, body: &[u8]) -> Vec<u8> {
        match encoding {
            Encoding::Gzip => {
                let mut encoder =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(body).unwrap();
                encoder.finish().unwrap()
            }
            Encoding::Brotli => {
                let mut out = Vec::new();
                brotli::CompressorWriter::new(&mut out, 4096, 5, 20)
                    .write_all(body)
                    .unwrap();
                out
            }
            Encoding::Zstd => zstd::encode_all(body, 3).unwrap(),
            Encoding::Identity | Encoding::Unknown => body.to_vec(),
        }
    }

    #[test]
    fn served_is_the_page_asked_for_whole() {
        let newsroom = Newsroom::new(1);
        let path = &newsroom.articles()[0].path;
        let mark = newsroom.mark_for(path).unwrap();
        let page = newsroom
            .render(&newsroom.page(path).unwrap(), 0)
            .body
            .into_bytes();
        let other = newsroom
            .render(&newsroom.page(&newsroom.articles()[1].path).unwrap(), 0)
            .body
            .into_bytes();
        let cut = &page[..page.len() - 20];
        let foreign = {
            let neighbour = Newsroom::neighbour(1);
            neighbour
                .render(&neighbour.page("/").unwrap(), 0)
                .body
                .into_bytes()
        };
        for encoding in [
            Encoding::Identity,
            Encoding::Gzip,
            Encoding::Brotli,
            Encoding::Zstd,
        ] {
            let mut judge = Judge::default();
            // Twice, so that the copy kept for comparison is asked too.
            for _ in 0..2 {
                for (name, status, body, fate) in [
                    ("right", 200, &page[..], Fate::Served),
                    ("cut", 200, cut, Fate::Failed),
                    ("another page", 200, &other, Fate::Failed),
                    ("another outlet", 200, &foreign, Fate::Failed),
                    ("empty", 200, b"", Fate::Failed),
                    ("right with 500", 500, &page, Fate::Failed),
                    ("right with 404", 404, &page, Fate::Failed),
                ] {
                    let judged = judge.judge(
                        &answer(status, encoding, &packed(encoding, body)),
                        path,
                        &mark,
                    );
                    assert_eq!(judged.fate, fate, "{name}, {encoding:?}");
                }
            }
            let whole = packed(encoding, &page);
            let torn = answer(200, encoding, &whole[..whole.len() / 2]);
            assert_eq!(
                judge.judge(&torn, path, &mark).fate,
                Fate::Failed,
                "torn, {encoding:?}"
            );
        }
        let unknown = answer(200, Encoding::Unknown, &page);
        assert_eq!(
            Judge::default().judge(&unknown, path, &mark).fate,
            Fate::Failed
        );
    }

    #[test]
    fn another_readers_name_is_found_in_any_encoding() {
        let named = |reader: &str| format!("<p>{PERSONAL_MARKER}{reader}--></p>");
        let both = named("00000000000000aa") + &named("00000000000000bb");
        for (body, reader, its_reader, another) in [
            (
                named("00000000000000aa"),
                Some("00000000000000aa"),
                true,
                false,
            ),
            (
                named("00000000000000bb"),
                Some("00000000000000aa"),
                false,
                true,
            ),
            (named("00000000000000bb"), None, false, true),
            (both, Some("00000000000000aa"), true, true),
            (
                "<p>for all</p>".to_owned(),
                Some("00000000000000aa"),
                false,
                false,
            ),
        ] {
            for encoding in [Encoding::Identity, Encoding::Gzip, Encoding::Brotli] {
                let answer = answer(503, encoding, &packed(encoding, body.as_bytes()));
                assert_eq!(
                    Judge::default().owners(&answer, reader),
                    Owners {
                        its_reader,
                        another
                    },
                    "{body} {encoding:?}"
                );
            }
        }
    }

    #[test]
    fn refusals_have_names() {
        for (status, own, retry_after_s, fate) in [
            (503, OwnAnswer::Waiting, Some(2), Some(Fate::Challenged)),
            (503, OwnAnswer::Challenge, None, Some(Fate::Challenged)),
            (503, OwnAnswer::None, Some(5), Some(Fate::Challenged)),
            (503, OwnAnswer::None, None, Some(Fate::Refused)),
            (503, OwnAnswer::Refused, Some(5), Some(Fate::Refused)),
            (429, OwnAnswer::None, Some(5), Some(Fate::Refused)),
            (403, OwnAnswer::None, None, Some(Fate::Refused)),
            (200, OwnAnswer::None, None, None),
            (502, OwnAnswer::None, None, None),
        ] {
            let answer = Answer {
                status,
                own,
                retry_after_s,
                ..Answer::default()
            };
            assert_eq!(fate_of_refusal(&answer), fate, "{status} {own:?}");
        }
    }
}
