//! Debian's Chromium without a screen, told what to do through its own pipe: JSON messages that end with a zero byte, on its third and
//! fourth file. No port, no driver.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::HOST;
use super::server::{Folder, run};

/// Messages between a question and its answer: a page's events. A browser that says more than this does not answer.
const MESSAGES_MAX: usize = 5_000;

/// What a reader sees of a page.
pub(crate) struct Page {
    /// The site's own style sheet has been applied.
    pub(crate) has_style: bool,
    /// Nothing has to be scrolled sideways.
    pub(crate) fits: bool,
}

pub(crate) struct Browser {
    child: Child,
    questions: fs::File,
    answers: BufReader<fs::File>,
    /// The tab that is asked; empty: the browser itself.
    pub(crate) session: String,
    asked: u64,
    _folder: Folder,
}

impl Browser {
    pub(crate) fn start(to: SocketAddr) -> Result<Self, String> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("saqta-browser-{}-{number}", std::process::id());
        let folder = Folder(std::env::temp_dir().join(name));
        fs::create_dir(&folder.0).map_err(|error| format!("{}: {error}", folder.0.display()))?;
        let [questions, answers] = ["questions", "answers"].map(|name| folder.0.join(name));
        run(Command::new("mkfifo").args([&questions, &answers]));
        let child = Command::new("sh")
            .args([
                "-c",
                r#"exec chromium "$@" 3<"$QUESTIONS" 4>"$ANSWERS""#,
                "chromium",
            ])
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--remote-debugging-pipe",
            ])
            .args([
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ])
            .arg(format!(
                "--user-data-dir={}",
                folder.0.join("profile").display()
            ))
            // Nothing but this one site exists.
            .arg(format!(
                "--host-resolver-rules=MAP {HOST} {to}, MAP * ~NOTFOUND"
            ))
            .arg("about:blank")
            .env("QUESTIONS", &questions)
            .env("ANSWERS", &answers)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("chromium: {error}; `cargo x test` installs it"))?;
        // Each waits for the other's end, in the shell's order.
        let questions = fs::OpenOptions::new()
            .write(true)
            .open(questions)
            .map_err(|error| error.to_string())?;
        let answers = fs::File::open(answers).map_err(|error| error.to_string())?;
        let mut browser = Self {
            child,
            questions,
            answers: BufReader::new(answers),
            session: String::new(),
            asked: 0,
            _folder: folder,
        };
        browser.open_tab(json!({"url": "about:blank"}))?;
        Ok(browser)
    }

    /// A tab as `target` describes it; from now on it is asked.
    pub(crate) fn open_tab(&mut self, target: Value) -> Result<(), String> {
        self.session.clear();
        let target = self.ask("Target.createTarget", target)?;
        let attached = self.ask(
            "Target.attachToTarget",
            json!({"targetId": target["targetId"], "flatten": true}),
        )?;
        self.session = attached["sessionId"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        self.ask("Page.enable", json!({}))?;
        Ok(())
    }

    pub(crate) fn open(&mut self, target: &str, width: u32) -> Result<Page, String> {
        let size =
            json!({"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500});
        self.ask("Emulation.setDeviceMetricsOverride", size)?;
        let opened = self.ask(
            "Page.navigate",
            json!({"url": format!("http://{HOST}{target}")}),
        )?;
        if let Some(error) = opened["errorText"].as_str() {
            return Err(format!("{target} does not open: {error}"));
        }
        self.hear(|message| message["method"] == "Page.loadEventFired")?;
        // A browser without the site's style sheets sets text in its own serif and knows no variables of the theme.
        let looked = self.ask("Runtime.evaluate", json!({"returnByValue": true, "expression": r"
            (() => {
                const sheets = [...document.styleSheets].filter((sheet) => {
                    try { return sheet.href && sheet.cssRules.length > 0 } catch { return false }
                });
                return {
                    style: sheets.length > 0 && !getComputedStyle(document.body).fontFamily.startsWith('Times'),
                    fits: document.documentElement.scrollWidth <= innerWidth + 1,
                };
            })()"}))?;
        let seen = &looked["result"]["value"];
        Ok(Page {
            has_style: seen["style"] == true,
            fits: seen["fits"] == true,
        })
    }

    /// What is seen now, kept for people to look at.
    pub(crate) fn picture(&mut self, file: &Path) -> Result<(), String> {
        let taken = self.ask("Page.captureScreenshot", json!({"format": "png"}))?;
        let bytes = from_base64(taken["data"].as_str().unwrap_or_default());
        fs::write(file, bytes).map_err(|error| format!("{}: {error}", file.display()))
    }

    pub(crate) fn ask(&mut self, method: &str, params: Value) -> Result<Value, String> {
        self.asked += 1;
        let id = self.asked;
        let mut question = json!({"id": id, "method": method, "params": params});
        if !self.session.is_empty() {
            question["sessionId"] = json!(self.session);
        }
        let mut bytes = question.to_string().into_bytes();
        bytes.push(0);
        self.questions
            .write_all(&bytes)
            .map_err(|error| format!("{method}: {error}"))?;
        let mut answer = self.hear(|message| message["id"] == id)?;
        match answer["error"]["message"].as_str() {
            Some(error) => Err(format!("{method}: {error}")),
            None => Ok(answer["result"].take()),
        }
    }

    pub(crate) fn hear(&mut self, wished: impl Fn(&Value) -> bool) -> Result<Value, String> {
        for _ in 0..MESSAGES_MAX {
            let mut bytes = Vec::new();
            let read = self
                .answers
                .read_until(0, &mut bytes)
                .map_err(|error| error.to_string())?;
            if read == 0 {
                return Err("the browser has ended".to_owned());
            }
            bytes.pop();
            let message: Value =
                serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
            if wished(&message) {
                return Ok(message);
            }
        }
        Err("the browser does not answer".to_owned())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _gone_already = kill_process(pid, Signal::TERM);
        }
        let _its_end = self.child.wait();
    }
}

pub(crate) fn from_base64(text: &str) -> Vec<u8> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut held, mut bytes) = (0_u32, 0, Vec::with_capacity(text.len() / 4 * 3));
    for letter in text.bytes() {
        let Some(value) = LETTERS.iter().position(|known| *known == letter) else {
            break;
        };
        bits = (bits << 6 | value as u32) & 0xff_ffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}
