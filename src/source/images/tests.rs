//! Fetching images ahead.
