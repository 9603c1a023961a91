//! The machine's answers.
