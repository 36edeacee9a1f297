//! The tree of RFC 6962 (§2.1): one hash that stands for a list, short proofs that an entry is in it, and that a list is an earlier one
//! with something added.
//!
//! Whoever proves has a way to the hashes of whole subtrees (`nodes`: the height, and which one at that height), wherever they lie;
//! whoever checks has the proof alone.

use sha2::{Digest, Sha256};

/// Of a tree of `2^63` entries.
const PATH_MAX: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash(pub [u8; 32]);

/// RFC 6962 keeps an entry from being taken for a node by what is hashed before it.
const ENTRY: u8 = 0;
const NODE: u8 = 1;

pub fn of_entry(entry: &[u8]) -> Hash {
    let hasher = Sha256::new().chain_update([ENTRY]).chain_update(entry);
    Hash(hasher.finalize().into())
}

pub fn of_node(left: &Hash, right: &Hash) -> Hash {
    let hasher = Sha256::new()
        .chain_update([NODE])
        .chain_update(left.0)
        .chain_update(right.0);
    Hash(hasher.finalize().into())
}

/// Of the tree without entries.
pub fn of_nothing() -> Hash {
    Hash(Sha256::digest([]).into())
}

/// # Errors
/// Those of `nodes`.
pub fn root<E>(size: u64, nodes: &mut impl FnMut(u32, u64) -> Result<Hash, E>) -> Result<Hash, E> {
    if size == 0 {
        return Ok(of_nothing());
    }
    subtree(0, size, nodes)
}

/// That the entry with this index is in the tree of this size: the hashes beside its way to the root, from the bottom up.
///
/// # Errors
/// Those of `nodes`.
pub fn inclusion<E>(
    index: u64,
    size: u64,
    nodes: &mut impl FnMut(u32, u64) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    debug_assert!(index < size);
    let mut path = Vec::new();
    let (mut start, mut end) = (0, size);
    while end - start > 1 {
        let middle = start + half(end - start);
        if index < middle {
            path.push(subtree(middle, end, nodes)?);
            end = middle;
        } else {
            path.push(subtree(start, middle, nodes)?);
            start = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// That the tree of `size` is the tree of `earlier` with something added: RFC 6962 §2.1.2.
///
/// # Errors
/// Those of `nodes`.
pub fn consistency<E>(
    earlier: u64,
    size: u64,
    nodes: &mut impl FnMut(u32, u64) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    debug_assert!(earlier <= size);
    let mut path = Vec::new();
    if earlier == 0 || earlier == size {
        return Ok(path);
    }
    let (mut start, mut end) = (0, size);
    while earlier != end {
        let middle = start + half(end - start);
        if earlier <= middle {
            path.push(subtree(middle, end, nodes)?);
            end = middle;
        } else {
            path.push(subtree(start, middle, nodes)?);
            start = middle;
        }
    }
    // The whole earlier tree is known to who asks.
    if start > 0 {
        path.push(subtree(start, end, nodes)?);
    }
    path.reverse();
    Ok(path)
}

/// RFC 9162 §2.1.3.2.
pub fn includes(root: &Hash, size: u64, index: u64, entry: Hash, path: &[Hash]) -> bool {
    if index >= size || path.len() > PATH_MAX {
        return false;
    }
    let (mut at, mut last, mut hash) = (index, size - 1, entry);
    for beside in path {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            hash = of_node(beside, &hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = of_node(&hash, beside);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// RFC 9162 §2.1.4.2. A tree without entries is the beginning of every other.
pub fn extends(
    (earlier, earlier_root): (u64, &Hash),
    (size, root): (u64, &Hash),
    path: &[Hash],
) -> bool {
    if earlier == 0 {
        return path.is_empty() && *earlier_root == of_nothing();
    }
    if earlier == size {
        return path.is_empty() && earlier_root == root;
    }
    if earlier > size || path.len() > PATH_MAX {
        return false;
    }
    // Of a whole subtree the root is not repeated in the proof.
    let (first, rest) = match path.split_first() {
        _ if earlier.is_power_of_two() => (earlier_root, path),
        Some((first, rest)) => (first, rest),
        None => return false,
    };
    let (mut at, mut last) = (earlier - 1, size - 1);
    let whole = at.trailing_ones();
    at >>= whole;
    last >>= whole;
    let (mut of_earlier, mut of_all) = (*first, *first);
    for beside in rest {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            of_earlier = of_node(beside, &of_earlier);
            of_all = of_node(beside, &of_all);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            of_all = of_node(&of_all, beside);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && of_earlier == *earlier_root && of_all == *root
}

/// Of the entries from `start` to `end`, where `start` is where a subtree of that many entries may begin.
fn subtree<E>(
    start: u64,
    end: u64,
    nodes: &mut impl FnMut(u32, u64) -> Result<Hash, E>,
) -> Result<Hash, E> {
    let size = end - start;
    if size.is_power_of_two() {
        let height = size.trailing_zeros();
        return nodes(height, start >> height);
    }
    let middle = start + half(size);
    let left = subtree(start, middle, nodes)?;
    let right = subtree(middle, end, nodes)?;
    Ok(of_node(&left, &right))
}

/// The largest power of two below it.
fn half(size: u64) -> u64 {
    debug_assert!(size > 1);
    1 << (63 - (size - 1).leading_zeros())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    /// As RFC 6962 §2.1 says it, with nothing left out.
    fn as_written(entries: &[Vec<u8>]) -> Hash {
        match entries {
            [] => of_nothing(),
            [one] => of_entry(one),
            more => {
                let mut k = 1;
                while k * 2 < more.len() {
                    k *= 2;
                }
                of_node(&as_written(&more[..k]), &as_written(&more[k..]))
            }
        }
    }

    fn entries(count: u64) -> Vec<Vec<u8>> {
        (0..count)
            .map(|n| format!("entry {n}").into_bytes())
            .collect()
    }

    /// Whole subtrees, worked out anew each time.
    fn nodes(all: &[Vec<u8>]) -> impl FnMut(u32, u64) -> Result<Hash, Infallible> + '_ {
        |height, n| {
            let (start, size) = ((n << height) as usize, 1 << height);
            Ok(as_written(&all[start..start + size]))
        }
    }

    /// The vectors that everybody's implementations of certificate transparency share: roots of the first n of eight entries.
    #[test]
    fn roots_are_those_of_rfc_6962() {
        let hex = |text: &str| -> Vec<u8> {
            let digits: Vec<char> = text.chars().collect();
            let byte =
                |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
            digits.chunks(2).map(byte).collect()
        };
        let all: Vec<Vec<u8>> = [
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        ]
        .into_iter()
        .map(hex)
        .collect();
        let table = [
            (
                0,
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            ),
            (
                1,
                "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            ),
            (
                2,
                "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            ),
            (
                3,
                "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            ),
            (
                8,
                "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
            ),
        ];
        for (size, expected) in table {
            let of = root(size, &mut nodes(&all)).unwrap();
            assert_eq!(of.0.to_vec(), hex(expected), "{size}");
        }
    }

    #[test]
    fn whatever_is_in_a_tree_is_shown_to_be() {
        for size in 1..=40 {
            let all = entries(size);
            let root = root(size, &mut nodes(&all)).unwrap();
            assert_eq!(root, as_written(&all));
            for index in 0..size {
                let path = inclusion(index, size, &mut nodes(&all)).unwrap();
                let entry = of_entry(&all[index as usize]);
                assert!(includes(&root, size, index, entry, &path));
                // ... nowhere else, in no other tree, and nothing else is.
                for other in 0..size {
                    let shown = includes(&root, size, other, entry, &path);
                    assert_eq!(shown, other == index, "{index} {other} of {size}");
                }
                assert!(!includes(&root, size, size, entry, &path));
                assert!(!includes(&root, size, index, of_entry(b"other"), &path));
                for cut in 0..path.len() {
                    assert!(!includes(&root, size, index, entry, &path[..cut]));
                }
                let longer = [path.clone(), vec![entry]].concat();
                assert!(!includes(&root, size, index, entry, &longer));
            }
        }
    }

    #[test]
    fn a_tree_extends_its_beginnings_and_nothing_else() {
        let all = entries(40);
        let root = |size: u64| root(size, &mut nodes(&all)).unwrap();
        for size in 0..=40 {
            for earlier in 0..=size {
                let path = consistency(earlier, size, &mut nodes(&all)).unwrap();
                let (before, after) = (root(earlier), root(size));
                assert!(extends((earlier, &before), (size, &after), &path));
                if earlier > 0 {
                    let other = of_entry(b"other");
                    assert!(!extends((earlier, &other), (size, &after), &path));
                    let is_itself = earlier == size;
                    assert!(is_itself || !extends((earlier, &before), (size, &other), &path));
                }
                for cut in 0..path.len() {
                    let mut forged = path.clone();
                    forged[cut] = of_entry(b"other");
                    assert!(!extends((earlier, &before), (size, &after), &forged));
                    assert!(!extends((earlier, &before), (size, &after), &path[..cut]));
                }
                let longer = [path, vec![before]].concat();
                assert!(!extends((earlier, &before), (size, &after), &longer));
            }
        }
        assert!(!extends((3, &root(3)), (2, &root(2)), &[]));
    }

    proptest! {
        #[test]
        fn no_proof_is_a_panic(
            size in any::<u64>(),
            other in any::<u64>(),
            path in proptest::collection::vec(any::<[u8; 32]>(), 0..70),
        ) {
            let path: Vec<Hash> = path.into_iter().map(Hash).collect();
            let hash = of_nothing();
            prop_assert!(!includes(&hash, size, other, hash, &path));
            _ = extends((other, &hash), (size, &hash), &path);
        }
    }
}
