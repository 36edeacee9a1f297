//! `saqta decode`: what a reader's code says, for whoever has him on the phone.

use saqta_edge::Edge;
use saqta_edge::admission::Class;
use saqta_edge::ladder::{Reasons, ShownPage, SiteMark, site_number};
use saqta_edge::stats::SiteStats;

use crate::control::Answer;

pub(crate) fn decode(edge: &Edge, code: &str) -> Answer {
    let reasons = match edge.decode(code) {
        Ok(reasons) => reasons,
        Err(error) => {
            return Answer::Refused {
                problems: vec![error.to_string()],
            };
        }
    };
    let sites = edge.stats().sites;
    let site = sites
        .iter()
        .find(|site| site_number(SiteMark::of(&site.name)) == reasons.site);
    Answer::Done {
        said: told(&reasons, site),
    }
}

fn told(reasons: &Reasons, site: Option<&SiteStats>) -> String {
    let when = i64::try_from(reasons.at_s)
        .ok()
        .and_then(|at_s| jiff::Timestamp::from_second(at_s).ok())
        .map_or(String::new(), |at| {
            at.strftime("%Y-%m-%d %H:%M UTC").to_string()
        });
    let name = site.map_or("a site that is not here any more", |site| &site.name);
    let mut lines = vec![
        format!("when     {when}"),
        format!("site     {name}, {}", reasons.posture.name()),
        format!("got      {}", shown(reasons.shown)),
    ];
    let because = match (reasons.rule, reasons.class) {
        (Some(rule), _) => match rule_of(site, rule) {
            Some(sentence) => format!("a rule hit the request: {sentence}"),
            None => "a rule hit the request; it is over by now".to_owned(),
        },
        (None, Class::Signature) => {
            "nothing was known of the reader nor of the address asked for, and your server had no room".to_owned()
        }
        (None, _) => match reasons.shown {
            ShownPage::TooMany => "too many sign-ins failed from that network, or at that name".to_owned(),
            ShownPage::Waiting | ShownPage::NotTaken => "your server had no room".to_owned(),
        },
    };
    lines.push(format!("because  {because}"));
    let came = match (reasons.has_ticket, reasons.came_with_pass) {
        (true, _) => "waiting already: the browser keeps cookies, and the wait was not over",
        (_, true) => "with a ticket or a pass that is used up or too old",
        _ => "with nothing: the first time, or a browser that refuses cookies",
    };
    lines.push(format!("came     {came}"));
    lines.push(format!("tell     {}", advice(reasons)));
    lines.join("\n")
}

fn shown(shown: ShownPage) -> &'static str {
    match shown {
        ShownPage::Waiting => "the page that says to wait",
        ShownPage::TooMany => "the page that says too much came from there",
        ShownPage::NotTaken => "the page that says a form was not taken",
    }
}

fn advice(reasons: &Reasons) -> &'static str {
    match reasons.shown {
        ShownPage::TooMany => "wait ten minutes; staff who are stopped so: saqta staff invite",
        ShownPage::NotTaken => "send it again in a minute",
        ShownPage::Waiting if reasons.has_ticket => {
            "leave the page open: it opens by itself. If it never does, scripts and\n         reloads may be blocked: press its link after half a minute"
        }
        ShownPage::Waiting if reasons.came_with_pass => {
            "wait once more; thirty pages in ten minutes are what a pass is good for.\n         A colleague is better invited: saqta staff invite"
        }
        ShownPage::Waiting => {
            "allow cookies for the site, for without them there is no waiting in line"
        }
    }
}

fn rule_of(site: Option<&SiteStats>, rule: u16) -> Option<&str> {
    let incidents = &site?.detection.incidents;
    let mut rules = incidents.iter().flat_map(|incident| &incident.rules);
    rules
        .find(|one| one.id as u16 == rule)
        .map(|one| one.sentence.en.as_str())
}

#[cfg(test)]
mod tests {
    use saqta_detect::watch::Posture;

    use super::*;

    #[test]
    fn what_is_told_is_for_the_telephone() {
        let reasons = Reasons {
            at_s: 1_796_013_480,
            site: 7,
            shown: ShownPage::Waiting,
            class: Class::Signature,
            posture: Posture::UnderAttack,
            has_ticket: true,
            came_with_pass: false,
            rule: Some(3),
        };
        assert_eq!(
            told(&reasons, None),
            "\
when     2026-11-30 04:38 UTC
site     a site that is not here any more, under attack
got      the page that says to wait
because  a rule hit the request; it is over by now
came     waiting already: the browser keeps cookies, and the wait was not over
tell     leave the page open: it opens by itself. If it never does, scripts and
         reloads may be blocked: press its link after half a minute"
        );
        let other = Reasons {
            shown: ShownPage::TooMany,
            rule: None,
            has_ticket: false,
            ..reasons
        };
        assert!(told(&other, None).contains("wait ten minutes"));
    }
}
