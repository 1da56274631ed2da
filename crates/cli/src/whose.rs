//! Whose requests are meant, for the commands that ask the ledger.

/// Requests of the ledger by who made them, and for which model.
#[derive(Debug, clap::Args)]
pub(crate) struct Whose {
    /// Only those of this tenant, by its name or id.
    #[arg(long)]
    tenant: Option<String>,
    /// Only those of this project, by its name or id.
    #[arg(long)]
    project: Option<String>,
    /// Only those of this virtual key, by its name or id.
    #[arg(long)]
    key: Option<String>,
    /// Only those for this model, as the client named it.
    #[arg(long)]
    model: Option<String>,
}

impl Whose {
    /// The same as parameters of the admin API.
    pub(crate) fn query(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [
            ("tenant", &self.tenant),
            ("project", &self.project),
            ("key", &self.key),
            ("model", &self.model),
        ];
        all.into_iter().filter_map(said)
    }
}

/// A parameter, where its option is given.
pub(crate) fn said<'a>(
    (name, value): (&'static str, &'a Option<String>),
) -> Option<(&'static str, &'a str)> {
    value.as_deref().map(|value| (name, value))
}
