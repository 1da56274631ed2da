//! Where a gateway without a configuration file keeps keys, budgets and the ledger.

use std::path::PathBuf;

use crate::settings::Settings;

/// The variable that says it; `off` keeps nothing.
const VARIABLE: &str = "BAILIAN_DATA";

/// `BAILIAN_DATA`, the folder that systemd made, or the user's own for such things.
pub(crate) fn folder(settings: &Settings) -> Option<PathBuf> {
    match settings.get(VARIABLE).as_deref().map(str::trim) {
        Some("off") => return None,
        Some(path) if !path.is_empty() => return Some(PathBuf::from(path)),
        _ => {}
    }
    let named = |name: &str| settings.get(name).filter(|path| !path.is_empty());
    if let Some(folder) = named("STATE_DIRECTORY") {
        return Some(PathBuf::from(folder));
    }
    let state = match named("XDG_STATE_HOME") {
        Some(state) => PathBuf::from(state),
        None => PathBuf::from(named("HOME")?).join(".local/state"),
    };
    Some(state.join("bailian"))
}

/// A folder that is gone when the program ends as it should.
#[derive(Debug)]
pub(crate) struct Temporary(PathBuf);

impl Temporary {
    pub(crate) fn new() -> Self {
        let name = format!("bailian-{}", uuid::Uuid::new_v4().simple());
        Self(std::env::temp_dir().join(name))
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // The system clears what stays.
        drop(std::fs::remove_dir_all(&self.0));
    }
}
