//! Text browsers, each at a terminal as its reader sits before it: without scripts or pictures, most without a reload of their own.

use std::fs;
use std::io::{Read, Write};
use std::process::{ChildStdin, Stdio};
use std::sync::{Arc, Mutex};

use crate::server::Folder;
use crate::{Hit, Newsroom, Running, TICKET_WAIT, after, edge, program, run, until_or};

/// A text browser at work. `script` of util-linux is the terminal.
struct Terminal {
    keys: ChildStdin,
    shown: Arc<Mutex<Vec<u8>>>,
    _running: Running,
}

impl Terminal {
    fn start(command: &str, home: &Folder) -> Self {
        let mut terminal = program("script", home);
        terminal
            .args(["-qfec", command, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut running = Running::start(&mut terminal);
        let mut screen = running.0.stdout.take().unwrap();
        let shown: Arc<Mutex<Vec<u8>>> = Arc::default();
        let all = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut some = [0; 4096];
            while let Ok(bytes @ 1..) = screen.read(&mut some) {
                all.lock().unwrap().extend_from_slice(&some[..bytes]);
            }
        });
        Self {
            keys: running.0.stdin.take().unwrap(),
            shown,
            _running: running,
        }
    }

    /// Whatever the terminal was sent since the last keys, without its own signs.
    fn screen(&self) -> String {
        plain(&self.shown.lock().unwrap())
    }

    fn press(&mut self, keys: &str) {
        self.shown.lock().unwrap().clear();
        self.keys.write_all(keys.as_bytes()).unwrap();
    }
}

/// Letters as they come, a blank for each sequence that moves or colours.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut plain = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\u{1b}' => {
                let mut sequence = letters
                    .by_ref()
                    .skip_while(|one| !one.is_ascii_alphabetic());
                let _last_of_it = sequence.next();
                plain.push(' ');
            }
            control if control.is_control() => plain.push(' '),
            letter => plain.push(letter),
        }
    }
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

struct Reader {
    name: &'static str,
    options: &'static str,
    /// What finds a file of its own has been used before, and welcomes nobody.
    settings: (&'static str, &'static str),
    /// Asks for the page again once its time is over; empty: the browser reloads by itself.
    again: &'static str,
}

const READERS: [Reader; 4] = [
    Reader {
        name: "lynx",
        options: "-accept_all_cookies",
        settings: (".lynx", "lynxrc"),
        // To the link that its own line of the reload is.
        again: "\r",
    },
    Reader {
        name: "w3m",
        options: "-o use_cookie=1 -o accept_cookie=1",
        settings: (".w3m", "config"),
        again: "\t\r",
    },
    Reader {
        name: "elinks",
        options: "",
        settings: (".elinks", "elinks.conf"),
        again: "",
    },
    Reader {
        name: "links",
        options: "",
        settings: (".links2", "links.cfg"),
        // Ctrl+R: to a page it has, a link leads without asking for it anew.
        again: "\u{12}",
    },
];

#[test]
fn text_browsers_come_in() {
    let newsroom = Newsroom::start();
    let edge = edge(&newsroom, Hit::Network);
    let site = edge.addresses()[0];
    std::thread::scope(|threads| {
        for reader in &READERS {
            let (newsroom, url) = (&newsroom, format!("http://{site}/news/{}", reader.name));
            threads.spawn(move || comes_in(reader, &url, newsroom));
        }
    });
}

fn comes_in(reader: &Reader, url: &str, newsroom: &Newsroom) {
    let home = Folder::new("text");
    let (folder, file) = reader.settings;
    fs::create_dir(home.0.join(folder)).unwrap();
    fs::write(home.0.join(folder).join(file), "\n").unwrap();
    let target = format!("/news/{}", reader.name);
    let mut terminal = Terminal::start(&format!("{} {} {url}", reader.name, reader.options), &home);
    let comes = |terminal: &Terminal, is_so: &dyn Fn(&str) -> bool| {
        let mut screen = String::new();
        until_or(
            || {
                screen = terminal.screen();
                is_so(&screen)
            },
            || format!("{}: {}", reader.name, terminal.screen()),
        );
    };
    // It says what is so and where to go on.
    comes(&terminal, &|screen| {
        screen.contains("Your page will open shortly") && screen.contains("Try again")
    });
    assert_eq!(newsroom.times(&target), 0, "{}", reader.name);
    if !reader.again.is_empty() {
        after(TICKET_WAIT);
        terminal.press(reader.again);
    }
    comes(&terminal, &|screen| {
        newsroom.times(&target) == 1 && screen.contains(&target) && screen.contains("opened")
    });
}

/// Pages that are printed to a file: the page is left and asked for again. Who refuses cookies is shown the same page again.
#[test]
fn pages_are_printed_once_the_time_is_over() {
    let newsroom = Newsroom::start();
    let edge = edge(&newsroom, Hit::Network);
    let home = Folder::new("printed");
    let jar = home.0.join("cookies");
    let kept = home.0.join("lynx.cfg");
    fs::write(
        &kept,
        "INCLUDE:/etc/lynx/lynx.cfg\nPERSISTENT_COOKIES:TRUE\n",
    )
    .unwrap();
    let lynx = [
        "-dump".to_owned(),
        format!("-cfg={}", kept.display()),
        "-accept_all_cookies".to_owned(),
        format!("-cookie_file={}", jar.display()),
        format!("-cookie_save_file={}", jar.display()),
    ];
    let w3m = ["-dump", "-o", "use_cookie=1", "-o", "accept_cookie=1"].map(str::to_owned);
    let refused = ["-dump", "-cookies"].map(str::to_owned);
    let table: [(&str, &[String], &str, usize); 3] = [
        ("lynx", &lynx, "/news/lynx", 1),
        ("w3m", &w3m, "/news/w3m", 1),
        ("lynx", &refused, "/news/refused", 0),
    ];
    let print = |name: &str, options: &[String], target: &str| {
        let url = format!("http://{}{target}", edge.addresses()[0]);
        let printed = run(program(name, &home).args(options).arg(url));
        String::from_utf8_lossy(&printed.stdout).into_owned()
    };
    let says_to_wait =
        |page: &str| page.contains("Your page will open shortly") && page.contains("Try again");
    for (name, options, target, _) in table {
        let first = print(name, options, target);
        assert!(says_to_wait(&first), "{target}: {first}");
        assert_eq!(newsroom.times(target), 0, "{target}");
    }
    after(TICKET_WAIT);
    for (name, options, target, times) in table {
        let second = print(name, options, target);
        assert_eq!(says_to_wait(&second), times == 0, "{target}: {second}");
        assert!(times == 0 || second.contains(target), "{target}: {second}");
        assert_eq!(newsroom.times(target), times, "{target}");
    }
}
