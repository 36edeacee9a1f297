//! Whom to trust, as whoever checks says it: C2SP's `tlog-policy`. Which logs, and which of the witnesses have to have seen a checkpoint.

use std::collections::HashMap;

use crate::note::{KeyFault, Kind, Note, Signed, VerifierKey};

pub const POLICY_BYTES_MAX: u64 = 256 * 1024;
/// The specification wants thirty-two of each.
const LINES_MAX: usize = 1_024;

#[derive(Debug, Clone)]
pub struct Policy {
    logs: Vec<VerifierKey>,
    /// Each by its number, witnesses and groups alike.
    members: Vec<Member>,
    quorum: Option<usize>,
}

#[derive(Debug, Clone)]
enum Member {
    Witness(VerifierKey),
    Group { least: usize, of: Vec<usize> },
}

/// What a note has to show for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trusted {
    pub log: VerifierKey,
    /// Those who have seen it, and when.
    pub witnesses: Vec<(String, u64)>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyFault {
    #[error("line {line}: {what}")]
    Line { line: usize, what: &'static str },
    #[error("line {line}: the key cannot be read: {fault}")]
    Key { line: usize, fault: KeyFault },
    #[error("it has no line `quorum`; `quorum none` asks for no witness")]
    NoQuorum,
    #[error("it has more than {LINES_MAX} lines")]
    TooLong,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    #[error("it is signed by none of the logs you trust")]
    Log,
    #[error("a signature of a log you trust is wrong")]
    WrongLog,
    #[error("a signature of a witness you trust is wrong")]
    WrongWitness,
    #[error("fewer of the witnesses you trust have seen it than you ask for")]
    Quorum,
}

impl Policy {
    /// # Errors
    /// [`PolicyFault`].
    pub fn parse(text: &str) -> Result<Self, PolicyFault> {
        let mut policy = Self {
            logs: Vec::new(),
            members: Vec::new(),
            quorum: None,
        };
        let mut names: HashMap<&str, usize> = HashMap::new();
        let mut in_groups: Vec<usize> = Vec::new();
        let mut has_quorum = false;
        for (n, whole) in text.lines().enumerate() {
            let line = n + 1;
            if n == LINES_MAX {
                return Err(PolicyFault::TooLong);
            }
            let fault = |what| PolicyFault::Line { line, what };
            let mut words = whole.split([' ', '\t']).filter(|word| !word.is_empty());
            let Some(first) = words.next().filter(|word| !word.starts_with('#')) else {
                continue;
            };
            let words: Vec<&str> = words.collect();
            let key = |text: &str, kind: Kind| {
                let key =
                    VerifierKey::parse(text).map_err(|fault| PolicyFault::Key { line, fault })?;
                let is_kind = key.kind() == kind;
                let what = "a log's key is one that signs notes, a witness's one that cosigns";
                is_kind.then_some(key).ok_or(fault(what))
            };
            match (first, words.as_slice()) {
                ("log", [vkey] | [vkey, _]) => {
                    let key = key(vkey, Kind::Log)?;
                    if policy.logs.iter().any(|other| other.is_same_key(&key)) {
                        return Err(fault("this log stands there twice"));
                    }
                    policy.logs.push(key);
                }
                ("witness", [name, vkey] | [name, vkey, _]) => {
                    let key = key(vkey, Kind::Witness)?;
                    let is_same = |member: &Member| match member {
                        Member::Witness(other) => other.is_same_key(&key),
                        Member::Group { .. } => false,
                    };
                    if policy.members.iter().any(is_same) {
                        return Err(fault("this witness stands there twice"));
                    }
                    policy.members.push(Member::Witness(key));
                    if *name == "none" || names.insert(name, policy.members.len() - 1).is_some() {
                        return Err(fault("this name stands for something else"));
                    }
                }
                ("group", [name, least, of @ ..]) => {
                    let mut members = Vec::new();
                    for member in of {
                        let member = names.get(member);
                        let number = *member.ok_or(fault("a member is not named before"))?;
                        if in_groups.contains(&number) {
                            return Err(fault("a member stands in two groups"));
                        }
                        in_groups.push(number);
                        members.push(number);
                    }
                    let least = match *least {
                        "any" => 1,
                        "all" => members.len(),
                        number => number.parse().unwrap_or(0),
                    };
                    if !(1..=members.len()).contains(&least) {
                        return Err(fault(
                            "a group asks for `any`, `all`, or a number of its members",
                        ));
                    }
                    policy.members.push(Member::Group { least, of: members });
                    if *name == "none" || names.insert(name, policy.members.len() - 1).is_some() {
                        return Err(fault("this name stands for something else"));
                    }
                }
                ("quorum", [name]) => {
                    if has_quorum {
                        return Err(fault("there is one `quorum`"));
                    }
                    has_quorum = true;
                    policy.quorum = match *name {
                        "none" => None,
                        name => {
                            let number = names.get(name);
                            Some(*number.ok_or(fault("the quorum is not named before"))?)
                        }
                    };
                }
                _ => {
                    return Err(fault(
                        "it is none of `log KEY`, `witness NAME KEY`, `group NAME any|all|N NAME…`, `quorum NAME`",
                    ));
                }
            }
        }
        has_quorum.then_some(policy).ok_or(PolicyFault::NoQuorum)
    }

    /// # Errors
    /// [`Distrust`].
    pub fn trusts(&self, note: &Note, origin: &str) -> Result<Trusted, Distrust> {
        let mut log = None;
        for key in self.logs.iter().filter(|key| key.name().as_str() == origin) {
            match note.signed_by(key) {
                Signed::Log => log = Some(key.clone()),
                Signed::Wrong => return Err(Distrust::WrongLog),
                Signed::No | Signed::Witness { .. } => {}
            }
        }
        let log = log.ok_or(Distrust::Log)?;
        let mut witnesses = Vec::new();
        let mut has_seen = Vec::with_capacity(self.members.len());
        // Groups are of members before them.
        for member in &self.members {
            let is_so = match member {
                Member::Witness(key) => match note.signed_by(key) {
                    Signed::Witness { at_s } => {
                        witnesses.push((key.name().to_string(), at_s));
                        true
                    }
                    Signed::Wrong => return Err(Distrust::WrongWitness),
                    Signed::No | Signed::Log => false,
                },
                Member::Group { least, of } => {
                    of.iter().filter(|member| has_seen[**member]).count() >= *least
                }
            };
            has_seen.push(is_so);
        }
        match self.quorum {
            Some(quorum) if !has_seen[quorum] => Err(Distrust::Quorum),
            _ => Ok(Trusted { log, witnesses }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::Hash;
    use crate::note::{Checkpoint, KeyName, SignerKey};

    fn key(name: &str, kind: Kind, seed: u8) -> SignerKey {
        SignerKey::new(KeyName::new(name).unwrap(), kind, &[seed; 32])
    }

    fn log() -> SignerKey {
        key("log.example", Kind::Log, 1)
    }

    fn witness(n: u8) -> SignerKey {
        key(&format!("w{n}.example"), Kind::Witness, 10 + n)
    }

    fn note(by: &[&SignerKey]) -> Note {
        let head = Checkpoint {
            origin: KeyName::new("log.example").unwrap(),
            size: 3,
            root: Hash([7; 32]),
        };
        let mut note = head.note();
        for (n, key) in by.iter().enumerate() {
            key.sign(&mut note, 1_795_000_000 + n as u64);
        }
        note
    }

    /// Two organisations, as in the specification's example.
    fn policy() -> Policy {
        let mut text = format!("# whom we trust\nlog {}\n\n", log().verifier());
        for n in 1..=5 {
            text += &format!(
                " witness\tW{n} {} https://w{n}.example/\n",
                witness(n).verifier()
            );
        }
        text += "group X 2 W1 W2 W3\ngroup Y any W4 W5\ngroup XY all X Y\nquorum XY\n";
        Policy::parse(&text).unwrap()
    }

    #[test]
    fn a_quorum_is_what_the_policy_says() {
        let (log, [a, b, c, d]) = (log(), [1, 2, 3, 4].map(witness));
        let stranger = witness(9);
        let table: [(&[&SignerKey], Result<usize, Distrust>); 7] = [
            (&[&log, &a, &b, &d], Ok(3)),
            (&[&log, &a, &b, &c, &d, &stranger], Ok(4)),
            (&[&log, &a, &d], Err(Distrust::Quorum)),
            (&[&log, &a, &b, &c], Err(Distrust::Quorum)),
            (&[&log, &stranger], Err(Distrust::Quorum)),
            (&[&a, &b, &d], Err(Distrust::Log)),
            (&[], Err(Distrust::Log)),
        ];
        for (by, expected) in table {
            let trusts = policy().trusts(&note(by), "log.example");
            assert_eq!(trusts.map(|trusted| trusted.witnesses.len()), expected);
        }
        let trusts = policy().trusts(&note(&[&log, &a, &b, &d]), "another.example");
        assert_eq!(trusts, Err(Distrust::Log));
        let forged = key("log.example", Kind::Log, 2);
        let trusts = policy().trusts(&note(&[&forged, &a, &b, &d]), "log.example");
        assert_eq!(trusts, Err(Distrust::Log));
        let text = format!("log {}\nquorum none\n", log.verifier());
        let alone = Policy::parse(&text).unwrap();
        assert!(alone.trusts(&note(&[&log]), "log.example").is_ok());
    }

    #[test]
    fn what_is_no_policy_says_where() {
        let (log, w) = (
            log().verifier().to_string(),
            witness(1).verifier().to_string(),
        );
        let table = [
            (String::new(), "no line `quorum`"),
            (
                format!("log {log}\nlog {log}\nquorum none"),
                "line 2: this log",
            ),
            (format!("log {w}\nquorum none"), "line 1: a log's key"),
            ("log x\nquorum none".to_owned(), "line 1: the key"),
            (
                format!("witness a {w}\nwitness b {w}\nquorum none"),
                "line 2: this witness",
            ),
            (
                format!("witness none {w}\nquorum none"),
                "line 1: this name",
            ),
            (
                format!("witness a {w}\ngroup a any a\nquorum none"),
                "line 2: this name",
            ),
            (
                format!("witness a {w}\ngroup g 2 a\nquorum g"),
                "line 2: a group asks",
            ),
            (
                format!("witness a {w}\ngroup g any a a\nquorum g"),
                "line 2: a member stands",
            ),
            (
                "group g any a\nquorum g".to_owned(),
                "line 1: a member is not",
            ),
            ("quorum a".to_owned(), "line 1: the quorum"),
            (
                "quorum none\nquorum none".to_owned(),
                "line 2: there is one",
            ),
            ("trust everybody".to_owned(), "line 1: it is none of"),
        ];
        for (text, expected) in table {
            let said = Policy::parse(&text).unwrap_err().to_string();
            assert!(said.contains(expected), "{text}: {said}");
        }
        assert_eq!(
            Policy::parse(&"#\n".repeat(LINES_MAX + 1)).unwrap_err(),
            PolicyFault::TooLong
        );
    }
}
