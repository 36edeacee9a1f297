//! HTTP/2 with prior knowledge, frame by frame: what goes out is what the test says.

use std::io::{Read, Write};
use std::net::TcpStream;

use saqta_edge::Edge;

use super::PATIENCE;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// Literal fields without indexing, without Huffman: what the attacker wants is what goes out.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    let string = |text: &str, block: &mut Vec<u8>| {
        let mut length = text.len();
        if length < 127 {
            block.push(u8::try_from(length).unwrap());
        } else {
            block.push(127);
            length -= 127;
            while length >= 128 {
                block.push(u8::try_from(length % 128 + 128).unwrap());
                length /= 128;
            }
            block.push(u8::try_from(length).unwrap());
        }
        block.extend_from_slice(text.as_bytes());
    };
    for (name, value) in fields {
        block.push(0);
        string(name, &mut block);
        string(value, &mut block);
    }
    block
}

pub struct Http2 {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Http2 {
    pub fn connect(edge: &Edge) -> Self {
        Self::over(TcpStream::connect(edge.addresses()[0]).unwrap(), &[])
    }

    /// `settings`: the payload of the first frame.
    pub fn over(mut stream: TcpStream, settings: &[u8]) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(PREFACE).unwrap();
        stream.write_all(&frame(SETTINGS, 0, 0, settings)).unwrap();
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// `None`: the edge has closed.
    pub fn next(&mut self) -> Option<Frame> {
        loop {
            if self.buffer.len() >= 9 {
                let length = u32::from_be_bytes([0, self.buffer[0], self.buffer[1], self.buffer[2]])
                    as usize;
                if self.buffer.len() >= 9 + length {
                    let rest = self.buffer.split_off(9 + length);
                    let frame = std::mem::replace(&mut self.buffer, rest);
                    return Some(Frame {
                        kind: frame[3],
                        flags: frame[4],
                        stream: u32::from_be_bytes([frame[5] & 0x7f, frame[6], frame[7], frame[8]]),
                        payload: frame[9..].to_vec(),
                    });
                }
            }
            let mut chunk = [0; 16 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) | Err(_) => return None,
                Ok(bytes) => self.buffer.extend_from_slice(&chunk[..bytes]),
            }
        }
    }

    /// How a stream ends: the body of its answer, or a refusal.
    pub fn end_of(&mut self, stream: u32) -> End {
        let mut body = Vec::new();
        let mut status = None;
        while let Some(frame) = self.next() {
            match frame.kind {
                GOAWAY => return End::GoneAway,
                _ if frame.stream != stream => continue,
                RST_STREAM => return End::Reset,
                HEADERS => status = status_of(&frame.payload),
                DATA => body.extend_from_slice(&frame.payload),
                _ => {}
            }
            if matches!(frame.kind, HEADERS | DATA) && frame.flags & END_STREAM != 0 {
                return End::Answer(
                    status.unwrap_or(0),
                    String::from_utf8_lossy(&body).into_owned(),
                );
            }
        }
        End::Closed
    }
}

#[derive(Debug, PartialEq, Eq)]
pub enum End {
    Answer(u16, String),
    Reset,
    GoneAway,
    Closed,
}

/// The first field of every answer: indexed, or a literal of three digits, in Huffman's code (RFC 7541 appendix B) or plain.
pub fn status_of(block: &[u8]) -> Option<u16> {
    match block {
        [first @ 0x88..=0x8e, ..] => {
            Some([200, 204, 206, 304, 400, 404, 500][usize::from(first - 0x88)])
        }
        [_, 3, a, b, c, ..] => std::str::from_utf8(&[*a, *b, *c]).ok()?.parse().ok(),
        [_, 0x82, bytes @ ..] | [_, 0x83, bytes @ ..] => {
            let bits: Vec<u32> = bytes
                .iter()
                .take(3)
                .flat_map(|byte| (0..8).rev().map(move |at| u32::from(byte >> at & 1)))
                .collect();
            let value = |range: std::ops::Range<usize>| -> Option<u32> {
                Some(
                    bits.get(range)?
                        .iter()
                        .fold(0, |value, bit| value << 1 | bit),
                )
            };
            let (mut at, mut status) = (0, 0);
            for _ in 0..3 {
                let digit = match value(at..at + 5)? {
                    short @ 0..=2 => {
                        at += 5;
                        short
                    }
                    _ => {
                        at += 6;
                        value(at - 6..at)?.checked_sub(0b01_1001)? + 3
                    }
                };
                status = status * 10 + digit;
            }
            u16::try_from(status).ok()
        }
        _ => None,
    }
}
