//! Every test module.

#[cfg(test)]
#[cfg(feature = "sim")]
mod crash_points;
