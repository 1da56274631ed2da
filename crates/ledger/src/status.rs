//! What goes wrong, if anything does.

/// How the ledger is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Frames (beginnings and ends) of this process that are not in the store yet.
    pub backlog_frames: u64,
    /// Bytes of frames that are not in the store yet, those that dead processes left included.
    pub backlog_bytes: u64,
    /// Whether the store took what it was given last.
    pub store_ok: bool,
    /// Whether frames can be written to the spool. While they cannot, they are held in memory.
    pub spool_ok: bool,
    /// The last error, without addresses and secrets. It stays after the trouble has passed.
    pub last_error: Option<String>,
    /// When the store took something last, in milliseconds since the Unix epoch.
    pub last_ingested_unix_ms: Option<u64>,
    /// Frames that found room neither in the spool nor in memory.
    pub lost: u64,
    /// Bytes of the spool that could not be read; the files are kept beside it.
    pub damaged_bytes: u64,
    /// Frames that the store refuses, or that another version wrote; they are kept as files.
    pub refused: u64,
    /// Records of dead processes that became `unknown` since this process began.
    pub buried: u64,
    /// Requests that have begun and not ended.
    pub open: u64,
}
