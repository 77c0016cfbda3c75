//! Every test module.

#[cfg(all(test, feature = "sim"))]
mod crash_points;
