//! Requests that two parsers would read differently. None may reach the origin, whole or in part.

mod kit;

use kit::{Client, Origin, page, plan};
use saqta_edge::Edge;

/// (what, bytes as sent, status or 0 for a close without an answer)
const CORPUS: &[(&str, &str, u16)] = &[
    ("the greeting of TLS", "\x16\x03\x01\x02\0\x01\0\x01", 400),
    (
        "CL then TE",
        "POST /x HTTP/1.1\r\nHost: a.kz\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
        400,
    ),
    (
        "TE then CL",
        "POST /x HTTP/1.1\r\nHost: a.kz\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\nGPOST",
        400,
    ),
    (
        "two lengths alike",
        "POST /x HTTP/1.1\r\nHost: a.kz\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        400,
    ),
    (
        "two lengths",
        "POST /x HTTP/1.1\r\nHost: a.kz\r\nContent-Length: 0\r\nContent-Length: 44\r\n\r\nabc",
        400,
    ),
    (
        "length list",
        "POST /x HTTP/1.1\r\nHost: a.kz\r\nContent-Length: 3, 3\r\n\r\nabc",
        400,
    ),
    (
        "signed length",
        "POST /x HTTP/1.1\r\nHost: a.kz\r\nContent-Length: +3\r\n\r\nabc",
        400,
    ),
    (
        "odd coding",
        "POST /x HTTP/1.1\r\nHost: a.kz\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        501,
    ),
    (
        "coding twice",
        "POST /x HTTP/1.1\r\nHost: a.kz\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
        501,
    ),
    (
        "coding with tab",
        "POST /x HTTP/1.1\r\nHost: a.kz\r\nTransfer-Encoding:\tchunked, x\r\n\r\n0\r\n\r\n",
        501,
    ),
    (
        "space before colon",
        "POST /x HTTP/1.1\r\nHost: a.kz\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "underscore coding",
        "POST /x HTTP/1.1\r\nHost: a.kz\r\nTransfer_Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
        400,
    ),
    ("bare LF", "GET /x HTTP/1.1\nHost: a.kz\n\n", 400),
    (
        "LF in the middle",
        "GET /x HTTP/1.1\r\nHost: a.kz\nX: y\r\n\r\n",
        400,
    ),
    (
        "bare CR",
        "GET /x HTTP/1.1\r\nHost: a.kz\rX: y\r\n\r\n",
        400,
    ),
    (
        "folded",
        "GET /x HTTP/1.1\r\nHost: a.kz\r\nX: y\r\n Content-Length: 5\r\n\r\n",
        400,
    ),
    (
        "two hosts",
        "GET /x HTTP/1.1\r\nHost: a.kz\r\nHost: b.kz\r\n\r\n",
        400,
    ),
    ("no host", "GET /x HTTP/1.1\r\n\r\n", 400),
    (
        "host and target differ",
        "GET http://b.kz/x HTTP/1.1\r\nHost: a.kz\r\n\r\n",
        400,
    ),
    (
        "tunnel",
        "CONNECT a.kz:80 HTTP/1.1\r\nHost: a.kz\r\n\r\n",
        405,
    ),
    ("trace", "TRACE /x HTTP/1.1\r\nHost: a.kz\r\n\r\n", 405),
    (
        "NUL in a value",
        "GET /x HTTP/1.1\r\nHost: a.kz\r\nX: a\0b\r\n\r\n",
        400,
    ),
    ("fragment", "GET /x#y HTTP/1.1\r\nHost: a.kz\r\n\r\n", 400),
    (
        "unknown host",
        "GET /x HTTP/1.1\r\nHost: evil.kz\r\n\r\n",
        0,
    ),
    ("version 3", "GET /x HTTP/3.0\r\nHost: a.kz\r\n\r\n", 400),
    (
        "TLS on a plain port",
        "\x16\x03\x01\x02\0\x01\0\x01\r\n\r\n",
        400,
    ),
];

#[test]
fn none_of_the_corpus_reaches_the_origin() {
    let origin = Origin::start(|_, _| page("200 OK", "", "reached"));
    let edge = Edge::start(plan(origin.address)).unwrap();
    for (what, bytes, status) in CORPUS {
        let mut client = Client::connect(&edge);
        client.send(bytes);
        let answer = client.answer();
        assert_eq!(
            answer.as_ref().map_or(0, |answer| answer.status),
            *status,
            "{what}: {answer:?}"
        );
        assert!(client.is_closed(), "{what}: the connection must not go on");
    }
    assert_eq!(
        origin
            .asked()
            .iter()
            .map(|asked| asked.line.clone())
            .collect::<Vec<_>>(),
        Vec::<String>::new()
    );
}

#[test]
fn a_body_broken_in_the_middle_never_becomes_a_second_request() {
    let origin = Origin::start(|_, _| page("200 OK", "", "ok"));
    let edge = Edge::start(plan(origin.address)).unwrap();
    for body in [
        "5\r\nhelloGET /admin HTTP/1.1\r\nHost: a.kz\r\n\r\n",
        "5;x=\n0\r\n\r\nGET /admin HTTP/1.1\r\n\r\n",
        "5;x=\"\n0\r\n\r\nGET /admin HTTP/1.1\r\n\r\n",
        "5;x\r0\r\n\r\nGET /admin HTTP/1.1\r\n\r\n",
        "0;\r\n\r\nGET /admin HTTP/1.1\r\n\r\n",
        "zz\r\n",
        "0\r\nno colon\r\n\r\nGET /admin HTTP/1.1\r\nHost: a.kz\r\n\r\n",
        "0\r\nx: \x01\r\n\r\nGET /admin HTTP/1.1\r\nHost: a.kz\r\n\r\n",
        format!(
            "0\r\n{}\r\nGET /admin HTTP/1.1\r\nHost: a.kz\r\n\r\n",
            "X: y\r\n".repeat(101)
        )
        .as_str(),
    ] {
        let mut client = Client::connect(&edge);
        client.send(format!(
            "POST /x HTTP/1.1\r\nHost: a.kz\r\nTransfer-Encoding: chunked\r\n\r\n{body}"
        ));
        while client.answer().is_some() {}
        assert!(client.is_closed());
    }
    assert!(
        origin
            .asked()
            .iter()
            .all(|asked| !asked.line.contains("/admin")),
        "{:?}",
        origin.asked()
    );
}

#[test]
fn names_with_underscores_and_forged_addresses_do_not_pass() {
    let origin = Origin::start(|_, _| page("200 OK", "Cache-Control: no-store\r\n", "ok"));
    let edge = Edge::start(plan(origin.address)).unwrap();
    let forged = "X-Forwarded-For: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n\
                  True-Client-IP: 6.6.6.6\r\nCF-Connecting-IP: 6.6.6.6\r\nX-Forwarded-Host: evil\r\nX-Host: evil\r\n\
                  X-Original-URL: /evil\r\nX-Rewrite-URL: /evil\r\nX-HTTP-Method-Override: DELETE\r\nUpgrade: h2c\r\n\
                  HTTP2-Settings: AAMAAABkAAQAAP__\r\nConnection: Upgrade, HTTP2-Settings\r\n";
    let mut client = Client::connect(&edge);
    let answer = client
        .send(format!("GET /x HTTP/1.1\r\nHost: a.kz\r\n{forged}\r\n"))
        .answer()
        .unwrap();
    assert_eq!(answer.status, 200);
    let asked = origin.asked();
    let head = asked[0].head.to_lowercase();
    for trace in ["6.6.6.6", "evil", "delete", "h2c", "http2-settings", "_for"] {
        assert!(!head.contains(trace), "{trace} reached the origin:\n{head}");
    }
    assert_eq!(asked[0].field("x-forwarded-for"), Some("127.0.0.1"));
}
