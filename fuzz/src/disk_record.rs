//! Records on disk: whatever a disk gives back, it is the record that was written or it is none.

use bytes::Bytes;
use saqta_edge::disk::record::{self, PRELUDE_BYTES, Record, Seal};

/// The bytes as a file; and again as the head and, from the first `|` on, the body of a file whose sums are right, so that
/// what reads a head is reached.
pub fn check(input: &[u8]) {
    let seal = Seal::new(*b"sixteen of these");
    let file = Bytes::copy_from_slice(input);
    if let Ok(record) = record::decode(seal, &file) {
        is_the_same_again(seal, &record);
    }
    let cut = input.iter().position(|byte| *byte == b'|');
    let (head, body) = input.split_at(cut.unwrap_or(input.len()));
    let Some(mut file) = record::frame(seal, head, body) else {
        return;
    };
    file.extend_from_slice(body);
    let start = Bytes::copy_from_slice(&file[..PRELUDE_BYTES + head.len()]);
    let alone = record::decode_head(seal, &start, file.len() as u64);
    let whole = record::decode(seal, &Bytes::copy_from_slice(&file));
    match (alone, whole) {
        (Ok(mut alone), Ok(whole)) => {
            assert_eq!(whole.response.body, body);
            alone.response.body = whole.response.body.clone();
            assert_eq!(alone, whole, "a head read alone says something else");
            is_the_same_again(seal, &whole);
        }
        (alone, whole) => assert_eq!(alone.err(), whole.err()),
    }
    // The place of the flip is as good as any the fuzzer could choose.
    let at = seal.sum(&[input]) as usize % file.len();
    file[at] ^= 1 << (seal.sum(&[input, b"bit"]) % 8);
    assert!(
        record::decode(seal, &Bytes::from(file)).is_err(),
        "a flipped bit at {at} passed"
    );
}

fn is_the_same_again(seal: Seal, record: &Record) {
    let page = record.address.as_identity();
    let Some(mut file) = record::encode(seal, &page, &record.response, &record.note) else {
        return;
    };
    file.extend_from_slice(&record.response.body);
    assert_eq!(
        record::decode(seal, &Bytes::from(file)).as_ref(),
        Ok(record)
    );
}
