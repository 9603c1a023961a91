//! Tokens for those who need one: environment, `tokens.json`, child processes.
