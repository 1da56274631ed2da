//! The write-ahead spool: what happened, in files, before it is in the store.

pub(crate) mod file;
pub(crate) mod folder;
mod map;
pub(crate) mod segment;
pub(crate) mod shard;
