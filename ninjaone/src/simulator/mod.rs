//! A strict stand-in for NinjaOne: real HTTP, single-use refresh tokens, scripted faults, a ledger.
