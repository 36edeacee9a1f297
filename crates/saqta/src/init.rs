//! `saqta init`: five questions, and a settings file that is right.
//!
//! What an operator must say is little: the names readers type, where the newsroom's own server listens, what its pages are made
//! with, where staff sit, and which language our few pages speak. The third is guessed by asking the server. Options answer
//! questions before they are asked; where nobody sits at a terminal, what is left unanswered takes its default or, for the first
//! two, is an error. A file that exists is never written over.

use std::fs::OpenOptions;
use std::io::{self, BufRead, IsTerminal, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use saqta_edge::profile::System;
use tokio::time::Instant;

use crate::check::{counted, origin_address, read_within};
use crate::cli::Failure;
use crate::machine;
use crate::settings;

/// A person waits, and a server that needs longer than this for its front page is in trouble.
const ORIGIN_WITHIN: Duration = Duration::from_secs(5);
/// A page says in its head what made it.
const GUESSED_FROM_BYTES_MAX: usize = 64 * 1024;
/// Whoever mistypes this often wants to look something up.
const TRIES_MAX: usize = 5;
/// What Saqta's own pages are written in.
const LANGUAGES: [&str; 3] = ["kk", "ru", "en"];
/// One answer is judged in a file whose others are right.
const STAND_IN_HOST: &str = "a.example";
const STAND_IN_ORIGIN: &str = "http://127.0.0.1:1";

#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub(crate) hosts: Vec<String>,
    pub(crate) origin: Option<String>,
    pub(crate) profile: Option<String>,
    /// `Some` and empty: none, said so.
    pub(crate) staff: Option<Vec<String>>,
    pub(crate) language: Option<String>,
}

/// Whoever is asked what the options left open.
struct Person<'a> {
    input: &'a mut dyn BufRead,
    output: &'a mut dyn Write,
}

/// Writes `file`, and returns what to do next.
pub(crate) fn init(answers: Answers, file: &Path) -> Result<String, Failure> {
    if file.symlink_metadata().is_ok() {
        return Err(anyhow::anyhow!(
            "{} is there already\nmove it away, or give another name with --out",
            file.display()
        )
        .into());
    }
    let (stdin, mut stderr) = (io::stdin(), io::stderr());
    let mut input = stdin.lock();
    let person = stdin.is_terminal().then_some(Person {
        input: &mut input,
        output: &mut stderr,
    });
    let (text, said) = compose(answers, person, file)?;
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(file)
        .and_then(|mut opened| opened.write_all(text.as_bytes()))
        .map_err(|error| {
            anyhow::anyhow!(
                "cannot write {}: {}; name a file in a folder that is there and yours: saqta init --out FILE",
                file.display(),
                machine::plainly(&error)
            )
        })?;
    let shown = file.display();
    Ok(format!(
        "{said}{shown} is written. Next:\n\
         \x20 saqta check -c {shown}    would it serve on this machine?\n\
         \x20 saqta run -c {shown}      serve, on http://127.0.0.1:8080; see `listen`\n\
         Then point the names at this machine. The site starts in mode \"observe\";\n\
         `mode` in the file says what that means.\n"
    ))
}

/// The file, and what was found out on the way.
fn compose(
    answers: Answers,
    mut person: Option<Person<'_>>,
    file: &Path,
) -> Result<(String, String), Failure> {
    let mut hosts = answers.hosts;
    let mut origin = answers.origin;
    if let Some(person) = &mut person {
        if hosts.is_empty() {
            hosts = person.words(
                "Which names do readers type? (news.example www.news.example)",
                "",
                |words| match words {
                    [] => Err(
                        "Your site has at least one name; readers type it into their browser."
                            .into(),
                    ),
                    names => would_do(names, STAND_IN_ORIGIN, &[]),
                },
            )?;
        }
        if origin.is_none() {
            let words = person.words(
                "Where does your own server listen?",
                "http://127.0.0.1:8081",
                |words| match words {
                    [one] => would_do(&[STAND_IN_HOST.into()], one, &[]),
                    _ => Err(one_word_of(&["http://127.0.0.1:8081"])),
                },
            )?;
            origin = words.into_iter().next();
        }
    }
    let (Some(origin), false) = (origin, hosts.is_empty()) else {
        return Err(anyhow::anyhow!(
            "nobody sits at this terminal to be asked\ngive --host NAME and --origin URL; the rest has defaults"
        )
        .into());
    };
    let (guess, said) = match answers.profile.as_deref().map(system_of) {
        Some(system) => (system, String::new()),
        None => guess(&origin, &hosts[0]),
    };
    let system = match (&mut person, answers.profile.is_some(), guess) {
        (Some(person), false, guess) => {
            write!(person.output, "{said}")?;
            let default = guess.unwrap_or_default().name();
            let words = person.words(
                "What makes its pages? (wordpress, drupal, joomla, generic)",
                default,
                |words| match words {
                    [one] if system_of(one).is_some() => Ok(()),
                    _ => Err(one_word_of(&System::ALL.map(System::name))),
                },
            )?;
            words
                .first()
                .and_then(|word| system_of(word))
                .unwrap_or_default()
        }
        (_, true, None) => {
            return Err(anyhow::anyhow!(
                "--profile is one of wordpress, drupal, joomla and generic"
            )
            .into());
        }
        (_, _, guess) => guess.unwrap_or_default(),
    };
    let staff = match (answers.staff, &mut person) {
        (Some(staff), _) => staff,
        (None, Some(person)) => person.words(
            "From which networks does your staff work? (none, or 203.0.113.0/24)",
            "none",
            |words| would_do(&[STAND_IN_HOST.into()], STAND_IN_ORIGIN, &networks(words)),
        )?,
        (None, None) => Vec::new(),
    };
    let language = match (answers.language, &mut person) {
        (Some(language), _) => language,
        (None, Some(person)) => person
            .words(
                "Which language shall Saqta's own pages speak? (kk, ru, en)",
                "en",
                |words| match words {
                    [one] if LANGUAGES.contains(&one.as_str()) => Ok(()),
                    _ => Err(one_word_of(&LANGUAGES)),
                },
            )?
            .concat(),
        (None, None) => "en".into(),
    };
    let text = document(&hosts, &origin, system, &networks(&staff), &language);
    settings::read(&text, file).map_err(Failure::Problems)?;
    let said = if person.is_some() {
        String::new()
    } else {
        said
    };
    Ok((text, said))
}

impl Person<'_> {
    /// Asks until the answer is right.
    fn words(
        &mut self,
        question: &str,
        default: &str,
        judge: impl Fn(&[String]) -> Result<(), String>,
    ) -> Result<Vec<String>, Failure> {
        for _ in 0..TRIES_MAX {
            if default.is_empty() {
                write!(self.output, "{question}\n> ")?;
            } else {
                write!(self.output, "{question} [{default}]\n> ")?;
            }
            self.output.flush()?;
            let mut line = Vec::new();
            if self.input.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            // A terminal of another encoding is no reason to end: what could not be read shows in the fault found in it.
            let line = String::from_utf8_lossy(&line);
            let answer = if line.trim().is_empty() {
                default
            } else {
                &line
            };
            let words: Vec<String> = answer
                .split([' ', ',', '\t', '\n', '\r'])
                .filter(|word| !word.is_empty())
                .map(str::to_owned)
                .collect();
            match judge(&words) {
                Ok(()) => return Ok(words),
                Err(why) => writeln!(self.output, "{why}")?,
            }
        }
        Err(anyhow::anyhow!("no answer that could be used; nothing was written").into())
    }
}

/// Whether a file with these answers would be taken, and if not, what is said about the first that would not.
fn would_do(hosts: &[String], origin: &str, staff: &[String]) -> Result<(), String> {
    let file = document(hosts, origin, System::Generic, staff, "en");
    settings::read(&file, Path::new(""))
        .map(drop)
        .map_err(|problems| {
            problems.first().map_or_else(String::new, |problem| {
                format!("{}\n    {}", problem.what, problem.remedy)
            })
        })
}

fn one_word_of(words: &[&str]) -> String {
    format!("Answer with one word: {}.", words.join(", "))
}

fn networks(words: &[String]) -> Vec<String> {
    words
        .iter()
        .filter(|word| *word != "none")
        .cloned()
        .collect()
}

fn system_of(word: &str) -> Option<System> {
    System::ALL.into_iter().find(|system| system.name() == word)
}

/// What the origin's front page gives away, and a sentence about it.
fn guess(origin: &str, host: &str) -> (Option<System>, String) {
    let authority = origin.trim_start_matches("http://").trim_end_matches('/');
    match front_page(authority, host) {
        Ok(page)
            if page
                .split(' ')
                .nth(1)
                .is_some_and(|status| status.starts_with('5')) =>
        {
            (
                None,
                format!(
                    "{authority} answers with an error, so its pages could not be seen:\nprofile \"generic\"; `profile` in the file says what there is.\n"
                ),
            )
        }
        Ok(page) => match system_in(&page) {
            Some(system) => (
                Some(system),
                format!(
                    "{authority} answers; its pages look like {}.\n",
                    system.name()
                ),
            ),
            None => (
                None,
                format!(
                    "{authority} answers; what makes its pages is not to be seen:\nprofile \"generic\".\n"
                ),
            ),
        },
        Err(error) => (
            None,
            format!(
                "{authority} does not answer ({}),\nso it could not be asked what makes its pages: profile \"generic\".\n",
                machine::plainly(&error)
            ),
        ),
    }
}

/// Head and the beginning of the body, in lower case; of the page that the front page leads to, if it leads on: `/kk/`.
fn front_page(authority: &str, host: &str) -> io::Result<String> {
    let page = page_at(authority, host, "/")?;
    let leads_to = page
        .split("\r\n\r\n")
        .next()
        .filter(|_| {
            page.split(' ')
                .nth(1)
                .is_some_and(|status| status.starts_with('3'))
        })
        .and_then(|head| {
            let line = head
                .lines()
                .find(|line| line.to_ascii_lowercase().starts_with("location:"))?;
            path_there(line["location:".len()..].trim(), host)
        });
    let page = match leads_to {
        Some(path) => page_at(authority, host, &path)?,
        None => page,
    };
    Ok(page.to_ascii_lowercase())
}

/// Of an address under this name. `None`: it is elsewhere.
fn path_there(address: &str, host: &str) -> Option<String> {
    let rest = match address.split_once("://") {
        None => address,
        Some((_, rest)) => {
            let at = rest.find('/').unwrap_or(rest.len());
            if !rest[..at].eq_ignore_ascii_case(host) {
                return None;
            }
            &rest[at..]
        }
    };
    let is_path = rest.starts_with('/')
        && !rest.starts_with("//")
        && rest.bytes().all(|byte| byte.is_ascii_graphic());
    is_path.then(|| rest.to_owned())
}

fn page_at(authority: &str, host: &str, path: &str) -> io::Result<String> {
    let deadline = Instant::now() + ORIGIN_WITHIN;
    let mut stream = TcpStream::connect_timeout(&origin_address(authority)?, ORIGIN_WITHIN)?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: saqta-init\r\nAccept: text/html\r\nConnection: close\r\n\r\n"
    );
    stream.set_write_timeout(Some(ORIGIN_WITHIN))?;
    stream.write_all(request.as_bytes())?;
    let page = read_within(&mut stream, deadline, GUESSED_FROM_BYTES_MAX)?;
    if page.starts_with(b"HTTP/1.") {
        Ok(String::from_utf8_lossy(&page).into_owned())
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "what answers there does not speak HTTP/1",
        ))
    }
}

/// By fields, by `<meta name="generator">`, by where the files of its themes lie.
fn system_in(page: &str) -> Option<System> {
    const SIGNS: [(System, &[&str]); 3] = [
        (
            System::WordPress,
            &[
                "api.w.org",
                "x-redirect-by: wordpress",
                "content=\"wordpress",
                "/wp-content/",
                "/wp-includes/",
            ],
        ),
        (
            System::Drupal,
            &[
                "x-generator: drupal",
                "x-drupal-",
                "content=\"drupal",
                "/sites/default/files/",
                "data-drupal-",
            ],
        ),
        (
            System::Joomla,
            &[
                "content=\"joomla",
                "joomla-script-options",
                "/media/vendor/joomla",
                "/media/system/js/",
            ],
        ),
    ];
    SIGNS
        .iter()
        .map(|(system, signs)| {
            let found = signs.iter().filter(|sign| page.contains(**sign)).count();
            (found, *system)
        })
        .filter(|(found, _)| *found > 0)
        .max_by_key(|(found, _)| *found)
        .map(|(_, system)| system)
}

fn document(
    hosts: &[String],
    origin: &str,
    system: System,
    staff: &[String],
    language: &str,
) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let list = |texts: &[String]| {
        let quoted: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
        format!("[{}]", quoted.join(", "))
    };
    format!(
        "# Saqta's settings for {}. `saqta settings` prints every setting there is, with its meaning and default.\n\
         # After a change: saqta check -c THIS-FILE && saqta reload\n\
         \n\
         # 127.0.0.1 is reachable from this machine only; \"0.0.0.0:80\" from everywhere. Changed by a restart.\n\
         #listen = \"127.0.0.1:8080\"\n\
         \n\
         [[site]]\n\
         # The names readers type.\n\
         hosts = {}\n\
         # Where the newsroom's own server listens.\n\
         origin = {}\n\
         # What makes its pages: \"wordpress\", \"drupal\", \"joomla\" or \"generic\". Pages are kept by what is known of it.\n\
         profile = {}\n\
         # Networks whose clients are staff: the server keeps places for them at any load. Whoever logs in is staff anyway.\n\
         staff = {}\n\
         # The language of Saqta's own few pages for a reader whose browser asks for none of them.\n\
         language = {}\n\
         # \"observe\": cache and admission work, suspicion is counted and not acted on. \"protect\": it is acted on.\n\
         mode = \"observe\"\n",
        counted(hosts.len(), "host"),
        list(hosts),
        quoted(origin),
        quoted(system.name()),
        list(staff),
        quoted(language),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_give_away_what_made_them() {
        let table = [
            (
                "http/1.1 200 ok\r\nlink: <http://a/wp-json/>; rel=\"https://api.w.org/\"\r\n\r\n",
                Some(System::WordPress),
            ),
            (
                "\r\n\r\n<meta name=\"generator\" content=\"joomla! - open source\">",
                Some(System::Joomla),
            ),
            ("x-generator: drupal 11\r\n\r\n", Some(System::Drupal)),
            // An article about one system, made with another.
            (
                "\r\n\r\n<link href=\"/sites/default/files/css\"><script data-drupal-selector>/wp-content/",
                Some(System::Drupal),
            ),
            ("http/1.1 200 ok\r\n\r\nhello", None),
        ];
        for (page, expected) in table {
            assert_eq!(system_in(page), expected, "{page}");
        }
    }

    #[test]
    fn questions_are_asked_until_they_are_answered() {
        let mut input = b"\nnews.example, www.news.example\n127.0.0.1\n\xffhttp://a\nhttp://127.0.0.1:1\nphp\njoomla\n300.0.0.0/8\nnone\nkazakh\nkk\n".as_slice();
        let mut output = Vec::new();
        let person = Person {
            input: &mut input,
            output: &mut output,
        };
        let Ok((text, _)) = compose(Answers::default(), Some(person), Path::new("f")) else {
            panic!("{}", String::from_utf8_lossy(&output));
        };
        let plan = settings::read(&text, Path::new("f")).unwrap();
        assert_eq!(plan.sites[0].hosts, ["news.example", "www.news.example"]);
        assert_eq!(plan.sites[0].profile.system, System::Joomla);
        let said = String::from_utf8(output).unwrap();
        for why in [
            "> Your site has at least one name; readers type it into their browser.\n",
            "> the origin does not begin with http://\n    write http://127.0.0.1\n",
            "> the origin begins with \u{fffd}http://, not with http://\n",
            "> Answer with one word: generic, wordpress, drupal, joomla.\n",
            "> \"300.0.0.0/8\" in `staff` is not a network\n    write an address",
            "> Answer with one word: kk, ru, en.\n",
        ] {
            assert!(said.contains(why), "{why:?} in {said}");
        }
        assert!(said.contains("does not answer"), "{said}");
    }

    #[test]
    fn what_is_typed_cannot_break_out_of_its_line() {
        let text = document(
            &["a\"]\nmode = \"protect\"#".into()],
            "http://a",
            System::Generic,
            &[],
            "en",
        );
        let problems = settings::read(&text, Path::new("f")).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
    }
}
