//! Header fields, wherever they lie.
//!
//! A cache hit is answered from the bytes of the request head without building a `HeaderMap`; everything else has one. The cache
//! asks both the same questions through this trait.

use http::HeaderMap;

use crate::profile::Standing;

pub trait Fields {
    /// The first line of this field. `name` is lower case.
    fn field(&self, name: &str) -> Option<&[u8]>;

    /// Every line of this field, in order. `name` is lower case.
    fn each_line<'a>(&'a self, name: &str, line: &mut dyn FnMut(&'a [u8]));

    /// The name of every line, in whatever case it came.
    fn each_name(&self, name: &mut dyn FnMut(&str));

    /// Who asks, as far as that decides which copies may answer.
    fn standing(&self) -> Standing {
        Standing::Anonymous
    }

    /// All lines joined by `, ` as RFC 9110 §5.3 allows for list fields; `None` when the field is absent.
    fn joined(&self, name: &str) -> Option<Vec<u8>> {
        let mut all: Option<Vec<u8>> = None;
        self.each_line(name, &mut |line| match &mut all {
            None => all = Some(line.to_vec()),
            Some(joined) => {
                joined.extend_from_slice(b", ");
                joined.extend_from_slice(line);
            }
        });
        all
    }
}

impl Fields for HeaderMap {
    fn field(&self, name: &str) -> Option<&[u8]> {
        self.get(name).map(|value| value.as_bytes())
    }

    fn each_line<'a>(&'a self, name: &str, line: &mut dyn FnMut(&'a [u8])) {
        for value in self.get_all(name) {
            line(value.as_bytes());
        }
    }

    fn each_name(&self, name: &mut dyn FnMut(&str)) {
        for known in self.keys() {
            name(known.as_str());
        }
    }
}
