//! What was typed after the command. Five commands with a handful of options each don't earn a parser library here: this
//! crate is built before anything else can be, so every dependency of it is waited for.

use std::time::Duration;

use anyhow::{Context, Result, bail};

pub(crate) struct Options {
    left: Vec<String>,
}

impl Options {
    pub(crate) fn new(arguments: impl Iterator<Item = String>) -> Self {
        Self {
            left: arguments.collect(),
        }
    }

    /// True when `--name` was given; asked for once.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        match self.left.iter().position(|word| word == name) {
            Some(at) => {
                self.left.remove(at);
                true
            }
            None => false,
        }
    }

    /// The word after `--name`.
    pub(crate) fn value(&mut self, name: &str) -> Result<Option<String>> {
        let Some(at) = self.left.iter().position(|word| word == name) else {
            return Ok(None);
        };
        self.left.remove(at);
        if at >= self.left.len() {
            bail!("{name} wants a value");
        }
        Ok(Some(self.left.remove(at)))
    }

    /// A whole number after `--name`, at least 1.
    pub(crate) fn count(&mut self, name: &str, default: u32) -> Result<u32> {
        match self.value(name)? {
            None => Ok(default),
            Some(text) => match text.parse() {
                Ok(count) if count > 0 => Ok(count),
                _ => bail!("{name} wants a whole number above 0, not {text:?}"),
            },
        }
    }

    /// A time after `--name`, written `90s`, `5m` or `1h`.
    pub(crate) fn time(&mut self, name: &str, default: Duration) -> Result<Duration> {
        match self.value(name)? {
            None => Ok(default),
            Some(text) => time(&text)
                .with_context(|| format!("{name} wants a time such as 90s or 5m, not {text:?}")),
        }
    }

    /// The words that are no option. Call it last: an option nobody asked for is refused here.
    pub(crate) fn words(self) -> Result<Vec<String>> {
        if let Some(unknown) = self.left.iter().find(|word| word.starts_with('-')) {
            bail!("there is no option {unknown}");
        }
        Ok(self.left)
    }
}

fn time(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let seconds_each = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return None,
    };
    digits
        .parse::<u64>()
        .ok()?
        .checked_mul(seconds_each)
        .map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &str) -> Options {
        Options::new(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn times() {
        let table = [
            ("90s", Some(90)),
            ("5m", Some(300)),
            ("2h", Some(7_200)),
            ("0s", Some(0)),
            ("5", None),
            ("m", None),
            ("", None),
            ("5min", None),
            ("-5m", None),
            ("99999999999999999999s", None),
            ("18446744073709551615h", None),
        ];
        for (text, seconds) in table {
            assert_eq!(time(text), seconds.map(Duration::from_secs), "{text:?}");
        }
    }

    #[test]
    fn options_are_taken_from_between_the_words() {
        let mut options = typed("hit --rounds 3 pass --quick");
        assert!(options.flag("--quick"));
        assert_eq!(options.count("--rounds", 5).unwrap(), 3);
        assert_eq!(options.count("--seconds", 2).unwrap(), 2);
        assert_eq!(options.words().unwrap(), ["hit", "pass"]);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        assert!(typed("--rounds").count("--rounds", 5).is_err());
        assert!(typed("--rounds 0").count("--rounds", 5).is_err());
        assert!(typed("--rounds many").count("--rounds", 5).is_err());
        assert!(typed("--for ever").time("--for", Duration::ZERO).is_err());
        assert!(typed("--roundz 3").words().is_err());
    }
}
