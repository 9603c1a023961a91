//! The protocol as Lua scripts on Redis. Only the files of this folder name `redis`.
