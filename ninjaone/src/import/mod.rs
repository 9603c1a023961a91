//! Credentials that other software left behind, read into candidates for adoption.
