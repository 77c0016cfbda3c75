//! Estimates when a piece of work ends.

use std::time::Duration;

/// From then on an estimate is worth showing, however little is done.
const KNOWN_AFTER: Duration = Duration::from_secs(60);
/// So much of the work, one part in a hundred, is enough for an estimate before that,
const KNOWN_SHARE: u64 = 100;
/// but not before this.
const NOT_BEFORE: Duration = Duration::from_secs(3);

/// Returns how long the rest of `whole` takes at the pace of what was `done` in the time `took`; `None` as long as too little is
/// done for an estimate.
pub(super) fn time_left(done: u64, whole: u64, took: Duration) -> Option<Duration> {
    let enough = took >= KNOWN_AFTER || done >= whole / KNOWN_SHARE;
    if done == 0 || took < NOT_BEFORE || !enough {
        return None;
    }
    let seconds = took.as_secs_f64() * whole.saturating_sub(done) as f64 / done as f64;
    Duration::try_from_secs_f64(seconds).ok()
}

/// Writes `time` as a clock does.
pub(super) fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, minutes, seconds) => format!("{minutes}:{seconds:02}"),
        (hours, minutes, seconds) => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_waits_until_it_means_something() {
        for (done, whole, seconds, left) in [
            // The first bytes of a disk that has to wake up.
            (1, 1 << 40, 10, None),
            (10, 1_000, 1, None),
            (9, 1_000, 59, None),
            (0, 1_000, 3_600, None),
            (10, 1_000, 10, Some(990)),
            (1, 1_000, 60, Some(59_940)),
            (1_000, 1_000, 10, Some(0)),
            (1_100, 1_000, 10, Some(0)),
        ] {
            let known = time_left(done, whole, Duration::from_secs(seconds));
            assert_eq!(known.map(|time| time.as_secs()), left, "{done} of {whole} in {seconds} s");
        }
    }

    #[test]
    fn hours_are_shown_where_there_are_any() {
        assert_eq!(clock(Duration::from_secs(90)), "1:30");
        assert_eq!(clock(Duration::from_secs(3_725)), "1:02:05");
    }
}
