//! Small pictures made of letters.

/// `▕████▌     ▏`: how much of a whole.
pub(crate) fn bar(part: f64, width: usize) -> String {
    const EIGHTHS: [char; 8] = ['█', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let eighths = (part.clamp(0.0, 1.0) * (width * 8) as f64).round() as usize;
    let mut bar = "█".repeat(eighths / 8);
    if !eighths.is_multiple_of(8) {
        bar.push(EIGHTHS[eighths % 8]);
    }
    let drawn = eighths.div_ceil(8);
    bar.push_str(&"░".repeat(width - drawn));
    bar
}

/// One letter a value, the last `width` of them, as high as the largest allows.
pub(crate) fn sparkline(values: &[f64], width: usize) -> String {
    const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let shown = &values[values.len().saturating_sub(width)..];
    let most = shown.iter().copied().fold(0.0, f64::max);
    shown
        .iter()
        .map(|value| {
            let height = if most > 0.0 {
                (value / most * 8.0).ceil() as usize
            } else {
                0
            };
            HEIGHTS[height.clamp(1, 8) - 1]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_wide_as_asked_for() {
        for (part, bar_text) in [
            (0.0, "░░░░"),
            (0.25, "█░░░"),
            (0.3, "█▎░░"),
            (1.0, "████"),
            (7.0, "████"),
            (f64::NAN, "░░░░"),
        ] {
            assert_eq!(bar(part, 4), bar_text, "{part}");
        }
    }

    #[test]
    fn a_sparkline_shows_the_last_values() {
        assert_eq!(sparkline(&[9.0, 0.0, 1.0, 4.0, 8.0], 4), "▁▁▄█");
        assert_eq!(sparkline(&[0.0, 0.0], 4), "▁▁");
        assert_eq!(sparkline(&[], 4), "");
    }
}
