//! What the ledger is about: a list of fields, of which each can be shown or withheld on its own, and whose hash tells nothing.
//!
//! The leaf of a record is a keyed hash of a statement; the statement has, instead of the fields' values, a keyed hash of each. All the keys
//! are drawn for this record and lie in it. So who has the leaf alone learns nothing, even if he guesses what the record says; and who is given
//! a record with some of its fields taken out still finds the same leaf.
//!
//! What is hashed is JSON in the one form that RFC 8785 allows, of which we take the part that all implementations agree on: no fractions,
//! no number beyond 2^53, names of fields in ASCII.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Map, Value, json};
use sha2::Sha256;

/// Of one in JSON with its keys: what the ledger's entries hold.
pub const RECORD_BYTES_MAX: usize = 48 * 1024;
const FIELDS_MAX: usize = 64;
/// Lists in lists: what anybody would write, and no stack runs out.
const DEPTH_MAX: usize = 16;
const NAME_BYTES_MAX: usize = 64;
/// Beyond it a number is another one in JavaScript.
const NUMBER_MAX: u64 = 1 << 53;

const OF_RECORD: &[u8] = b"saqta.record.v1\0";
const OF_FIELD: &[u8] = b"saqta.field.v1\0";

type Salt = [u8; 32];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    kind: String,
    salt: Salt,
    fields: BTreeMap<String, Field>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Field {
    Shown {
        salt: Salt,
        value: Value,
    },
    /// Its keyed hash.
    Withheld([u8; 32]),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    #[error("a record has up to {RECORD_BYTES_MAX} bytes; this one has {bytes}")]
    TooLong { bytes: usize },
    #[error("it is not JSON: {why}")]
    NotJson { why: String },
    #[error(
        "it is not in the one form that a record is written in: something was added or rewritten"
    )]
    OtherForm,
    #[error("`{place}` is missing or not what a record has there")]
    Shape { place: String },
    #[error("a record has up to {FIELDS_MAX} fields")]
    TooManyFields,
    #[error("{name:?} is no name of a field: small letters, digits and _, up to {NAME_BYTES_MAX}")]
    Name { name: String },
    #[error(
        "`{place}` has a value that is written in more than one way: a fraction, a number beyond 2^53, a name that is not ASCII, or lists more than {DEPTH_MAX} deep"
    )]
    Ambiguous { place: String },
}

impl Record {
    /// `draw` fills with what nobody can guess.
    ///
    /// # Errors
    /// [`RecordFault`].
    pub fn new<'a>(
        kind: &str,
        fields: impl IntoIterator<Item = (&'a str, Value)>,
        mut draw: impl FnMut(&mut [u8]),
    ) -> Result<Self, RecordFault> {
        let mut drawn = || {
            let mut salt = [0; 32];
            draw(&mut salt);
            salt
        };
        let shown = fields.into_iter().map(|(name, value)| {
            let salt = drawn();
            (name.to_owned(), Field::Shown { salt, value })
        });
        let fields = shown.collect();
        let record = Self {
            kind: kind.to_owned(),
            salt: drawn(),
            fields,
        };
        record.hold()?;
        Ok(record)
    }

    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// `None`: it has none, or it is withheld.
    pub fn value(&self, name: &str) -> Option<&Value> {
        match self.fields.get(name)? {
            Field::Shown { value, .. } => Some(value),
            Field::Withheld(_) => None,
        }
    }

    /// Names of fields, and whether each is shown.
    pub fn fields(&self) -> impl Iterator<Item = (&str, bool)> {
        let fields = self.fields.iter();
        fields.map(|(name, field)| (name.as_str(), matches!(field, Field::Shown { .. })))
    }

    /// The same record without the values of these fields, and with the same leaf.
    #[must_use]
    pub fn without(&self, names: &[&str]) -> Self {
        let mut less = self.clone();
        for name in names {
            if let Some(field) = less.fields.get_mut(*name) {
                *field = Field::Withheld(field.commitment(name));
            }
        }
        less
    }

    pub fn leaf(&self) -> [u8; 32] {
        let commitments: Map<String, Value> = self
            .fields
            .iter()
            .map(|(name, field)| (name.clone(), Value::String(hex(&field.commitment(name)))))
            .collect();
        let statement = json!({ "fields": commitments, "kind": self.kind, "v": 1 });
        keyed(&self.salt, &[OF_RECORD, canonical(&statement).as_bytes()])
    }

    /// With all keys of what it shows: to be sealed, or to be given to somebody who may know.
    pub fn to_json(&self) -> String {
        let fields: Map<String, Value> = self
            .fields
            .iter()
            .map(|(name, field)| {
                let field = match field {
                    Field::Shown { salt, value } => json!({ "salt": hex(salt), "value": value }),
                    Field::Withheld(commitment) => json!({ "withheld": hex(commitment) }),
                };
                (name.clone(), field)
            })
            .collect();
        let all = json!({ "fields": fields, "kind": self.kind, "salt": hex(&self.salt), "v": 1 });
        canonical(&all)
    }

    /// Reads what [`Record::to_json`] writes.
    ///
    /// # Errors
    /// [`RecordFault`].
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordFault> {
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(RecordFault::TooLong { bytes: bytes.len() });
        }
        let all: Value = serde_json::from_slice(bytes).map_err(|error| RecordFault::NotJson {
            why: error.to_string(),
        })?;
        let shape = |place: &str| RecordFault::Shape {
            place: place.to_owned(),
        };
        let has_only = |object: &Map<String, Value>, names: &[&str]| {
            object.len() == names.len() && names.iter().all(|name| object.contains_key(*name))
        };
        let object = all.as_object().ok_or_else(|| shape("the whole"))?;
        if !has_only(object, &["v", "kind", "salt", "fields"]) || object["v"] != 1 {
            return Err(shape("v"));
        }
        let kind = object["kind"].as_str().ok_or_else(|| shape("kind"))?;
        let salt = unhex(&object["salt"]).ok_or_else(|| shape("salt"))?;
        let listed = object["fields"]
            .as_object()
            .ok_or_else(|| shape("fields"))?;
        let mut fields = BTreeMap::new();
        for (name, field) in listed {
            let place = || shape(&format!("fields.{name}"));
            let object = field.as_object().ok_or_else(place)?;
            let field = if has_only(object, &["salt", "value"]) {
                Field::Shown {
                    salt: unhex(&object["salt"]).ok_or_else(place)?,
                    value: object["value"].clone(),
                }
            } else if has_only(object, &["withheld"]) {
                Field::Withheld(unhex(&object["withheld"]).ok_or_else(place)?)
            } else {
                return Err(place());
            };
            fields.insert(name.clone(), field);
        }
        let record = Self {
            kind: kind.to_owned(),
            salt,
            fields,
        };
        record.hold()?;
        // A name that stands there twice, a space, another spelling of a letter: whoever reads it otherwise would see another record.
        if record.to_json().as_bytes() != bytes {
            return Err(RecordFault::OtherForm);
        }
        Ok(record)
    }

    fn hold(&self) -> Result<(), RecordFault> {
        if self.fields.len() > FIELDS_MAX {
            return Err(RecordFault::TooManyFields);
        }
        for name in self.fields.keys().chain([&self.kind]) {
            let fits =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            let is_name = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(fits);
            if !is_name {
                return Err(RecordFault::Name { name: name.clone() });
            }
        }
        for (name, field) in &self.fields {
            if let Field::Shown { value, .. } = field
                && !is_plain(value, DEPTH_MAX)
            {
                return Err(RecordFault::Ambiguous {
                    place: format!("fields.{name}"),
                });
            }
        }
        let bytes = self.to_json().len();
        if bytes > RECORD_BYTES_MAX {
            return Err(RecordFault::TooLong { bytes });
        }
        Ok(())
    }
}

impl Field {
    fn commitment(&self, name: &str) -> [u8; 32] {
        match self {
            Self::Withheld(commitment) => *commitment,
            Self::Shown { salt, value } => {
                let value = canonical(value);
                keyed(salt, &[OF_FIELD, name.as_bytes(), b"\0", value.as_bytes()])
            }
        }
    }
}

fn keyed(key: &Salt, parts: &[&[u8]]) -> [u8; 32] {
    // Of SHA-256's block: the keyed hash fills a shorter key with zeros as well.
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let mut mac = Hmac::<Sha256>::new(&block.into());
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn is_plain(value: &Value, depth: usize) -> bool {
    if depth == 0 {
        return false;
    }
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => true,
        Value::Number(number) => {
            let of_i64 = number.as_i64().map(i64::unsigned_abs);
            of_i64.is_some_and(|number| number <= NUMBER_MAX)
        }
        Value::Array(values) => values.iter().all(|value| is_plain(value, depth - 1)),
        Value::Object(object) => object
            .iter()
            .all(|(name, value)| name.is_ascii() && is_plain(value, depth - 1)),
    }
}

/// RFC 8785, of what [`is_plain`] lets through.
fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Null => text.push_str("null"),
        // Writing to a text cannot fail.
        Value::Bool(is) => _ = write!(text, "{is}"),
        Value::Number(number) => _ = write!(text, "{number}"),
        Value::String(string) => write_string(string, text),
        Value::Array(values) => {
            text.push('[');
            for (n, value) in values.iter().enumerate() {
                if n > 0 {
                    text.push(',');
                }
                write(value, text);
            }
            text.push(']');
        }
        Value::Object(object) => {
            // Sorted here: whether the map is, its maker's features say. Of ASCII, bytes are in the order that RFC 8785 wants.
            let mut names: Vec<&String> = object.keys().collect();
            names.sort();
            text.push('{');
            for (n, name) in names.into_iter().enumerate() {
                if n > 0 {
                    text.push(',');
                }
                write_string(name, text);
                text.push(':');
                write(&object[name], text);
            }
            text.push('}');
        }
    }
}

fn write_string(string: &str, text: &mut String) {
    text.push('"');
    for c in string.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\u{8}' => text.push_str("\\b"),
            '\t' => text.push_str("\\t"),
            '\n' => text.push_str("\\n"),
            '\u{c}' => text.push_str("\\f"),
            '\r' => text.push_str("\\r"),
            c if c < ' ' => _ = write!(text, "\\u{:04x}", u32::from(c)),
            c => text.push(c),
        }
    }
    text.push('"');
}

fn hex(bytes: &[u8; 32]) -> String {
    let mut text = String::with_capacity(64);
    for byte in bytes {
        _ = write!(text, "{byte:02x}");
    }
    text
}

/// Small letters alone: one way to write it.
fn unhex(value: &Value) -> Option<[u8; 32]> {
    let digits = value.as_str()?.as_bytes();
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 32];
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = value(*high)? << 4 | value(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Counts up, so that each salt is another one.
    fn draw() -> impl FnMut(&mut [u8]) {
        let mut n = 0;
        move |bytes| {
            n += 1;
            bytes.fill(n);
        }
    }

    fn incident() -> Record {
        let fields = [
            ("site", json!("Жаңалық")),
            ("onset", json!(1_795_000_000_u64)),
            ("drill", json!(true)),
            (
                "rules",
                json!([{ "says": "a \"search\" for \u{1}1", "share": -3 }]),
            ),
        ];
        Record::new("incident", fields, draw()).unwrap()
    }

    /// Worked out beside us by a program of twenty lines in Python, so that a change of the form is noticed.
    #[test]
    fn the_leaf_is_what_others_find() {
        let expected = include_str!("record/leaf_of_the_test.txt").trim();
        assert_eq!(hex(&incident().leaf()), expected);
    }

    #[test]
    fn what_is_withheld_changes_no_leaf_and_says_nothing() {
        let whole = incident();
        let all: Vec<&str> = whole.fields().map(|(name, _)| name).collect();
        for names in [&all[..1], &all[1..3], &all[..]] {
            let less = whole.without(names);
            assert_eq!(less.leaf(), whole.leaf());
            for name in names {
                assert_eq!(less.value(name), None);
            }
            let read = Record::parse(less.to_json().as_bytes()).unwrap();
            assert_eq!(read, less);
            assert_eq!(read.leaf(), whole.leaf());
        }
        assert!(!whole.without(&["site"]).to_json().contains("Жаңалық"));
        assert_eq!(whole.value("drill"), Some(&json!(true)));
        assert_eq!(whole.without(&["no such field"]), whole);
    }

    #[test]
    fn whatever_is_changed_is_another_leaf() {
        let whole = incident();
        let text = whole.to_json();
        for at in 0..text.len() {
            for with in *b"0a9{\"" {
                let mut changed = text.clone().into_bytes();
                if changed[at] == with {
                    continue;
                }
                changed[at] = with;
                if let Ok(read) = Record::parse(&changed) {
                    assert_ne!(read.leaf(), whole.leaf(), "byte {at}");
                }
            }
        }
        // The same fields under other keys: nobody can tell that it is the same.
        let other = Record::new("incident", [("site", json!("a"))], |salt| salt.fill(1)).unwrap();
        let again = Record::new("incident", [("site", json!("a"))], |salt| salt.fill(2)).unwrap();
        assert_ne!(other.leaf(), again.leaf());
    }

    #[test]
    fn what_can_be_written_in_two_ways_is_not_taken() {
        let long = json!("x".repeat(RECORD_BYTES_MAX));
        let deep = (0..DEPTH_MAX).fold(json!(1), |inner, _| json!([inner]));
        let ambiguous = |place: &str| RecordFault::Ambiguous {
            place: place.to_owned(),
        };
        for value in [
            json!(1.5),
            json!(1e300),
            json!(NUMBER_MAX + 1),
            json!({ "ё": 1 }),
            deep,
        ] {
            let made = Record::new("incident", [("a", value)], draw());
            assert_eq!(made, Err(ambiguous("fields.a")));
        }
        for value in [
            json!(NUMBER_MAX),
            json!(-(NUMBER_MAX as i64)),
            json!({ "a": ["ё", null] }),
        ] {
            assert!(Record::new("incident", [("a", value)], draw()).is_ok());
        }
        let made = Record::new("incident", [("a", long)], draw());
        assert!(matches!(made, Err(RecordFault::TooLong { .. })));
        for name in ["", "A", "a b", "ё", &"a".repeat(NAME_BYTES_MAX + 1)] {
            let made = Record::new("incident", [(name, json!(1))], draw());
            assert_eq!(
                made,
                Err(RecordFault::Name {
                    name: name.to_owned()
                })
            );
        }
        let names: Vec<String> = (0..=FIELDS_MAX).map(|n| format!("f{n}")).collect();
        let made = Record::new(
            "incident",
            names.iter().map(|name| (name.as_str(), json!(1))),
            draw(),
        );
        assert_eq!(made, Err(RecordFault::TooManyFields));
    }

    #[test]
    fn what_is_no_record_says_where() {
        let salt = "0".repeat(64);
        let shape = |place: &str| RecordFault::Shape {
            place: place.to_owned(),
        };
        let table = [
            ("[]".to_owned(), shape("the whole")),
            ("{}".to_owned(), shape("v")),
            (
                format!(r#"{{"v":2,"kind":"a","salt":"{salt}","fields":{{}}}}"#),
                shape("v"),
            ),
            (
                format!(r#"{{"v":1,"kind":1,"salt":"{salt}","fields":{{}}}}"#),
                shape("kind"),
            ),
            (
                r#"{"v":1,"kind":"a","salt":"0","fields":{}}"#.to_owned(),
                shape("salt"),
            ),
            (
                format!(
                    r#"{{"v":1,"kind":"a","salt":"{}","fields":{{}}}}"#,
                    "A".repeat(64)
                ),
                shape("salt"),
            ),
            (
                format!(r#"{{"v":1,"kind":"a","salt":"{salt}","fields":[]}}"#),
                shape("fields"),
            ),
            (
                format!(r#"{{"v":1,"kind":"a","salt":"{salt}","fields":{{"a":{{"value":1}}}}}}"#),
                shape("fields.a"),
            ),
            (
                format!(r#"{{"v":1,"kind":"a","salt":"{salt}","fields":{{}},"more":1}}"#),
                shape("v"),
            ),
        ];
        for (text, expected) in table {
            assert_eq!(Record::parse(text.as_bytes()), Err(expected), "{text}");
        }
        assert!(matches!(
            Record::parse(b"{"),
            Err(RecordFault::NotJson { .. })
        ));
        let good = incident().to_json();
        let withheld = format!("\"site\":{{\"withheld\":\"{salt}\"}},");
        for other in [
            format!("{good} "),
            good.replace(':', ": "),
            good.replace('Ж', "\\u0416"),
            good.replace("\"site\"", &format!("{withheld}\"site\"")),
        ] {
            let read = Record::parse(other.as_bytes());
            assert_eq!(read, Err(RecordFault::OtherForm), "{other}");
        }
        let long = vec![b' '; RECORD_BYTES_MAX + 1];
        assert!(matches!(
            Record::parse(&long),
            Err(RecordFault::TooLong { .. })
        ));
    }

    proptest! {
        #[test]
        fn what_is_made_is_read_back(texts in proptest::collection::vec("\\PC{0,20}", 0..10), number in -9_000_000_000_000_000_i64..9_000_000_000_000_000) {
            let value = json!({ "texts": texts, "number": number });
            let record = Record::new("incident", [("a", value)], draw()).unwrap();
            let read = Record::parse(record.to_json().as_bytes()).unwrap();
            prop_assert_eq!(read.leaf(), record.leaf());
            prop_assert_eq!(read, record);
        }

        #[test]
        fn no_text_is_a_panic(text in "\\PC{0,200}") {
            _ = Record::parse(text.as_bytes());
        }
    }
}
