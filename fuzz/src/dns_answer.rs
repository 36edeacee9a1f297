//! A resolver's answer: whatever is in it, no more is believed than was asked for, and a name is one that can be asked for in turn.

use saqta_edge::lanes::dns::{self, Answer, AnswerFault, Kind, MESSAGE_BYTES_MAX, Name};

/// As [`dns`] bounds them.
const RECORDS_MAX: usize = 32;
const NAME_CHARS_MAX: usize = 253;

/// The first byte says what was asked for, the next three are of the answer's head, the rest its records. The same bytes are also a whole
/// answer of a resolver that has gone mad.
pub fn check(input: &[u8]) {
    let Some((head, records)) = input.split_first_chunk::<4>() else {
        return;
    };
    let kind = [Kind::Ptr, Kind::A, Kind::Aaaa][usize::from(head[0] % 3)];
    let name = Name::of_address([192, 0, 2, 7].into());
    let mut message = dns::question(7, &name, kind);
    message[2] = head[1];
    message[3] = head[2];
    message[7] = head[3];
    message.extend_from_slice(records);
    message.truncate(MESSAGE_BYTES_MAX);
    for message in [message.as_slice(), input] {
        if let Ok(answer) = dns::answer(message, 7, &name, kind) {
            hold(&answer, kind);
        }
    }
}

fn hold(answer: &Answer, kind: Kind) {
    assert!(answer.names.len() + answer.addresses.len() <= RECORDS_MAX);
    assert!(answer.names.is_empty() || kind == Kind::Ptr);
    let is_asked_for = |address: &std::net::IpAddr| match kind {
        Kind::A => address.is_ipv4(),
        Kind::Aaaa => address.is_ipv6(),
        Kind::Ptr | Kind::Alias => false,
    };
    assert!(answer.addresses.iter().all(is_asked_for));
    for name in &answer.names {
        let text = name.as_str();
        assert!((1..=NAME_CHARS_MAX).contains(&text.len()), "{text}");
        assert!(
            !text
                .bytes()
                .any(|byte| byte.is_ascii_uppercase() || byte <= b' ')
        );
        let mut echo = dns::question(9, name, Kind::A);
        assert_eq!(
            dns::answer(&echo, 9, name, Kind::A),
            Err(AnswerFault::Another)
        );
        echo[2] |= 0x80;
        assert_eq!(
            dns::answer(&echo, 9, name, Kind::A),
            Ok(Answer::default()),
            "{text}"
        );
    }
}
