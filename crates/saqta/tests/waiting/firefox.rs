//! Debian's Firefox, told what to do by Marionette: JSON arrays with their length before them, over a port that the kernel chose and the
//! profile names. It looks into pages from outside, whether they may have scripts or not.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::browser::from_base64;
use crate::server::Folder;
use crate::{
    COMMENT, HOST, Hit, Newsroom, PATIENCE, Running, TICKET_WAIT, after, edge, encoded, pictures,
    program, until,
};

/// Nothing but the newsroom exists: neither names nor updates are asked for, and whatever else is tried goes to a port where nobody
/// listens.
const PREFS: &str = r#"
user_pref("marionette.port", 0);
user_pref("toolkit.legacyUserProfileCustomizations.stylesheets", true);
user_pref("network.dns.localDomains", "HOST");
user_pref("network.proxy.type", 2);
user_pref("network.proxy.autoconfig_url", "data:,function FindProxyForURL(url, host) { return host == 'HOST' ? 'DIRECT' : 'PROXY 127.0.0.1:1'; }");
"#;

/// The longest answer is a picture.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

struct Firefox {
    stream: BufReader<TcpStream>,
    asked: u64,
    site: SocketAddr,
    _running: Running,
    _profile: Folder,
}

impl Firefox {
    fn start(site: SocketAddr, case: &Case) -> Self {
        let profile = Folder::new("firefox");
        let prefs = PREFS.replace("HOST", HOST)
            + &format!(
                "user_pref(\"javascript.enabled\", {});\nuser_pref(\"intl.accept_languages\", \"{}\");\n",
                case.scripts, case.language
            );
        fs::write(profile.0.join("user.js"), prefs).unwrap();
        // Its window is otherwise never as narrow as a phone.
        let chrome = profile.0.join("chrome");
        fs::create_dir(&chrome).unwrap();
        fs::write(
            chrome.join("userChrome.css"),
            ":root { min-width: 0 !important }",
        )
        .unwrap();
        let mut command = program("firefox-esr", &profile);
        command
            .args(["--headless", "--no-remote", "--marionette", "--profile"])
            .arg(&profile.0)
            .env("MOZ_HEADLESS_WIDTH", case.width.to_string())
            .env("MOZ_HEADLESS_HEIGHT", "844")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let running = Running::start(&mut command);
        let named = profile.0.join("MarionetteActivePort");
        let mut port = None;
        until("Firefox names its port", || {
            let text = fs::read_to_string(&named).unwrap_or_default();
            port = text.trim().parse::<u16>().ok();
            port.is_some()
        });
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port.unwrap())).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut firefox = Self {
            stream: BufReader::new(stream),
            asked: 0,
            site,
            _running: running,
            _profile: profile,
        };
        // It introduces itself.
        firefox.hear();
        // What is asked while one page follows the other must not wait for either.
        firefox
            .ask("NewSession", json!({"pageLoadStrategy": "none"}))
            .unwrap();
        firefox
    }

    fn hear(&mut self) -> Value {
        let mut length = Vec::new();
        self.stream.read_until(b':', &mut length).unwrap();
        let length = String::from_utf8_lossy(&length);
        let length: usize = length.trim_end_matches(':').parse().unwrap();
        assert!(length <= ANSWER_BYTES_MAX);
        let mut message = vec![0; length];
        self.stream.read_exact(&mut message).unwrap();
        serde_json::from_slice(&message).unwrap()
    }

    /// `Err`: there is no such thing now.
    fn ask(&mut self, command: &str, parameters: Value) -> Result<Value, Value> {
        self.asked += 1;
        let message =
            json!([0, self.asked, format!("WebDriver:{command}"), parameters]).to_string();
        let message = format!("{}:{message}", message.len());
        self.stream.get_mut().write_all(message.as_bytes()).unwrap();
        let mut answer = self.hear();
        assert_eq!(answer[1], self.asked);
        match answer[2].take() {
            Value::Null => Ok(answer[3].take()),
            error => Err(error),
        }
    }

    fn url(&self, target: &str) -> String {
        format!("http://{HOST}:{}{target}", self.site.port())
    }

    fn navigate(&mut self, target: &str) {
        let url = self.url(target);
        self.ask("Navigate", json!({"url": url})).unwrap();
    }

    fn title(&mut self) -> Value {
        let title = self.ask("GetTitle", json!({}));
        title.map_or(Value::Null, |mut title| title["value"].take())
    }

    fn opened(&mut self, target: &str) {
        let url = self.url(target);
        until(target, || {
            let here = self.ask("GetCurrentURL", json!({}));
            here.is_ok_and(|here| here["value"] == url) && self.title() == "opened"
        });
    }

    /// Nothing has to be scrolled sideways in a window that is so wide.
    fn fits(&mut self, wide: u64) -> bool {
        let root = json!({"using": "css selector", "value": "html"});
        let root = self.ask("FindElement", root).unwrap();
        let root = root["value"].as_object().unwrap().values().next().cloned();
        let mut width = |name: &str| {
            let asked = json!({"id": root, "name": name});
            let got = self.ask("GetElementProperty", asked).unwrap();
            got["value"].as_u64().unwrap()
        };
        assert_eq!(width("clientWidth"), wide);
        width("scrollWidth") <= wide
    }

    /// Presses the page's button.
    fn press(&mut self) {
        let mut button = Value::Null;
        until("there is a button", || {
            let named = json!({"using": "css selector", "value": "button"});
            button = self.ask("FindElement", named).unwrap_or_default();
            !button.is_null()
        });
        let button = button["value"]
            .as_object()
            .unwrap()
            .values()
            .next()
            .cloned();
        self.ask("ElementClick", json!({"id": button})).unwrap();
    }

    fn picture(&mut self, file: &Path) {
        let taken = self.ask("TakeScreenshot", json!({"full": false})).unwrap();
        let bytes = from_base64(taken["value"].as_str().unwrap());
        fs::write(file, bytes).unwrap();
    }
}

struct Case {
    name: &'static str,
    scripts: bool,
    language: &'static str,
    /// What the waiting page is called in it.
    title: &'static str,
    width: u64,
}

const CASES: [Case; 3] = [
    Case {
        name: "with-scripts",
        scripts: true,
        language: "ru",
        title: "Страница скоро откроется",
        width: 1280,
    },
    Case {
        name: "on-a-phone",
        scripts: false,
        language: "kk",
        title: "Бет сәлден соң ашылады",
        width: 390,
    },
    Case {
        name: "on-a-desk",
        scripts: false,
        language: "en",
        title: "Your page will open shortly",
        width: 1280,
    },
];

#[test]
fn firefox_comes_in_and_reads_on() {
    let newsroom = Newsroom::start();
    let edge = edge(&newsroom, Hit::Network);
    let site = edge.addresses()[0];
    std::thread::scope(|threads| {
        for case in &CASES {
            threads.spawn(|| comes_in(site, &newsroom, case));
        }
    });
    assert!(edge.stats().totals.waiting >= CASES.len() as u64);
}

fn comes_in(site: SocketAddr, newsroom: &Newsroom, case: &Case) {
    let mut firefox = Firefox::start(site, case);
    let [first, next] = ["", "-next"].map(|end| format!("/news/{}{end}", case.name));
    firefox.navigate(&first);
    if !case.scripts {
        until("the waiting page is there", || {
            firefox.title() == case.title
        });
        assert!(firefox.fits(case.width), "{}", case.name);
        firefox.picture(&pictures().join(format!("firefox-{}.png", case.name)));
    }
    // By itself it becomes what was asked for, at the same address.
    firefox.opened(&first);
    assert_eq!(newsroom.times(&first), 1, "{}", case.name);
    let cookies = firefox.ask("GetCookies", json!({})).unwrap();
    let cookies = cookies.as_array().unwrap();
    assert!(
        cookies.iter().any(|cookie| cookie["name"] == "saqta-pass"),
        "{cookies:?}"
    );
    // The next page is there at once, and the way back leads past no waiting page.
    firefox.navigate(&next);
    firefox.opened(&next);
    assert_eq!(newsroom.times(&next), 1, "{}", case.name);
    firefox.ask("Back", json!({})).unwrap();
    firefox.opened(&first);

    // What is written by somebody who has to wait anew arrives once, as it was written.
    let page = format!("/with-a-form/{}", case.name);
    firefox.navigate(&page);
    firefox.opened(&page);
    firefox.ask("DeleteAllCookies", json!({})).unwrap();
    let target = format!("/comment{}", page.replace('/', "-"));
    firefox.press();
    if !case.scripts {
        until("the form is held", || {
            let title = firefox.title();
            title
                .as_str()
                .is_some_and(|title| !matches!(title, "" | "opened"))
        });
        firefox.picture(&pictures().join(format!("firefox-held-{}.png", case.name)));
        after(TICKET_WAIT);
        firefox.press();
    }
    firefox.opened(&target);
    let asked = newsroom.asked.lock().unwrap();
    let sent: Vec<_> = asked
        .iter()
        .filter(|one| one.target == target)
        .map(|one| String::from_utf8_lossy(&one.body).into_owned())
        .collect();
    assert_eq!(
        sent,
        [format!("comment={}", encoded(COMMENT))],
        "{}",
        case.name
    );
}
