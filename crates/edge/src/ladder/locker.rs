//! What of the ladder outlives a restart: the keys, or everybody would have to wait again in the middle of an attack, and what passes have
//! used, or a restart would fill all purses.
//!
//! The keys are written when one is drawn, once a week. What passes have used is written while they are being used, every
//! [`SAVED_S`], and when the edge stops: a crash gives back what was used since.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Keys, Ladder};
use crate::clock::UnixMillis;
use crate::saved::Saved;

/// A tenth of a period.
pub(crate) const SAVED_S: u32 = 60;

/// Fourteen keys are a kilobyte.
const KEYS_BYTES_MAX: u64 = 16 * 1024;
/// Of a full meter: half a million cells, 24 characters each.
const METER_BYTES_MAX: u64 = 16 * 1024 * 1024;

pub(crate) struct Locker {
    keys: PathBuf,
    meter: PathBuf,
    staff: PathBuf,
}

impl Locker {
    /// In this data folder.
    pub(crate) fn new(data: &Path) -> Self {
        let folder = data.join("passes");
        Self {
            keys: folder.join("keys"),
            meter: folder.join("used"),
            staff: data.join("staff"),
        }
    }

    /// Takes up what an earlier start has left.
    pub(crate) fn recall(&self, ladder: &Ladder, saved: &Saved, now: UnixMillis) {
        let is_kept = match read(&self.keys, KEYS_BYTES_MAX).map(|text| text.parse::<Keys>()) {
            Some(Ok(keys)) => {
                ladder.keys.replace(keys);
                true
            }
            Some(Err(fault)) => {
                tracing::warn!(
                    "{}: {fault}; new keys are drawn, and whoever held a pass waits once more",
                    self.keys.display()
                );
                false
            }
            None => false,
        };
        ladder.invites.open_file(self.staff.clone());
        if ladder.keys.turn(now) || !is_kept {
            saved.write_down(self.keys.clone(), ladder.keys.written());
            // Before anybody is given what they sign: whoever is killed in his first second is started again.
            saved.settle_lessons();
        }
        if let Some(text) = read(&self.meter, METER_BYTES_MAX)
            && let Err(fault) = ladder.meter.recall(&text, now)
        {
            tracing::warn!(
                "{}: {fault}; some passes may be used a little more than they allow",
                self.meter.display()
            );
        }
    }

    /// Once a second or less often.
    pub(crate) fn turn(&self, ladder: &Ladder, saved: &Saved, now: UnixMillis) {
        if ladder.keys.turn(now) {
            saved.write_down(self.keys.clone(), ladder.keys.written());
        }
    }

    pub(crate) fn save(&self, ladder: &Ladder, saved: &Saved, now: UnixMillis) {
        if let Some(text) = ladder.meter.written(now) {
            saved.write_down(self.meter.clone(), text);
            // Again, should the disk have been full when they were drawn.
            saved.write_down(self.keys.clone(), ladder.keys.written());
        }
    }
}

/// `None`: there is no such file, or it is no text of ours by its length alone.
fn read(file: &Path, bytes_max: u64) -> Option<String> {
    let data = fs::metadata(file).ok()?;
    if !data.is_file() || data.len() > bytes_max {
        return None;
    }
    // What is no text is read as one with a fault in its first line.
    Some(fs::read_to_string(file).unwrap_or_default())
}
