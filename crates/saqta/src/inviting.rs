//! `saqta staff`: links that make whoever is sent one staff, who has one, and taking it back.

use saqta_edge::Edge;
use saqta_edge::ladder::InviteError;
use saqta_edge::plan::Site;

use crate::check::counted;
use crate::control::Answer;

pub(crate) fn invite(
    edge: &Edge,
    sites: &[Site],
    wanted: Option<&str>,
    label: &str,
    days: u16,
) -> Answer {
    let is_wanted = |site: &&Site| {
        wanted.is_none_or(|wanted| {
            site.name == wanted || site.hosts.iter().any(|host| host == wanted)
        })
    };
    let mut found = sites.iter().filter(is_wanted);
    let names = || {
        let names: Vec<&str> = sites.iter().map(|site| site.name.as_str()).collect();
        names.join(", ")
    };
    let site = match (found.next(), found.next(), wanted) {
        (Some(site), None, _) | (Some(site), Some(_), Some(_)) => site,
        (None, _, _) => {
            return refused(format!(
                "no site here is called {}\n    there are {}",
                wanted.unwrap_or_default(),
                names()
            ));
        }
        (Some(_), Some(_), None) => {
            return refused(format!(
                "there is more than one site, and an invitation is for one\n    say which with --site NAME: {}",
                names()
            ));
        }
    };
    let path = match edge.invite(&site.name, label, days) {
        Some(Ok(path)) => path,
        Some(Err(error)) => return refused(why(&error)),
        None => return refused(format!("the site {} has just been taken away", site.name)),
    };
    tracing::info!(
        "{label} is invited as staff of {} for {days} days",
        site.name
    );
    let host = site.hosts.first().map_or("YOUR-SITE", String::as_str);
    Answer::Done {
        said: format!(
            "https://{host}{path}\n\nSend this link to {label}, over something only they read. It opens a page with a button;\nwhoever presses it within 24 hours, on up to three devices, is staff there for {}.\nLost or leaked: saqta staff revoke {}",
            counted(usize::from(days), "day"),
            quoted(label)
        ),
    }
}

pub(crate) fn list(edge: &Edge) -> Answer {
    let invited = edge.invited();
    if invited.is_empty() {
        return Answer::Done {
            said: "nobody is invited; `saqta staff invite --name NAME` makes a link".into(),
        };
    }
    let lines = invited.iter().map(|one| {
        let until = i64::try_from(one.until_s).ok().and_then(|until_s| {
            let at = jiff::Timestamp::from_second(until_s).ok()?;
            Some(at.strftime("%Y-%m-%d").to_string())
        });
        let mut line = format!(
            "{}  {}, until {}, {}",
            one.label,
            one.site,
            until.unwrap_or_default(),
            counted(one.browsers, "device")
        );
        if one.is_open {
            line += ", the link is still good";
        }
        if one.is_spent {
            line += "\n    HAS USED MORE than a person does, and is not staff for up to ten minutes:\n    somebody else may have the cookie; saqta staff revoke takes it back";
        }
        line
    });
    Answer::Done {
        said: lines.collect::<Vec<_>>().join("\n"),
    }
}

pub(crate) fn revoke(edge: &Edge, label: &str) -> Answer {
    match edge.revoke(label) {
        Ok(0) => Answer::Nothing {
            said: format!(
                "nobody is invited as {}; `saqta staff list` shows who is",
                quoted(label)
            ),
        },
        Ok(_) => {
            tracing::info!("{label} is no longer staff by invitation");
            Answer::Done {
                said: format!("{label} is not staff any more, on no device, and the link is over"),
            }
        }
        Err(error) => refused(why(&error)),
    }
}

fn why(error: &InviteError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// As a shell takes it for one word.
fn quoted(label: &str) -> String {
    if label
        .chars()
        .all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))
    {
        label.to_owned()
    } else {
        format!("'{}'", label.replace('\'', "'\\''"))
    }
}

fn refused(problem: String) -> Answer {
    Answer::Refused {
        problems: vec![problem],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_one_word_to_a_shell() {
        for (label, expected) in [
            ("editor-1", "editor-1"),
            ("Айгерим", "Айгерим"),
            ("Aigerim, phone", "'Aigerim, phone'"),
            ("O'Neil", "'O'\\''Neil'"),
            ("a;reboot", "'a;reboot'"),
        ] {
            assert_eq!(quoted(label), expected);
        }
    }
}
