//! Where this client differs from the official ones on purpose.

/// One kind of difference.
#[derive(Debug)]
pub(super) struct Difference {
    /// Where it shows.
    pub(super) place: &'static str,
    pub(super) reason: &'static str,
    pub(super) vectors: &'static [&'static str],
}

/// Vectors that are not called.
pub(super) const NOT_SERVED: &[(&str, &[&str])] = &[(
    "local files are uploaded first, and uploads are not served yet",
    &["ds2.native.multimodal_local_file"],
)];

/// Calls that the catalogue says the service refuses.
pub(super) const REFUSED: &[(&str, &[&str])] = &[];

pub(super) const INTENDED: &[Difference] = &[];
