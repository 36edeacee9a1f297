//! Markup taken apart byte by byte: as much of HTML's tokenizer as it takes to know text from tag, attribute, comment and script.
//!
//! Unknown or broken markup is read as text, so that whatever a page holds counts for something.

use super::word::{self, Word};
use super::{SLOT_BYTES_MAX, Sum};

/// The longest we know, `aria-activedescendant`, has 21; the rest of a longer one is told by its first bytes.
const NAME_BYTES_MAX: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Text,
    /// After `<`.
    Open,
    /// After `<!`, `<!-`: may become a comment.
    Bang(u8),
    /// Inside `<!doctype …>`, `<![CDATA[…`, `<?xml …>`: read as text to the first `>`.
    Declaration,
    /// Dashes seen at its end so far, and an exclamation mark after them.
    Comment {
        dashes: u8,
        bang: bool,
    },
    TagName,
    /// Between attributes.
    Tag,
    AttributeName,
    /// After a name, before `=` or the next.
    AfterName,
    /// After `=`.
    BeforeValue,
    /// Its quote; 0: none.
    Value(u8),
    /// In a script or style: how much of its end tag has been seen.
    Raw(u8),
}

/// What an attribute's value is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Counts,
    Dropped,
    /// Counts unless the rest of the tag says that it is a token.
    Held,
}

#[derive(Debug)]
struct Slot {
    tag: Name,
    depth: u16,
    bytes: usize,
    /// As it was before the slot's tag.
    before: Sum,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Name {
    bytes: [u8; NAME_BYTES_MAX],
    len: usize,
}

impl Name {
    const EMPTY: Self = Self {
        bytes: [0; NAME_BYTES_MAX],
        len: 0,
    };

    fn push(&mut self, byte: u8) {
        if self.len < NAME_BYTES_MAX {
            self.bytes[self.len] = byte.to_ascii_lowercase();
            self.len += 1;
        }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[derive(Debug)]
pub(super) struct Lexer {
    pub(super) sum: Sum,
    at: At,
    /// JSON: no tags, all of it is read as a script.
    code_only: bool,
    word: Word,
    asked_with: Box<[u8]>,
    asked_with_encoded: Box<[u8]>,

    tag: Name,
    closing: bool,
    attribute: Name,
    value_use: Use,
    /// Of the held value.
    held: Option<Sum>,
    /// Of dropped ones.
    nowhere: Sum,
    hidden: bool,
    names_token: bool,
    names_slot: bool,
    /// Before the tag being read.
    before_tag: Option<Sum>,
    slot: Option<Slot>,
}

impl Lexer {
    pub(super) fn new(code_only: bool, asked_with: Option<&[u8]>) -> Self {
        let asked_with = asked_with.unwrap_or_default();
        let encoded: Vec<u8> = asked_with
            .iter()
            .flat_map(|byte| match byte {
                b'=' => b"%3d".as_slice(),
                other => std::slice::from_ref(other),
            })
            .copied()
            .collect();
        Self {
            sum: Sum::new(),
            at: At::Text,
            code_only,
            word: Word::default(),
            asked_with: asked_with.into(),
            asked_with_encoded: encoded.into(),
            tag: Name::EMPTY,
            closing: false,
            attribute: Name::EMPTY,
            value_use: Use::Counts,
            held: None,
            nowhere: Sum::new(),
            hidden: false,
            names_token: false,
            names_slot: false,
            before_tag: None,
            slot: None,
        }
    }

    pub(super) fn push(&mut self, chunk: &[u8]) {
        for byte in chunk {
            if self.code_only {
                self.code_byte(*byte);
                continue;
            }
            self.byte(*byte);
            if let Some(slot) = &mut self.slot {
                slot.bytes += 1;
                if slot.bytes > SLOT_BYTES_MAX {
                    self.slot = None;
                }
            }
        }
    }

    pub(super) fn end(&mut self) {
        match self.at {
            _ if self.code_only => {
                self.end_code_word();
                self.sum.words = self.word.code_words();
            }
            At::Raw(_) => self.end_code_word(),
            At::Value(_) => {
                self.end_code_word();
                self.end_tag();
            }
            At::TagName | At::Tag | At::AttributeName | At::AfterName | At::BeforeValue => {
                self.end_tag();
            }
            At::Text | At::Open | At::Bang(_) | At::Declaration => self.end_text_word(),
            At::Comment { .. } => {}
        }
        self.word.settle(&mut self.sum);
    }

    fn byte(&mut self, byte: u8) {
        match self.at {
            At::Text => match byte {
                b'<' => {
                    self.end_text_word();
                    self.word.settle(&mut self.sum);
                    self.at = At::Open;
                }
                byte => self.text_byte(byte),
            },
            At::Open => self.open(byte),
            At::Bang(dashes) => match (byte, dashes) {
                (b'-', 0) => self.at = At::Bang(1),
                (b'-', _) => {
                    self.at = At::Comment {
                        dashes: 2,
                        bang: false,
                    }
                }
                _ => {
                    self.at = At::Declaration;
                    self.declaration_byte(byte);
                }
            },
            At::Declaration => self.declaration_byte(byte),
            At::Comment { dashes, bang } => {
                self.at = match byte {
                    b'>' if dashes >= 2 => At::Text,
                    b'-' => At::Comment {
                        dashes: if bang { 1 } else { (dashes + 1).min(2) },
                        bang: false,
                    },
                    b'!' if dashes >= 2 && !bang => At::Comment { dashes, bang: true },
                    _ => At::Comment {
                        dashes: 0,
                        bang: false,
                    },
                }
            }
            At::TagName => match byte {
                b'>' => self.end_tag(),
                b'/' => self.at = At::Tag,
                byte if byte.is_ascii_whitespace() => self.at = At::Tag,
                byte => self.tag.push(byte),
            },
            At::Tag | At::AfterName => match byte {
                b'>' => self.end_tag(),
                b'=' if self.at == At::AfterName => self.at = At::BeforeValue,
                b'/' => self.at = At::Tag,
                byte if byte.is_ascii_whitespace() => {}
                byte => {
                    self.attribute = Name::EMPTY;
                    self.attribute.push(byte);
                    self.at = At::AttributeName;
                }
            },
            At::AttributeName => match byte {
                b'>' => self.end_tag(),
                b'=' => self.at = At::BeforeValue,
                b'/' => self.at = At::Tag,
                byte if byte.is_ascii_whitespace() => self.at = At::AfterName,
                byte => self.attribute.push(byte),
            },
            At::BeforeValue => match byte {
                b'>' => self.end_tag(),
                b'"' | b'\'' => self.begin_value(byte),
                byte if byte.is_ascii_whitespace() => {}
                byte => {
                    self.begin_value(0);
                    self.code_byte(byte);
                }
            },
            At::Value(quote) => match byte {
                b'>' if quote == 0 => {
                    self.end_value();
                    self.end_tag();
                }
                byte if byte == quote || quote == 0 && byte.is_ascii_whitespace() => {
                    self.end_value();
                    self.at = At::Tag;
                }
                byte => self.code_byte(byte),
            },
            At::Raw(seen) => self.raw_byte(byte, seen),
        }
    }

    fn open(&mut self, byte: u8) {
        match byte {
            b'!' | b'?' => {
                self.closing = false;
                self.at = if byte == b'!' {
                    At::Bang(0)
                } else {
                    At::Declaration
                };
            }
            b'/' if !self.closing => self.closing = true,
            byte if byte.is_ascii_alphabetic() => {
                self.tag = Name::EMPTY;
                self.tag.push(byte);
                self.hidden = false;
                self.names_token = false;
                self.names_slot = false;
                self.held = None;
                self.before_tag = None;
                self.at = At::TagName;
            }
            // `a < b`, `</>`.
            byte => {
                self.at = At::Text;
                self.closing = false;
                self.text_byte(b'<');
                self.byte(byte);
            }
        }
    }

    fn declaration_byte(&mut self, byte: u8) {
        if byte == b'>' {
            self.end_text_word();
            self.at = At::Text;
        } else {
            self.text_byte(byte);
        }
    }

    fn text_byte(&mut self, byte: u8) {
        if byte.is_ascii_whitespace() {
            self.end_text_word();
        } else {
            self.word.push(byte, &mut self.sum);
        }
    }

    fn end_text_word(&mut self) {
        self.word.end_text(&mut self.sum);
    }

    /// A name is complete once its value begins or the tag ends.
    fn begin_value(&mut self, quote: u8) {
        self.remember_before_tag();
        let attribute = self.attribute.as_bytes();
        self.value_use = match (self.tag.as_bytes(), attribute) {
            (
                _,
                b"id" | b"for" | b"nonce" | b"aria-labelledby" | b"aria-controls"
                | b"aria-describedby" | b"aria-owns" | b"data-cfemail",
            ) => Use::Dropped,
            (b"input", b"value") | (b"meta", b"content") => Use::Held,
            _ if word::names_token(attribute) => Use::Dropped,
            _ => Use::Counts,
        };
        if self.value_use == Use::Counts {
            self.sum.word(b'@', attribute);
        }
        self.word.forget_name();
        self.at = At::Value(quote);
    }

    fn end_value(&mut self) {
        self.end_code_word();
    }

    fn remember_before_tag(&mut self) {
        if self.before_tag.is_none() && word::can_be_slot(self.tag.as_bytes()) && !self.closing {
            self.before_tag = Some(self.sum.clone());
        }
    }

    fn code_byte(&mut self, byte: u8) {
        if word::is_code_delimiter(byte) {
            self.end_code_word();
            self.word.delimiter(byte);
        } else {
            match self.at {
                At::Value(_) if self.value_use == Use::Dropped => {
                    self.word.push(byte, &mut self.nowhere);
                }
                At::Value(_) if self.value_use == Use::Held => {
                    let held = self.held.get_or_insert_with(Sum::new);
                    self.word.push(byte, held);
                }
                _ => self.word.push(byte, &mut self.sum),
            }
        }
    }

    fn end_code_word(&mut self) {
        let in_value = matches!(self.at, At::Value(_));
        if in_value {
            let word = self.word.as_bytes();
            match self.attribute.as_bytes() {
                b"type" => self.hidden |= word.eq_ignore_ascii_case(b"hidden"),
                b"name" | b"property" => self.names_token |= word::names_token(word),
                b"class" | b"id" => self.names_slot |= word::names_slot(word),
                _ => {}
            }
        }
        let asked_with = [&*self.asked_with, &*self.asked_with_encoded];
        match self.value_use {
            Use::Dropped if in_value => self.word.clear(),
            Use::Held if in_value => {
                let held = self.held.get_or_insert_with(Sum::new);
                self.word.end_code(held, asked_with);
            }
            _ => self.word.end_code(&mut self.sum, asked_with),
        }
    }

    fn end_tag(&mut self) {
        self.remember_before_tag();
        let token = match self.tag.as_bytes() {
            b"input" => self.hidden,
            _ => self.names_token,
        };
        if let Some(held) = self.held.take().filter(|_| !token) {
            self.sum.exact(&held.finish().digest.to_le_bytes());
        }
        self.sum
            .word(if self.closing { b'/' } else { b'<' }, self.tag.as_bytes());
        self.slots();
        self.word.forget_name();
        let raw = !self.closing && matches!(self.tag.as_bytes(), b"script" | b"style");
        self.at = if raw { At::Raw(0) } else { At::Text };
        self.closing = false;
    }

    /// Begins and ends what is left out whole.
    fn slots(&mut self) {
        if let Some(slot) = &mut self.slot {
            if slot.tag == self.tag {
                slot.depth = if self.closing {
                    slot.depth.saturating_sub(1)
                } else {
                    slot.depth.saturating_add(1)
                };
            }
        } else if !self.closing
            && (self.names_slot || self.tag.as_bytes() == b"time")
            && let Some(before) = self.before_tag.take()
        {
            self.slot = Some(Slot {
                tag: self.tag,
                depth: 1,
                bytes: 0,
                before,
            });
        }
        if self.slot.as_ref().is_some_and(|slot| slot.depth == 0)
            && let Some(slot) = self.slot.take()
        {
            self.sum = slot.before;
        }
    }

    fn raw_byte(&mut self, byte: u8, seen: u8) {
        let end = if self.tag.as_bytes() == b"script" {
            b"</script".as_slice()
        } else {
            b"</style".as_slice()
        };
        let at = usize::from(seen);
        if at == end.len() && (byte == b'>' || byte == b'/' || byte.is_ascii_whitespace()) {
            // What has been taken for a word was the end tag's name.
            self.word.clear();
            self.closing = true;
            self.at = At::TagName;
            return self.byte(byte);
        }
        let seen = if end.get(at) == Some(&byte.to_ascii_lowercase()) {
            seen + 1
        } else {
            u8::from(byte == b'<')
        };
        self.at = At::Raw(seen);
        self.code_byte(byte);
    }
}
