//! Why somebody was stopped, as he can read it out to the newsroom.
//!
//! Who is told to wait again and again needs somebody to tell, and whom he tells needs to know what happened. Nothing is written down of
//! readers, so there is nothing to look up: what the edge knew when it answered stands in the page, as twenty characters that only this edge can read.
//! There is nothing in it of who it was: no address, no program, no page that was asked for.
//!
//! Eight bytes of what there is to say, encrypted, and four that show they are ours (as in SIV, RFC 5297: the sum of what is said is also what it
//! is encrypted with, so that nothing has to be drawn or remembered; the same said in the same minute is the same code). Four are few
//! for a signature and enough here: whoever guesses one in four billion has told the newsroom something that is not so.

use saqta_detect::facts::Class;
use saqta_detect::watch::Posture;

use super::keys::{Keys, MESSAGE_BYTES};
use super::token::{Kind, SiteMark, message};
use crate::clock::UnixMillis;

const SAID_BYTES: usize = 8;
const SUM_BYTES: usize = 4;
const CODE_BYTES: usize = SUM_BYTES + SAID_BYTES;
/// 96 bits, five to a character, and four bits that are always zero.
const CHARS: usize = 20;
/// Nobody confuses these with each other (Crockford's base 32).
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Minutes are counted from 1 January 2026: 24 bits last until 2057.
const EPOCH_S: u64 = 1_767_225_600;

/// What a reader was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Shown {
    Waiting,
    /// Too many passwords or comments came from there.
    TooMany,
    /// A form that was not taken.
    NotTaken,
}

impl Shown {
    const ALL: [Self; 3] = [Self::Waiting, Self::TooMany, Self::NotTaken];
}

/// What the edge knew of a request that it stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reasons {
    /// Since 1970, to the minute.
    pub at_s: u64,
    /// Of which site, by [`site`].
    pub site: u8,
    pub shown: Shown,
    pub class: Class,
    pub posture: Posture,
    /// He waits, and his ticket's time is not over.
    pub has_ticket: bool,
    /// What he came with is worth nothing any more.
    pub came_with_pass: bool,
    /// The lowest sixteen bits of the number of the rule that hit him.
    pub rule: Option<u16>,
}

/// A number for a site's name.
pub fn site(mark: SiteMark) -> u8 {
    use std::hash::Hasher as _;
    let mut hasher = siphasher::sip::SipHasher13::new();
    mark.write(&mut hasher);
    hasher.finish() as u8
}

const POSTURES: [Posture; 3] = [Posture::Calm, Posture::Guarded, Posture::UnderAttack];

impl Reasons {
    fn said(&self) -> [u8; SAID_BYTES] {
        let minute = (self.at_s.saturating_sub(EPOCH_S) / 60) as u32;
        let [_, m0, m1, m2] = minute.to_be_bytes();
        let posture = POSTURES.iter().position(|one| *one == self.posture);
        let flags = u8::from(self.has_ticket)
            | u8::from(self.came_with_pass) << 1
            | u8::from(self.rule.is_some()) << 2
            | (posture.unwrap_or_default() as u8) << 3;
        let [r0, r1] = self.rule.unwrap_or_default().to_be_bytes();
        let what = (self.shown as u8) << 4 | self.class.index() as u8;
        [m0, m1, m2, self.site, what, flags, r0, r1]
    }

    fn read([m0, m1, m2, site, what, flags, r0, r1]: [u8; SAID_BYTES]) -> Option<Self> {
        let minute = u32::from_be_bytes([0, m0, m1, m2]);
        Some(Self {
            at_s: EPOCH_S + u64::from(minute) * 60,
            site,
            shown: *Shown::ALL.get(usize::from(what >> 4))?,
            class: *Class::ALL.get(usize::from(what & 15))?,
            posture: *POSTURES.get(usize::from(flags >> 3))?,
            has_ticket: flags & 1 != 0,
            came_with_pass: flags & 2 != 0,
            rule: (flags & 4 != 0).then_some(u16::from_be_bytes([r0, r1])),
        })
    }
}

/// What is summed up, and what is encrypted with: of one length with all that is signed.
fn part(kind: Kind, bytes: &[u8], week: u8) -> [u8; MESSAGE_BYTES] {
    let mut said = [0; 19];
    said[..bytes.len()].copy_from_slice(bytes);
    message(kind, SiteMark::OF_ALL, week, &said)
}

/// As it stands in the page: four groups of five.
pub(super) fn seal(keys: &Keys, reasons: &Reasons) -> String {
    let said = reasons.said();
    let (week, sum) = keys.sum(|week| part(Kind::Code, &said, week));
    let stream = keys.sum_again(week, &part(Kind::CodeStream, &sum[..SUM_BYTES], week));
    let stream = stream.unwrap_or_default();
    let mut bits: u128 = 0;
    let sealed = sum[..SUM_BYTES]
        .iter()
        .copied()
        .chain(said.iter().zip(stream).map(|(said, key)| said ^ key));
    for byte in sealed {
        bits = bits << 8 | u128::from(byte);
    }
    bits <<= CHARS * 5 - CODE_BYTES * 8;
    let mut text = String::with_capacity(CHARS + 3);
    for at in 0..CHARS {
        if at > 0 && at % 5 == 0 {
            text.push('-');
        }
        let place = bits >> (5 * (CHARS - 1 - at)) & 31;
        text.push(char::from(ALPHABET[place as usize]));
    }
    text
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    #[error("a code has {CHARS} letters and digits, and this has {0}: ask for it again")]
    Length(usize),
    #[error("no code has the character {0:?}: ask for it again")]
    Character(char),
    #[error(
        "this is no code of this Saqta: a character may be wrong, it may be older than thirteen weeks, or of another Saqta or another data folder"
    )]
    NotOurs,
}

/// However it was read out: in small letters, with other signs between, with O for 0 and I or L for 1.
pub(super) fn open(keys: &Keys, text: &str) -> Result<Reasons, CodeError> {
    let mut bits: u128 = 0;
    let mut chars = 0;
    for char in text.chars() {
        let value = match char.to_ascii_uppercase() {
            '-' | '–' | '—' | '.' | ' ' | '\t' | '\n' | '\r' => continue,
            'O' => 0,
            'I' | 'L' => 1,
            letter => ALPHABET
                .iter()
                .position(|one| char::from(*one) == letter)
                .ok_or(CodeError::Character(char))?,
        };
        chars += 1;
        if chars <= CHARS {
            bits = bits << 5 | value as u128;
        }
    }
    if chars != CHARS {
        return Err(CodeError::Length(chars));
    }
    let spare = CHARS * 5 - CODE_BYTES * 8;
    if bits & ((1 << spare) - 1) != 0 {
        return Err(CodeError::NotOurs);
    }
    let sealed = (bits >> spare).to_be_bytes();
    let sealed = &sealed[sealed.len() - CODE_BYTES..];
    let (shown_sum, hidden) = sealed.split_at(SUM_BYTES);
    let with = |week: u8| {
        let stream = keys.sum_again(week, &part(Kind::CodeStream, shown_sum, week))?;
        let mut said = [0; SAID_BYTES];
        for (said, (hidden, key)) in said.iter_mut().zip(hidden.iter().zip(stream)) {
            *said = hidden ^ key;
        }
        let sum = keys.sum_again(week, &part(Kind::Code, &said, week))?;
        (sum[..SUM_BYTES] == *shown_sum).then_some(said)
    };
    let said = keys.names().into_iter().find_map(with);
    said.and_then(Reasons::read).ok_or(CodeError::NotOurs)
}

/// To the minute, as a code has it.
pub(super) fn minute_of(now: UnixMillis) -> u64 {
    now.secs() / 60 * 60
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::token::tests::{NOW, later, site as a_site};
    use super::*;

    fn reasons() -> Reasons {
        Reasons {
            at_s: minute_of(UnixMillis(1_796_000_000_000)),
            site: site(a_site()),
            shown: Shown::Waiting,
            class: Class::Signature,
            posture: Posture::UnderAttack,
            has_ticket: true,
            came_with_pass: false,
            rule: Some(0xbeef),
        }
    }

    #[test]
    fn a_code_is_read_however_it_was_read_out() {
        let keys = Keys::new(NOW);
        let code = seal(&keys, &reasons());
        assert_eq!(code.len(), 23, "{code}");
        assert!(code.split('-').all(|group| group.len() == 5), "{code}");
        let spoken = code
            .to_lowercase()
            .replace('-', " ")
            .replace('0', "o")
            .replace('1', "l");
        for text in [
            code.as_str(),
            &spoken,
            &format!("  {}\n", code.replace('-', "")),
        ] {
            assert_eq!(open(&keys, text), Ok(reasons()), "{text}");
        }
        // A code of last month's key is read as long as the key is kept.
        keys.turn(later(30 * 86_400));
        assert_eq!(open(&keys, &code), Ok(reasons()));
        assert_eq!(open(&Keys::new(NOW), &code), Err(CodeError::NotOurs));
    }

    #[test]
    fn what_is_no_code_says_what_to_do() {
        let keys = Keys::new(NOW);
        let code = seal(&keys, &reasons());
        assert_eq!(open(&keys, ""), Err(CodeError::Length(0)));
        assert_eq!(open(&keys, &code[1..]), Err(CodeError::Length(19)));
        assert_eq!(
            open(&keys, &"A".repeat(5_000)),
            Err(CodeError::Length(5_000))
        );
        assert_eq!(open(&keys, "ABCDE-FGHU"), Err(CodeError::Character('U')));
        assert_eq!(open(&keys, "Ж"), Err(CodeError::Character('Ж')));
        for at in 0..code.len() {
            let mut touched = code.clone().into_bytes();
            if touched[at] == b'-' {
                continue;
            }
            touched[at] = if touched[at] == b'7' { b'8' } else { b'7' };
            let touched = String::from_utf8(touched).unwrap();
            assert_eq!(open(&keys, &touched), Err(CodeError::NotOurs), "{touched}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_said_comes_back(
            minutes in 0_u64..1 << 24, site in any::<u8>(), shown in 0_usize..3, class in 0_usize..6, posture in 0_usize..3,
            has_ticket in any::<bool>(), came_with_pass in any::<bool>(), rule in any::<Option<u16>>(),
        ) {
            let keys = Keys::new(NOW);
            let reasons = Reasons {
                at_s: EPOCH_S + minutes * 60, site, shown: Shown::ALL[shown], class: Class::ALL[class],
                posture: POSTURES[posture], has_ticket, came_with_pass, rule,
            };
            prop_assert_eq!(open(&keys, &seal(&keys, &reasons)), Ok(reasons));
        }

        #[test]
        fn whatever_is_typed_is_no_panic(text in ".{0,60}") {
            _ = open(&Keys::new(NOW), &text);
        }
    }
}
