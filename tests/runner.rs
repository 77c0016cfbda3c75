//! Every test module.
