//! A browser, as far as its cookies and forms go.

use std::net::Ipv4Addr;

use saqta_edge::Edge;
use sha2::{Digest, Sha256};

use super::{Answer, Client, connect_from};

pub const READER: Ipv4Addr = Ipv4Addr::new(127, 5, 5, 5);

/// `agent`: what a rule goes by.
pub struct Browser<'a> {
    pub edge: &'a Edge,
    pub from: Ipv4Addr,
    pub agent: &'static str,
    pub fields: &'static str,
    pub cookies: Vec<(String, String)>,
}

pub const PAGE: &str =
    "Accept: text/html\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\n";
pub const PART: &str = "Accept: text/css\r\nSec-Fetch-Dest: style\r\nSec-Fetch-Mode: no-cors\r\n";

impl<'a> Browser<'a> {
    pub fn new(edge: &'a Edge, agent: &'static str) -> Self {
        Self {
            edge,
            from: READER,
            agent,
            fields: PAGE,
            cookies: Vec::new(),
        }
    }

    pub fn get(&mut self, target: &str) -> Answer {
        self.ask("GET", target, "", b"")
    }

    /// `fields`: beside those that all its requests have.
    pub fn post(&mut self, target: &str, fields: &str, body: &[u8]) -> Answer {
        let fields = format!("{fields}Content-Length: {}\r\n", body.len());
        self.ask("POST", target, &fields, body)
    }

    fn ask(&mut self, method: &str, target: &str, fields: &str, body: &[u8]) -> Answer {
        let cookies: Vec<_> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let cookies = match cookies.is_empty() {
            true => String::new(),
            false => format!("Cookie: {}\r\n", cookies.join("; ")),
        };
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: a.kz\r\nUser-Agent: {}\r\n{}{fields}{cookies}\r\n",
            self.agent, self.fields
        );
        let answer = Client::of(connect_from(self.from, self.edge.addresses()[0]))
            .send([head.as_bytes(), body].concat())
            .answer()
            .unwrap();
        for line in answer.head.lines() {
            let Some(cookie) = line.strip_prefix("set-cookie: ") else {
                continue;
            };
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.retain(|(known, _)| known != name);
            self.cookies.push((name.to_owned(), value.to_owned()));
        }
        answer
    }

    pub fn has(&self, name: &str) -> bool {
        self.cookie(name).is_some()
    }

    pub fn cookie(&self, name: &str) -> Option<&str> {
        let mut all = self.cookies.iter();
        all.find_map(|(known, value)| (known == name).then_some(value.as_str()))
    }

    /// What the page's script does.
    pub fn work(&mut self) {
        let ticket = self.cookie("saqta-ticket").unwrap().to_owned();
        let found = (0..1_000_000).find(|number| {
            let sum = Sha256::digest(format!("{ticket}.{number}"));
            u16::from_be_bytes([sum[0], sum[1]]) >> 2 == 0
        });
        self.cookies.retain(|(name, _)| name != "saqta-work");
        self.cookies
            .push(("saqta-work".to_owned(), found.unwrap().to_string()));
    }
}

pub const URLENCODED: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

/// What the page with a form carries, as its browser sends it.
pub fn carried(answer: &Answer) -> String {
    let text = answer.text();
    let found = text.split_once("name=\"saqta-form\" value=\"");
    assert!(found.is_some(), "no form: {}\n{text}", answer.head);
    let (_, rest) = found.unwrap();
    format!("saqta-form={}", rest.split_once('"').unwrap().0)
}
