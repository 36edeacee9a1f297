//! The tree in tiles of 256 hashes, as C2SP's tlog-tiles lays them out: what a log of any size holds in memory is its right edge, and
//! what a proof reads is three files of a million entries.
//!
//! A tile at level *l* has the roots of whole subtrees of `256^l` entries. Full ones never change again.

use crate::merkle::{Hash, of_node, root};

pub const WIDTH: usize = 256;
/// Binary levels of a tile.
const HEIGHT: u32 = 8;
/// `256^8` is the most that a number of entries can be.
const LEVELS_MAX: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    pub level: u8,
    pub index: u64,
}

/// The tiles that are not full yet, one a level, and how much has been added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edge {
    size: u64,
    partial: Vec<Vec<Hash>>,
}

impl Edge {
    pub fn size(&self) -> u64 {
        self.size
    }

    /// `full` gets each tile that this makes full.
    pub fn push(&mut self, entry: Hash, mut full: impl FnMut(TileId, Vec<Hash>)) {
        self.size += 1;
        let (mut level, mut hash) = (0, entry);
        loop {
            if self.partial.len() == level {
                debug_assert!(level < LEVELS_MAX);
                self.partial.push(Vec::with_capacity(WIDTH));
            }
            self.partial[level].push(hash);
            if self.partial[level].len() < WIDTH {
                return;
            }
            let tile = std::mem::replace(&mut self.partial[level], Vec::with_capacity(WIDTH));
            hash = within(&tile, HEIGHT, 0);
            let index = (self.size >> (HEIGHT * (level as u32 + 1))) - 1;
            let level_u8 = level as u8;
            full(
                TileId {
                    level: level_u8,
                    index,
                },
                tile,
            );
            level += 1;
        }
    }

    /// The tiles of the edge: what a checkpoint of this size is published with.
    pub fn partial(&self) -> impl Iterator<Item = (TileId, &[Hash])> {
        let tiles = self.partial.iter().enumerate();
        let some = tiles.filter(|(_, tile)| !tile.is_empty());
        some.map(|(level, tile)| {
            let index = self.size >> (HEIGHT * (level as u32 + 1));
            let level = level as u8;
            (TileId { level, index }, tile.as_slice())
        })
    }

    pub fn root(&self) -> Hash {
        let mut nodes = |height, n| self.node(height, n, |_| Err(()));
        // All that the root needs lies in the edge.
        root(self.size, &mut nodes).unwrap_or_else(|()| crate::merkle::of_nothing())
    }

    /// The hash of a whole subtree: `n`-th of those of `2^height` entries. `read` gives full tiles.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn node<E>(
        &self,
        height: u32,
        n: u64,
        read: impl FnOnce(TileId) -> Result<Vec<Hash>, E>,
    ) -> Result<Hash, E> {
        // The root of a full tile is an entry of the tile above it, which is there whenever the tile is.
        let (level, inner) = (height / HEIGHT, height % HEIGHT);
        let first = n << inner;
        let index = first / WIDTH as u64;
        let at = (first % WIDTH as u64) as usize;
        let id = TileId {
            level: level as u8,
            index,
        };
        let is_partial = index == self.size >> (HEIGHT * (level + 1));
        if is_partial && let Some(tile) = self.partial.get(level as usize) {
            return Ok(within(tile, inner, at));
        }
        Ok(within(&read(id)?, inner, at))
    }
}

impl TileId {
    /// Below the log's address, or in its folder. `width`: of a tile that is not full.
    pub fn path(self, width: Option<usize>) -> String {
        format!("tile/{}/{}", self.level, numbered(self.index, width))
    }
}

/// Of the entries whose hashes are a tile of level 0.
pub fn entries_path(index: u64, width: Option<usize>) -> String {
    format!("tile/entries/{}", numbered(index, width))
}

fn numbered(index: u64, width: Option<usize>) -> String {
    let mut text = format!("{:03}", index % 1_000);
    let mut rest = index / 1_000;
    while rest > 0 {
        text = format!("x{:03}/{text}", rest % 1_000);
        rest /= 1_000;
    }
    match width {
        Some(width) => format!("{text}.p/{width}"),
        None => text,
    }
}

/// Of the subtree of `2^height` hashes of this tile that begins with the one at `at`.
fn within(tile: &[Hash], height: u32, at: usize) -> Hash {
    let mut row = tile[at..at + (1 << height)].to_vec();
    while row.len() > 1 {
        row = row
            .chunks_exact(2)
            .map(|pair| of_node(&pair[0], &pair[1]))
            .collect();
    }
    row[0]
}

pub fn to_bytes(tile: &[Hash]) -> Vec<u8> {
    tile.iter().flat_map(|hash| hash.0).collect()
}

/// `None`: not a whole number of hashes, none, or more than a tile has.
pub fn from_bytes(bytes: &[u8]) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    let is_tile = rest.is_empty() && (1..=WIDTH).contains(&hashes.len());
    is_tile.then(|| hashes.iter().copied().map(Hash).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::merkle::{consistency, extends, includes, inclusion, of_entry};

    #[test]
    fn paths_are_those_of_tlog_tiles() {
        let table = [
            (0, None, "tile/2/000"),
            (255, Some(12), "tile/2/255.p/12"),
            (1_000, None, "tile/2/x001/000"),
            (1_234_067, None, "tile/2/x001/x234/067"),
        ];
        for (index, width, expected) in table {
            assert_eq!(TileId { level: 2, index }.path(width), expected);
        }
        assert_eq!(entries_path(1_000, Some(1)), "tile/entries/x001/000.p/1");
    }

    /// The example of the specification: 70,000 entries.
    #[test]
    fn seventy_thousand_entries_are_these_tiles() {
        let (mut edge, mut full) = (Edge::default(), BTreeMap::new());
        for n in 0..70_000_u32 {
            edge.push(of_entry(&n.to_be_bytes()), |id, tile| {
                assert!(full.insert(id, tile).is_none());
            });
        }
        let count = |level| full.keys().filter(|id| id.level == level).count();
        assert_eq!([count(0), count(1), count(2)], [273, 1, 0]);
        let widths: Vec<(TileId, usize)> =
            edge.partial().map(|(id, tile)| (id, tile.len())).collect();
        let of = |level, index| TileId { level, index };
        assert_eq!(widths, [(of(0, 273), 112), (of(1, 1), 17), (of(2, 0), 1)]);
    }

    #[test]
    fn what_lies_in_tiles_proves_what_the_tree_proves() {
        let (mut edge, mut full) = (Edge::default(), BTreeMap::new());
        let mut earlier = Vec::new();
        for n in 0..70_000_u64 {
            // About sizes where tiles become full.
            if n % 65_536 < 3 || n % 4_096 > 4_093 || n % 9_973 == 0 {
                earlier.push((n, edge.root()));
            }
            edge.push(of_entry(&n.to_be_bytes()), |id, tile| {
                full.insert(id, tile);
            });
        }
        let mut nodes = |height, n| edge.node(height, n, |id| full.get(&id).cloned().ok_or(id));
        let root = edge.root();
        for index in [0, 1, 255, 256, 65_535, 65_536, 69_887, 69_888, 69_999] {
            let path = inclusion(index, edge.size(), &mut nodes).unwrap();
            let entry = of_entry(&index.to_be_bytes());
            assert!(includes(&root, edge.size(), index, entry, &path), "{index}");
        }
        for (size, before) in &earlier {
            let path = consistency(*size, edge.size(), &mut nodes).unwrap();
            let is_so = extends((*size, before), (edge.size(), &root), &path);
            assert!(is_so, "{size}");
        }
        assert!(earlier.len() > 40);
    }

    #[test]
    fn bytes_are_tiles_or_nothing() {
        let tile = vec![of_entry(b"a"); WIDTH];
        assert_eq!(from_bytes(&to_bytes(&tile)), Some(tile.clone()));
        for wrong in [0, 1, 31, 33, 32 * (WIDTH + 1)] {
            assert_eq!(from_bytes(&vec![0; wrong]), None, "{wrong}");
        }
    }
}
