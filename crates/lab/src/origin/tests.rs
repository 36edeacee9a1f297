use std::future::Future;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::newsroom::Mark;

/// A conversation with an origin on port 0, then its last books.
async fn with_origin<F: Future<Output = ()>>(
    spec: OriginSpec,
    talk: impl FnOnce(SocketAddr, mpsc::Sender<Command>) -> F,
) -> OriginStats {
    let lines = Rc::new(RefCell::new(Vec::new()));
    let kept = lines.clone();
    LocalSet::new()
        .run_until(async move {
            let origin = Origin::bind(spec).unwrap();
            let address = origin.address();
            let (commands, received) = mpsc::channel(COMMANDS_MAX);
            let server = tokio::task::spawn_local(origin.run(
                received,
                std::future::pending(),
                move |stats| {
                    kept.borrow_mut().push(stats);
                },
            ));
            talk(address, commands.clone()).await;
            drop(commands);
            server.await.unwrap();
        })
        .await;
    let last = lines.borrow().last().cloned().unwrap();
    assert!(last.last);
    last
}

/// Pages cost nothing but their place in the queue.
fn quick() -> OriginSpec {
    OriginSpec {
        service_factor: 0.0,
        ..OriginSpec::default()
    }
}

struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Heard {
    status: u16,
    head: String,
    body: Vec<u8>,
    /// The connection ended before the body did.
    cut: bool,
}

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        Self {
            stream: TcpStream::connect(address).await.unwrap(),
            buffer: Vec::new(),
        }
    }

    async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    async fn ask(&mut self, head: &str) -> Heard {
        self.say(format!("{head}\r\n\r\n")).await;
        self.hear(head.starts_with("HEAD")).await
    }

    /// `false`: the connection has ended.
    async fn more(&mut self) -> bool {
        matches!(self.stream.read_buf(&mut self.buffer).await, Ok(1..))
    }

    async fn until(&mut self, what: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.buffer, what) {
                return self.buffer.drain(..at + what.len()).collect();
            }
            assert!(
                self.more().await,
                "ended before {:?}",
                String::from_utf8_lossy(what)
            );
        }
    }

    async fn hear(&mut self, no_body: bool) -> Heard {
        let head = String::from_utf8(self.until(b"\r\n\r\n").await).unwrap();
        let status = head[9..12].parse().unwrap();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "))
            .map(|text| text.parse().unwrap());
        let length: usize = if no_body { 0 } else { length.unwrap_or(0) };
        let mut cut = false;
        while self.buffer.len() < length && !cut {
            cut = !self.more().await;
        }
        let body = self.buffer.drain(..length.min(self.buffer.len())).collect();
        Heard {
            status,
            head,
            body,
            cut,
        }
    }

    async fn ended(mut self) -> bool {
        !self.more().await
    }
}

#[tokio::test]
async fn pages_arrive_complete_in_every_dialect() {
    for dialect in Dialect::ALL {
        let newsroom = Newsroom::new(1);
        let books = with_origin(OriginSpec { dialect, ..quick() }, |address, _| async move {
            let mut client = Client::connect(address).await;
            let article = newsroom.articles()[3].path.as_str();
            let targets = [
                "/",
                article,
                "/?s=1",
                "/ru/feed/",
                "/assets/site.css",
                "/assets/picture-3.svg",
                "/kk/tag/oral/",
            ];
            for target in targets {
                let heard = client
                    .ask(&format!(
                        "GET {target} HTTP/1.1\r\nHost: {}",
                        newsroom.host()
                    ))
                    .await;
                assert_eq!(heard.status, 200, "{dialect} {target}");
                assert!(
                    newsroom.mark_for(target).unwrap().holds(&heard.body),
                    "{dialect} {target}"
                );
                assert!(heard.head.contains("\r\nDate: "), "{dialect} {target}");
            }
            let missing = client.ask("GET /nothing/ HTTP/1.1\r\nHost: x").await;
            assert!(
                missing.status == 404 && newsroom.missing_mark().holds(&missing.body),
                "{dialect}"
            );
        })
        .await;
        assert_eq!(
            (
                books.requests,
                books.errors,
                books.connections,
                books.distinct_targets
            ),
            (8, 0, 1, 8)
        );
        assert_eq!(books.by_kind[&Kind::Asset], 2);
        assert_eq!(
            (
                books.in_flight,
                books.peak_in_flight,
                books.over_capacity_ms
            ),
            (0, 1, 0)
        );
    }
}

#[tokio::test]
async fn connections_follow_the_version_and_the_wish() {
    with_origin(quick(), |address, _| async move {
        let mut old = Client::connect(address).await;
        let heard = old.ask("GET / HTTP/1.0").await;
        assert!(heard.head.contains("Connection: close") && old.ended().await);

        let mut old = Client::connect(address).await;
        let heard = old.ask("GET / HTTP/1.0\r\nConnection: keep-alive").await;
        assert!(heard.head.contains("Connection: keep-alive"));
        assert_eq!(
            old.ask("GET / HTTP/1.0\r\nConnection: keep-alive")
                .await
                .status,
            200
        );

        let mut client = Client::connect(address).await;
        let head = client.ask("HEAD / HTTP/1.1\r\nHost: a").await;
        let get = client.ask("GET / HTTP/1.1\r\nHost: a").await;
        let length = |heard: &Heard| {
            heard
                .head
                .lines()
                .find(|line| line.starts_with("Content-Length"))
                .map(str::to_owned)
        };
        assert!(length(&head).is_some() && length(&head) == length(&get));
        assert!(
            client
                .ask("GET / HTTP/1.1\r\nConnection: close")
                .await
                .status
                == 200
                && client.ended().await
        );

        let mut noise = Client::connect(address).await;
        noise.say("\x16\x03\x01 hello\r\n\r\n").await;
        assert_eq!(noise.hear(false).await.status, 400);

        let mut pipelined = Client::connect(address).await;
        pipelined
            .say("GET / HTTP/1.1\r\n\r\nGET /feed/ HTTP/1.1\r\n\r\n")
            .await;
        assert_eq!(
            (
                pipelined.hear(false).await.status,
                pipelined.hear(false).await.status
            ),
            (200, 200)
        );
    })
    .await;
}

#[tokio::test]
async fn workers_burn_on_for_clients_that_have_gone() {
    let spec = OriginSpec {
        workers: 1,
        ..OriginSpec::default()
    };
    let books = with_origin(spec, |address, _| async move {
        let mut gone = Client::connect(address).await;
        gone.say("GET /?s=1 HTTP/1.1\r\n\r\n").await;
        drop(gone);
        let mut client = Client::connect(address).await;
        assert_eq!(client.ask("GET / HTTP/1.1").await.status, 200);
    })
    .await;
    assert_eq!(
        (books.peak_in_flight, books.requests, books.in_flight),
        (2, 2, 0)
    );
    // The least of 60 ms × e^(0.35 n) this side of four sigma is 15 ms.
    assert!(
        books.over_capacity_ms >= 10,
        "the second waited for the first: {books:?}"
    );
}

#[tokio::test]
async fn a_full_backlog_answers_503_and_assets_pass_it_by() {
    let spec = OriginSpec {
        workers: 1,
        backlog: 1,
        ..OriginSpec::default()
    };
    let books = with_origin(spec, |address, _| async move {
        let mut clients = Vec::new();
        for _ in 0..4 {
            let mut client = Client::connect(address).await;
            client.say("GET /?s=1 HTTP/1.1\r\n\r\n").await;
            clients.push(client);
        }
        let asset = Client::connect(address)
            .await
            .ask("GET /assets/site.js HTTP/1.1")
            .await;
        assert_eq!(asset.status, 200);
        let mut statuses = Vec::new();
        for client in &mut clients {
            statuses.push(client.hear(false).await.status);
        }
        assert_eq!(statuses, [200, 200, 503, 503]);
    })
    .await;
    assert_eq!(
        (books.backlog_full, books.errors, books.peak_in_flight),
        (2, 2, 2)
    );
}

#[tokio::test]
async fn faults_are_what_they_are_called() {
    let mark = Newsroom::new(1).mark_for("/").unwrap();
    let whole = move |heard: &Heard, mark: &Mark| mark.holds(&heard.body);
    let books = with_origin(quick(), |address, commands| async move {
        let set = async |fault| {
            commands.send(Command { fault }).await.unwrap();
            // The origin takes commands and connections in turn; once the channel is empty it has taken this one.
            while commands.capacity() < COMMANDS_MAX {
                tokio::task::yield_now().await;
            }
            tokio::task::yield_now().await;
        };
        let get = async || Client::connect(address).await.ask("GET / HTTP/1.1").await;

        set(Fault::Error500).await;
        assert_eq!(get().await.status, 500);
        set(Fault::Error200).await;
        let heard = get().await;
        assert!(
            heard.status == 200 && !whole(&heard, &mark) && !heard.head.contains("Cache-Control")
        );
        set(Fault::Truncate).await;
        let heard = get().await;
        assert!(
            heard.status == 200 && heard.cut && !heard.body.is_empty() && !whole(&heard, &mark)
        );

        set(Fault::Hang).await;
        let mut hung = Client::connect(address).await;
        hung.say("GET / HTTP/1.1\r\n\r\n").await;
        let mut idle = Client::connect(address).await;
        set(Fault::None).await;
        // Answered or closed depends on whether the request was read before the fault ended; it never stays open unanswered.
        let answered = hung.more().await;
        assert!(answered || hung.ended().await);
        assert_eq!(idle.ask("GET / HTTP/1.1").await.status, 200);

        set(Fault::Refuse).await;
        assert!(
            idle.ended().await,
            "a process that is gone keeps no connection"
        );
        assert_eq!(
            TcpStream::connect(address).await.unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );
        set(Fault::None).await;
        let heard = loop {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    break Client {
                        stream,
                        buffer: Vec::new(),
                    }
                    .ask("GET / HTTP/1.1")
                    .await;
                }
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused),
            }
            tokio::task::yield_now().await;
        };
        assert!(whole(&heard, &mark), "the same port serves again");
    })
    .await;
    assert!(books.errors >= 3, "{books:?}");
    assert_eq!(books.fault, Fault::None);
}

#[tokio::test]
async fn a_hanging_origin_answers_nobody() {
    let books = with_origin(quick(), |address, commands| async move {
        commands.send(Command { fault: Fault::Hang }).await.unwrap();
        let mut client = Client::connect(address).await;
        client.say("GET / HTTP/1.1\r\n\r\n").await;
        // The one thing that proves silence is that another fault is what ends it.
        let silent = timeout(Duration::from_millis(50), client.more())
            .await
            .is_err();
        assert!(silent);
        commands.send(Command { fault: Fault::None }).await.unwrap();
        assert!(client.ended().await);
    })
    .await;
    assert_eq!((books.errors, books.in_flight), (1, 0));
}

#[tokio::test]
async fn uploads_are_counted_however_they_are_framed() {
    let books = with_origin(quick(), |address, _| async move {
        let mut client = Client::connect(address).await;
        client.say("POST /upload HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n").await;
        assert!(client.until(b"\r\n\r\n").await.starts_with(b"HTTP/1.1 100 "));
        client.say("hello").await;
        assert_eq!(client.hear(false).await.body, b"{\"bytes\":5,\"crc32\":\"3610a686\"}\n");

        client.say("POST /upload HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;x=1\r\nhello\r\n3\r\nyou\r\n0\r\nX-Sum: 8\r\n\r\n").await;
        assert_eq!(client.hear(false).await.body, b"{\"bytes\":8,\"crc32\":\"66391419\"}\n");

        let large = vec![b'x'; 3_000_000];
        client.say(format!("POST /upload HTTP/1.1\r\nContent-Length: {}\r\n\r\n", large.len())).await;
        client.say(&large).await;
        assert_eq!(client.hear(false).await.body, b"{\"bytes\":3000000,\"crc32\":\"f0e94f8f\"}\n");

        // For articles only from staff.
        client.say("POST /wp-admin/async-upload.php HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello").await;
        assert_eq!(client.hear(false).await.status, 302);

        client.say("POST /upload HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n").await;
        assert_eq!(client.hear(false).await.status, 400);
    })
    .await;
    assert_eq!((books.uploads, books.upload_bytes), (3, 3_000_013));
}

#[tokio::test]
async fn websockets_echo() {
    with_origin(quick(), |address, _| async move {
        let mut client = Client::connect(address).await;
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        let head = client
            .ask(&format!("GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}"))
            .await;
        assert!(head.status == 101 && head.head.contains(&websocket_accept(key)), "{head:?}");
        let masked = |opcode: u8, text: &[u8]| {
            let mask = [1, 2, 3, 4];
            let mut frame = vec![0x80 | opcode];
            match text.len() {
                short @ 0..126 => frame.push(0x80 | short as u8),
                long => {
                    frame.push(0x80 | 126);
                    frame.extend((long as u16).to_be_bytes());
                }
            }
            frame.extend(mask);
            frame.extend(text.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
            frame
        };
        let long = [b'x'; 300];
        let said = [masked(1, b"salem"), masked(2, &long), masked(9, b"ping"), masked(10, b"unasked"), masked(8, b"")].concat();
        client.say(said).await;
        let mut heard = b"\x81\x05salem\x82\x7e\x01\x2c".to_vec();
        heard.extend(long);
        heard.extend(b"\x8a\x04ping\x88\x00");
        while client.more().await {}
        assert_eq!(client.buffer, heard);
    })
    .await;
}

#[tokio::test]
async fn events_flow() {
    with_origin(quick(), |address, _| async move {
        let mut client = Client::connect(address).await;
        client.say("GET /events HTTP/1.1\r\n\r\n").await;
        let head = String::from_utf8(client.until(b"\r\n\r\n").await).unwrap();
        assert!(
            head.contains("text/event-stream") && head.contains("chunked"),
            "{head}"
        );
        client.until(b"id: 0\ndata: {\"story\":0}\n\n\r\n").await;
        client.until(b"id: 1\n").await;
    })
    .await;
}

#[tokio::test]
async fn an_origin_is_bound_to_this_machine_and_to_sense() {
    let listen = |text: &str| OriginSpec {
        listen: text.parse().unwrap(),
        ..quick()
    };
    let table = [
        (listen("0.0.0.0:0"), "loopback only"),
        (listen("192.168.0.1:80"), "loopback only"),
        (listen("[::]:0"), "loopback only"),
        (
            OriginSpec {
                workers: 0,
                ..quick()
            },
            "1 to 10,000 workers",
        ),
        (
            OriginSpec {
                report_every_ms: 1,
                ..quick()
            },
            "10 ms to 60 s",
        ),
        (
            OriginSpec {
                service_factor: f64::NAN,
                ..quick()
            },
            "0 to 1,000",
        ),
    ];
    for (spec, says) in table {
        let error = Origin::bind(spec).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn lines_and_commands_read_back() {
    let line = serde_json::to_string(&Line::Listening {
        listening: "127.0.0.1:80".parse().unwrap(),
    })
    .unwrap();
    assert_eq!(line, r#"{"listening":"127.0.0.1:80"}"#);
    let mut stats = OriginStats {
        requests: 7,
        fault: Fault::Error500,
        ..OriginStats::default()
    };
    stats.by_kind.insert(Kind::Search, 7);
    let stats = Line::Stats(Box::new(stats));
    let text = serde_json::to_string(&stats).unwrap();
    assert!(
        text.contains(r#""by_kind":{"search":7}"#) && text.contains(r#""fault":"500""#),
        "{text}"
    );
    assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), stats);

    let spec: OriginSpec = serde_json::from_str(r#"{"seed":3,"dialect":"wordpress"}"#).unwrap();
    assert_eq!(
        spec,
        OriginSpec {
            seed: 3,
            dialect: Dialect::WordPress,
            ..OriginSpec::default()
        }
    );
    assert!(serde_json::from_str::<OriginSpec>(r#"{"worker":3}"#).is_err());
}

#[test]
fn commands_end_with_input_or_with_nonsense() {
    let (sender, mut receiver) = mpsc::channel(COMMANDS_MAX);
    obey(
        &b"{\"fault\":\"hang\"}\n{\"fault\":\"none\"}\nhello\n{\"fault\":\"500\"}\n"[..],
        &sender,
    );
    drop(sender);
    let faults: Vec<Fault> = std::iter::from_fn(|| receiver.blocking_recv())
        .map(|command| command.fault)
        .collect();
    assert_eq!(faults, [Fault::Hang, Fault::None]);
}
