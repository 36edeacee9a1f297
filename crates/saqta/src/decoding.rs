//! `saqta decode`: what the short code on a reader's page says, and what to tell him.
//!
//! Written for whoever has a reader on the phone: one screen, what happened first, what to say last.

use saqta_detect::sentence::shown;
use saqta_detect::watch::Posture;
use saqta_edge::ladder::code::{Code, Holds, Stop, Why};
use saqta_edge::{CodeRead, Edge};
use serde::{Deserialize, Serialize};

use crate::control::Answer;
use crate::screen::{self, Tone};

/// The facts by name for programs, and in sentences for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decoded {
    pub site: String,
    /// Milliseconds since 1970, to the minute.
    pub at_ms: u64,
    pub got: String,
    pub posture: String,
    pub asks_for: String,
    pub version: String,
    pub holds: String,
    /// A rule hit the request.
    pub is_hit: bool,
    /// ... and was acted on.
    pub is_suspect: bool,
    pub is_strange: bool,
    /// `None`: none hit it, or it is remembered no more.
    pub rule: Option<String>,
    pub rule_stands: bool,
    pub why: String,
    pub tell: String,
}

pub(crate) fn decode(edge: &Edge, text: &str) -> Answer {
    match text.parse::<Code>().and_then(|code| edge.read_code(code)) {
        Ok(read) => Answer::Decoded {
            decoded: Box::new(Decoded::of(&read)),
        },
        Err(fault) => Answer::Nothing {
            said: screen::entry(&format!("{text}: {fault}")),
        },
    }
}

impl Decoded {
    fn of(read: &CodeRead) -> Self {
        let why = &read.why;
        Self {
            site: read.site.clone(),
            at_ms: read.at.0,
            got: why.stop.name().into(),
            posture: why.posture.name().into(),
            asks_for: why.asks_for.name().into(),
            version: why.version.name().into(),
            holds: why.holds.name().into(),
            is_hit: why.rule.is_some(),
            is_suspect: why.is_suspect,
            is_strange: why.is_strange,
            rule: read.rule.as_ref().map(|(rule, _)| shown(rule)),
            rule_stands: read.rule.as_ref().is_some_and(|(_, stands)| *stands),
            why: because(why, read.rule.as_ref()),
            tell: tell(why).into(),
        }
    }

    /// For a person.
    pub(crate) fn screen(&self) -> String {
        let row = |subject: &str, text: &str| screen::row("", Tone::Plain, subject, text, false);
        let at = i64::try_from(self.at_ms).ok();
        let at = at.and_then(|at_ms| jiff::Timestamp::from_millisecond(at_ms).ok());
        let at = at.map_or(String::new(), |at| {
            at.strftime("%Y-%m-%d %H:%M UTC").to_string()
        });
        row("when", &at)
            + &row("site", &format!("{}, {}", self.site, self.posture))
            + &row(
                "asked for",
                &format!("{}, over {}", self.asks_for, self.version),
            )
            + &row("was", &self.got)
            + &row("held", &self.holds)
            + &row("why", &self.why)
            + &row("tell them", &self.tell)
    }
}

fn because(why: &Why, rule: Option<&(String, bool)>) -> String {
    let mut said = match why.stop {
        Stop::Waits | Stop::NotTaken | Stop::FormWaits if why.is_suspect => {
            "a rule against the attack hit the request"
        }
        Stop::Waits | Stop::NotTaken | Stop::FormWaits => {
            "your server had no room for it, and no copy answered it"
        }
        Stop::Refused => "their network is in `refuse` of the settings",
        Stop::TooMany => "too many passwords or comments came from their network",
        Stop::TooLarge => "what they sent is longer than `body_mb_max` under [limits]",
        Stop::OriginDown => "your server did not answer, and there was no copy of the page",
        Stop::OriginSlow => "your server did not answer in time, and there was no copy of the page",
        Stop::NotSent => "your server did not answer, and a form has no copy",
        Stop::Loop => "`origin` in the settings leads back to Saqta itself",
        Stop::GuessWaits => {
            "so many passwords or comments came, from their network, at that name or at the site, that the next ones wait for a pass"
        }
        Stop::FormPerhaps => {
            "what they sent may have arrived already, and a second time could do harm"
        }
    }
    .to_owned();
    if why.is_strange && !why.is_suspect && why.stop == Stop::Waits {
        said += "; the site itself names no such address, so it waited last";
    }
    match (rule, why.rule) {
        (Some((rule, stands)), _) => {
            let stands = if *stands { "stands" } else { "is over" };
            said += &format!("\n{}\nthat rule {stands}", shown(rule));
            if !why.is_suspect {
                said += ", and was not acted on";
            }
        }
        (None, Some(_)) => said += "\na rule hit it, and which is remembered no more",
        (None, None) => {}
    }
    said
}

fn tell(why: &Why) -> &'static str {
    match why.stop {
        Stop::Waits | Stop::FormWaits | Stop::GuessWaits => waits(why),
        Stop::NotTaken => {
            "go back one page and send it again in a minute; what was written is still there"
        }
        Stop::Refused => {
            "use another network, or, if it should not be refused, take it out of `refuse` and `saqta reload`"
        }
        Stop::TooMany => {
            "wait ten minutes; for somebody of yours, `saqta staff invite` helps at once"
        }
        Stop::TooLarge => "send a smaller file, or send it to you another way",
        Stop::OriginDown | Stop::OriginSlow => {
            "try again later; it is not their doing: see to your server, `saqta status` says how it is"
        }
        Stop::NotSent => {
            "keep the text and send it again later; it is not their doing: see to your server"
        }
        Stop::Loop => "it is not their doing: set `origin` to the address of the site's own server",
        Stop::FormPerhaps => {
            "look in another window whether it arrived, and press the button only if it did not"
        }
    }
}

/// By what their browser brought.
fn waits(why: &Why) -> &'static str {
    match (why.holds, why.posture) {
        (Holds::NoCookies, _) => {
            "leave the page open for half a minute. It brought no cookies at all: if it comes up again and again, the browser keeps none, and \
             has to be allowed to for this site"
        }
        (Holds::OtherCookies, _) => {
            "leave the page open for half a minute: this was the first time they were asked to wait, or a program on the way takes the cookie \
             `saqta-ticket` out"
        }
        (Holds::Spent, _) => {
            "load the page once more and leave it open. If that does not help, delete the cookies of this site and open it again"
        }
        (Holds::Ticket, _) => "leave the page open: they were waiting, and it opens by itself",
        (Holds::UsedUp, _) => {
            "wait up to ten minutes: as much was loaded with their pass as one person reads. If they did not, somebody else has it, or many \
             windows load by themselves"
        }
        (Holds::Pass | Holds::Known | Holds::Staff, Posture::UnderAttack) => {
            "try again in a minute. They had all one can have, and even so there was no room: your server is full, see `saqta status`"
        }
        (Holds::Pass | Holds::Known | Holds::Staff, _) => {
            "try again in a minute. They had all one can have, and there was no room without an attack: your server may be too slow, see \
             `saqta status`"
        }
    }
}

#[cfg(test)]
mod tests {
    use saqta_edge::clock::UnixMillis;
    use saqta_edge::ladder::code::{AsksFor, Protocol};

    use super::*;

    const WHY: Why = Why {
        stop: Stop::Waits,
        posture: Posture::UnderAttack,
        holds: Holds::NoCookies,
        version: Protocol::Http2,
        asks_for: AsksFor::Search,
        rule: Some(3),
        is_suspect: true,
        is_strange: true,
    };

    fn read(why: Why, rule: Option<(&str, bool)>) -> CodeRead {
        CodeRead {
            site: "news.example".into(),
            at: UnixMillis(1_795_000_000_000 / 60_000 * 60_000),
            why,
            rule: rule.map(|(rule, stands)| (rule.to_owned(), stands)),
        }
    }

    #[test]
    fn a_code_is_one_screen() {
        let read = read(WHY, Some(("Searches by one\u{1b} program", true)));
        let expected = "\
when           2026-11-18 11:06 UTC
site           news.example, under attack
asked for      a search, over HTTP/2
was            told to wait
held           no cookies
why            a rule against the attack hit the request
               Searches by one\\u{1b} program
               that rule stands
tell them      leave the page open for half a minute. It brought no cookies at
               all: if it comes up again and again, the browser keeps none, and
               has to be allowed to for this site
";
        assert_eq!(Decoded::of(&read).screen(), expected);
    }

    #[test]
    fn everything_a_code_can_say_is_said() {
        for stop in Stop::ALL {
            for holds in Holds::ALL {
                for rule in [None, Some(("Rule", false))] {
                    for is_suspect in [false, true] {
                        let why = Why {
                            stop: *stop,
                            holds: *holds,
                            is_suspect,
                            ..WHY
                        };
                        let screen = Decoded::of(&read(why, rule)).screen();
                        let lines: Vec<_> = screen.lines().collect();
                        assert!(lines.len() <= 20, "{screen}");
                        assert!(lines.iter().all(|line| line.chars().count() <= 80));
                        assert_eq!(screen.contains("that rule is over"), rule.is_some());
                        let acted = rule.is_none() || is_suspect;
                        assert_eq!(screen.contains("was not acted on"), !acted, "{screen}");
                    }
                }
            }
        }
        let forgotten = Decoded::of(&read(WHY, None));
        assert!(forgotten.why.contains("remembered no more"));
        let without = Why {
            rule: None,
            is_suspect: false,
            ..WHY
        };
        assert_eq!(
            Decoded::of(&read(without, None)).why,
            "your server had no room for it, and no copy answered it; the site itself names no such address, so it waited last"
        );
    }
}
