//! How a request looks to whoever judges it.
//!
//! Made of the head as it came: over HTTP/1.1 its fields in their order and spelling, before hyper sees it; over HTTP/2 the names in
//! their order, which are in lower case there. The list of names is put together only when somebody asks, which is for a sample
//! or a rule about them.

use std::cell::OnceCell;
use std::net::IpAddr;

use saqta_detect::look::{self, Field, Head, Look};
use saqta_detect::shape::Shape;
use saqta_detect::trust::Visitor;

use crate::fields::Fields;
use crate::profile::{Profile, Use, path_and_query};
use crate::registry::Registry;

pub(crate) struct Sight<'a, F: ?Sized> {
    method: &'a str,
    /// As it was sent.
    target: &'a str,
    /// 10, 11, 20.
    version: u8,
    shape: Shape,
    source: IpAddr,
    fields: &'a F,
    registry: &'a Registry,
    /// Of the fields, joined by commas, as they came.
    names: OnceCell<Vec<u8>>,
}

impl<'a, F: Fields + ?Sized> Sight<'a, F> {
    pub(crate) fn new(
        (method, target): (&'a str, &'a str),
        version: u8,
        (shape, source): (Shape, IpAddr),
        fields: &'a F,
        registry: &'a Registry,
    ) -> Self {
        Self {
            method,
            target,
            version,
            shape,
            source,
            fields,
            registry,
            names: OnceCell::new(),
        }
    }

    pub(crate) fn source(&self) -> IpAddr {
        self.source
    }

    pub(crate) fn visitor(&self) -> Visitor {
        visitor(self.source, self.fields)
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// A try at what is guessed at.
    pub(crate) fn is_sensitive(&self, profile: &Profile) -> bool {
        if self.method != "POST" {
            return false;
        }
        let (path, query) = path_and_query(self.target);
        matches!(profile.use_of(path, query), Use::Login | Use::Comment)
            || look::is_guessed_at(self.target.as_bytes())
    }

    /// `whole`: with the names of its fields and whose network it comes from, which cost more than all the rest.
    pub(crate) fn look(&self, whole: bool) -> Look<'_> {
        let field = |name| self.fields.field(name).map_or(Field::Absent, Field::Is);
        let (mut names, mut asn, mut country) = (Field::Unknown, None, None);
        if whole {
            names = Field::Is(self.names.get_or_init(|| names_of(self.fields)));
            asn = self.registry.asn(self.source);
            country = self.registry.country(self.source);
        }
        Look {
            method: self.method.as_bytes(),
            target: self.target.as_bytes(),
            shape: self.shape,
            version: self.version,
            agent: field("user-agent"),
            referer: field("referer"),
            head: Head {
                accept: field("accept"),
                accept_language: field("accept-language"),
                accept_encoding: field("accept-encoding"),
                names,
            },
            source: self.source,
            asn,
            country,
        }
    }
}

/// Who asks, by these fields.
pub(crate) fn visitor<F: Fields + ?Sized>(source: IpAddr, fields: &F) -> Visitor {
    let agent = fields.field("user-agent");
    Visitor::new(source, agent.map_or(Field::Absent, Field::Is))
}

fn names_of<F: Fields + ?Sized>(fields: &F) -> Vec<u8> {
    // Twenty names of a dozen letters.
    let mut names = Vec::with_capacity(256);
    fields.each_name(&mut |name| {
        if !names.is_empty() {
            names.push(b',');
        }
        names.extend_from_slice(name.as_bytes());
    });
    names
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use saqta_detect::look::Attribute;

    use super::*;
    use crate::head::{self, Storage};
    use crate::plan::Limits;

    #[test]
    fn one_request_looks_alike_over_both_protocols_but_for_spelling() {
        let bytes =
            b"GET /a?b=c HTTP/1.1\r\nHost: a.kz\r\nUser-Agent: curl/8\r\nAccept: */*\r\n\r\n";
        let (mut scanned, mut storage) = (0, Storage::new());
        let head = head::parse(bytes, &mut scanned, &mut storage, &Limits::default())
            .unwrap()
            .unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in [
            ("host", "a.kz"),
            ("user-agent", "curl/8"),
            ("accept", "*/*"),
        ] {
            map.append(name, value.parse().unwrap());
        }
        let (shape, source) = (Shape::of(b"/a?b=c"), IpAddr::from([127, 0, 0, 1]));
        let registry = Registry::default();
        let one = Sight::new(("GET", "/a?b=c"), 11, (shape, source), &head, &registry);
        let two = Sight::new(("GET", "/a?b=c"), 20, (shape, source), &map, &registry);
        let (one, two) = (one.look(true), two.look(true));
        for attribute in Attribute::ALL {
            let (one, two) = (one.text(attribute), two.text(attribute));
            match attribute {
                Attribute::Version => assert_ne!(one, two),
                Attribute::FieldOrder => {
                    assert_eq!(one.as_deref(), Some("Host,User-Agent,Accept"));
                    assert_eq!(two.as_deref(), Some("host,user-agent,accept"));
                }
                _ => assert_eq!(one, two, "{attribute:?}"),
            }
        }
    }
}
