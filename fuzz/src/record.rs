//! A record, as it comes in somebody's bundle: what is read has one form, and nothing that is withheld changes what it is.

use saqta_evidence::record::Record;

pub fn check(input: &[u8]) {
    let Ok(record) = Record::parse(input) else {
        return;
    };
    assert_eq!(record.to_json().as_bytes(), input);
    let names: Vec<&str> = record.fields().map(|(name, _)| name).collect();
    let less = record.without(&names);
    assert_eq!(less.leaf(), record.leaf());
    assert_eq!(Record::parse(less.to_json().as_bytes()), Ok(less));
}
